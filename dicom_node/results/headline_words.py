"""ListLine observations in the words of people: for lists, pages and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dicom_node.bundles.declared import Declaration, ObservationWords, Says, plain, words_of
from dicom_node.ledger.headlines import HeadlineKey, ListLine
from dicom_node.observations import ObservationKind as Kind
from dicom_node.results.cards import NetworkCard
from dicom_node.results.templates import Template
from dicom_node.results.values import unit_of

Cards = Mapping[str, NetworkCard]


@dataclass(frozen=True, slots=True)
class SpokenHeadline:
    """A headline as a list tells it: its name, what was answered, whether it is a finding."""

    line: ListLine
    name: str
    answer: str

    @property
    def found(self) -> bool:
        """Whether it is a finding."""
        return self.line.found

    @property
    def place(self) -> str:
        """Which headline it is, as ``network:key``."""
        return str(HeadlineKey(self.line.network, self.line.key))


def headline_names(cards: Cards, template: Template) -> dict[str, str]:
    """Return the headlines of the installed bundles: ``network:key`` to the name, suite's order.

    Of two that are called alike each names its network.
    """
    language = template.language.value
    found = {
        str(HeadlineKey(card.id, said.key)): (words_of(card.declaration, said.key, language), card)
        for card in cards.values()
        if card.declaration is not None
        for said in card.declaration.says
        if said.headline
    }
    names = [words.name for words, _ in found.values()]
    return {
        place: words.name if names.count(words.name) == 1 else f"{words.name} ({card.title})"
        for place, (words, card) in found.items()
    }


def spoken(
    lines: Iterable[ListLine], cards: Cards, template: Template
) -> tuple[SpokenHeadline, ...]:
    """Return headlines in words, what was found first, then in the order of suite and manifest."""
    order = {place: number for number, place in enumerate(headline_names(cards, template))}
    told = [_spoken(each, cards, template) for each in lines]
    return tuple(sorted(told, key=lambda each: (not each.found, order.get(each.place, len(order)))))


def _spoken(line: ListLine, cards: Cards, template: Template) -> SpokenHeadline:
    card = cards.get(line.network)
    declared = card.declaration if card else None
    said = _says(declared, line.key)
    if declared is None or said is None:
        # Its network is no longer installed: of the number its unit is known alone.
        words = ObservationWords(name=plain(line.key))
        unit = unit_of(line.unit, template.observed.units).shown if line.unit else ""
        answer = ", ".join(_classes(line, words)) or f"{line.number:g} {unit}".strip()
    else:
        words = words_of(declared, line.key, template.language.value)
        answer = _answer(line, said, words, template)
    return SpokenHeadline(line, words.name, answer)


def _says(declared: Declaration | None, key: str) -> Says | None:
    return next((said for said in declared.says if said.key == key), None) if declared else None


def _answer(line: ListLine, said: Says, words: ObservationWords, template: Template) -> str:
    text = template.observed
    if said.classes and said.kind is not Kind.REGION:
        return _named(line, said, words, template)
    if said.kind is Kind.REGION:
        return f"{line.number:.0f}" if line.number else text.none
    if said.kind is Kind.MASK:
        return f"{template.percent(line.number)} %"
    digits = f"{line.number:.{said.decimals}f}".replace(".", template.decimal)
    return text.number.format(value=digits, unit=unit_of(said.unit, text.units).shown).strip()


def _named(line: ListLine, said: Says, words: ObservationWords, template: Template) -> str:
    """Return classes or labels; with the number where there is one alone, since it is of one."""
    names, text = list(_classes(line, words)), template.observed
    if not names:
        return text.none if said.kind is Kind.LABELS else text.undetermined
    if said.kind is Kind.LEVEL or len(names) > 1:
        return ", ".join(names)
    form = text.label if said.calibrated else text.label_uncalibrated
    limit = said.threshold_of(line.text)
    return form.format(label=names[0], probability=template.percent(line.number, limit))


def _classes(line: ListLine, words: ObservationWords) -> Iterator[str]:
    for key in filter(None, line.text.split(",")):
        yield words.classes.get(key, plain(key))
