"""What the shipped chest networks say of a film: the named keys of the JSON contract.

Findings are observations (`dicom_node.observations`). Those of our own networks have keys that the
contract tells under names of their own: ``finding``, ``scores``, ``airspace`` and so on. Here is
that view of them, with what their classes mean and when two of them contradict each other. Nothing
here knows DICOM, Keras or pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

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


@dataclass(frozen=True, slots=True)
class NamedFigure:
    """A number of our own networks that lists tell and readers may correct.

    ``name``: in the contract; ``wording``: in English, for the pages; from 0 to ``most``, in whole
    steps where ``is_whole``.
    """

    name: str
    wording: str
    most: int
    is_whole: bool = False


FIGURES = (
    NamedFigure(SCORES[0], "geographic extent", 8),
    NamedFigure(SCORES[1], "opacity extent", 8),
    NamedFigure("airspace_level", "airspace level", 2, is_whole=True),
)
"""The numbers that lists tell, in their order."""

ZONES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower")
"""The six lung zones, thirds of each lung as the patient has it, in the order of reports."""


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
    """Airspace severity: ``level`` 0-2, its probability, and the scores (0-3) of `ZONES`."""

    level: int
    probability: float
    parts: Mapping[str, float] = field(default_factory=dict)


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


def opaque_parts(airspace: Airspace) -> int | None:
    """Return how many zones have opacities; None where a zone is missing."""
    if len(airspace.parts) < len(ZONES):
        return None
    return sum(map(is_opaque, airspace.parts.values()))


def level_of_parts(opaque: int) -> int:
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


FINDING = "finding"
"""The key of what the first detection network names."""

_OPACITY, _APPEARANCE, _AIRSPACE, _MAP = "opacity", "appearance", "airspace", "opacity_map"
PARTS = "zones"
"""The key of the scores of the lungs' parts, and their name in the contract and in templates."""

NAMED_KEYS = frozenset({FINDING, _OPACITY, _APPEARANCE, *SCORES, _AIRSPACE, PARTS, _MAP})
"""Keys of observations that findings tell under names of their own; no bundle declares them."""

_UNIT_OF_SCORES = "{0:8}"


