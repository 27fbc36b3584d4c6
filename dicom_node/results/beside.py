"""The groups of what stands beside the class: opacity or not, and the COVID-19 appearance."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import Appearance, OpacityPresence
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places, Polygon
from dicom_node.results.severity import BOTH_LUNGS
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template
from dicom_node.results.values import Group, Number, percentage
from dicom_node.results.wording import appearance_sentence, every_appearance, opacity_sentence


def groups_beside(
    film: AnalysedFilm, places: Places, context: Context, where: str
) -> Iterator[Group]:
    """Yield the groups of one film; none where its network has no such outputs.

    Opacity is a finding where it reaches its threshold. An appearance is none by its name: a film
    that has one is abnormal, and the appearance describes it. ``where``: as of `groups_of`.
    """
    place = places.seen if places.both_lungs is None else places.both_lungs
    network = context.detector(film).id
    if film.findings.opacity is not None:
        yield _opacity(film.findings.opacity, place, context.template, (network, where))
    if film.findings.appearance is not None:
        yield _appearance(film.findings.appearance, place, context.template, (network, where))


def _opacity(
    found: OpacityPresence, place: Polygon, template: Template, said: tuple[str, str]
) -> Group:
    words, (network, where) = template.opacity, said
    name: Code = words.certainty if found.present else words.probability
    shown = template.percent(found.probability, found.threshold)
    return Group(
        key="opacity",
        tracking=f"{words.tracking}{where}",
        finding=words.finding if found.present else None,
        place=place,
        numbers=(
            Number(
                "opacity",
                name if found.calibrated else words.score,
                percentage(found.probability),
                shown,
                also=template.measurements.certainty
                if found.calibrated and found.present
                else None,
            ),
        ),
        evaluations=((words.concept, words.present if found.present else words.absent),),
        site=BOTH_LUNGS if found.present else None,
        texts=(
            (template.texts.headline, opacity_sentence(found, template)),
            (template.texts.comment, words.comment),
        ),
        network=network,
    )


def _appearance(
    found: Appearance, place: Polygon, template: Template, said: tuple[str, str]
) -> Group:
    words, (network, where) = template.appearance, said
    named = words.classes[found.named]
    called = words.unnamed if found.abstained else named.wording
    is_abnormal = not found.abstained and found.named != "negative"
    comment = template.texts.comment
    meaning = () if found.abstained else ((comment, named.comment),)
    return Group(
        key="appearance",
        tracking=f"{words.tracking.format(appearance=called)}{where}",
        finding=words.finding if is_abnormal else None,
        place=place,
        numbers=(
            Number(
                found.named,
                named.probability if found.calibrated else named.score,
                percentage(found.probability),
                template.percent(found.probability, found.threshold),
            ),
        ),
        evaluations=((words.concept, words.undetermined if found.abstained else named.answer),),
        site=BOTH_LUNGS if is_abnormal else None,
        texts=(
            (template.texts.headline, appearance_sentence(found, template)),
            *meaning,
            (comment, every_appearance(found, template)),
            (comment, words.comment),
        ),
        network=network,
        others=0 if is_abnormal else 1,
    )
