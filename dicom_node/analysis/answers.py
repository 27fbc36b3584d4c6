"""From a network's numbers to findings: by the outputs that its manifest declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dicom_node.analysis.calibration import flags, probabilities
from dicom_node.bundles import Bundle, Output
from dicom_node.errors import BundleContractBroken
from dicom_node.findings import Airspace, Appearance, Detection, OpacityPresence, Score
from dicom_node.imaging.prepare import Float

LUNGS = ("right", "left")
"""The classes of an output with one value a lung."""

APPEARANCE, OPACITY = "appearance", "opacity"
"""Outputs of a detection network beside its finding."""

SPREAD = "spread"
"""The output of a score's network with the error that it expects of itself, in points."""

_Answer = TypeVar("_Answer", Detection, Appearance)


@dataclass(frozen=True, slots=True)
class NetworkFindings:
    """What one network told about one film.

    ``target``: what its saliency map explains: the named class, ``airspace``, or a score's name.
    """

    target: str
    detection: Detection | None = None
    airspace: Airspace | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    opacity: OpacityPresence | None = None
    appearance: Appearance | None = None


def told(bundle: Bundle, values: Mapping[str, Float]) -> NetworkFindings:
    """Return the findings in the outputs ``values`` of one film.

    Raises `BundleContractBroken` for a bundle that is not of this kind.
    """
    outputs = {output.kind: output for output in reversed(bundle.manifest.outputs)}
    task = bundle.manifest.task
    if task == "detection":
        return _of_detection(bundle, values)
    if task == "airspace":
        levels = list(_classes(bundle, outputs["class-logits"], values).values())
        zones = outputs["scores"]
        level = max(range(len(levels)), key=lambda k: levels[k])
        named = zip(zones.classes, map(float, values[zones.name]), strict=True)
        return NetworkFindings("airspace", airspace=Airspace(level, levels[level], dict(named)))
    if task == "score":
        output = outputs["scores"]
        return NetworkFindings(
            output.reported_as, scores={output.reported_as: _score(bundle, output, values)}
        )
    raise BundleContractBroken(
        f"Bundle {bundle.id} is for {task}, which is no finding.",
        remedy="Take it out of analysis.suite; lungs are found by analysis.lungs.",
    )


def changed(before: NetworkFindings, after: NetworkFindings) -> float:
    """Return by how much the answer falls from one film to the other.

    Of a detection, the probability of what was named before; of airspace severity, the sum of
    the zones' points; of a score, its points.
    """
    if before.detection and after.detection:
        name = before.detection.finding_class
        return before.detection.probability - after.detection.probabilities[name]
    if before.airspace and after.airspace:
        return sum(before.airspace.zones.values()) - sum(after.airspace.zones.values())
    return sum(s.value for s in before.scores.values()) - sum(
        s.value for s in after.scores.values()
    )


def _of_detection(bundle: Bundle, values: Mapping[str, Float]) -> NetworkFindings:
    """Return the finding, and what the network says beside it: opacity, appearance."""
    by_name = {output.name: output for output in bundle.manifest.outputs}
    finding = next(
        output
        for output in bundle.manifest.outputs
        if output.kind == "class-logits" and output.name != APPEARANCE
    )
    detection = _answer(Detection, bundle, finding, values)
    appearance, opacity = by_name.get(APPEARANCE), by_name.get(OPACITY)
    return NetworkFindings(
        detection.finding_class,
        detection=detection,
        opacity=_opacity(bundle, opacity, values) if opacity else None,
        appearance=_answer(Appearance, bundle, appearance, values) if appearance else None,
    )


def _answer(
    kind: type[_Answer], bundle: Bundle, output: Output, values: Mapping[str, Float]
) -> _Answer:
    found = _classes(bundle, output, values)
    named = max(found, key=lambda name: found[name])
    return kind(found, bundle.manifest.thresholds.of(named), bundle.calibrated)


def _opacity(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> OpacityPresence:
    found = flags(values[output.name].ravel(), *bundle.manifest.calibration.of(output.name))
    least = bundle.manifest.thresholds.of_flag(OPACITY)
    return OpacityPresence(float(found[0]), least, bundle.calibrated)


def _classes(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> dict[str, float]:
    found = probabilities(values[output.name], *bundle.manifest.calibration.of(output.name))
    return dict(zip(output.classes, map(float, found), strict=True))


def _score(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> Score:
    low, high = output.range
    value = min(high, max(low, float(values[output.name][0])))
    half = _half_width(bundle, values)
    lungs = _lungs(bundle, values)
    if not half:
        return Score(value, **lungs)
    return Score(value, max(low, value - half), min(high, value + half), **lungs)


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
