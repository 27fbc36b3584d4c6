"""All result objects of one study, as bytes that never change again.

An object's SOP Instance UID follows from all its other bytes and from what they were made of: the
same UID is the same bytes, for ever and at every node, and another answer is another object.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from PIL.Image import DecompressionBombError
from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from reportlab.platypus.doctemplate import LayoutError

from dicom_node.errors import ImageError, ResultError, SpoolError
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.imaging.received import part_of
from dicom_node.imaging.values import CAN_RAISE, Guarded, text, texts
from dicom_node.patience import place_of
from dicom_node.records import ObjectKind
from dicom_node.results.apart import apart
from dicom_node.results.basic_text import recipe_of
from dicom_node.results.capture import capture, overlay, overlays_of
from dicom_node.results.cards import NetworkCard
from dicom_node.results.document import document, draw_for_page
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.key_objects import is_of_interest, key_objects
from dicom_node.results.modules import IDENTITY, TYPE_2
from dicom_node.results.names import UNNAMED, named_file
from dicom_node.results.presentation import presentation
from dicom_node.results.regions import places_of
from dicom_node.results.reissue import CLASSES, TREES, ReissueRecipe, reissue
from dicom_node.results.report import groups_of_study, report
from dicom_node.results.segmentation import lung_segmentation, saliency_segmentation

__all__ = [
    "AnalysedFilm",
    "Context",
    "NetworkCard",
    "Refused",
    "WrittenObject",
    "write_each",
    "write_results",
]

_OVERLAYS = 100
"""Overlays of film 1 are instances 101, 102 …: beside its capture, instance 1."""

_FAULTS = (
    *CAN_RAISE, DecompressionBombError, ImageError, LayoutError, ResultError, RuntimeError,
    SpoolError,
)  # fmt: skip
"""What a header, a template or a library (highdicom, Pillow, Matplotlib, ReportLab) raises while an
object is written."""

_KEPT_BARE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality")

_T = TypeVar("_T")
_Films = Sequence[AnalysedFilm]


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """A result as a Part 10 file. A report in another SOP class has the same ``group``."""

    group: str
    kind: ObjectKind
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    data: bytes
    patient: int = 0
    """Which of the study's patients it is of, where its films contradict each other."""

    recipe: ReissueRecipe | None = None
    """Of a report: how it is made in another SOP class."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that could not be written, on which film ("" where it is on several), and why."""

    kind: ObjectKind
    sop_instance_uid: str
    reason: str


Refuse = Callable[[Refused], object]


def write_results(
    films: _Films,
    context: Context,
    kinds: Collection[ObjectKind] = (ObjectKind.REPORT, ObjectKind.CAPTURE),
) -> tuple[WrittenObject, ...]:
    """Return the objects of ``kinds`` on the films of one study, the report first.

    Once a patient, where the films contradict each other (`dicom_node.results.apart`).
    The report exists once an SR class. Declined and failed films are mentioned in it; where there
    are no others, there is a report alone. Deterministic: the same films and context give the same
    bytes. Raises `ResultError`, and `IdentityNotPreserved` where patient or study of a result would
    not be exactly the source's.
    """
    written = in_order(write_each(films, context, kinds))
    return tuple(each for item in written for each in in_every_class(item))


def in_every_class(item: WrittenObject) -> Iterator[WrittenObject]:
    """Yield an object, a report in each of its SOP classes."""
    if item.recipe is None:
        yield item
        return
    for sop_class in CLASSES:
        yield _in_class(item, sop_class)


def _in_class(item: WrittenObject, sop_class: str) -> WrittenObject:
    if sop_class == item.sop_class_uid or item.recipe is None:
        return item
    uid, data = reissue(item.data, item.recipe, sop_class)
    return replace(item, sop_class_uid=sop_class, sop_instance_uid=uid, data=data)


def in_order(written: Iterable[WrittenObject]) -> tuple[WrittenObject, ...]:
    """Return objects as they are read: of each patient the report first."""
    return tuple(sorted(written, key=place_of_object))


def place_of_object(item: WrittenObject) -> tuple[int, bool]:
    """Return by what objects of one study are sorted, see `in_order`."""
    return item.patient, item.kind is not ObjectKind.REPORT


