"""ListLine observations in the words of people: for lists, pages and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dicom_node.bundles.declared import Declaration, ObservationWords, Says, plain, words_of
from dicom_node.ledger.headlines import HeadlineKey, ListLine
from dicom_node.observations import ObservationKind as Kind
from dicom_node.results.cards import NetworkCard

Cards = Mapping[str, NetworkCard]


@dataclass(frozen=True, slots=True)
class SpokenHeadline:
    """A headline as a list tells it: how it is called, what was answered, whether it is a finding.

    ``answer`` is "" where nothing was named.
    """

    headline: ListLine
    name: str
    answer: str

    @property
    def found(self) -> bool:
        """Whether it is a finding."""
        return self.headline.found

    @property
    def place(self) -> str:
        """Which headline it is, as ``network:key``."""
        return str(HeadlineKey(self.headline.network, self.headline.key))


def headline_names(cards: Cards, language: str) -> dict[str, str]:
    """Return the headlines of the installed bundles: ``network:key`` to the name, suite's order.

    Of two that are called alike each names its network.
    """
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
    headlines: Iterable[ListLine], cards: Cards, language: str
) -> tuple[SpokenHeadline, ...]:
    """Return headlines in words, what was found first, then in the order of suite and manifest."""
    order = {place: number for number, place in enumerate(headline_names(cards, language))}
    told = [_spoken(each, cards, language) for each in headlines]
    return tuple(sorted(told, key=lambda each: (not each.found, order.get(each.place, len(order)))))


def _spoken(headline: ListLine, cards: Cards, language: str) -> SpokenHeadline:
    card = cards.get(headline.network)
    declared = card.declaration if card else None
    said = _says(declared, headline.key)
    if declared is None or said is None:
        words = ObservationWords(name=plain(headline.key))
    else:
        words = words_of(declared, headline.key, language)
    return SpokenHeadline(headline, words.name, _answer(headline, said, words))


def _says(declared: Declaration | None, key: str) -> Says | None:
    return next((said for said in declared.says if said.key == key), None) if declared else None


def _answer(headline: ListLine, said: Says | None, words: ObservationWords) -> str:
    names = ", ".join(_classes(headline, words))
    if said is None:
        # Its network is no longer installed: nobody knows what the number is.
        return names or f"{headline.number:g}"
    if said.kind in (Kind.CLASS, Kind.LABELS):
        return f"{names} {headline.number:.0%}" if names else ""
    if said.kind is Kind.LEVEL:
        return names
    if said.kind is Kind.REGION:
        return f"{headline.number:.0f}"
    if said.kind is Kind.MASK:
        return f"{headline.number:.0%}"
    unit = "" if said.unit.startswith("{") or said.unit == "1" else f" {said.unit}"
    return f"{headline.number:.{said.decimals}f}{unit}"


def _classes(headline: ListLine, words: ObservationWords) -> Iterator[str]:
    for key in filter(None, headline.text.split(",")):
        yield words.classes.get(key, plain(key))
