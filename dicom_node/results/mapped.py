"""The opacity map in words and in groups: where the lungs are opaque, and how much of them."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.chest import MappedOpacity
from dicom_node.findings import OpacityMap
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.regions import Places
from dicom_node.results.severity import BOTH_LUNGS, side_of
from dicom_node.results.subject import Subject
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template
from dicom_node.results.values import Group, Number, percentage


def map_sentences(film: AnalysedFilm, places: Places, template: Template) -> tuple[str, ...]:
    """Return what contour and colour of the map mean, and how much is mapped; () without a map."""
    opacity, words = film.explanation.opacity, template.opacity_map
    if opacity is None:
        return ()
    threshold = template.percent(opacity.threshold)
    said = words.sentence if places.opaque else words.nothing
    lungs = film.lungs is not None and film.lungs.mask.any()
    parts = mapped_parts(film.findings.opacity_map, template) if places.opaque else ""
    sentences = (said.format(threshold=threshold), parts, "" if lungs else words.anywhere)
    return tuple(sentence for sentence in sentences if sentence)


def mapped_parts(found: MappedOpacity | None, template: Template) -> str:
    """Return how much of the lungs is mapped, and of each, or that nothing is.

    "" where no lungs were found, or nothing was mapped at all.
    """
    if found is None or found.lungs is None:
        return ""
    words = template.opacity_map
    if found.lungs == 0:
        return words.nothing.format(threshold=template.percent(found.threshold))
    right, left = (
        words.absent if part is None else f"{template.percent(part)} %"
        for part in (found.right, found.left)
    )
    return words.parts.format(lungs=template.percent(found.lungs), right=right, left=left)


def map_groups(subject: Subject) -> Iterator[Group]:
    """Yield the groups of the map: of both lungs, then of each lung that was found.

    A lung where anything is mapped has its contours as one closed line, and the finding; none is
    found in the other.
    """
    opacity, found = subject.film.explanation.opacity, subject.film.findings.opacity_map
    if opacity is None or found is None:
        return
    yield _summary(subject, opacity, found)
    words, template, places = subject.template.opacity_map, subject.template, subject.places
    of_lungs = (
        ("right", words.right, words.part_right, found.right),
        ("left", words.left, words.part_left, found.left),
    )
    for side, tracking, concept, part in of_lungs:
        if part is None:
            continue
        line = places.opaque_in.get(side)
        yield Group(
            key=f"opacity map {side}",
            tracking=f"{tracking}{subject.where}",
            finding=None if line is None else template.severity.finding,
            place=places.lungs.get(side, places.seen) if line is None else line,
            numbers=(_part(side, concept, part, template),),
            site=None if line is None else side_of(side),
            network=opacity.network,
        )


def _summary(subject: Subject, opacity: OpacityMap, found: MappedOpacity) -> Group:
    template, words, places = subject.template, subject.template.opacity_map, subject.places
    # Without lungs no part of them can be told: then the area itself is the place.
    largest = places.opaque[0] if places.opaque and found.lungs is None else None
    threshold = Number(
        "threshold", words.threshold, percentage(opacity.threshold),
        template.percent(opacity.threshold),
    )  # fmt: skip
    parts = () if found.lungs is None else (_part("lungs", words.part, found.lungs, template),)
    comments = map_sentences(subject.film, places, template)
    return Group(
        key="opacity map",
        tracking=f"{words.wording}{subject.where}",
        finding=template.severity.finding if places.opaque else None,
        place=subject.lungs if largest is None else largest,
        numbers=(*parts, threshold),
        site=BOTH_LUNGS if places.opaque else None,
        texts=((template.texts.explanation, " ".join(comments)),),
        network=opacity.network,
        others=1,
    )


def _part(key: str, concept: Code, part: float, template: Template) -> Number:
    return Number(key, concept, percentage(part), template.percent(part))
