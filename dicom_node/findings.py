"""What the networks found on one film: plain values, with their JSON form.

The JSON shape is a contract (``analyse --json``, ``cases show --json``, ``report --json``).
Numpy only: no DICOM, no Keras.
"""

from __future__ import annotations

import io
import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dicom_node.observations import Candidate, Observation, ObservationKind

FINDING_CLASSES = ("normal", "pneumonia", "covid19")
"""The classes of the detection networks, in the order of their outputs."""

APPEARANCES = ("typical", "indeterminate", "atypical", "negative")
"""How a film looks to a reader who asks for COVID-19 pneumonia, in the order of reports.

The words of the RSNA expert consensus (Simpson et al., Radiology: Cardiothoracic Imaging 2020), for
films as Litmanovich et al. (Journal of Thoracic Imaging 2020) use them. Typical: multifocal
bilateral, peripheral opacities, rounded or in the lower lungs. Indeterminate: opacities that are
one-sided, central or in the upper lungs. Atypical: what speaks for something else, e.g. lobar
consolidation, effusion, pneumothorax, oedema, a nodule. Negative: no opacities.
"""

SCORES = ("geographic_extent", "opacity_extent")
"""The severity scores of 0-8."""

ZONES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower")
"""The six lung zones, thirds of each lung as the patient has it, in the order of reports."""

VIEWS = ("PA", "AP", "FRONTAL", "unknown")
"""How a film was taken: FRONTAL is PA or AP, unknown may be too."""

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
    "found_inverted",
    "found_quarter_right",
    "found_upside_down",
    "found_quarter_left",
    "found_mirrored",
    "child",
    "no_lungs",
)
"""How a film was read that is not quite as the standard has it. A note is one of these keys; where
it says of what, a colon and the keywords of attributes follow: ``unread:WindowCenter,Laterality``.
``found_…`` is what the pixels say of how the film lies, see `TURNS`.
"""

TURNS = ("upright", "quarter_right", "upside_down", "quarter_left")
"""How a film is turned, clockwise: not, by 90°, by 180°, by 270°."""

_FOUND = "found_"


def note_of(found: str) -> str:
    """Return the note on what the pixels say of how a film lies, e.g. of ``quarter_right``."""
    return f"{_FOUND}{found}"


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
class ClassAnswer:
    """Probabilities of classes that exclude each other.

    ``probabilities`` has one value in [0, 1] a class and sums to 1. ``calibrated`` is true only
    if the bundle holds a temperature fitted on validation data. ``abstained`` is true when the
    highest probability is below ``threshold``: then no class is named.
    """

    probabilities: Mapping[str, float]
    threshold: float
    calibrated: bool

    @property
    def named(self) -> str:
        """The class with the highest probability; the first of them on a tie."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """The probability of `named`, in [0, 1]."""
        return self.probabilities[self.named]

    @property
    def abstained(self) -> bool:
        """Whether the network is too unsure to name a class."""
        return self.probability < self.threshold


_Classes = TypeVar("_Classes", bound=ClassAnswer)


@dataclass(frozen=True, slots=True)
class Detection(ClassAnswer):
    """Class probabilities of a detection network, of `FINDING_CLASSES`."""

    @property
    def finding_class(self) -> str:
        """The class with the highest probability; the first of them on a tie."""
        return self.named


@dataclass(frozen=True, slots=True)
class Appearance(ClassAnswer):
    """How a film looks with respect to COVID-19 pneumonia, of `APPEARANCES`; no diagnosis.

    Other disease may look typical, and COVID-19 atypical or negative.
    """


@dataclass(frozen=True, slots=True)
class OpacityPresence:
    """Whether there is any opacity of the lungs, whatever its cause.

    ``probability`` in [0, 1]; ``calibrated`` as of `ClassAnswer`.
    """

    probability: float
    threshold: float
    calibrated: bool

    @property
    def present(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


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


@dataclass(frozen=True, slots=True)
class MappedOpacity:
    """How much of the lungs is mapped opaque: of both, of the right, of the left, in [0, 1].

    ``threshold``: the probability from which a place of the map counts as opaque. What is left out
    of the picture, specks and what lies outside the lungs, does not count. A part is absent where
    no such lung was found.
    """

    threshold: float
    lungs: float | None = None
    right: float | None = None
    left: float | None = None


OPAQUE_ZONE = 0.5
"""A zone's score (0-3) from which it counts as one with opacities; see `is_opaque`."""

