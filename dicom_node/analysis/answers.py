"""From a network's numbers to findings: by the outputs that its manifest declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dicom_node.analysis.calibration import probabilities
from dicom_node.bundles import Bundle, Output
from dicom_node.errors import BundleContractBroken
from dicom_node.findings import Airspace, Detection, Score
from dicom_node.imaging.prepare import Float

LUNGS = ("right", "left")
"""The classes of an output with one value a lung."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one network told about one film.

    ``target``: what its saliency map explains: the named class, ``airspace``, or a score's name.
    """

    target: str
    detection: Detection | None = None
    airspace: Airspace | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)


def told(bundle: Bundle, values: Mapping[str, Float]) -> Told:
    """Return the findings in the outputs ``values`` of one film.

    Raises `BundleContractBroken` for a bundle that is not of this kind.
    """
    outputs = {output.kind: output for output in reversed(bundle.manifest.outputs)}
    task = bundle.manifest.task
    if task == "detection":
        found = _classes(bundle, outputs["class-logits"], values)
        detection = Detection(found, bundle.threshold, bundle.calibrated)
        return Told(detection.finding_class, detection=detection)
    if task == "airspace":
        levels = list(_classes(bundle, outputs["class-logits"], values).values())
        zones = outputs["scores"]
        level = max(range(len(levels)), key=lambda k: levels[k])
        named = zip(zones.classes, map(float, values[zones.name]), strict=True)
        return Told("airspace", airspace=Airspace(level, levels[level], dict(named)))
    if task == "score":
        output = outputs["scores"]
        return Told(output.reported_as, scores={output.reported_as: _score(bundle, output, values)})
    raise BundleContractBroken(
        f"Bundle {bundle.id} is for {task}, which is no finding.",
        remedy="Take it out of analysis.suite; lungs are found by analysis.lungs.",
    )


def changed(before: Told, after: Told) -> float:
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


def _classes(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> dict[str, float]:
    found = probabilities(values[output.name], bundle.manifest.calibration.temperature)
    return dict(zip(output.classes, map(float, found), strict=True))


def _score(bundle: Bundle, output: Output, values: Mapping[str, Float]) -> Score:
    low, high = output.range
    value = min(high, max(low, float(values[output.name][0])))
    half = bundle.manifest.calibration.half_width
    lungs = _lungs(bundle, values)
    if not half:
        return Score(value, **lungs)
    return Score(value, max(low, value - half), min(high, value + half), **lungs)


def _lungs(bundle: Bundle, values: Mapping[str, Float]) -> dict[str, float]:
    """Return what each lung adds to the score, where the manifest declares such an output."""
    for output in bundle.manifest.outputs:
        if output.classes == LUNGS:
            return dict(zip(LUNGS, map(float, values[output.name].ravel()), strict=True))
    return {}
