"""A Structured Report of ours as a radiologist would read it, and back into findings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom import Dataset

from dicom_node.errors import ResultError
from dicom_node.findings import (
    Detection,
    Evidence,
    FilmFindings,
    NetworkVersion,
    Outcome,
)
from dicom_node.results.modules import MANUFACTURER

_WIDTH = 74
_MEASUREMENTS, _GROUP, _TRACKING, _COMMENT = "126010", "125007", "112039", "121106"
_ALGORITHM, _VERSION, _PARAMETERS, _FINDING = "111001", "111003", "111002", "121071"
_CERTAINTY, _SCORE, _CHANGE = "111012", "class-score", "change-when-hidden"
_CLASS_OF_CODE = {"882784691000119100": "covid19", "233604007": "pneumonia", "17621005": "normal"}


@dataclass(frozen=True, slots=True)
class _Group:
    """One measurement group, read back."""

    tracking: str
    finding: str
    finding_code: str
    numbers: Mapping[str, tuple[str, float]]
    comment: str
    algorithm: str
    version: str
    parameters: Mapping[str, str]
    source: str


def report_text(document: Dataset) -> str:
    """Return the report as plain text. Raises `ResultError` for a report that is not ours."""
    groups = _groups(document)
    lines = ["CHEST RADIOGRAPH: AI ANALYSIS", "=" * 29, ""]
    lines += [*_facts(document), ""]
    for source in dict.fromkeys(group.source for group in groups):
        lines += _film([group for group in groups if group.source == source])
    return "\n".join(lines).rstrip() + "\n"


def findings_from_report(document: Dataset) -> list[FilmFindings]:
    """Return the findings a film, as far as the report holds them.

    Raises `ResultError` for a report that is not ours.
    """
    groups = _groups(document)
    return [
        _findings(source, [group for group in groups if group.source == source])
        for source in dict.fromkeys(group.source for group in groups)
    ]


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


def _film(groups: list[_Group]) -> Iterator[str]:
    impression, classes = groups[0], groups[1:]
    yield impression.tracking.upper()
    headline, _, rest = impression.comment.partition(". ")
    yield headline
    yield ""
    yield from _paragraph(rest)
    yield ""
    for group in classes:
        for code, (name, value) in group.numbers.items():
            if code in (_CERTAINTY, _SCORE):
                yield f"  {group.tracking:<36}{value:6.1f} %   {name}"
    yield ""
    yield from _paragraph(
        f"Technique: {impression.algorithm} {impression.version},"
        f" {impression.parameters.get('weights', '')[:15]}…"
    )
    for group in classes:
        yield from _paragraph(f"{group.tracking}: {group.comment}", indent="  ")
    yield ""


def _paragraph(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _findings(source: str, groups: list[_Group]) -> FilmFindings:
    impression = groups[0]
    probabilities = {
        _CLASS_OF_CODE[group.finding_code]: next(
            value / 100
            for code, (_, value) in group.numbers.items()
            if code in (_CERTAINTY, _SCORE)
        )
        for group in groups[1:]
    }
    parameters = impression.parameters
    change = impression.numbers.get(_CHANGE)
    return FilmFindings(
        sop_instance_uid=source,
        outcome=Outcome.ANALYSED,
        finding=Detection(
            probabilities=probabilities,
            threshold=float(parameters["threshold"]),
            calibrated=parameters["calibrated"] == "yes",
        ),
        evidence=None if change is None else Evidence(change_when_hidden=change[1] / 100),
        suite={parameters["network"]: NetworkVersion(impression.version, parameters["weights"])},
    )


def _groups(document: Dataset) -> list[_Group]:
    if document.get("Modality") != "SR" or document.get("Manufacturer") != MANUFACTURER:
        raise ResultError(
            "This is not a report of dicom-node.",
            remedy="Give it a file that the node has written (Modality SR).",
        )
    measurements = next(item for item in _children(document) if _name(item) == _MEASUREMENTS)
    return [_group(item) for item in _children(measurements) if _name(item) == _GROUP]


def _group(item: Dataset) -> _Group:
    children = {_name(child): child for child in _children(item)}
    finding = children[_FINDING].ConceptCodeSequence[0]
    parameters = [str(child.TextValue) for child in _children(item) if _name(child) == _PARAMETERS]
    return _Group(
        tracking=str(children[_TRACKING].TextValue),
        finding=str(finding.CodeMeaning),
        finding_code=str(finding.get("CodeValue") or finding.get("LongCodeValue")),
        numbers={_name(child): _number(child) for child in _children(item, "NUM")},
        comment=str(children[_COMMENT].TextValue),
        algorithm=str(children[_ALGORITHM].TextValue),
        version=str(children[_VERSION].TextValue),
        parameters=dict(text.split("=", 1) for text in parameters),
        source=_source_of(item),
    )


def _source_of(group: Dataset) -> str:
    region = next(_children(group, "SCOORD"))
    image = next(_children(region, "IMAGE"))
    return str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def _children(item: Dataset, value_type: str | None = None) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or ():
        if value_type is None or child.ValueType == value_type:
            yield child


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    if not names:
        return ""
    return str(names[0].get("CodeValue") or names[0].get("LongCodeValue"))


def _number(item: Dataset) -> tuple[str, float]:
    meaning = str(item.ConceptNameCodeSequence[0].CodeMeaning)
    return meaning, float(item.MeasuredValueSequence[0].NumericValue)