_CLEAR_HIGH, _CLEAR_VALUE, _CLEAR_WIDE = 1.0, 0.5, 3.0
_OPAQUE_LOW, _OPAQUE_VALUE, _OPAQUE_ALONE = 0.5, 3.0, 2.0
CLEAR_PART, OPAQUE_PART = 0.01, 0.05
"""The mapped part of the lungs below which a map says that there are no opacities, and from which
on it says that there are. A hundredth is what is drawn at all; between them it says neither."""

_OF_OPACITIES = {"normal": False, "pneumonia": True, "covid19": True}
_OF_APPEARANCES = {"typical": True, "indeterminate": True, "negative": False}


def is_opaque(score: float) -> bool:
    """Whether a zone has opacities: by its score with one decimal, which is what people read."""
    return round(score, 1) >= OPAQUE_ZONE


def opaque_zones(airspace: Airspace) -> int | None:
    """Return how many zones have opacities; None where a zone is missing."""
    if len(airspace.zones) < len(ZONES):
        return None
    return sum(map(is_opaque, airspace.zones.values()))


def level_of_zones(opaque: int) -> int:
    """Return the airspace level (0-2) of a film with that many zones with opacities (CXR-S)."""
    return 0 if opaque == 0 else 1 if opaque < 3 else 2


def opacities_by_class(found: Detection) -> bool | None:
    """Whether the class that a network names has opacities; None where it names none."""
    return None if found.abstained else _OF_OPACITIES.get(found.finding_class)


def opacities_by_appearance(found: Appearance) -> bool | None:
    """Whether an appearance has opacities; None where none is named, and of an atypical one.

    An effusion or a pneumothorax alone is atypical, and neither is an opacity of the lungs.
    """
    return None if found.abstained else _OF_APPEARANCES.get(found.named)


def opacities_by_score(score: Score) -> bool | None:
    """Whether an extent (0-8) says that there are opacities; None where it may be either.

    None at all: the interval ends below 1, or a value that is read as none (below 0.5) has one
    that ends below 3. Opacities: the interval begins at 0.5 or above, or the value is 3 or more.
    """
    low, high = score.low, score.high
    if low is None or high is None:
        low, high = (_OPAQUE_LOW if score.value >= _OPAQUE_ALONE else 0.0), score.value
    if high < _CLEAR_HIGH or (score.value < _CLEAR_VALUE and high < _CLEAR_WIDE):
        return False
    return True if low >= _OPAQUE_LOW or score.value >= _OPAQUE_VALUE else None


def opacities_by_map(mapped: MappedOpacity) -> bool | None:
    """Whether a map says that there are opacities; None where it may be either.

    See `CLEAR_PART` and `OPAQUE_PART`. A map without lungs says nothing.
    """
    if mapped.lungs is None or CLEAR_PART <= mapped.lungs < OPAQUE_PART:
        return None
    return mapped.lungs >= OPAQUE_PART


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the explanation can be trusted.

    ``saliency_in_lungs``: the part of the heat inside the lungs, in [0, 1], absent where no lung
    segmentation ran, and of a network that an opacity map explains, which has no other place.
    ``change_when_hidden``: by how much the probability of the finding falls when the salient area
    is hidden, in [-1, 1]. ``chance``: the lungs' part of the area that the network saw, in [0, 1]:
    what heat spread evenly would have inside them. ``peak_in_lungs``: whether the hottest place is
    inside them. Findings of older releases have neither.
    """

    saliency_in_lungs: float | None = None
    change_when_hidden: float | None = None
    chance: float | None = None
    peak_in_lungs: bool | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as much heat lies inside the lungs as chance would give."""
        if self.saliency_in_lungs is None or not self.chance:
            return None
        return self.saliency_in_lungs / self.chance


