"""From a network's numbers to observations: by the outputs that its manifest declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dicom_node.analysis.calibration import flags, probabilities
from dicom_node.bundles import Bundle, Output
from dicom_node.chest import FINDING
from dicom_node.errors import BundleContractBroken
from dicom_node.imaging.prepare import Float
from dicom_node.observations import Candidate, Observation, ObservationKind

LUNGS = ("right", "left")
"""The classes of an output with one value a lung."""

SPREAD = "spread"
"""The output of a score's network with the error that it expects of itself, in points."""

_GRADES = "airspace"
"""The task of a network whose classes are levels."""

_ANSWERING = ("detection", _GRADES, "score")


@dataclass(frozen=True, slots=True)
class NetworkFindings:
    """What one network told about one film.

    ``target``: what its saliency map explains: the named class, or the key of a level or score.
    """

    target: str
    observations: tuple[Observation, ...]


def told(bundle: Bundle, values: Mapping[str, Float]) -> NetworkFindings:
    """Return what the outputs ``values`` of one film say: what is explained first.

    Raises `BundleContractBroken` for a bundle that is not of this kind.
    """
    if bundle.manifest.task not in _ANSWERING:
        raise BundleContractBroken(
            f"Bundle {bundle.id} is for {bundle.manifest.task}, which is no finding.",
            remedy="Take it out of analysis.suite; lungs are found by analysis.lungs.",
        )
    found = sorted(_observations(bundle, values), key=_place)
    first = found[0]
    named = first.best if first.kind is ObservationKind.CLASS else None
    return NetworkFindings(named.key if named else first.key, tuple(found))


def _place(one: Observation) -> int:
    """Return where an observation stands: what the network is there for comes first."""
    if one.key == FINDING:
        return 0
    return 1 if one.kind is ObservationKind.LEVEL else 2


def changed(before: NetworkFindings, after: NetworkFindings) -> float:
    """Return by how much the answer falls from one film to the other.

    Of classes, the probability of what was named before; else the points of all scores.
    """
    first, then = before.observations[0], after.observations[0]
    if first.kind is ObservationKind.CLASS:
        return _probability(first, before.target) - _probability(then, before.target)
    return _points(before) - _points(after)


def _probability(one: Observation, name: str) -> float:
    return next(label.probability for label in one.labels if label.key == name)


def _points(found: NetworkFindings) -> float:
    scores = (one for one in found.observations if one.kind is ObservationKind.SCORE)
    return sum(one.value or 0.0 for one in scores)


def _observations(bundle: Bundle, values: Mapping[str, Float]) -> Iterator[Observation]:
    """Yield one observation an output, but for those that belong to another."""
    for output in bundle.manifest.outputs:
        match output.kind:
            case "class-logits" if bundle.manifest.task == _GRADES:
                yield _level(bundle, output, values)
            case "class-logits":
                yield _classes(bundle, output, values)
            case "flag-logits":
                yield _labels(bundle, output, values)
            case "scores" if output.reported_as:
                yield _score(bundle, output, values)
            case "scores" if output.classes and output.classes != LUNGS:
                yield _of_parts(bundle.id, output, values)


def _classes(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> Observation:
    found = _probabilities(bundle, output, values)
    named = max(found, key=lambda name: found[name])
    threshold = bundle.manifest.thresholds.of(named)
    labels = tuple(Candidate(name, value, threshold) for name, value in found.items())
    return Observation(
        output.name, ObservationKind.CLASS, bundle.id, labels=labels, calibrated=bundle.calibrated
    )


def _level(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> Observation:
    """Return the most probable level; levels are always named."""
    found = list(_probabilities(bundle, output, values).values())
    level = max(range(len(found)), key=lambda number: found[number])
    label = Candidate(f"level_{level}", found[level], 0.0)
    return Observation(
        output.name, ObservationKind.LEVEL, bundle.id, float(level), labels=(label,),
        calibrated=True,
    )  # fmt: skip


def _labels(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> Observation:
    manifest = bundle.manifest
    found = flags(values[output.name].ravel(), *manifest.calibration.of(output.name))
    labels = tuple(
        Candidate(name, float(value), manifest.thresholds.of_flag(name))
        for name, value in zip(output.classes, found, strict=True)
    )
    return Observation(
        output.name, ObservationKind.LABELS, bundle.id, labels=labels, calibrated=bundle.calibrated
    )


def _score(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> Observation:
    low, high = output.range
    value = min(high, max(low, float(values[output.name][0])))
    half = _half_width(bundle, values)
    return Observation(
        output.reported_as, ObservationKind.SCORE, bundle.id, value, f"{{{low:g}:{high:g}}}",
        low=max(low, value - half) if half else None,
        high=min(high, value + half) if half else None,
        parts=_lungs(bundle, values),
    )  # fmt: skip


def _of_parts(network: str, output: Output, values: Mapping[str, Float]) -> Observation:
    """Return scores of parts that are named: their sum, and each."""
    parts = dict(zip(output.classes, map(float, values[output.name]), strict=True))
    return Observation(
        output.name, ObservationKind.SCORE, network, sum(parts.values()), parts=parts
    )


def _probabilities(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> dict[str, float]:
    found = probabilities(values[output.name], *bundle.manifest.calibration.of(output.name))
    return dict(zip(output.classes, map(float, found), strict=True))


def _half_width(bundle: Bundle, values: Mapping[str, Float]) -> float:
    """Return half the width of a score's interval: the film's own where the network tells it."""
    calibration = bundle.manifest.calibration
    if calibration.spread_factor and any(o.name == SPREAD for o in bundle.manifest.outputs):
        return float(values[SPREAD].ravel()[0]) * calibration.spread_factor
    return calibration.half_width


def _lungs(bundle: Bundle, values: Mapping[str, Float]) -> dict[str, float]:
    """Return what each lung adds to the score, where the manifest declares such an output."""
    for output in bundle.manifest.outputs:
        if output.classes == LUNGS:
            return dict(zip(LUNGS, map(float, values[output.name].ravel()), strict=True))
    return {}
