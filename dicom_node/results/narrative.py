"""A Structured Report of ours as a radiologist would read it, and back into findings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from dicom_node.errors import ResultError
from dicom_node.findings import (
    FINDING_CLASSES,
    Airspace,
    Detection,
    Evidence,
    FilmFindings,
    NetworkVersion,
    Outcome,
    Score,
)
from dicom_node.results.modules import MANUFACTURER
from dicom_node.results.severity import AIRSPACE, SCORE, ZONE
from dicom_node.results.values import fraction_of

_WIDTH, _LABEL = 74, 42
_MEASUREMENTS, _GROUP, _TRACKING, _FINDING = "126010", "125007", "112039", "121071"
_SITE = "363698007"
_ALGORITHM, _VERSION, _PARAMETERS = "111001", "111003", "111002"
_NOT_SAID = frozenset({_TRACKING, _ALGORITHM, _VERSION, _PARAMETERS})
_IMPRESSION = "impression"
_UNREADABLE = (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Number:
    """A measurement: its name, the rounded value that people see, and the exact one."""

    name: str
    shown: str
    exact: float


@dataclass(frozen=True, slots=True)
class _Group:
    """One measurement group, read back. ``codes`` are coded results such as the outcome."""

    tracking: str
    numbers: tuple[_Number, ...]
    codes: tuple[tuple[str, str, str], ...]
    texts: tuple[tuple[str, str], ...]
    version: str
    parameters: Mapping[str, str]
    source: str

    @property
    def output(self) -> str:
        """What the group is about: "impression", a class, or "" for a film without findings."""
        return self.parameters.get("output", "")


def report_text(document: Dataset) -> str:
    """Return the report as plain text. Raises `ResultError` for a report that is not ours."""
    films = _films(document)
    lines = ["CHEST RADIOGRAPH: AI ANALYSIS", "=" * 29, ""]
    lines += [str(document.get("SeriesDescription") or ""), "", *_facts(document), ""]
    for groups in films.values():
        lines += _film(groups) if groups[0].output else _mention(groups[0])
    return "\n".join(lines).rstrip() + "\n"


def findings_from_report(document: Dataset) -> list[FilmFindings]:
    """Return the findings a film, as far as the report holds them.

    Numbers come back as they were, to 15 significant digits; evidence is that of the network that
    named the finding. Raises `ResultError` for a report that is not ours.
    """
    return [_findings(source, groups) for source, groups in _films(document).items()]


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


def _film(groups: Sequence[_Group]) -> Iterator[str]:
    impression = groups[0]
    classes = [group for group in groups[1:] if group.output in FINDING_CLASSES]
    (_, headline), *texts = impression.texts
    yield impression.tracking.upper()
    yield from _paragraph(headline)
    yield ""
    for group in classes:
        yield from (_line(group.tracking, number) for number in group.numbers)
    for number in impression.numbers[1:]:
        yield _line(number.name, number, named=False)
    yield from _severity(groups)
    yield ""
    for name in dict.fromkeys(name for name, _ in texts):
        yield from (name, "-" * len(name))
        for text in (text for other, text in texts if other == name):
            yield from _paragraph(text)
        yield ""
    for group in groups[1:]:
        for _, text in group.texts:
            yield from _paragraph(f"{group.tracking}: {text}")
    yield ""


def _severity(groups: Sequence[_Group]) -> Iterator[str]:
    """Say what was graded: both extents with their intervals, the level, each zone."""
    for group in groups:
        kind, _, _ = group.output.partition(":")
        if kind == SCORE:
            value, *ends = (number.shown for number in group.numbers)
            between = f"   90 % interval {ends[0]} to {ends[1]}" if len(ends) == 2 else ""
            yield f"  {group.tracking:<{_LABEL}}{value:>7}  {between}"
        elif kind == AIRSPACE:
            for _, _, meaning in group.codes:
                yield from _paragraph(f"  {group.tracking}: {meaning} ({group.numbers[0].shown} %)")
        elif kind == ZONE:
            yield f"    {group.tracking:<{_LABEL - 2}}{group.numbers[0].shown:>7}   of 3"


def _mention(group: _Group) -> Iterator[str]:
    yield group.tracking.upper()
    for _, _, meaning in group.codes:
        yield from _paragraph(meaning)
    for name, text in group.texts:
        yield from _paragraph(f"{name}: {text}")
    yield ""


def _line(label: str, number: _Number, *, named: bool = True) -> str:
    line = f"  {label:<{_LABEL}}{number.shown:>7} %"
    return f"{line}   {number.name}" if named else line


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH)


def _findings(source: str, groups: Sequence[_Group]) -> FilmFindings:
    try:
        return _analysed(source, groups) if groups[0].output else _without(source, groups[0])
    except _UNREADABLE as error:
        raise _foreign("its numbers are not where they belong") from error


def _analysed(source: str, groups: Sequence[_Group]) -> FilmFindings:
    impression, parameters = groups[0], groups[0].parameters
    found = {
        group.output: fraction_of(group.numbers[0].exact)
        for group in groups[1:]
        if group.output in FINDING_CLASSES
    }
    named = dict(zip(parameters["numbers"].split(), impression.numbers, strict=True))
    evidence = Evidence(
        **{key: fraction_of(value.exact) for key, value in named.items() if key != "probability"}
    )
    return FilmFindings(
        sop_instance_uid=source,
        outcome=Outcome.ANALYSED,
        finding=Detection(
            probabilities={name: found[name] for name in FINDING_CLASSES if name in found},
            threshold=float(parameters["threshold"]),
            calibrated=parameters["calibrated"] == "yes",
        ),
        evidence=None if evidence == Evidence() else evidence,
        scores=dict(_scores(groups)),
        airspace=_airspace(groups),
        suite={
            group.parameters["network"]: NetworkVersion(group.version, group.parameters["weights"])
            for group in groups
        },
    )


def _scores(groups: Sequence[_Group]) -> Iterator[tuple[str, Score]]:
    for group in groups:
        kind, _, name = group.output.partition(":")
        if kind == SCORE:
            keys = group.parameters["numbers"].split()
            exact = [number.exact for number in group.numbers]
            yield name, Score(**dict(zip(keys, exact, strict=True)))


def _airspace(groups: Sequence[_Group]) -> Airspace | None:
    level = [group for group in groups if group.output == AIRSPACE]
    if not level:
        return None
    zones = {
        group.output.partition(":")[2]: group.numbers[0].exact
        for group in groups
        if group.output.startswith(f"{ZONE}:")
    }
    _, value, _ = level[0].codes[0]
    return Airspace(int(value.rpartition("-")[2]), fraction_of(level[0].numbers[0].exact), zones)


def _without(source: str, group: _Group) -> FilmFindings:
    _, value, _ = group.codes[0]
    outcome = Outcome.DECLINED if value == str(Outcome.DECLINED) else Outcome.FAILED
    return FilmFindings(source, outcome, reason=group.texts[0][1])


def _films(document: Dataset) -> dict[str, list[_Group]]:
    """Return the groups by film, films and groups in the report's order."""
    if document.get("Modality") != "SR" or document.get("Manufacturer") != MANUFACTURER:
        raise _foreign("it is no Structured Report of this software")
    films: dict[str, list[_Group]] = {}
    try:
        measurements = next(item for item in _children(document) if _name(item) == _MEASUREMENTS)
        for item in _children(measurements):
            if _name(item) == _GROUP:
                group = _group(item)
                films.setdefault(group.source, []).append(group)
    except _UNREADABLE as error:
        raise _foreign("its content is not the one that we write") from error
    return films