@dataclass(frozen=True, slots=True)
class NetworkVersion:
    """Which network answered: bundle version and the digest of its weights (``sha256:…``).

    ``engine``: who computed it, and how precisely; empty: Keras.
    """

    version: str
    weights: str
    engine: str = ""

    @classmethod
    def from_text(cls, text: str) -> NetworkVersion:
        """Return what `str` wrote. Raises ValueError for another text."""
        version, weights, *engine = text.split(maxsplit=2)
        return cls(version, weights, *engine)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.version, self.weights, self.engine)))

    def to_json(self) -> dict[str, str]:
        """Return it as the contract's JSON object has it."""
        found = {"version": self.version, "weights": self.weights}
        return found | {"engine": self.engine} if self.engine else found


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyMap:
    """Where a network looked.

    ``heat``: float32 in [0, 1], shape (grid rows, grid columns), 1 = most salient. The grid covers
    exactly ``region`` of the stored matrix: cell (i, j) is the rectangle
    ``region.top + i*height/grid_rows ...``. ``target`` is the class that was explained.
    ``mapped_by``: the network of the `OpacityMap` that is this heat, of networks that begin with
    such a map; empty: the heat is Grad-CAM of the network itself.
    """

    network: str
    target: str
    heat: npt.NDArray[np.float32]
    region: Region
    mapped_by: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OpacityMap:
    """Where the lungs are opaque, as the bundle ``network`` maps it.

    ``probability``: float32 in [0, 1], shape (rows, columns); the grid covers exactly ``region`` of
    the stored matrix. It is 0 outside the lungs, as far as its cells can tell; where no lungs were
    found it is as the network gave it. ``threshold``: from where a place counts as opaque, in
    (0, 1).
    """

    network: str
    probability: npt.NDArray[np.float32]
    region: Region
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class AreaMap:
    """Where the observation ``key`` of the bundle ``network`` is: a mask it said.

    ``probability``: float32 in [0, 1], shape (rows, columns); the grid covers exactly ``region`` of
    the stored matrix. ``threshold``: from where a place belongs to it.
    """

    network: str
    key: str
    probability: npt.NDArray[np.float32]
    region: Region
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class LungMask:
    """The lungs of one film, as the bundle ``network`` found them.

    ``mask``: bool, shape (grid rows, grid columns); the grid covers exactly the whole film.
    """

    network: str
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What explains the answers on one film.

    ``opacity``: where its lungs are opaque, the first thing to show. ``maps``: where the networks
    looked, one a network. ``lungs``: where its lungs are. ``areas``: the masks of observations.
    """

    maps: tuple[SaliencyMap, ...] = ()
    lungs: LungMask | None = None
    opacity: OpacityMap | None = None
    areas: tuple[AreaMap, ...] = ()

    @property
    def looked(self) -> tuple[SaliencyMap, ...]:
        """The maps that are Grad-CAM, and not the opacity map again."""
        return tuple(item for item in self.maps if not item.mapped_by)


@dataclass(frozen=True, slots=True)
class FilmFindings:
    """Everything found on one film; parts are absent where a network did not run.

    ``finding`` and ``evidence`` are those of the first detection network of the suite (without
    one, the evidence is the first network's). ``checks``: every network's evidence, by bundle;
    of a score, ``change_when_hidden`` is its fall in points. ``detections``: every detection
    network's answer, by bundle, where there is more than one. ``opacity`` and ``appearance``: what
    the network of the finding says beside it, where it has such outputs. ``quality``: which of
    `QUALITY` may be wrong with the film. ``notes``: how it was read, see `NOTES`. ``opacity_map``:
    how much of the lungs is mapped opaque, where a network maps it. ``observed``: what bundles say
    that declare it themselves. ``unanswered``: why a network of the suite said nothing of this
    film, in plain words; others are not touched by it.
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
    opacity: OpacityPresence | None = None
    appearance: Appearance | None = None
    opacity_map: MappedOpacity | None = None
    observed: tuple[Observation, ...] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All that was observed: what stands under names of its own, then `observed`."""
        return (*_named_observations(self), *self.observed)

    @property
    def contradictions(self) -> tuple[tuple[str, str], ...]:
        """See `contradictions`."""
        return contradictions(self)

    @property
    def turned(self) -> str:
        """How the film lies turned by its pixels, of `TURNS`, as it is hung by its header.

        It was turned back before any network looked at it; what is shown lies on the stored film.
        """
        return next((turn for turn in TURNS if note_of(turn) in self.notes), TURNS[0])

    def to_json(self) -> dict[str, Any]:
        """Return the contract's JSON object, without ``file`` (the caller knows that)."""
        result = self.to_stored_json()
        if observations := self.observations:
            result["observations"] = [one.to_json() for one in observations]
        return result

    def to_stored_json(self) -> dict[str, Any]:
        """Return `to_json` with nothing said twice: observations without a name of their own."""
        result: dict[str, Any] = {
            "sop_instance_uid": self.sop_instance_uid,
            "outcome": str(self.outcome),
            "reason": self.reason,
        }
        if self.finding is not None:
            result["finding"] = _classes_to_json(self.finding)
        if self.opacity is not None:
            result["opacity"] = asdict(self.opacity) | {"present": self.opacity.present}
        if self.appearance is not None:
            result["appearance"] = _classes_to_json(self.appearance)
        if self.scores:
            result["scores"] = {name: _score_to_json(score) for name, score in self.scores.items()}
        if self.airspace is not None:
            result["airspace"] = {
                "level": self.airspace.level,
                "probability": self.airspace.probability,
                "zones": dict(self.airspace.zones),
            }
        if self.opacity_map is not None:
            result["opacity_map"] = asdict(self.opacity_map)
        if self.evidence is not None:
            result["evidence"] = asdict(self.evidence)
        if self.checks:
            result["checks"] = {name: asdict(found) for name, found in self.checks.items()}
        if self.detections:
            result["detections"] = {
                name: _classes_to_json(found) for name, found in self.detections.items()
            }
        if self.contradictions:
            result["contradictions"] = [list(pair) for pair in self.contradictions]
        if self.quality:
            result["quality"] = list(self.quality)
        if self.notes:
            result["notes"] = list(self.notes)
        if self.suite:
            result["suite"] = {name: network.to_json() for name, network in self.suite.items()}
        if self.observed:
            result["observations"] = [one.to_json() for one in self.observed]
        if self.unanswered:
            result["unanswered"] = dict(self.unanswered)
        return result

    def to_json_text(self) -> str:
        """Return `to_stored_json` as text, the same text for the same findings."""
        return json.dumps(self.to_stored_json(), sort_keys=True)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FilmFindings:
        """Return what `to_json` or `to_stored_json` wrote. Raises KeyError on another document."""
        finding, airspace = document.get("finding"), document.get("airspace")
        evidence, appearance = document.get("evidence"), document.get("appearance")
        opacity = document.get("opacity")
        mapped = document.get("opacity_map")
        said = map(Observation.from_json, document.get("observations", ()))
        return cls(
            sop_instance_uid=document["sop_instance_uid"],
            outcome=Outcome(document["outcome"]),
            reason=document.get("reason"),
            finding=finding and _from_json(Detection, finding),
            opacity=opacity and _opacity_from_json(opacity),
            appearance=appearance and _from_json(Appearance, appearance),
            scores={name: Score(**score) for name, score in document.get("scores", {}).items()},
            airspace=airspace and Airspace(**airspace),
            opacity_map=mapped and MappedOpacity(**mapped),
            evidence=evidence and Evidence(**evidence),
            checks={name: Evidence(**found) for name, found in document.get("checks", {}).items()},
            detections={
                name: _from_json(Detection, found)
                for name, found in document.get("detections", {}).items()
            },
            suite={
                name: NetworkVersion(**network)
                for name, network in document.get("suite", {}).items()
            },
            quality=tuple(document.get("quality", ())),
            notes=tuple(document.get("notes", ())),
            observed=tuple(one for one in said if one.key not in NAMED_KEYS),
            unanswered=dict(document.get("unanswered", {})),
        )


NAMED_KEYS = frozenset(
    {"finding", "opacity", "appearance", *SCORES, "airspace", "zones", "opacity_map"}
)
"""Keys of observations that findings tell under names of their own; no bundle declares them."""


def _named_observations(findings: FilmFindings) -> Iterator[Observation]:
    """Yield what findings tell under names of their own as observations.

    The network is the first of the suite for what no other is known to have said.
    """
    first = next(iter(findings.checks), next(iter(findings.suite), ""))
    detections = findings.detections or ({first: findings.finding} if findings.finding else {})
    for network, found in sorted(detections.items(), key=lambda each: each[0] != first):
        yield _of_classes("finding", network, found, FINDING_CLASSES)
    if findings.opacity is not None:
        opacity = findings.opacity
        label = Candidate("opacity", opacity.probability, opacity.threshold)
        yield Observation(
            "opacity", ObservationKind.LABELS, first, labels=(label,), calibrated=opacity.calibrated
        )
    if findings.appearance is not None:
        yield _of_classes("appearance", first, findings.appearance, APPEARANCES)
    for name, score in findings.scores.items():
        parts = {"right": score.right, "left": score.left}
        yield Observation(
            name, ObservationKind.SCORE, "", score.value, "{0:8}", score.low, score.high,
            parts={side: value for side, value in parts.items() if value is not None},
        )  # fmt: skip
    if findings.airspace is not None:
        yield from _of_airspace(findings.airspace)
    if findings.opacity_map is not None:
        parts = {"right": findings.opacity_map.right, "left": findings.opacity_map.left}
        yield Observation(
            "opacity_map", ObservationKind.MASK, "", findings.opacity_map.lungs,
            threshold=findings.opacity_map.threshold,
            parts={side: value for side, value in parts.items() if value is not None},
        )  # fmt: skip


def _of_classes(key: str, network: str, found: ClassAnswer, order: tuple[str, ...]) -> Observation:
    labels = tuple(
        Candidate(name, found.probabilities[name], found.threshold)
        for name in order
        if name in found.probabilities
    )
    return Observation(
        key, ObservationKind.CLASS, network, labels=labels, calibrated=found.calibrated
    )


def _of_airspace(found: Airspace) -> Iterator[Observation]:
    level = Candidate(f"level_{found.level}", found.probability, 0.0)
    yield Observation(
        "airspace", ObservationKind.LEVEL, "", float(found.level), labels=(level,), calibrated=True
    )
    if found.zones:
        total = sum(found.zones.values())
        yield Observation("zones", ObservationKind.SCORE, "", total, parts=dict(found.zones))


def contradictions(findings: FilmFindings) -> tuple[tuple[str, str], ...]:
    """Return which two answers on a film cannot both be true; none for most films.

    Answers are named as in the JSON form: ``opacity``, ``finding``, ``appearance``,
    ``detections.<network>``, ``airspace.level``, ``airspace.zones``, ``scores.<name>``,
    ``opacity_map``. Two contradict each other where one says that there are opacities and the other
    that there are none; level and zones also where the number of zones with opacities gives another
    level; a normal film and an atypical appearance also, since that one has something, though it
    may be no opacity. A class and an appearance of opacities never do: other pneumonia may look
    typical, and COVID-19 atypical.
    """
    said = opacities_by_answer(findings)
    names = [name for name, opaque in said.items() if opaque is not None]
    pairs = [
        (one, other)
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if said[one] != said[other]
    ]
    if said.get("finding") is False and _is_atypical(findings):
        pairs.append(("finding", "appearance"))
    airspace, both = findings.airspace, ("airspace.level", "airspace.zones")
    if airspace is not None and both not in pairs:
        opaque = opaque_zones(airspace)
        if opaque is not None and level_of_zones(opaque) != airspace.level:
            pairs.append(both)
    return tuple(pairs)


def _is_atypical(findings: FilmFindings) -> bool:
    found = findings.appearance
    return found is not None and not found.abstained and found.named == "atypical"


def is_in_doubt(document: Mapping[str, Any]) -> bool:
    """Whether answers on a film contradict each other, by the JSON form of its findings.

    Also of a form that an older release wrote, which does not name them.
    """
    return "outcome" in document and bool(FilmFindings.from_json(document).contradictions)


def opacities_by_answer(findings: FilmFindings) -> dict[str, bool | None]:
    """Return of every answer on a film whether it says that there are opacities."""
    said: dict[str, bool | None] = {}
    if findings.opacity is not None:
        said["opacity"] = findings.opacity.present
    if findings.finding is not None:
        said["finding"] = opacities_by_class(findings.finding)
    if findings.appearance is not None:
        said["appearance"] = opacities_by_appearance(findings.appearance)
    for name, found in findings.detections.items():
        if found != findings.finding:
            said[f"detections.{name}"] = opacities_by_class(found)
    if findings.airspace is not None:
        opaque = opaque_zones(findings.airspace)
        said["airspace.level"] = findings.airspace.level > 0
        said["airspace.zones"] = None if opaque is None else opaque > 0
    for name, score in findings.scores.items():
        said[f"scores.{name}"] = opacities_by_score(score)
    if findings.opacity_map is not None:
        said["opacity_map"] = opacities_by_map(findings.opacity_map)
    return said


def graded(findings: FilmFindings, target: str) -> bool:
    """Whether a severity network graded above zero: a level, or an extent as it is read.

    ``target``: ``airspace`` or the name of a score, as in `SaliencyMap`.
    """
    if target == "airspace":
        return findings.airspace is not None and findings.airspace.level > 0
    score = findings.scores.get(target)
    return score is not None and score.value >= _CLEAR_VALUE


def found_by_grade(findings: FilmFindings, target: str) -> bool:
    """Whether a severity network says that there are opacities; ``target`` as of `graded`."""
    if target == "airspace":
        return graded(findings, target)
    score = findings.scores.get(target)
    return score is not None and bool(opacities_by_score(score))


_ONE_OF = (ObservationKind.CLASS, ObservationKind.LEVEL)


def has_findings(findings: FilmFindings) -> bool:
    """Whether any network found anything on a film, also where another contradicts it.

    Of a class or level that was observed its manifest alone knows whether it is a finding: such an
    one does not count.
    """
    if any(one.reached for one in findings.observed if one.kind not in _ONE_OF):
        return True
    airspace = findings.airspace
    zones = airspace is not None and any(map(is_opaque, airspace.zones.values()))
    answered = any(opacities_by_answer(findings).values())
    return zones or answered or _is_atypical(findings)


def _score_to_json(score: Score) -> dict[str, Any]:
    document = {"value": score.value, "low": score.low, "high": score.high}
    lungs = {"right": score.right, "left": score.left}
    return document | {name: value for name, value in lungs.items() if value is not None}


def _classes_to_json(found: ClassAnswer) -> dict[str, Any]:
    return {
        "class": found.named,
        "probabilities": dict(found.probabilities),
        "abstained": found.abstained,
        "threshold": found.threshold,
        "calibrated": found.calibrated,
    }


def _from_json(kind: type[_Classes], document: Mapping[str, Any]) -> _Classes:
    return kind(document["probabilities"], document["threshold"], document["calibrated"])


def _opacity_from_json(document: Mapping[str, Any]) -> OpacityPresence:
    return OpacityPresence(document["probability"], document["threshold"], document["calibrated"])


def pack_explanation(explanation: Explanation) -> bytes:
    """Return the explanation as bytes, the same for the same maps and lungs (numpy's npz)."""
    facts = [
        {
            "network": item.network,
            "target": item.target,
            "region": _edges(item.region),
            **({"mapped_by": item.mapped_by} if item.mapped_by else {}),
        }
        for item in explanation.maps
    ]
    arrays: dict[str, Any] = {
        f"heat{i}": item.heat.astype(np.float32) for i, item in enumerate(explanation.maps)
    }
    if explanation.lungs is not None:
        arrays["lungs"] = explanation.lungs.mask
        arrays["lungs_by"] = np.array(explanation.lungs.network)
    if (opacity := explanation.opacity) is not None:
        arrays["opacity"] = opacity.probability.astype(np.float32)
        arrays["opacity_by"] = np.array(opacity.network)
        arrays["opacity_on"] = np.array([*_edges(opacity.region), opacity.threshold])
    for number, area in enumerate(explanation.areas):
        arrays[f"area{number}"] = area.probability.astype(np.float32)
        arrays[f"area{number}_of"] = np.array([area.network, area.key])
        arrays[f"area{number}_on"] = np.array([*_edges(area.region), area.threshold])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.array(json.dumps(facts)), **arrays)
    return buffer.getvalue()


