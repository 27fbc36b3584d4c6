"""A report that is frozen, in another SOP class: from its bytes and its recipe alone.

The same report is the same bytes in each class, whenever and wherever it is made anew: at the
writer, or at the door when a destination turns out to take another class. No film is opened.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.tag import Tag
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
)

from dicom_node.imaging.header import read_attributes
from dicom_node.imaging.received import as_it_came
from dicom_node.results.modules import code_item, reissued, renamed
from dicom_node.results.names import UNNAMED, name_of, named_file

TREES = (ComprehensiveSRStorage, Comprehensive3DSRStorage, EnhancedSRStorage)
"""SOP classes in which the report with numbers is written, the default first."""

CLASSES = (*TREES, BasicTextSRStorage)
"""Every SOP class of a report."""


_ITS_OWN = tuple(
    map(Tag, ("SOPClassUID", "SOPInstanceUID", "ConceptNameCodeSequence", "ContentTemplateSequence",
              "ContentSequence"))
)  # fmt: skip
"""Attributes of Basic Text that are other than those of the report with numbers."""

_OF_THE_ROOT = frozenset({"HAS CONCEPT MOD", "HAS OBS CONTEXT"})


class Said(Enum):
    """What a sentence is, in DICOM's codes."""

    FINDINGS = ("121070", "Findings")
    FINDING = ("121071", "Finding")
    IMPRESSIONS = ("121072", "Impressions")
    IMPRESSION = ("121073", "Impression")
    COMMENT = ("121106", "Comment")


Sentence = tuple[Said, str]


@dataclass(frozen=True, slots=True)
class ReissueRecipe:
    """What a report in another class needs besides the frozen bytes.

    ``facts``: what its UID follows from, see `Context.facts`. ``impressions`` and ``findings``: the
    sentences of Basic Text, which the numbers do not tell.
    """

    facts: tuple[str, ...]
    impressions: tuple[Sentence, ...]
    findings: tuple[Sentence, ...]

    def packed(self) -> bytes:
        """Return the recipe for the ledger, small."""
        told = [[(said.name, text) for said, text in part] for part in self._parts]
        return zlib.compress(json.dumps([self.facts, *told]).encode("ascii"), 9)

    @classmethod
    def unpacked(cls, data: bytes) -> ReissueRecipe:
        """Return the recipe that was packed."""
        facts, *told = json.loads(zlib.decompress(data))
        impressions, findings = (tuple((Said[name], text) for name, text in part) for part in told)
        return cls(tuple(facts), impressions, findings)

    @property
    def _parts(self) -> tuple[tuple[Sentence, ...], ...]:
        return self.impressions, self.findings


def reissue(data: bytes, recipe: ReissueRecipe, sop_class_uid: str) -> tuple[str, bytes]:
    """Return the SOP Instance UID and the file of a frozen report in another SOP class.

    ``data``: the report in one of `TREES`. Raises `ImageError` where it is not legible, and
    `IdentityNotPreserved` where patient or study would not be exactly those of ``data``.
    """
    with warnings.catch_warnings():
        # A film's values that break their VR were copied as they came; pydicom would quote them.
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        return _reissued(data, recipe, sop_class_uid)


def _reissued(data: bytes, recipe: ReissueRecipe, sop_class_uid: str) -> tuple[str, bytes]:
    source = read_attributes(data)
    if sop_class_uid != BasicTextSRStorage:
        uid = name_of([renamed(data, sop_class_uid, UNNAMED)], recipe.facts)
        return uid, reissued(data, source, sop_class_uid, uid)
    return named_file(_basic_text(source, recipe), source, recipe.facts)


def _basic_text(document: Dataset, recipe: ReissueRecipe) -> Dataset:
    """Return a report of sentences: Basic Text SR, TID 2000 (PS3.3 A.35.1)."""
    plain = Dataset()
    for tag in document.keys():  # noqa: SIM118 - iterating a data set converts its values
        if tag not in _ITS_OWN:
            copied = as_it_came(document, keyword_for_tag(tag))
            plain[tag] = deepcopy(document[tag]) if copied is None else copied
    kept = [
        item
        for item in document.ContentSequence
        if item.RelationshipType in _OF_THE_ROOT and item.ValueType in ("CODE", "TEXT", "UIDREF")
    ]
    template = deepcopy(document.ContentTemplateSequence)
    template[0].TemplateIdentifier = "2000"
    plain.ContentTemplateSequence = template
    plain.SOPClassUID = BasicTextSRStorage
    plain.ConceptNameCodeSequence = [code_item("18748-4", "LN", "Diagnostic imaging study")]
    plain.ContentSequence = [
        *deepcopy(kept),
        _section(Said.IMPRESSIONS, recipe.impressions),
        _section(Said.FINDINGS, recipe.findings),
    ]
    return plain


def _section(name: Said, sentences: Sequence[Sentence]) -> Dataset:
    section = _item(name, "CONTAINER")
    section.ContinuityOfContent = "SEPARATE"
    section.ContentSequence = [_sentence(*each) for each in sentences]
    return section


def _sentence(said: Said, text: str) -> Dataset:
    item = _item(said, "TEXT")
    item.TextValue = text
    return item


def _item(name: Said, value_type: str) -> Dataset:
    value, meaning = name.value
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", value_type
    item.ConceptNameCodeSequence = [code_item(value, "DCM", meaning)]
    return item
