"""The groups of what stands beside the class: opacity or not, and the COVID-19 appearance."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.chest import Appearance, OpacityPresence
from dicom_node.results.severity import BOTH_LUNGS
from dicom_node.results.subject import Subject
from dicom_node.results.template_parts import Code
from dicom_node.results.values import Group, Number, percentage
from dicom_node.results.wording import appearance_sentence, every_appearance, opacity_sentence


def groups_beside(subject: Subject) -> Iterator[Group]:
    """Yield the groups of one film; none where its network has no such outputs.

    Opacity is a finding where it reaches its threshold. An appearance is none by its name: a film
    that has one is abnormal, and the appearance describes it.
    """
    findings = subject.film.findings
    if findings.opacity is not None:
        yield _opacity(subject, findings.opacity)
    if findings.appearance is not None:
        yield _appearance(subject, findings.appearance)


def _network(subject: Subject) -> str:
    return subject.context.detector(subject.film).id


def _opacity(subject: Subject, found: OpacityPresence) -> Group:
    template, words = subject.template, subject.template.opacity
    name: Code = words.certainty if found.present else words.probability
    shown = template.percent(found.probability, found.threshold)
    return Group(
        key="opacity",
        tracking=f"{words.tracking}{subject.where}",
        finding=words.finding if found.present else None,
        place=subject.lungs,
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
        network=_network(subject),
    )


def _appearance(subject: Subject, found: Appearance) -> Group:
    template, words = subject.template, subject.template.appearance
    named = words.classes[found.named]
    called = words.unnamed if found.abstained else named.wording
    is_abnormal = not found.abstained and found.named != "negative"
    comment = template.texts.comment
    meaning = () if found.abstained else ((comment, named.comment),)
    return Group(
        key="appearance",
        tracking=f"{words.tracking.format(appearance=called)}{subject.where}",
        finding=words.finding if is_abnormal else None,
        place=subject.lungs,
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
        network=_network(subject),
        others=0 if is_abnormal else 1,
    )