@dataclass(frozen=True, slots=True)
class ChestAnswers:
    """What our own networks say of one film; parts are absent where a network did not run.

    ``finding``: of the first detection network of the suite; ``detections``: of every one, by
    bundle, where there is more than one. ``opacity`` and ``appearance``: what the network of the
    finding says beside it. ``opacity_map``: how much of the lungs is mapped opaque. ``network``:
    who gave the finding, and what stands beside it; "" where findings do not tell it.
    """

    finding: Detection | None = None
    opacity: OpacityPresence | None = None
    appearance: Appearance | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    airspace: Airspace | None = None
    opacity_map: MappedOpacity | None = None
    detections: Mapping[str, Detection] = field(default_factory=dict)
    network: str = ""

    @classmethod
    def of(cls, observations: Iterable[Observation]) -> ChestAnswers:
        """Return the view of a film's observations; of two with one key the first counts."""
        named: dict[str, Observation] = {}
        detections: dict[str, Detection] = {}
        for one in observations:
            if one.key == FINDING:
                detections.setdefault(one.network, _classes_of(Detection, one))
            if one.key in NAMED_KEYS:
                named.setdefault(one.key, one)
        by_network = {name: found for name, found in detections.items() if name}
        return cls(
            finding=next(iter(detections.values()), None),
            opacity=_opacity_of(named[_OPACITY]) if _OPACITY in named else None,
            appearance=_classes_of(Appearance, named[_APPEARANCE])
            if _APPEARANCE in named
            else None,
            scores={key: _score_of(one) for key, one in named.items() if key in SCORES},
            airspace=_airspace_of(named.get(_AIRSPACE), named.get(PARTS)),
            opacity_map=_mapped_of(named[_MAP]) if _MAP in named else None,
            detections=by_network if len(detections) > 1 else {},
            network=next((named[key].network for key in _BY_ONE_NETWORK if key in named), ""),
        )

    def observations(self) -> Iterator[Observation]:
        """Yield the observations that this is the view of, in the order of the contract."""
        for network, found in self._by_network():
            yield _of_classes(FINDING, network, found, FINDING_CLASSES)
        if self.opacity is not None:
            opacity = self.opacity
            label = Candidate(_OPACITY, opacity.probability, opacity.threshold)
            yield Observation(
                _OPACITY, ObservationKind.LABELS, self.network, labels=(label,),
                calibrated=opacity.calibrated,
            )  # fmt: skip
        if self.appearance is not None:
            yield _of_classes(_APPEARANCE, self.network, self.appearance, APPEARANCES)
        for name, score in self.scores.items():
            yield Observation(
                name, ObservationKind.SCORE, "", score.value, _UNIT_OF_SCORES, score.low,
                score.high, parts=_sides(score.right, score.left),
            )  # fmt: skip
        if self.airspace is not None:
            yield from _of_airspace(self.airspace)
        if (mapped := self.opacity_map) is not None:
            yield Observation(
                _MAP, ObservationKind.MASK, "", mapped.lungs, threshold=OPAQUE_PART,
                place_threshold=mapped.threshold, parts=_sides(mapped.right, mapped.left),
            )  # fmt: skip

    def _by_network(self) -> Iterator[tuple[str, Detection]]:
        """Yield every detection network's answer, the finding first."""
        if self.finding is None:
            return
        same = (name for name, found in self.detections.items() if found == self.finding)
        first = self.network or next(same, "")
        yield first, self.finding
        for name, found in self.detections.items():
            if name != first:
                yield name, found

    @property
    def opacities(self) -> dict[str, bool | None]:
        """Of every answer whether it says that there are opacities; None where it may be either."""
        said: dict[str, bool | None] = {}
        if self.opacity is not None:
            said["opacity"] = self.opacity.present
        if self.finding is not None:
            said["finding"] = opacities_by_class(self.finding)
        if self.appearance is not None:
            said["appearance"] = opacities_by_appearance(self.appearance)
        for name, found in self.detections.items():
            if found != self.finding:
                said[f"detections.{name}"] = opacities_by_class(found)
        if self.airspace is not None:
            opaque = opaque_parts(self.airspace)
            said["airspace.level"] = self.airspace.level > 0
            said["airspace.zones"] = None if opaque is None else opaque > 0
        for name, score in self.scores.items():
            said[f"scores.{name}"] = opacities_by_score(score)
        if self.opacity_map is not None:
            said["opacity_map"] = opacities_by_map(self.opacity_map)
        return said

    @property
    def contradictions(self) -> tuple[tuple[str, str], ...]:
        """Which two answers cannot both be true; none for most films.

        Answers are named as in the JSON form: ``opacity``, ``finding``, ``appearance``,
        ``detections.<network>``, ``airspace.level``, ``airspace.zones``, ``scores.<name>``,
        ``opacity_map``. Two contradict each other where one says that there are opacities and the
        other that there are none; level and zones also where the number of zones with opacities
        gives another level; a normal film and an atypical appearance also, since that one has
        something, though it may be no opacity. A class and an appearance of opacities never do:
        other pneumonia may look typical, and COVID-19 atypical.
        """
        said = self.opacities
        names = [name for name, opaque in said.items() if opaque is not None]
        pairs = [
            (one, other)
            for place, one in enumerate(names)
            for other in names[place + 1 :]
            if said[one] != said[other]
        ]
        if said.get("finding") is False and self._is_atypical:
            pairs.append(("finding", "appearance"))
        both = ("airspace.level", "airspace.zones")
        if self.airspace is not None and both not in pairs:
            opaque = opaque_parts(self.airspace)
            if opaque is not None and level_of_parts(opaque) != self.airspace.level:
                pairs.append(both)
        return tuple(pairs)

    @property
    def found_anything(self) -> bool:
        """Whether any of our networks found anything, also where another contradicts it."""
        parts = self.airspace is not None and any(map(is_opaque, self.airspace.parts.values()))
        return parts or any(self.opacities.values()) or self._is_atypical

    @property
    def _is_atypical(self) -> bool:
        found = self.appearance
        return found is not None and not found.abstained and found.named == "atypical"

    def graded(self, target: str) -> bool:
        """Whether a severity network graded above zero: a level, or an extent as it is read.

        ``target``: ``airspace`` or the name of a score, as in `findings.SaliencyMap`.
        """
        if target == _AIRSPACE:
            return self.airspace is not None and self.airspace.level > 0
        score = self.scores.get(target)
        return score is not None and score.value >= _CLEAR_VALUE

    def found_by_grade(self, target: str) -> bool:
        """Whether a severity network says that there are opacities; ``target`` as of `graded`."""
        if target == _AIRSPACE:
            return self.graded(target)
        score = self.scores.get(target)
        return score is not None and bool(opacities_by_score(score))

    def to_json(self) -> dict[str, Any]:
        """Return the contract's keys, but for ``detections``."""
        result: dict[str, Any] = {}
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
                PARTS: dict(self.airspace.parts),
            }
        if self.opacity_map is not None:
            result["opacity_map"] = asdict(self.opacity_map)
        return result

    def detections_to_json(self) -> dict[str, Any]:
        """Return the contract's ``detections``."""
        return {name: _classes_to_json(found) for name, found in self.detections.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], network: str = "") -> ChestAnswers:
        """Return what `to_json` wrote. Raises KeyError on another document.

        ``network``: who gave the finding, where ``detections`` do not tell it.
        """
        finding, opacity = document.get("finding"), document.get("opacity")
        appearance, airspace = document.get("appearance"), document.get("airspace")
        mapped = document.get("opacity_map")
        detections = {
            name: _from_json(Detection, found)
            for name, found in document.get("detections", {}).items()
        }
        first = finding and _from_json(Detection, finding)
        if detections.get(network) != first:
            network = next((name for name, one in detections.items() if one == first), network)
        return cls(
            finding=first,
            opacity=opacity and OpacityPresence(
                opacity["probability"], opacity["threshold"], opacity["calibrated"]
            ),
            appearance=appearance and _from_json(Appearance, appearance),
            scores={name: Score(**score) for name, score in document.get("scores", {}).items()},
            airspace=airspace and Airspace(
                airspace["level"], airspace["probability"], airspace.get(PARTS, {})
            ),
            opacity_map=mapped and MappedOpacity(**mapped),
            detections=detections,
            network=network,
        )  # fmt: skip