def write_each(
    films: _Films,
    context: Context,
    kinds: Collection[ObjectKind],
    refuse: Refuse | None = None,
    sop_class: str = TREES[0],
) -> Iterator[WrittenObject]:
    """Yield what `write_results` returns, one object at a time: what is told of all films last.

    The report in ``sop_class`` alone, one of `TREES`.

    Of the films one is in memory: its objects are written together, then its pixels are let go.
    With ``refuse`` whatever is raised while one object is written is told to it, and the others
    follow. A report or document then tells of each film as much as can be told.
    """
    for patient, (own, theirs) in enumerate(apart(films, context)):
        for item in _of_patient(_shown(own), theirs, kinds, refuse):
            yield replace(_in_class(item, sop_class), patient=patient)


def _of_patient(
    films: _Films, context: Context, kinds: Collection[ObjectKind], refuse: Refuse | None
) -> Iterator[WrittenObject]:
    context = replace(context, template=context.template.spoken_in(_encodings(films[0])))
    found = [film for film in films if film.has_answers]
    for number, film in enumerate(found, 1):
        context.alive()
        yield from _of_film(film, (context, number), kinds, refuse)
        film.let_go()
    if ObjectKind.REPORT in kinds:
        made = partial(_report, context=context)
        item = _of_study(made, films, (ObjectKind.REPORT, _lesser), refuse)
        if item is not None:
            yield item
    for kind in (kind for kind in _OF_A_STUDY if kind in kinds and found):
        make = partial(_OF_A_STUDY[kind], context=context)
        item = _of_study(make, found, (kind, lambda _: ()), refuse)
        if item is not None:
            yield item


def _of_film(
    film: AnalysedFilm,
    told: tuple[Context, int],
    kinds: Collection[ObjectKind],
    refuse: Refuse | None,
) -> Iterator[WrittenObject]:
    """Yield the objects on one film, ``told``: the circumstances, and the film's number."""
    for kind in (kind for kind in _OF_A_FILM if kind in kinds):
        for make in _OF_A_FILM[kind](film, *told):
            facts = told[0].facts([film])
            written = partial(_written, kind, film.dataset, facts, make)
            item = _tried(written, (kind, film.dataset), refuse)
            if item is not None:
                yield item
    if ObjectKind.REPORT in kinds:
        with suppress(*_FAULTS):  # the report itself will say why
            places_of(film)
    if ObjectKind.DOCUMENT in kinds:
        with suppress(*_FAULTS):
            _quietly(partial(draw_for_page, film, told[0]))


def _tried(
    work: Callable[[], _T], of: tuple[ObjectKind, Dataset], refuse: Refuse | None
) -> _T | None:
    """Return what ``work`` makes; None, and why to ``refuse``, where it cannot."""
    try:
        return _quietly(work)
    except _FAULTS as error:
        if refuse is None:
            raise
        refuse(Refused(of[0], text(of[1], "SOPInstanceUID"), _reason(error)))
        return None


def _of_study(
    make: Callable[[_Films], _T],
    films: _Films,
    of: tuple[ObjectKind, Callable[[AnalysedFilm], Iterator[AnalysedFilm] | tuple[()]]],
    refuse: Refuse | None,
) -> _T | None:
    """Return what is made of all films; else of each as much as can be told (``of[1]``)."""
    try:
        return _quietly(partial(make, films))
    except _FAULTS:
        if refuse is None:
            raise
    told = [lesser for film in films if (lesser := _bearable(make, film, of, refuse)) is not None]
    if not told:
        return None
    try:
        return _quietly(partial(make, told))
    except _FAULTS as error:
        refuse(Refused(of[0], "", _reason(error)))
        return None


def _bearable(
    make: Callable[[_Films], object],
    film: AnalysedFilm,
    of: tuple[ObjectKind, Callable[[AnalysedFilm], Iterator[AnalysedFilm] | tuple[()]]],
    refuse: Refuse,
) -> AnalysedFilm | None:
    kind, lesser = of
    candidates: tuple[AnalysedFilm, ...] = (film, *lesser(film))
    for candidate in candidates:
        work = partial(make, [candidate])
        if _tried(lambda: (work(), True), (kind, film.dataset), refuse):  # noqa: B023
            return candidate
    return None


def _lesser(film: AnalysedFilm) -> Iterator[AnalysedFilm]:
    """Yield a film of which less is told: that it could not be, and this on a bare header."""
    uid = text(film.dataset, "SOPInstanceUID")
    reason = "what was found on this film could not be written into a report"
    mention = replace(film, findings=FilmFindings(uid, Outcome.FAILED, reason))
    yield mention
    with suppress(*CAN_RAISE):
        yield replace(mention, dataset=_bare(film.dataset))


