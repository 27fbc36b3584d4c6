"""Measurement groups in the report's tree: TID 1411 with a place, TID 1501 of the whole film.

highdicom makes a group of each shape once, with marks where the values of films go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept, RelationshipTypeValues
from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from dicom_node.imaging.header import CodedEntry as HeaderCode
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.stencil import Encodings, Key, Stencil, Value, cut
from dicom_node.results.template_parts import Code
from dicom_node.results.values import Group, Site, Unit
from dicom_node.uids import derived_uid

Values = Mapping[Key, Value]
"""What fills the gaps of a group."""

_FAMILY = CodedConcept("123110", "DCM", "Artificial Intelligence")
_TRACKING = 2
"""Items that a group begins with: Tracking Identifier and its UID."""

_UIDS = ("tracking uid", "instance")
_MARKED = -990000.0
"""Numbers below are marks, and so are UIDs and texts with this number in them."""

_Content = (
    hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | hd.sr.MeasurementsAndQualitativeEvaluations
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What groups have in common whose items differ in their values alone.

    ``numbers``: concept, unit and equivalent concept; ``texts``: concept names; ``first``: the one
    that stands before the numbers. ``network``: title and version. ``placed``: whether there is a
    place. ``sop_class_uid``: the film's.
    """

    finding: Code | None
    site: Site | None
    numbers: tuple[tuple[Code, Unit, Code | None], ...]
    evaluations: tuple[tuple[Code, Code], ...]
    texts: tuple[Code, ...]
    first: Code | None
    network: tuple[str, str] | None
    parameters: int
    placed: bool
    sop_class_uid: str


SMALLEST = Shape(
    None, None, (), (), (), None, None, 0,
    placed=False, sop_class_uid=DigitalXRayImageStorageForPresentation,
)  # fmt: skip
"""The shape of a group that says nothing."""


def shape_of(group: Group, film: AnalysedFilm, context: Context) -> Shape:
    """Return the shape of a group. Raises `ResultError` where no network is stated."""
    card = context.card(film, group.network) if group.network else None
    return Shape(
        finding=group.finding,
        site=group.site,
        numbers=tuple((number.name, number.unit, number.also) for number in group.numbers),
        evaluations=group.evaluations,
        texts=tuple(name for name, _ in group.texts),
        first=context.template.texts.headline,
        network=(card.title, card.version) if card else None,
        parameters=len(group.parameters) if card else 0,
        placed=group.place is not None,
        sop_class_uid=str(film.dataset.SOPClassUID),
    )


def values_of(group: Group, film: AnalysedFilm) -> Values:
    """Return the values of a group on a film."""
    source = film.dataset
    values: dict[Key, Value] = {
        "tracking": group.tracking,
        "tracking uid": derived_uid("tracking", source.SOPInstanceUID, group.key),
        "instance": source.SOPInstanceUID,
    }
    if group.place is not None:
        values["place"] = group.place
    for place, number in enumerate(group.numbers):
        # People read Numeric Value, rounded; Floating Point Value beside it keeps every digit.
        values["shown", place] = number.shown.replace(",", ".")
        values["exact", place] = number.exact
    values |= {("text", place): text for place, (_, text) in enumerate(group.texts)}
    values |= {("parameter", place): text for place, text in enumerate(group.parameters)}
    return values


@lru_cache(maxsize=1024)
def stencil_of(shape: Shape, encodings: Encodings) -> Stencil:
    """Return a group of a shape, with gaps for what `values_of` gives."""
    item = content_of_shape(shape)[0]
    separate(item)
    return cut(item, _marks(shape), encodings)


