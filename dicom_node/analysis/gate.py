"""The input gate: is this a frontal chest radiograph at all, and how does it lie, by its pixels.

The header was believed when the film was admitted; headers are wrong every day. What shows nothing
is told by rule (`without_picture`); everything else by a network of the task ``gate``
(`dicom_node.networks.chest_gate`), from the whole film, before any other network looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dicom_node.analysis.calibration import flags, probabilities
from dicom_node.brains import Brain
from dicom_node.brains.models import key
from dicom_node.bundles import Bundle, Output
from dicom_node.errors import BundleContractBroken, OutputNotFinite
from dicom_node.findings import TURNS, note_of
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.imaging.resample import boxes

LEAST_SPREAD = 0.02
"""Standard deviation of the grey levels, of [0, 1], below which a film is uniform."""

MOST_JUMPS = 0.015
"""How many of a film's neighbours may differ by more than half of all grey levels."""

FRONTAL = "frontal_chest"
KINDS = {
    FRONTAL: "a frontal chest radiograph",
    "lateral_chest": "a lateral chest radiograph",
    "other_radiograph": "a radiograph of another body part",
    "no_radiograph": "a picture that is no radiograph",
}
"""What a gate tells apart, in words for people."""

FLAGS = ("inverted", "mirrored", "child")
_OUTPUTS = {
    "kind": ("class-logits", tuple(KINDS)),
    "turned": ("class-logits", TURNS),
    "flags": ("flag-logits", FLAGS),
}


@dataclass(frozen=True, slots=True)
class Lie:
    """What a gate says of a film.

    ``reason``: why it is not analysed, a sentence for people; None if it is. ``turned``: how it
    lies turned clockwise, of `TURNS`. ``inverted``, ``mirrored``, ``child``: whether it is.
    """

    reason: str | None = None
    turned: str = TURNS[0]
    inverted: bool = False
    mirrored: bool = False
    child: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be told of it, of `findings.NOTES`."""
        said = {
            note_of("inverted"): self.inverted,
            note_of(self.turned): self.turned != TURNS[0],
            note_of("mirrored"): self.mirrored,
            "child": self.child,
        }
        return tuple(note for note, holds in said.items() if holds)


def without_picture(film: Float) -> str | None:
    """Return why nothing can be seen on a film, as a sentence for people; None if something can.

    ``film``: float32 in [0, 1], (rows, columns). Neighbours are compared at about 512 pixels a
    side.
    """
    if float(boxes(film, (256, 256)).std()) < LEAST_SPREAD:
        return "The film is uniform: there is nothing to analyse."
    if jumps(film) > MOST_JUMPS:
        return (
            "Not analysable: neighbouring pixels jump across all grey levels, as in noise or where "
            "bits of the film are missing."
        )
    return None


def jumps(film: Float) -> float:
    """Return the part of a film's neighbours that differ by more than half of all grey levels."""
    step = max(1, min(film.shape) // 512)
    looked = np.ascontiguousarray(film[::step, ::step])
    steps = (np.diff(looked, axis=axis) for axis in (0, 1))
    return max(np.count_nonzero(np.abs(one, out=one) > 0.5) / one.size for one in steps)


class Gate:
    """A gate that a brain answers for. Raises `BundleContractBroken` for another bundle."""

    def __init__(self, bundle: Bundle, brain: Brain) -> None:
        check_gate(bundle)
        self.bundle, self._brain = bundle, brain

    def look(self, film: Float) -> Lie:
        """Return what the gate says of a film, float32 in [0, 1], (rows, columns), bright = dense.

        Raises `OutputNotFinite`.
        """
        grid, _ = prepare(film, self.bundle.contract)
        answers = self._brain.answer(self.bundle.id, grid[None], explain=False)
        found = {name: answers[key(self.bundle.id, name)][0] for name in _OUTPUTS}
        if not all(np.isfinite(value).all() for value in found.values()):
            raise OutputNotFinite("The gate's answer to a film is not a number.")
        return lie_of(self.bundle, found)


def lie_of(bundle: Bundle, logits: Mapping[str, Float]) -> Lie:
    """Return what the outputs of a gate say of one film, by its calibration and thresholds."""
    outputs = {output.name: output for output in bundle.manifest.outputs}
    thresholds = bundle.manifest.thresholds

    def told(name: str, probability: float) -> bool:
        return probability >= thresholds.of_flag(name)

    kinds = _probabilities(bundle, outputs["kind"], logits)
    if not told(FRONTAL, kinds[FRONTAL]):
        return Lie(_refusal(kinds))
    turns = _probabilities(bundle, outputs["turned"], logits)
    turned = max(turns, key=lambda name: turns[name])
    lies = _probabilities(bundle, outputs["flags"], logits)
    return Lie(
        turned=turned if told(turned, turns[turned]) else TURNS[0],
        inverted=told("inverted", lies["inverted"]),
        mirrored=told("mirrored", lies["mirrored"]),
        child=told("child", lies["child"]),
    )


def check_gate(bundle: Bundle) -> None:
    """Raise `BundleContractBroken` for a bundle that is no gate, or says something else."""
    outputs = {one.name: (one.kind, one.classes) for one in bundle.manifest.outputs}
    if bundle.manifest.task != "gate" or outputs != _OUTPUTS or bundle.contract.needs_lungs:
        raise BundleContractBroken(
            f"Bundle {bundle.id} is no gate that looks at the whole film.",
            remedy="Name another bundle in analysis.gate, or none.",
        )


def _probabilities(bundle: Bundle, output: Output, logits: Mapping[str, Float]) -> dict[str, float]:
    believed = flags if output.kind == "flag-logits" else probabilities
    found = believed(logits[output.name], *bundle.manifest.calibration.of(output.name))
    return dict(zip(output.classes, map(float, found), strict=True))


def _refusal(kinds: Mapping[str, float]) -> str:
    """Return why a film that is not surely a frontal chest radiograph is not analysed."""
    taken_for, next_to = sorted(kinds, key=lambda name: -kinds[name])[:2]
    sure = _percent(kinds[taken_for])
    if taken_for == FRONTAL:
        return (
            f"Not surely a frontal chest radiograph by its pixels ({sure}): it may be"
            f" {KINDS[next_to]} ({_percent(kinds[next_to])})."
        )
    return f"Not a frontal chest radiograph by its pixels: taken for {KINDS[taken_for]} ({sure})."


def _percent(probability: float) -> str:
    return "more than 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"
