"""A Structured Report of ours, read back: its groups, and the findings in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from dicom_node.chest import (
    FINDING_CLASSES,
    Airspace,
    ChestAnswers,
    Detection,
    Score,
)
from dicom_node.errors import ResultError
from dicom_node.findings import (
    Evidence,
    FilmFindings,
    NetworkVersion,
    Outcome,
)
from dicom_node.imaging.values import CAN_RAISE
from dicom_node.results.modules import MANUFACTURER
from dicom_node.results.values import fraction_of, unit_of

DETECTION = "detection"
_MEASUREMENTS, _GROUP, _TRACKING, _FINDING = "126010", "125007", "112039", "121071"
_SITE = "363698007"
_ALGORITHM, _VERSION, _PARAMETERS = "111001", "111003", "111002"
_NOT_SAID = frozenset({_TRACKING, _ALGORITHM, _VERSION, _PARAMETERS})
_FINDINGS, _CHECK, _ALSO = "findings", "check.", "also="
SCORE, LUNG, AIRSPACE, ZONE = "score", "lung", "airspace", "zone"
_UNREADABLE = (*CAN_RAISE, StopIteration)


@dataclass(frozen=True, slots=True)
class ReadNumber:
    """A measurement: its name, the rounded value that people see, the exact one, and its unit."""

    name: str
    shown: str
    exact: float
    unit: str


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """One measurement group, read back. ``codes`` are coded results such as the outcome.

    ``parameters`` of a group are few: those of the film stand in its last one.
    """

    tracking: str
    numbers: tuple[ReadNumber, ...]
    codes: tuple[tuple[str, str, str], ...]
    texts: tuple[tuple[str, str], ...]
    version: str
    parameters: Mapping[str, str]
    source: str
    also: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """What a group of an older release is about: "impression", a class, a score."""
        return self.parameters.get("output", "")


def findings_from_report(document: Dataset) -> list[FilmFindings]:
    """Return the findings a film, as far as the report holds them.

    Numbers come back as they were, to 15 significant digits; evidence is that of the network that
    named the finding. Raises `ResultError` for a report that is not ours.
    """
    return [_findings(source, groups) for source, groups in read_films(document).items()]


def _findings(source: str, groups: Sequence[ReadGroup]) -> FilmFindings:
    try:
        told = [text for group in groups if (text := group.parameters.get(_FINDINGS))]
        if told:
            return FilmFindings.from_json(json.loads(told[0]))
        return _analysed(source, groups) if groups[0].output else _without(source, groups[0])
    except _UNREADABLE as error:
        raise _foreign("its numbers are not where they belong") from error


# Reports of older releases tell the findings group by group, by parameters of each.


def _analysed(source: str, groups: Sequence[ReadGroup]) -> FilmFindings:
    impression, parameters = groups[0], groups[0].parameters
    named = dict(zip(parameters["numbers"].split(), impression.numbers, strict=True))
    evidence = _evidence({key: fraction_of(value.exact) for key, value in named.items()})
    chest = ChestAnswers(
        finding=_first_detection(groups),
        scores=dict(_scores(groups)),
        airspace=_airspace(groups),
        detections=_detections(groups),
        network=parameters.get("network", ""),
    )
    return FilmFindings(
        sop_instance_uid=source,
        outcome=Outcome.ANALYSED,
        observations=tuple(chest.observations()),
        evidence=None if evidence == Evidence() else evidence,
        checks=dict(_checks(groups)),
        suite=_suite(groups),
        quality=tuple(parameters.get("quality", "").split()),
        notes=tuple(parameters.get("notes", "").split()),
    )


def _suite(groups: Sequence[ReadGroup]) -> dict[str, NetworkVersion]:
    ran = (text.partition(" ") for group in groups for text in group.also)
    return {name: NetworkVersion.from_text(text) for name, _, text in ran}


def _checks(groups: Sequence[ReadGroup]) -> Iterator[tuple[str, Evidence]]:
    for group in groups:
        said = {
            name.removeprefix(_CHECK): float(value)
            for name, value in group.parameters.items()
            if name.startswith(_CHECK)
        }
        if said:
            yield group.parameters["network"], _evidence(said)


def _evidence(told: Mapping[str, float]) -> Evidence:
    return Evidence(told.get("saliency_in_lungs"), told.get("change_when_hidden"))


def _detections(groups: Sequence[ReadGroup]) -> dict[str, Detection]:
    """Return every detection network's answer, where there is more than one."""
    further = {
        group.output.partition(":")[2]: _detection(group.parameters)
        for group in groups
        if group.output.startswith(f"{DETECTION}:")
    }
    if not further:
        return {}
    first = groups[0].parameters
    return {first["network"]: _first_detection(groups)} | further


