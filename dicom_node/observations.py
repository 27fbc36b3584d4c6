"""What networks observe on a film, whatever they were taught: plain values, with their JSON form.

An observation says nothing of its words, codes and digits: those stand in the manifest of the
bundle that made it (``[[says]]``, `dicom_node.bundles.declared`). Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Point = tuple[float, float]
"""(column, row) of the stored matrix, from its top-left corner: the first pixel's centre is
(0.5, 0.5) (PS3.3 C.18.6)."""


class ObservationKind(StrEnum):
    """What an observation is."""

    CLASS = "class"
    """One of several classes that exclude each other."""
    LABELS = "labels"
    """Several findings that do not: each is there or not."""
    LEVEL = "level"
    """One of ordered classes, the first of them the lowest."""
    SCORE = "score"
    """A number on a scale."""
    MEASUREMENT = "measurement"
    """A number with a unit."""
    REGION = "region"
    """Places on the film: boxes and polygons."""
    MASK = "mask"
    """A part of the film; its places are in the explanation (`findings.AreaMap`)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible answer: a class, a level, or one of several labels.

    ``probability`` in [0, 1]; ``threshold``: from which it is believed. Of classes and levels the
    most probable one alone may be believed.
    """

    key: str
    probability: float
    threshold: float

    @property
    def reached(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """One place that was found: ``points`` of its outline in order, closed by the first one.

    Two points are a line. ``label``: which of the observation's classes it is of; "" where there
    are none. ``probability`` in [0, 1]: all that are kept have reached their threshold.
    """

    points: tuple[Point, ...]
    label: str = ""
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one network says of one film under one of the keys of its manifest.

    ``key`` and ``network`` together are unique on a film; the network is "" where findings do not
    tell it. ``value``: of a score or measurement, in
    ``unit`` (UCUM); of a mask, the part of the film or of the lungs that it covers, in [0, 1]; None
    where there is none, and why is in ``absent``. ``low`` and ``high``: its 90 % interval.
    ``threshold``: from which ``value`` is a finding; None: never. ``labels``: classes, levels or
    labels with their probabilities, in the manifest's order; ``calibrated``: whether these are
    probabilities. ``places``: of a region what was found, the most probable first; of a measurement
    the line or points that were measured. ``parts``: further values by name, e.g. of each lung.
    ``place_threshold``: of a mask, the probability from which a place belongs to it.
    """

    key: str
    kind: ObservationKind
    network: str
    value: float | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    labels: tuple[Candidate, ...] = ()
    calibrated: bool = False
    places: tuple[FoundPlace, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    absent: str = ""
    place_threshold: float | None = None

    @property
    def named(self) -> Candidate | None:
        """The class or level that is named: the most probable, where it reaches its threshold."""
        if self.kind not in (ObservationKind.CLASS, ObservationKind.LEVEL) or not self.labels:
            return None
        best = max(self.labels, key=lambda label: label.probability)
        return best if best.reached else None

    @property
    def best(self) -> Candidate | None:
        """The most probable label, believed or not; the first of them on a tie."""
        return max(self.labels, key=lambda label: label.probability, default=None)

    @property
    def believed(self) -> tuple[Candidate, ...]:
        """The labels that are said to be there: the named class or level, or every one reached."""
        if self.kind is ObservationKind.LABELS:
            return tuple(label for label in self.labels if label.reached)
        return (self.named,) if self.named else ()

    @property
    def reached(self) -> bool:
        """Whether what it is held against is reached: a threshold, or there are places."""
        if self.kind is ObservationKind.REGION:
            return bool(self.places)
        if self.labels:
            return bool(self.believed)
        return (
            self.value is not None and self.threshold is not None and self.value >= self.threshold
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; what is empty is left out."""
        found: dict[str, Any] = {"key": self.key, "kind": str(self.kind)}
        if self.network:
            found["network"] = self.network
        if self.labels:
            named = self.named
            if self.kind is not ObservationKind.LABELS:
                found["class"] = named.key if named else None
            found["labels"] = [
                {
                    "key": label.key,
                    "probability": label.probability,
                    "threshold": label.threshold,
                    "reached": label in self.believed,
                }
                for label in self.labels
            ]
        if self.labels or (self.kind is ObservationKind.REGION and self.calibrated):
            found["calibrated"] = self.calibrated
        if self.value is not None or (not self.labels and self.kind is not ObservationKind.REGION):
            found["value"] = self.value
        for name in ("unit", "low", "high", "threshold", "place_threshold", "absent"):
            if (said := getattr(self, name)) not in (None, ""):
                found[name] = said
        if self.kind is not ObservationKind.REGION and self.threshold is not None:
            found["reached"] = self.reached
        if self.places or self.kind is ObservationKind.REGION:
            found["places"] = [_place_to_json(place) for place in self.places]
        if self.parts:
            found["parts"] = dict(self.parts)
        return found

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Observation:
        """Return what `to_json` wrote. Raises KeyError or ValueError on another document."""
        return cls(
            key=document["key"],
            kind=ObservationKind(document["kind"]),
            network=document.get("network", ""),
            value=document.get("value"),
            unit=document.get("unit", ""),
            low=document.get("low"),
            high=document.get("high"),
            threshold=document.get("threshold"),
            labels=tuple(
                Candidate(label["key"], label["probability"], label["threshold"])
                for label in document.get("labels", ())
            ),
            calibrated=document.get("calibrated", False),
            places=tuple(_place_from_json(place) for place in document.get("places", ())),
            parts=dict(document.get("parts", {})),
            absent=document.get("absent", ""),
            place_threshold=document.get("place_threshold"),
        )


def of_networks(observations: Iterable[Observation]) -> dict[str, tuple[Observation, ...]]:
    """Return the observations by network, both in their order."""
    found: dict[str, list[Observation]] = {}
    for one in observations:
        found.setdefault(one.network, []).append(one)
    return {name: tuple(said) for name, said in found.items()}


def _place_to_json(place: FoundPlace) -> dict[str, Any]:
    return dict(_place_facts(place))


def _place_facts(place: FoundPlace) -> Iterator[tuple[str, Any]]:
    yield "points", [list(point) for point in place.points]
    if place.label:
        yield "label", place.label
    if place.probability is not None:
        yield "probability", place.probability


def _place_from_json(document: Mapping[str, Any]) -> FoundPlace:
    points = tuple((float(column), float(row)) for column, row in document["points"])
    return FoundPlace(points, document.get("label", ""), document.get("probability"))
