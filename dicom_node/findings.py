"""What the networks found on one film: plain values, with their JSON form.

The JSON shape is a contract (``analyse --json``, ``cases show --json``, ``report --json``).
Numpy only: no DICOM, no Keras.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

FINDING_CLASSES = ("normal", "pneumonia", "covid19")
"""The classes of the detection networks, in the order of their outputs."""

SCORES = ("geographic_extent", "opacity_extent")
"""The severity scores of 0-8."""

QUALITY = ("positioning", "under_exposed", "over_exposed")
"""What may be wrong with a film that was analysed all the same."""

NOTES = (
    "unread",
    "own_range",
    "bits",
    "stream",
    "polarity",
    "polarity_stated",
    "turned",
    "mirrored",
    "orientation",
)
"""How a film was read that is not quite as the standard has it. A note is one of these keys; where
it says of what, a colon and the keywords of attributes follow: ``unread:WindowCenter,Laterality``.
"""


class Outcome(StrEnum):
    """What became of one film."""

    ANALYSED = "analysed"
    DECLINED = "declined"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in pixels of the stored matrix, edges from the top-left corner of the film.

    ``top`` and ``bottom`` lie in [0, rows], ``left`` and ``right`` in [0, columns] (PS3.3 C.18.6:
    the corner of the first pixel is 0\\0, its centre 0.5\\0.5).
    """

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, slots=True)
class Detection:
    """Class probabilities of a detection network.

    ``probabilities`` has one value in [0, 1] a class and sums to 1. ``calibrated`` is true only
    if the bundle holds a temperature fitted on validation data. ``abstained`` is true when the
    highest probability is below ``threshold``: then no class is reported as found.
    """

    probabilities: Mapping[str, float]
    threshold: float
    calibrated: bool

    @property
    def finding_class(self) -> str:
        """The class with the highest probability; the first of them on a tie."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """The probability of `finding_class`, in [0, 1]."""
        return self.probabilities[self.finding_class]

    @property
    def abstained(self) -> bool:
        """Whether the network is too unsure to name a class."""
        return self.probability < self.threshold


@dataclass(frozen=True, slots=True)
class Score:
    """A regression score with its interval (0-8), and what each lung adds to it (0-4)."""

    value: float
    low: float | None = None
    high: float | None = None
    right: float | None = None
    left: float | None = None


@dataclass(frozen=True, slots=True)
class Airspace:
    """Airspace severity: ``level`` 0-2, its probability, and the six zones' scores (0-3)."""

    level: int
    probability: float
    zones: Mapping[str, float] = field(default_factory=dict)


ZONE_COUNT = 6
"""The zones of both lungs: upper, middle, lower."""


def level_of_zones(opaque: int) -> int:
    """Return the airspace level (0-2) of a film with that many zones with opacities (CXR-S)."""
    return 0 if opaque == 0 else 1 if opaque < 3 else 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the explanation can be trusted.

    ``saliency_in_lungs``: the part of the heat inside the lungs, in [0, 1], absent where no lung
    segmentation ran. ``change_when_hidden``: by how much the probability of the finding falls when
    the salient area is hidden, in [-1, 1].
    """

    saliency_in_lungs: float | None = None
    change_when_hidden: float | None = None


@dataclass(frozen=True, slots=True)
class NetworkVersion:
    """Which network answered: bundle version and the digest of its weights (``sha256:…``)."""

    version: str
    weights: str


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyMap:
    """Where a network looked.

    ``heat``: float32 in [0, 1], shape (grid rows, grid columns), 1 = most salient. The grid covers
    exactly ``region`` of the stored matrix: cell (i, j) is the rectangle
    ``region.top + i*height/grid_rows ...``. ``target`` is the class that was explained.
    """

    network: str
    target: str
    heat: npt.NDArray[np.float32]
    region: Region


@dataclass(frozen=True, slots=True, eq=False)
class LungMask:
    """The lungs of one film, as the bundle ``network`` found them.

    ``mask``: bool, shape (grid rows, grid columns); the grid covers exactly the whole film.
    """

    network: str
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Where the networks looked on one film, one map a network, and where its lungs are."""

    maps: tuple[SaliencyMap, ...] = ()
    lungs: LungMask | None = None


