"""The report for archives that take text alone: Basic Text SR, TID 2000 (PS3.3 A.35.1).

Made from the same groups as the report with numbers, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from dicom_node.results.modules import code_item
from dicom_node.results.values import Group, Number

_FINDINGS = CodedConcept("121070", "DCM", "Findings")
_FINDING = CodedConcept("121071", "DCM", "Finding")
_IMPRESSIONS = CodedConcept("121072", "DCM", "Impressions")
_IMPRESSION = CodedConcept("121073", "DCM", "Impression")
_CONTAINS = RelationshipTypeValues.CONTAINS
_COMMENT = CodedConcept("121106", "DCM", "Comment")
_CONTENT = "ContentSequence"
_OF_THE_ROOT = frozenset({"HAS CONCEPT MOD", "HAS OBS CONTEXT"})

_Line = tuple[CodedConcept, str]
"""A concept name and its sentence."""


def basic_text(document: Dataset, groups: Sequence[Group]) -> Dataset:
    """Return a copy of the report ``document`` whose content is sentences on ``groups``."""
    plain = Dataset()
    # All but the content, which is thousands of items and is not kept.
    plain.update({item.tag: deepcopy(item) for item in document if item.keyword != _CONTENT})
    plain.SOPClassUID = BasicTextSRStorage
    plain.ConceptNameCodeSequence = [code_item("18748-4", "LN", "Diagnostic imaging study")]
    plain.ContentTemplateSequence[0].TemplateIdentifier = "2000"
    kept = [
        item
        for item in document.ContentSequence
        if item.RelationshipType in _OF_THE_ROOT and item.ValueType in ("CODE", "TEXT", "UIDREF")
    ]
    plain.ContentSequence = [*deepcopy(kept), _impressions(groups), _findings(groups)]
    return plain


def _impressions(groups: Sequence[Group]) -> Dataset:
    said = [
        (_IMPRESSION, f"{group.tracking}: {text}")
        for group in groups
        if group.key in ("impression", "not analysed")
        for _, text in group.texts
    ]
    return _section(_IMPRESSIONS, said)


def _findings(groups: Sequence[Group]) -> Dataset:
    return _section(_FINDINGS, [line for group in groups for line in _lines(group)])


def _lines(group: Group) -> Iterator[_Line]:
    """Yield what a group says; a Finding is only what was found, all else a Comment."""
    if group.finding is not None:
        answers = (f"{name.meaning}: {answer.meaning}" for name, answer in group.evaluations)
        found = (*answers, *_numbers(group.numbers[: group.of_finding]))
        yield _FINDING, f"{group.tracking}: {'; '.join((group.finding.meaning, *found))}"
    else:
        for name, answer in group.evaluations:
            yield _COMMENT, f"{group.tracking}: {name.meaning}: {answer.meaning}"
    if rest := ", ".join(_numbers(group.numbers[group.of_finding :])):
        yield _COMMENT, f"{group.tracking}: {rest}"
    if group.key not in ("impression", "not analysed"):
        for _, text in group.texts:
            yield _COMMENT, f"{group.tracking}: {text}"


def _numbers(numbers: Sequence[Number]) -> list[str]:
    return [f"{each.name.meaning} {each.shown} {each.unit.value[2]}" for each in numbers]


def _section(name: CodedConcept, lines: Sequence[_Line]) -> Dataset:
    section = ContainerContentItem(name, relationship_type=_CONTAINS)
    section.ContinuityOfContent = "SEPARATE"
    section.ContentSequence = ContentSequence(
        [TextContentItem(each, line, relationship_type=_CONTAINS) for each, line in lines]
    )
    return section