def content_of_shape(shape: Shape) -> _Content:
    """Return a group of a shape, with marks for values."""
    content = _bare(shape)
    items = content[0].ContentSequence
    _show([item for item in items if item.ValueType == "NUM"], shape)
    contains = RelationshipTypeValues.CONTAINS
    texts = [
        hd.sr.TextContentItem(concept(name), _text("text", place), relationship_type=contains)
        for place, name in enumerate(shape.texts)
    ]
    # What a group concludes stands before its numbers: it begins with identifier and UID.
    named = list(zip(shape.texts, texts, strict=True))
    first = [item for name, item in named if name == shape.first]
    rest = [item for name, item in named if name != shape.first]
    content[0].ContentSequence = [*items[:_TRACKING], *first, *items[_TRACKING:], *rest]
    return content


def _bare(shape: Shape) -> _Content:
    """Return the group without its sentences: with its place (TID 1410), or of the whole film."""
    tracking, instance = (_uid(place) for place in range(len(_UIDS)))
    common: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=tracking, identifier=_text("tracking", 0)
        ),
        "finding_type": concept(shape.finding) if shape.finding else None,
        "finding_sites": [_site(shape.site)] if shape.site else None,
        "algorithm_id": _algorithm(shape),
        "measurements": [
            hd.sr.Measurement(concept(name), _number(place), _unit(unit))
            for place, (name, unit, _) in enumerate(shape.numbers)
        ]
        or None,
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(concept(name), concept(answer))
            for name, answer in shape.evaluations
        ]
        or None,
    }
    if not shape.placed:
        whole = hd.sr.SourceImageForMeasurementGroup(shape.sop_class_uid, instance)
        return hd.sr.MeasurementsAndQualitativeEvaluations(source_images=[whole], **common)
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=hd.sr.ImageRegion(
            graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
            graphic_data=np.full((2, 2), _MARKED),
            source_image=hd.sr.SourceImageForRegion(shape.sop_class_uid, instance),
        ),
        **common,
    )


def _marks(shape: Shape) -> Mapping[Any, Key]:
    """Return what a shape's values are marked by."""
    marks: dict[Any, Key] = {_uid(place): name for place, name in enumerate(_UIDS)}
    marks |= {_text("tracking", 0): "tracking", (_MARKED,) * 4: "place"}
    for place in range(len(shape.numbers)):
        marks |= {_number(place): ("exact", place), _text("shown", place): ("shown", place)}
    marks |= {_text("text", place): ("text", place) for place in range(len(shape.texts))}
    marks |= {_text("parameter", place): ("parameter", place) for place in range(shape.parameters)}
    return marks


def _number(place: int) -> float:
    return _MARKED - 1 - place


def _uid(place: int) -> str:
    return f"1.2.{-_MARKED:.0f}.{place}"


def _text(of: str, place: int) -> str:
    return f"{_number(place):.0f}" if of == "shown" else f"{of} {place} {_MARKED}"


def concept(code: HeaderCode | Code) -> CodedConcept:
    """Return a template's code as highdicom's."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def _unit(unit: Unit) -> CodedConcept:
    return CodedConcept(unit.code, "UCUM", unit.meaning)


def _site(site: Site) -> hd.sr.FindingSite:
    laterality = None if site.laterality is None else concept(site.laterality)
    return hd.sr.FindingSite(concept(site.place), laterality=laterality)


def _show(items: Sequence[Dataset], shape: Shape) -> None:
    for place, (item, (_, _, also)) in enumerate(zip(items, shape.numbers, strict=True)):
        item.MeasuredValueSequence[0].NumericValue = _text("shown", place)
        if also is not None:
            # PS3.3 section 8.8: a code of the same meaning, beside the one that viewers print.
            item.ConceptNameCodeSequence[0].EquivalentCodeSequence = [concept(also)]


def _algorithm(shape: Shape) -> hd.sr.AlgorithmIdentification | None:
    if shape.network is None:
        return None
    title, version = shape.network
    return hd.sr.AlgorithmIdentification(
        name=title,
        version=version,
        family=_FAMILY,
        parameters=[_text("parameter", place) for place in range(shape.parameters)] or None,
    )


def separate(item: Dataset) -> None:
    """Make every container of a tree SEPARATE."""
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence") or ():
        separate(child)
