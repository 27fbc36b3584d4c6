"""A Structured Report of ours as a radiologist would read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from dicom_node.imaging.identity import identity_of
from dicom_node.imaging.values import text as text_of
from dicom_node.results.films import taken_at
from dicom_node.results.modules import UNDATED
from dicom_node.results.reading import ReadGroup, read_films

_WIDTH, _LABEL = 74, 52


def report_text(document: Dataset) -> str:
    """Return the report as plain text. Raises `ResultError` for a report that is not ours."""
    of = "CHEST RADIOGRAPH" if document.get("BodyPartExamined") == "CHEST" else "RADIOGRAPH"
    title = f"{of}: AI ANALYSIS"
    lines = [title, "=" * len(title), ""]
    lines += [str(document.get("SeriesDescription") or ""), "", *_facts(document), ""]
    if document.get("SOPClassUID") == BasicTextSRStorage:
        return "\n".join([*lines, *_sections(document)]).rstrip() + "\n"
    for groups in read_films(document).values():
        for place, group in enumerate(groups):
            if group.numbers or group.codes or group.texts:
                lines += _group(group, is_first=place == 0)
    return "\n".join(lines).rstrip() + "\n"


def _facts(document: Dataset) -> Iterator[str]:
    def of(keyword: str) -> str:
        return str(document.get(keyword) or "-")

    who = identity_of(document)
    yield f"Patient         {who.patient_name or '-'}  ({who.patient_id or '-'})"
    yield f"Study           {_date(who.study_date) or '-'}  {who.study_description}".rstrip()
    yield f"Accession       {of('AccessionNumber')}"
    yield f"Report          number {of('InstanceNumber')}{_when(document)}"
    yield f"Status          {of('PreliminaryFlag').lower()}, {of('VerificationFlag').lower()}"


def _when(document: Dataset) -> str:
    """Return when the latest of its films was taken: results are dated by their films."""
    if (document.get("ContentDate"), document.get("ContentTime")) == UNDATED:
        return ""
    taken, offset = taken_at(document), text_of(document, "TimezoneOffsetFromUTC")
    zone = f" UTC{offset[:3]}:{offset[3:]}" if len(offset) == 5 else ""
    return f", on films until {taken}{zone}" if taken else ""


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _group(group: ReadGroup, *, is_first: bool) -> Iterator[str]:
    """Say one group: what it concludes, its numbers beside their names, its codes and texts."""
    yield group.tracking.upper() if is_first else group.tracking
    told = [text for _, text in group.texts]
    if is_first and told:
        yield from _paragraph(told.pop(0))
        yield ""
    for number in group.numbers:
        yield f"  {number.name:<{_LABEL}}{number.shown:>7} {number.unit}".rstrip()
    for name, _, meaning in group.codes:
        yield from _paragraph(f"  {name}: {meaning}")
    for text in told:
        yield from _paragraph(text)
    yield ""


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH)


def _sections(document: Dataset) -> Iterator[str]:
    """Say a Basic Text report: its sections with their sentences."""
    for item in document.get("ContentSequence") or ():
        if item.ValueType == "CONTAINER":
            yield str(item.ConceptNameCodeSequence[0].CodeMeaning).upper()
            for child in item.get("ContentSequence") or ():
                if child.ValueType == "TEXT":
                    yield from _paragraph(str(child.TextValue))
            yield ""
