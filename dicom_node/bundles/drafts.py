"""The first draft of a bundle that declares what it says: a commented manifest, and a card.

Text alone: what no file can tell is marked ``# CHECK:`` in the manifest and ``TODO`` in the card;
`dicom-node models check` names what is left of these marks.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dicom_node.bundles.declared import plain
from dicom_node.observations import ObservationKind as Kind

CHECK_MARK, TODO_MARK = "# CHECK:", "TODO"

CARD_HEADINGS = (
    ("What it is for", "who may use it on which films, and for what not"),
    ("Data", "how many films and patients taught it, from where, how they were labelled"),
    ("How well it does", "on which films that it never saw, with intervals"),
    ("Where it fails", "films, patients and devices on which it is wrong or was not tried"),
)
"""Headings of a card, and what belongs there."""


@dataclass(frozen=True, slots=True)
class DraftSays:
    """One observation of a draft: its kind, and which outputs it is made of.

    ``classes``: keys. ``size``: how many numbers the output has; 0: unknown.
    """

    key: str
    kind: Kind
    output: str = ""
    boxes: str = ""
    labels_output: str = ""
    classes: tuple[str, ...] = ()
    activation: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class DraftPixels:
    """What the network wants to see, as far as its file tells. ``values``: None: not told."""

    input: str = ""
    rows: int = 224
    columns: int = 224
    channels: int = 1
    layout: str = "channels-first"
    region: str = "film"
    values: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a draft says. ``unsure``: keys (as in ``eats.views``) that nobody was asked about."""

    id: str
    title: str
    engine: str
    file: str
    digest: str
    pixels: DraftPixels
    says: tuple[DraftSays, ...]
    version: str = "1.0.0"
    also: tuple[tuple[str, str], ...] = ()
    licence: str = ""
    intended_use: str = ""
    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    unsure: frozenset[str] = field(default_factory=frozenset)


def manifest_of(draft: Draft) -> str:
    """Return the text of ``model.toml``: every key that counts, with what it means behind it."""
    lines = [
        "# What this network is, which films it is for, and what it says.",
        "# Every key: docs/bring-your-network.md. Then: dicom-node models check .",
        "",
        *_head(draft),
        "",
        *_eats(draft),
        "",
        *_weights(draft),
    ]
    for said in draft.says:
        lines += ["", *_said(said, draft.unsure, shown=said == draft.says[0])]
    lines += ["", *_words(draft)]
    return "\n".join(lines) + "\n"


def card_of(draft: Draft) -> str:
    """Return the text of ``CARD.md``: headings, and what is to be written under each."""
    wanted = dict(CARD_HEADINGS)
    told = {"What it is for": draft.intended_use}
    lines = [
        f"# {draft.title}",
        "",
        "**Research use only.** Not a medical device: what it says is no diagnosis.",
        "",
        f"Version {draft.version}. Licence of the weights: {draft.licence or TODO_MARK}.",
    ]
    for heading, what in wanted.items():
        text = told.get(heading) or f"{TODO_MARK}: {what}."
        lines += ["", f"## {heading}", "", *textwrap.wrap(text, 100)]
    return "\n".join(lines) + "\n"


def key_of(name: str, fallback: str = "answer") -> str:
    """Return a name as a key of the manifest: small letters, digits and low lines, at most 40."""
    letters = "".join(each if each.isascii() and each.isalnum() else "_" for each in name.lower())
    key = "_".join(part for part in letters.split("_") if part)[:40].rstrip("_")
    if key and not key[0].isalpha():
        key = f"class_{key}"[:40]
    return key or fallback


def id_of(name: str) -> str:
    """Return a name as the id of a bundle: small letters, digits and hyphens, at most 40."""
    return key_of(name, "network").replace("_", "-")


def _head(draft: Draft) -> Iterator[str]:
    yield _line("id", draft.id, "the folder has the same name")
    yield _line("title", draft.title, "what people read in lists and reports", draft, "title")
    yield _line("version", draft.version, "a new one for new weights: every report quotes it")
    yield _line("engine", draft.engine, "what the file is of")
    use = draft.intended_use or "Research use only. What it is for is not yet written down."
    yield _line("intended_use", use, "for what, and for what not", draft, "intended_use")
    yield _line("licence", draft.licence or "unknown", "of the weights", draft, "licence")
    yield '# explain = "occlusion"         # show where it looked: hides one part after the other'
    memory = "memory_mb = 4096  " if draft.engine == "saved-model" else "# memory_mb = 2048"
    yield f"{memory}              # what its process may take; beyond it, it is stopped"
    yield "# seconds = 30.0                # how long one answer may take"


def _eats(draft: Draft) -> Iterator[str]:
    pixels = draft.pixels
    known = [name for name in ("CR", "DX", "MG", "IO") if name in draft.modalities]
    yield "# Which films it is for. Others are never shown to it."
    yield "[eats]"
    yield _line("sop_classes", known or ["CR", "DX"], "CR, DX, MG, IO, SC, or UIDs")
    yield _line("modalities", draft.modalities, "Modality (0008,0060)", draft, "eats.modalities")
    what = "CHEST, HAND …; empty: any"
    yield _line("body_parts", draft.body_parts, what, draft, "eats.body_parts")
    what = "PA, AP, LATERAL …; empty: any"
    yield _line("views", draft.views, what, draft, "eats.views")
    yield '# unspecific = "accept"         # also films whose header says neither'
    yield ""
    yield "# What it wants to see: the film as radiologists see it, black is air, white is dense."
    yield "[eats.pixels]"
    if pixels.input:
        yield _line("input", pixels.input, "the tensor's name")
    for name in ("rows", "columns", "channels"):
        what = "the same film in each" if name == "channels" else "of the input"
        yield _line(name, getattr(pixels, name), what, draft, f"eats.pixels.{name}")
    yield _line("layout", pixels.layout, "channels-first, channels-last")
    yield _line("region", pixels.region, "film, or lungs: a square around them")
    yield _line("fit", "stretch", "stretch, pad, or crop", draft, "eats.pixels.fit")
    values = pixels.values or (0.0, 1.0)
    what = "what black and white become: the fault made most often"
    yield _line("values", values, what, draft, "eats.pixels.values")
    yield "# mean = [0.485, 0.456, 0.406] # taken off after that: one number, or one a channel"
    yield "# std = [0.229, 0.224, 0.225]  # divides after that"


