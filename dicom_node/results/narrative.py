"""A Structured Report of ours as a radiologist would read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from dicom_node.findings import FINDING_CLASSES
from dicom_node.results.reading import DETECTION, ReadGroup, ReadNumber, read_films
from dicom_node.results.severity import AIRSPACE, LUNG, SCORE, ZONE

_WIDTH, _LABEL = 74, 42


def report_text(document: Dataset) -> str:
    """Return the report as plain text. Raises `ResultError` for a report that is not ours."""
    lines = ["CHEST RADIOGRAPH: AI ANALYSIS", "=" * 29, ""]
    lines += [str(document.get("SeriesDescription") or ""), "", *_facts(document), ""]
    if document.get("SOPClassUID") == BasicTextSRStorage:
        return "\n".join([*lines, *_sections(document)]).rstrip() + "\n"
    films = read_films(document)
    for groups in films.values():
        lines += _film(groups) if groups[0].output else _mention(groups[0])
    return "\n".join(lines).rstrip() + "\n"


def _facts(document: Dataset) -> Iterator[str]:
    def of(keyword: str) -> str:
        return str(document.get(keyword) or "-")

    yield f"Patient         {of('PatientName')}  ({of('PatientID')})"
    described = document.get("StudyDescription") or ""
    yield f"Study           {_date(of('StudyDate'))}  {described}".rstrip()
    yield f"Accession       {of('AccessionNumber')}"
    time = of("ContentTime")
    when = f"{_date(of('ContentDate'))} {time[:2]}:{time[2:4]}"
    yield f"Report          number {of('InstanceNumber')}, written {when}"
    yield f"Status          {of('PreliminaryFlag').lower()}, {of('VerificationFlag').lower()}"


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _film(groups: Sequence[ReadGroup]) -> Iterator[str]:
    impression = groups[0]
    classes = [group for group in groups[1:] if group.output in FINDING_CLASSES]
    (_, headline), *texts = impression.texts
    yield impression.tracking.upper()
    yield from _paragraph(headline)
    yield ""
    for group in classes:
        yield from (_line(group.tracking, number) for number in group.numbers)
    keys = impression.parameters["numbers"].split()
    for key, number in zip(keys, impression.numbers, strict=True):
        if key == "probability":
            continue
        yield _line(number.name, number, named=False)
    for group in groups:
        if group.output.startswith(f"{DETECTION}:"):
            yield from _paragraph(f"  {group.tracking}: {group.texts[0][1]}")
    yield from _severity(groups)
    yield ""
    for name in dict.fromkeys(name for name, _ in texts):
        yield from (name, "-" * len(name))
        for text in (text for other, text in texts if other == name):
            yield from _paragraph(text)
        yield ""
    for group in groups[1:]:
        kind, _, _ = group.output.partition(":")
        for _, text in group.texts if kind != LUNG else ():
            yield from _paragraph(f"{group.tracking}: {text}")
    yield ""


def _severity(groups: Sequence[ReadGroup]) -> Iterator[str]:
    """Say what was graded: both extents with their intervals, the level, each zone."""
    for group in groups:
        kind, _, _ = group.output.partition(":")
        if kind == SCORE:
            value, *ends = (number.shown for number in group.numbers)
            between = f"   90 % interval {ends[0]} to {ends[1]}" if len(ends) == 2 else ""
            yield f"  {group.tracking:<{_LABEL}}{value:>7}  {between}"
        elif kind == LUNG:
            yield f"    {group.tracking:<{_LABEL - 2}}{group.numbers[0].shown:>7}   of 4"
        elif kind == AIRSPACE:
            for _, _, meaning in group.codes:
                yield from _paragraph(f"  {group.tracking}: {meaning} ({group.numbers[0].shown} %)")
        elif kind == ZONE:
            yield f"    {group.tracking:<{_LABEL - 2}}{group.numbers[0].shown:>7}   of 3"


def _mention(group: ReadGroup) -> Iterator[str]:
    yield group.tracking.upper()
    for _, _, meaning in group.codes:
        yield from _paragraph(meaning)
    for name, text in group.texts:
        yield from _paragraph(f"{name}: {text}")
    yield ""


def _line(label: str, number: ReadNumber, *, named: bool = True) -> str:
    line = f"  {label:<{_LABEL}}{number.shown:>7} %"
    return f"{line}   {number.name}" if named else line


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
