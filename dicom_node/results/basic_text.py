"""The report for archives that take text alone: Basic Text SR, TID 2000 (PS3.3 A.35.1).

Made from the same groups as the report with numbers, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import DataElement, Dataset
from pydicom.tag import Tag
from pydicom.uid import BasicTextSRStorage
from pydicom.valuerep import VR

from dicom_node.results.modules import code_item
from dicom_node.results.stencil import (
    CONTENT,
    Encodings,
    Stencil,
    content_of,
    cut,
    encodings_of,
    fill,
    sequence,
)
from dicom_node.results.values import Group, Number

_FINDINGS = CodedConcept("121070", "DCM", "Findings")
_FINDING = CodedConcept("121071", "DCM", "Finding")
_IMPRESSIONS = CodedConcept("121072", "DCM", "Impressions")
_IMPRESSION = CodedConcept("121073", "DCM", "Impression")
_CONTAINS = RelationshipTypeValues.CONTAINS
_COMMENT = CodedConcept("121106", "DCM", "Comment")
_ITS_OWN = tuple(
    map(Tag, ("SOPClassUID", "SOPInstanceUID", "ConceptNameCodeSequence", "ContentTemplateSequence",
              "ContentSequence"))
)  # fmt: skip
"""Attributes that are other than those of the report; the content is thousands of items."""

_MARK = "a sentence"
_OF_THE_ROOT = frozenset({"HAS CONCEPT MOD", "HAS OBS CONTEXT"})

_Line = tuple[CodedConcept, str]
"""A concept name and its sentence."""


def basic_text(document: Dataset, groups: Sequence[Group]) -> Dataset:
    """Return a copy of the report ``document`` whose content is sentences on ``groups``."""
    plain = Dataset()
    for tag in document.keys():  # noqa: SIM118 - iterating a data set converts its values
        if tag not in _ITS_OWN:
            plain[tag] = document.get_item(tag)
    plain.SOPClassUID, plain.SOPInstanceUID = BasicTextSRStorage, document.SOPInstanceUID
    plain.ConceptNameCodeSequence = [code_item("18748-4", "LN", "Diagnostic imaging study")]
    template = Dataset()
    template.update(document.ContentTemplateSequence[0])
    template["TemplateIdentifier"] = DataElement(Tag("TemplateIdentifier"), VR.CS, "2000")
    plain.ContentTemplateSequence = [template]
    encodings = encodings_of(document)
    kept = [
        fill(cut(item, {}, encodings), {}, encodings)
        for item in document.ContentSequence
        if item.RelationshipType in _OF_THE_ROOT and item.ValueType in ("CODE", "TEXT", "UIDREF")
    ]
    sections = [
        _section(name, lines, encodings)
        for name, lines in ((_IMPRESSIONS, _impressions(groups)), (_FINDINGS, _findings(groups)))
    ]
    plain[CONTENT] = content_of([*kept, *sections])
    plain.set_original_encoding(False, True, list(encodings))  # noqa: FBT003 - explicit, little
    return plain


def _impressions(groups: Sequence[Group]) -> list[_Line]:
    return [
        (_IMPRESSION, f"{group.tracking}: {text}")
        for group in groups
        if group.key in ("impression", "not analysed")
        for _, text in group.texts
    ]


def _findings(groups: Sequence[Group]) -> list[_Line]:
    return [line for group in groups for line in _lines(group)]


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


def _section(name: CodedConcept, lines: Sequence[_Line], encodings: Encodings) -> bytes:
    items = [
        fill(_sentence(concept, encodings), {_MARK: line}, encodings) for concept, line in lines
    ]
    section = ContainerContentItem(name, relationship_type=_CONTAINS)
    section.ContinuityOfContent = "SEPARATE"
    return fill(cut(section, {}, encodings), {}, encodings) + sequence(CONTENT, items)


@lru_cache(maxsize=64)
def _sentence(concept: CodedConcept, encodings: Encodings) -> Stencil:
    item = TextContentItem(concept, _MARK, relationship_type=_CONTAINS)
    return cut(item, {_MARK: _MARK}, encodings)