def _weights(draft: Draft) -> Iterator[str]:
    yield "[weights]"
    yield _line("file", draft.file, "beside this manifest; links are not followed")
    yield f'digest = "{draft.digest}"'
    if draft.also:
        yield "[weights.also]"
        yield from (f'"{name}" = "{digest}"' for name, digest in draft.also)


def _said(said: DraftSays, unsure: frozenset[str], *, shown: bool) -> Iterator[str]:
    place = f"says.{said.key}"
    yield "[[says]]"
    yield _line("key", said.key, "its name for programs: JSON, filters, private codes")
    what = "labels, class, level, score, measurement, region, mask"
    yield _line("kind", said.kind.value, what, unsure, f"{place}.kind")
    if said.output:
        yield _line("output", said.output, "the tensor")
    if said.boxes:
        yield _line("boxes", said.boxes, "the tensor of places, (n, 4)")
        what = "left, top, right, bottom; or corner-size, centre-size"
        yield _line("box_form", "corners", what, unsure, f"{place}.box_form")
        yield _line(
            "box_unit", "pixels", "of the input; or parts of it", unsure, f"{place}.box_unit"
        )
    if said.labels_output:
        yield _line("labels_output", said.labels_output, "the class's number of each place")
    yield from _numbers_of(said, unsure, place)
    yield _line("headline", shown, "the case list shows it")
    yield "# severity = 6.0                # how high a case stands in the list if this is found"
    for name in said.classes:
        yield from ("", *_class_of(said, name))
    if not said.classes and said.kind not in (Kind.CLASS, Kind.LEVEL, Kind.LABELS):
        yield f"# finding = {_CODE}"


_TWO_POINTS = 4
"""So many numbers of a measurement are column and row of both ends."""

_CODE = '{ value = "36118008", scheme = "SCT", meaning = "Pneumothorax" }'


def _numbers_of(said: DraftSays, unsure: frozenset[str], place: str) -> Iterator[str]:
    """Yield what makes an answer of the output's numbers."""
    if said.activation:
        what = "what makes probabilities: none, sigmoid, softmax"
        yield _line("activation", said.activation, what, unsure, f"{place}.activation")
    match said.kind:
        case Kind.LABELS:
            what = "from which each is there; one a class is better"
            yield _line("threshold", 0.5, what, unsure, f"{place}.threshold")
        case Kind.CLASS | Kind.LEVEL:
            yield "# threshold = 0.5               # below it the answer is: undetermined"
        case Kind.SCORE:
            yield _line("range", (0.0, 1.0), "lowest and highest", unsure, f"{place}.range")
            yield "# threshold = 0.5               # from which value it is a finding"
        case Kind.MEASUREMENT:
            yield _line("unit", "mm", "UCUM: mm, cm, a, deg, % …", unsure, f"{place}.unit")
            if said.size == _TWO_POINTS:
                what = 'the two ends; or "length", in pixels of the input'
                yield _line("measures", "points", what, unsure, f"{place}.measures")
            else:
                yield '# measures = "length"           # in pixels, or "points": its two ends'
            yield "# threshold = 150.0             # from which value it is a finding"
        case Kind.REGION:
            yield _line(
                "threshold", 0.5, "from which a place is kept", unsure, f"{place}.threshold"
            )
        case Kind.MASK:
            what = "from which a place belongs to it"
            yield _line("threshold", 0.5, what, unsure, f"{place}.threshold")
            yield '# inside = "lungs"              # what lies outside the lungs does not count'


def _class_of(said: DraftSays, name: str) -> Iterator[str]:
    yield "[[says.classes]]"
    yield f"key = {json.dumps(name)}"
    if name == said.classes[0]:
        yield "# threshold = 0.5               # of this one"
        yield "# What is there if it is believed; where you are sure of no code, leave it away:"
        yield f"# finding = {_CODE}"


def _words(draft: Draft) -> Iterator[str]:
    yield "# How people read it; [template.de.…] for German reports."
    for said in draft.says:
        yield f"[template.en.{said.key}]"
        yield f"name = {json.dumps(plain(said.key)[:52], ensure_ascii=False)}"
        yield '# comment = "What it means, and what it does not."'
        if said.classes:
            yield f"[template.en.{said.key}.classes]"
            yield from (f"{name} = {json.dumps(plain(name))}" for name in said.classes)


def _line(
    key: str,
    value: object,
    meaning: str,
    unsure: Draft | Iterable[str] = (),
    place: str = "",
) -> str:
    """Return ``key = value  # meaning``, marked where nobody was asked about it."""
    marks = unsure.unsure if isinstance(unsure, Draft) else unsure
    note = f"{CHECK_MARK} {meaning}" if place and place in marks else f"# {meaning}"
    return f"{f'{key} = {toml(value)}':<31} {note}"


def toml(value: object) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