def figures_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of `FIGURES` that findings hold, by their JSON form."""
    scores, airspace = document.get("scores") or {}, document.get("airspace") or {}
    told = {name: scores.get(name, {}).get("value") for name in SCORES}
    told[FIGURES[-1].name] = airspace.get("level")
    return {name: value for name, value in told.items() if value is not None}


_BY_ONE_NETWORK = (FINDING, _OPACITY, _APPEARANCE)


def _of_classes(key: str, network: str, found: ClassAnswer, order: tuple[str, ...]) -> Observation:
    """Return an answer of classes; those that we know come first, in their order."""
    names = [*order, *(name for name in found.probabilities if name not in order)]
    labels = tuple(
        Candidate(name, found.probabilities[name], found.threshold)
        for name in names
        if name in found.probabilities
    )
    return Observation(
        key, ObservationKind.CLASS, network, labels=labels, calibrated=found.calibrated
    )


def _classes_of(kind: type[_Classes], one: Observation) -> _Classes:
    best = one.best
    return kind(
        {label.key: label.probability for label in one.labels},
        best.threshold if best else 0.0,
        one.calibrated,
    )


def _opacity_of(one: Observation) -> OpacityPresence:
    (label,) = one.labels
    return OpacityPresence(label.probability, label.threshold, one.calibrated)


def _score_of(one: Observation) -> Score:
    value = 0.0 if one.value is None else one.value
    return Score(value, one.low, one.high, one.parts.get("right"), one.parts.get("left"))


def _of_airspace(found: Airspace) -> Iterator[Observation]:
    level = Candidate(f"level_{found.level}", found.probability, 0.0)
    yield Observation(
        _AIRSPACE, ObservationKind.LEVEL, "", float(found.level), labels=(level,), calibrated=True
    )
    if found.parts:
        # In one order, so that the sum is the same number however they were read.
        names = [*ZONES, *(name for name in found.parts if name not in ZONES)]
        parts = {name: found.parts[name] for name in names if name in found.parts}
        yield Observation(PARTS, ObservationKind.SCORE, "", sum(parts.values()), parts=parts)


def _airspace_of(level: Observation | None, parts: Observation | None) -> Airspace | None:
    best = level.best if level else None
    if level is None or best is None:
        return None
    return Airspace(int(level.value or 0.0), best.probability, parts.parts if parts else {})


def _mapped_of(one: Observation) -> MappedOpacity:
    threshold = 0.5 if one.place_threshold is None else one.place_threshold
    return MappedOpacity(threshold, one.value, one.parts.get("right"), one.parts.get("left"))


def _sides(right: float | None, left: float | None) -> dict[str, float]:
    both = {"right": right, "left": left}
    return {side: value for side, value in both.items() if value is not None}


def _score_to_json(score: Score) -> dict[str, Any]:
    return {"value": score.value, "low": score.low, "high": score.high} | _sides(
        score.right, score.left
    )


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