def _foreign(why: str) -> ResultError:
    return ResultError(
        f"This is not a report of dicom-node: {why}.",
        remedy="Give it a file that the node has written (Modality SR).",
    )


def _group(item: Dataset) -> _Group:
    texts = [(_name(child), child) for child in _children(item, "TEXT")]
    fixed = {name: str(child.TextValue) for name, child in texts}
    parameters = [str(child.TextValue) for name, child in texts if name == _PARAMETERS]
    return _Group(
        tracking=fixed[_TRACKING],
        numbers=tuple(_number(child) for child in _children(item, "NUM")),
        codes=tuple(
            (_meaning(child), _value(child.ConceptCodeSequence[0]), _said(child))
            for child in _children(item, "CODE")
            if child.RelationshipType == "CONTAINS" and _name(child) not in (_FINDING, _SITE)
        ),
        texts=tuple(
            (_meaning(child), str(child.TextValue))
            for name, child in texts
            if name not in _NOT_SAID
        ),
        version=fixed.get(_VERSION, ""),
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
    return _value(names[0]) if names else ""


def _meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def _value(code: Dataset) -> str:
    return str(code.get("CodeValue") or code.get("LongCodeValue"))


def _said(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeMeaning)


def _number(item: Dataset) -> _Number:
    value = item.MeasuredValueSequence[0]
    exact = value.get("FloatingPointValue")
    shown = str(value.NumericValue)
    return _Number(_meaning(item), shown, float(shown if exact is None else exact))