def unpack_explanation(data: bytes) -> Explanation:
    """Return what `pack_explanation` wrote; archives of older releases hold no lungs or no map."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        facts = json.loads(str(archive["facts"]))
        maps = tuple(
            SaliencyMap(
                fact["network"], fact["target"], archive[f"heat{number}"], Region(*fact["region"]),
                fact.get("mapped_by", ""),
            )
            for number, fact in enumerate(facts)
        )  # fmt: skip
        lungs = opacity = None
        if "lungs" in archive:
            lungs = LungMask(str(archive["lungs_by"]), archive["lungs"])
        if "opacity" in archive:
            *edges, threshold = map(float, archive["opacity_on"])
            opacity = OpacityMap(
                str(archive["opacity_by"]), archive["opacity"], Region(*edges), threshold
            )
        areas = tuple(_area(archive, number) for number in range(_areas(archive)))
    return Explanation(maps, lungs, opacity, areas)


def _areas(archive: Container[str]) -> int:
    return next(number for number in count() if f"area{number}" not in archive)


def _area(archive: Mapping[str, Any], number: int) -> AreaMap:
    network, key = map(str, archive[f"area{number}_of"])
    *edges, threshold = map(float, archive[f"area{number}_on"])
    return AreaMap(network, key, archive[f"area{number}"], Region(*edges), threshold)


def _edges(region: Region) -> list[float]:
    return [region.top, region.left, region.bottom, region.right]