@dataclass(frozen=True, slots=True)
class FilmFindings:
    """Everything found on one film; parts are absent where a network did not run.

    ``finding`` and ``evidence`` are those of the first detection network of the suite (without
    one, the evidence is the first network's). ``checks``: every network's evidence, by bundle;
    of a score, ``change_when_hidden`` is its fall in points. ``detections``: every detection
    network's answer, by bundle, where there is more than one. ``quality``: which of `QUALITY` may
    be wrong with the film. ``notes``: how it was read, see `NOTES`.
    """

    sop_instance_uid: str
    outcome: Outcome
    reason: str | None = None
    finding: Detection | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    airspace: Airspace | None = None
    evidence: Evidence | None = None
    checks: Mapping[str, Evidence] = field(default_factory=dict)
    detections: Mapping[str, Detection] = field(default_factory=dict)
    suite: Mapping[str, NetworkVersion] = field(default_factory=dict)
    quality: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the contract's JSON object, without ``file`` (the caller knows that)."""
        result: dict[str, Any] = {
            "sop_instance_uid": self.sop_instance_uid,
            "outcome": str(self.outcome),
            "reason": self.reason,
        }
        if self.finding is not None:
            result["finding"] = _detection_to_json(self.finding)
        if self.scores:
            result["scores"] = {name: _score_to_json(score) for name, score in self.scores.items()}
        if self.airspace is not None:
            result["airspace"] = {
                "level": self.airspace.level,
                "probability": self.airspace.probability,
                "zones": dict(self.airspace.zones),
            }
        if self.evidence is not None:
            result["evidence"] = asdict(self.evidence)
        if self.checks:
            result["checks"] = {name: asdict(found) for name, found in self.checks.items()}
        if self.detections:
            result["detections"] = {
                name: _detection_to_json(found) for name, found in self.detections.items()
            }
        if self.quality:
            result["quality"] = list(self.quality)
        if self.notes:
            result["notes"] = list(self.notes)
        if self.suite:
            result["suite"] = {
                name: {"version": network.version, "weights": network.weights}
                for name, network in self.suite.items()
            }
        return result

    def to_json_text(self) -> str:
        """Return `to_json` as text, the same text for the same findings."""
        return json.dumps(self.to_json(), sort_keys=True)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FilmFindings:
        """Return the findings that `to_json` wrote. Raises KeyError on a foreign document."""
        finding, airspace = document.get("finding"), document.get("airspace")
        evidence = document.get("evidence")
        return cls(
            sop_instance_uid=document["sop_instance_uid"],
            outcome=Outcome(document["outcome"]),
            reason=document.get("reason"),
            finding=finding and _detection_from_json(finding),
            scores={name: Score(**score) for name, score in document.get("scores", {}).items()},
            airspace=airspace and Airspace(**airspace),
            evidence=evidence and Evidence(**evidence),
            checks={name: Evidence(**found) for name, found in document.get("checks", {}).items()},
            detections={
                name: _detection_from_json(found)
                for name, found in document.get("detections", {}).items()
            },
            suite={
                name: NetworkVersion(**network)
                for name, network in document.get("suite", {}).items()
            },
            quality=tuple(document.get("quality", ())),
            notes=tuple(document.get("notes", ())),
        )


def _score_to_json(score: Score) -> dict[str, Any]:
    document = {"value": score.value, "low": score.low, "high": score.high}
    lungs = {"right": score.right, "left": score.left}
    return document | {name: value for name, value in lungs.items() if value is not None}


def _detection_to_json(found: Detection) -> dict[str, Any]:
    return {
        "class": found.finding_class,
        "probabilities": dict(found.probabilities),
        "abstained": found.abstained,
        "threshold": found.threshold,
        "calibrated": found.calibrated,
    }


def _detection_from_json(document: Mapping[str, Any]) -> Detection:
    return Detection(document["probabilities"], document["threshold"], document["calibrated"])


def pack_explanation(explanation: Explanation) -> bytes:
    """Return the explanation as bytes, the same for the same maps and lungs (numpy's npz)."""
    facts = [
        {
            "network": item.network,
            "target": item.target,
            "region": [item.region.top, item.region.left, item.region.bottom, item.region.right],
        }
        for item in explanation.maps
    ]
    arrays = {f"heat{i}": item.heat.astype(np.float32) for i, item in enumerate(explanation.maps)}
    if explanation.lungs is not None:
        arrays["lungs"] = explanation.lungs.mask  # type: ignore[assignment]
        arrays["lungs_by"] = np.array(explanation.lungs.network)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.array(json.dumps(facts)), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack_explanation(data: bytes) -> Explanation:
    """Return what `pack_explanation` wrote; archives of older releases hold no lungs."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        facts = json.loads(str(archive["facts"]))
        maps = tuple(
            SaliencyMap(
                fact["network"], fact["target"], archive[f"heat{number}"], Region(*fact["region"])
            )
            for number, fact in enumerate(facts)
        )
        if "lungs" not in archive:
            return Explanation(maps)
        return Explanation(maps, LungMask(str(archive["lungs_by"]), archive["lungs"]))
