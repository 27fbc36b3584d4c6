"""What the networks found on one film: plain values, with their JSON form.

The JSON shape is a contract (``analyse --json``, ``cases show --json``, ``report --json``).
Numpy only: no DICOM, no Keras.
"""

from __future__ import annotations

import io
import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.chest import (
    NAMED_KEYS,
    Airspace,
    Appearance,
    ChestAnswers,
    Detection,
    MappedOpacity,
    OpacityPresence,
    Score,
)
from dicom_node.observations import Observation, ObservationKind

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
    """Everything found on one film.

    ``observations``: all that networks observed, each one's in its order; what our own say first.
    ``evidence``: of the first detection network of the suite (without one, of the first network).
    ``checks``: every network's evidence, by bundle; of a score, ``change_when_hidden`` is its fall
    in points. ``quality``: which of `QUALITY` may be wrong with the film. ``notes``: how it was
    read, see `NOTES`. ``unanswered``: why a network of the suite said nothing of this film, in
    plain words; others are not touched by it.
    """

    sop_instance_uid: str
    outcome: Outcome
    reason: str | None = None
    observations: tuple[Observation, ...] = ()
    evidence: Evidence | None = None
    checks: Mapping[str, Evidence] = field(default_factory=dict)
    suite: Mapping[str, NetworkVersion] = field(default_factory=dict)
    quality: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)
    chest: ChestAnswers = field(init=False, repr=False, compare=False)
    """What our own networks said, under the names of the JSON contract: a view."""

    def __post_init__(self) -> None:
        """Read the view once: results ask for it all the time."""
        object.__setattr__(self, "chest", ChestAnswers.of(self.observations))

    @property
    def observed(self) -> tuple[Observation, ...]:
        """What bundles said that declare it themselves: all without a name of its own."""
        return tuple(one for one in self.observations if one.key not in NAMED_KEYS)

    @property
    def finding(self) -> Detection | None:
        """See `ChestAnswers`, as of all names that follow."""
        return self.chest.finding

    @property
    def opacity(self) -> OpacityPresence | None:
        """Whether there is any opacity."""
        return self.chest.opacity

    @property
    def appearance(self) -> Appearance | None:
        """How the film looks."""
        return self.chest.appearance

    @property
    def scores(self) -> Mapping[str, Score]:
        """The severity scores by name."""
        return self.chest.scores

    @property
    def airspace(self) -> Airspace | None:
        """The airspace severity."""
        return self.chest.airspace

    @property
    def opacity_map(self) -> MappedOpacity | None:
        """How much of the lungs is mapped opaque."""
        return self.chest.opacity_map

    @property
    def detections(self) -> Mapping[str, Detection]:
        """Every detection network's answer, by bundle, where there is more than one."""
        return self.chest.detections

    @property
    def contradictions(self) -> tuple[tuple[str, str], ...]:
        """Which two answers on the film cannot both be true."""
        return self.chest.contradictions

    @property
    def turned(self) -> str:
        """How the film lies turned by its pixels, of `TURNS`, as it is hung by its header.

        It was turned back before any network looked at it; what is shown lies on the stored film.
        """
        return next((turn for turn in TURNS if note_of(turn) in self.notes), TURNS[0])

    def with_chest(self, chest: ChestAnswers) -> FilmFindings:
        """Return the same, with these answers of our own networks."""
        return replace(self, observations=(*chest.observations(), *self.observed))

    def with_observed(self, observed: Iterable[Observation]) -> FilmFindings:
        """Return the same, with these observations of bundles that declare what they say."""
        named = (one for one in self.observations if one.key in NAMED_KEYS)
        return replace(self, observations=(*named, *observed))

    def to_json(self) -> dict[str, Any]:
        """Return the contract's JSON object, without ``file`` (the caller knows that)."""
        result = self.to_stored_json()
        if self.observations:
            result["observations"] = [one.to_json() for one in self.observations]
        return result

    def to_stored_json(self) -> dict[str, Any]:
        """Return `to_json` with nothing said twice: observations without a name of their own."""
        result: dict[str, Any] = {
            "sop_instance_uid": self.sop_instance_uid,
            "outcome": str(self.outcome),
            "reason": self.reason,
            **self.chest.to_json(),
        }
        if self.evidence is not None:
            result["evidence"] = asdict(self.evidence)
        if self.checks:
            result["checks"] = {name: asdict(found) for name, found in self.checks.items()}
        if self.detections:
            result["detections"] = self.chest.detections_to_json()
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
        evidence, checks = document.get("evidence"), document.get("checks", {})
        said = tuple(map(Observation.from_json, document.get("observations", ())))
        suite = document.get("suite", {})
        network = ChestAnswers.of(said).network or _who_found(document)
        chest = ChestAnswers.from_json(document, network)
        return cls(
            sop_instance_uid=document["sop_instance_uid"],
            outcome=Outcome(document["outcome"]),
            reason=document.get("reason"),
            observations=(
                *chest.observations(), *(one for one in said if one.key not in NAMED_KEYS)
            ),
            evidence=evidence and Evidence(**evidence),
            checks={name: Evidence(**found) for name, found in checks.items()},
            suite={name: NetworkVersion(**network) for name, network in suite.items()},
            quality=tuple(document.get("quality", ())),
            notes=tuple(document.get("notes", ())),
            unanswered=dict(document.get("unanswered", {})),
        )  # fmt: skip


def _who_found(document: Mapping[str, Any]) -> str:
    """Return which network gave the finding; "" where that cannot be told.

    What is stored does not say it: it is the one whose evidence is that of the film.
    """
    evidence = document.get("evidence")
    names = [name for name, found in document.get("checks", {}).items() if found == evidence]
    return names[0] if evidence and len(names) == 1 else ""


def is_in_doubt(document: Mapping[str, Any]) -> bool:
    """Whether answers on a film contradict each other, by the JSON form of its findings.

    Also of a form that an older release wrote, which does not name them.
    """
    return "outcome" in document and bool(FilmFindings.from_json(document).contradictions)


_ONE_OF = (ObservationKind.CLASS, ObservationKind.LEVEL)


def has_findings(findings: FilmFindings) -> bool:
    """Whether any network found anything on a film, also where another contradicts it.

    Of a class or level that was observed its manifest alone knows whether it is a finding: such an
    one does not count.
    """
    if any(one.reached for one in findings.observed if one.kind not in _ONE_OF):
        return True
    return findings.chest.found_anything


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