def _bare(source: Dataset) -> Dataset:
    """Return of a header what a result cannot do without. Raises where that is not legible."""
    return part_of(source, ("SpecificCharacterSet", *_KEPT_BARE, *IDENTITY, *TYPE_2))


def _quietly(work: Callable[[], _T]) -> _T:
    with warnings.catch_warnings():
        # A film's values that break their VR are copied as they came; pydicom would quote them.
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        return work()


def _reason(error: Exception) -> str:
    """Return why; of a library only kind and place, since its words may quote the film."""
    return (
        str(error) if isinstance(error, ImageError | ResultError | SpoolError) else place_of(error)
    )


def _encodings(film: AnalysedFilm) -> list[str]:
    """Return the codecs of the film's character set; the default one is ASCII (PS3.5 6.1)."""
    with Guarded():
        found = convert_encodings(list(texts(film.dataset, "SpecificCharacterSet")) or None)
        return ["ascii" if name == default_encoding else name for name in found]
    return ["ascii"]


def _shown(films: _Films) -> list[AnalysedFilm]:
    """Return the films with findings, then the others.

    Each in the order in which they were taken; as they came where the films do not tell.
    """
    ordered = sorted(films, key=_taken)
    if not ordered:
        raise ResultError("There is no film to report.")
    found = [film for film in ordered if film.has_answers]
    return found + [film for film in ordered if not film.has_answers]


def _taken(film: AnalysedFilm) -> tuple[str, ...]:
    when = (text(film.dataset, f"Acquisition{part}") for part in ("Date", "Time"))
    return (*when, text(film.dataset, "InstanceNumber").zfill(12))


def _report(films: _Films, context: Context) -> WrittenObject | None:
    placed = []
    for film in films:
        context.alive()
        placed.append((film, places_of(film)))
    groups = groups_of_study(placed, context)
    facts = context.facts(films)
    make = partial(report, films, groups, context, UNNAMED)
    written = _written(ObjectKind.REPORT, films[0].dataset, facts, make)
    recipe = recipe_of([group for own in groups for group in own], facts)
    return written and replace(written, recipe=recipe)


_Maker = Iterator[Callable[[], Dataset | None]]


def _captures(film: AnalysedFilm, context: Context, number: int) -> _Maker:
    yield partial(capture, film, context, UNNAMED, number)


def _overlays(film: AnalysedFilm, context: Context, number: int) -> _Maker:
    for place, of in enumerate(overlays_of(film), 1):
        yield partial(overlay, film, context, of, (UNNAMED, number * _OVERLAYS + place))


def _presentations(film: AnalysedFilm, context: Context, number: int) -> _Maker:
    yield partial(presentation, film, context, UNNAMED, number)


def _segmentations(film: AnalysedFilm, context: Context, number: int) -> _Maker:
    yield partial(lung_segmentation, film, context, UNNAMED, number)
    yield partial(saliency_segmentation, film, context, UNNAMED, number)


def _document(films: _Films, context: Context) -> WrittenObject | None:
    make = partial(document, films, context, UNNAMED)
    return _written(ObjectKind.DOCUMENT, films[0].dataset, context.facts(films), make)


def _key_objects(films: _Films, context: Context) -> WrittenObject | None:
    if not any(is_of_interest(film, context) for film in films):
        return None
    make = partial(key_objects, films, context, UNNAMED)
    return _written(ObjectKind.KEY_OBJECTS, films[0].dataset, context.facts(films), make)


_OF_A_FILM = {
    ObjectKind.CAPTURE: _captures,
    ObjectKind.OVERLAYS: _overlays,
    ObjectKind.PRESENTATION: _presentations,
    ObjectKind.SEGMENTATION: _segmentations,
}
_OF_A_STUDY = {ObjectKind.DOCUMENT: _document, ObjectKind.KEY_OBJECTS: _key_objects}


def _written(
    kind: ObjectKind, source: Dataset, facts: Sequence[str], make: Callable[[], Dataset | None]
) -> WrittenObject | None:
    """Return what ``make`` makes, under its name; None where there is nothing to make."""
    made = make()
    if made is None:
        return None
    uid, data = named_file(made, source, facts)
    return WrittenObject(
        group=f"{kind}:{uid}",
        kind=kind,
        sop_instance_uid=uid,
        sop_class_uid=str(made.SOPClassUID),
        series_instance_uid=str(made.SeriesInstanceUID),
        data=data,
    )