def _first_detection(groups: Sequence[ReadGroup]) -> Detection:
    parameters = groups[0].parameters
    found = {
        group.output: fraction_of(group.numbers[0].exact)
        for group in groups[1:]
        if group.output in FINDING_CLASSES
    }
    return Detection(
        probabilities={name: found[name] for name in FINDING_CLASSES if name in found},
        threshold=float(parameters["threshold"]),
        calibrated=parameters["calibrated"] == "yes",
    )


def _detection(parameters: Mapping[str, str]) -> Detection:
    told = (pair.split(":") for pair in parameters["probabilities"].split())
    return Detection(
        probabilities={name: float(value) for name, value in told},
        threshold=float(parameters["threshold"]),
        calibrated=parameters["calibrated"] == "yes",
    )


def _scores(groups: Sequence[ReadGroup]) -> Iterator[tuple[str, Score]]:
    for group in groups:
        kind, _, name = group.output.partition(":")
        if kind == SCORE:
            keys = group.parameters["numbers"].split()
            exact = [number.exact for number in group.numbers]
            told = dict(zip(keys, exact, strict=True))
            yield name, Score(**told, **_lungs(groups, name))


def _lungs(groups: Sequence[ReadGroup], score: str) -> dict[str, float]:
    return {
        group.output.rpartition(":")[2]: group.numbers[0].exact
        for group in groups
        if group.output.startswith(f"{LUNG}:{score}:")
    }


def _airspace(groups: Sequence[ReadGroup]) -> Airspace | None:
    level = [group for group in groups if group.output == AIRSPACE]
    if not level:
        return None
    parts = {
        group.output.partition(":")[2]: group.numbers[0].exact
        for group in groups
        if group.output.startswith(f"{ZONE}:")
    }
    found = level[0]
    return Airspace(int(found.parameters["level"]), fraction_of(found.numbers[0].exact), parts)


def _without(source: str, group: ReadGroup) -> FilmFindings:
    _, value, _ = group.codes[0]
    outcome = Outcome.DECLINED if value == str(Outcome.DECLINED) else Outcome.FAILED
    return FilmFindings(source, outcome, reason=group.texts[0][1])


def read_films(document: Dataset) -> dict[str, list[ReadGroup]]:
    """Return the groups by film, films and groups in the report's order.

    Raises `ResultError` for a report that is not ours, or holds text alone.
    """
    if document.get("Modality") != "SR" or document.get("Manufacturer") != MANUFACTURER:
        raise _foreign("it is no Structured Report of this software")
    if document.get("SOPClassUID") == BasicTextSRStorage:
        raise ResultError(
            "A Basic Text report holds sentences, and no findings that a program could read.",
            remedy="Read it without --json, or take a report of another class from the PACS.",
        )
    films: dict[str, list[ReadGroup]] = {}
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


def _group(item: Dataset) -> ReadGroup:
    texts = [(_name(child), child) for child in _children(item, "TEXT")]
    fixed = {name: str(child.TextValue) for name, child in texts}
    parameters = [str(child.TextValue) for name, child in texts if name == _PARAMETERS]
    return ReadGroup(
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
        parameters=dict(text.split("=", 1) for text in parameters if "=" in text),
        source=_source_of(item),
        also=tuple(text[len(_ALSO) :] for text in parameters if text.startswith(_ALSO)),
    )


def _source_of(group: Dataset) -> str:
    region = next(_children(group, "SCOORD"), group)
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


def _number(item: Dataset) -> ReadNumber:
    value = item.MeasuredValueSequence[0]
    exact = value.get("FloatingPointValue")
    shown = str(value.NumericValue)
    unit = _value(value.MeasurementUnitsCodeSequence[0])
    return ReadNumber(
        _meaning(item), shown, float(shown if exact is None else exact), unit_of(unit).shown
    )
