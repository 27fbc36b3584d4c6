"""The groups of a film of which only networks spoke that declare themselves what they say."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.results.observed import observed_groups
from dicom_node.results.observed_words import called, is_found, names, unanswered
from dicom_node.results.overall import evaluations_of_film, parameters_of
from dicom_node.results.regions import whole_film
from dicom_node.results.subject import Subject
from dicom_node.results.template_parts import Code
from dicom_node.results.values import Group, Number, unit_of
from dicom_node.results.wording import course, knows, remarks, view, wording_of

_SHORT = 52
"""Characters of a tracking identifier: ", film 12" may follow."""


def groups_of_observed_film(subject: Subject) -> Iterator[Group]:
    """Yield the impression, the groups of every observation, and what the algorithms ran with."""
    yield _impression(subject)
    yield from observed_groups(subject)
    yield _parameters(subject)


def _impression(subject: Subject) -> Group:
    film, context, words = subject.film, subject.context, subject.template.observed
    found = sum(is_found(one, context) for one in film.findings.observed)
    return Group(
        key="impression",
        tracking=f"{_label(subject)[:_SHORT]}{subject.where}",
        # What is found stands in groups of its own, each with its code.
        finding=None,
        place=whole_film(film),
        numbers=(_count("found", words.observations_found, found),),
        evaluations=tuple(evaluations_of_film(film, context)),
        texts=tuple((name, text) for name, text in _sentences(subject) if text),
        network=context.detector(film).id,
    )


def _label(subject: Subject) -> str:
    """Return what viewers list for a film: what is found, where that is one thing, by its name."""
    context, words = subject.context, subject.template.observed
    found = [one for one in subject.film.findings.observed if is_found(one, context)]
    told = [
        called(one, label.key, context) if label else names(one, context)
        for one in found
        for label in (one.believed or (None,))
    ]
    return words.tracking.format(finding=told[0]) if len(told) == 1 else words.tracking_many


def _count(key: str, name: Code, number: int) -> Number:
    """Return how many there are: OHIF draws no group without a number."""
    return Number(key, name, float(number), str(number), unit_of(""))


def _sentences(subject: Subject) -> Iterator[tuple[Code, str]]:
    film, context, template = subject.film, subject.context, subject.template
    texts = template.texts
    wording = wording_of(film, context, has_contour=False)
    yield texts.headline, wording.headline
    yield texts.comment, knows(film, context)
    yield template.view.concept, view(film, template)
    if context.earlier:
        told = template.course.sentence.format(films="; ".join(course(context)))
        yield template.course.concept, told
    for said in (*remarks(film.findings, template), *unanswered(film.findings, context)):
        yield texts.comment, said
    yield texts.comment, template.research_sentence
    yield texts.basis, wording.basis
    yield texts.comment, wording.calibration


def _parameters(subject: Subject) -> Group:
    film, template = subject.film, subject.template
    observed = film.findings.observed
    count = _count("observations", template.observed.observations, len(observed))
    return Group(
        key="parameters",
        tracking=f"{template.parameters.tracking}{subject.where}",
        finding=None,
        place=whole_film(film),
        numbers=(count,),
        network=subject.context.detector(film).id,
        parameters=parameters_of(film.findings),
    )
