"""Where a network looked that has no gradient: hide one part of the film after the other.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014: what makes the
answer fall when it is hidden spoke for it. As many more answers as there are parts; each part is
replaced by its surroundings without structure, with a soft border, so that hiding adds no edges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dicom_node.analysis.evidence import hide_salient, without_structure
from dicom_node.imaging.prepare import Float
from dicom_node.observations import Candidate, Observation, ObservationKind

PARTS = 8
"""So many parts a side are hidden, one after the other."""

_A_CALL = 16
_PIXELS_A_CALL = _A_CALL * 256 * 256
"""Films a call, and pixels: more of them would need more memory, and are hardly faster."""

_LEAST = 1e-4
"""A fall below this part of the answer (of 1, where that is more) is none: of several films at once
engines round otherwise than of one."""


_BELIEVED, _REACHED, _NOT_BELIEVED, _NOT_REACHED = 3, 2, 1, 0
"""What matters more: labels and places, and numbers, that reach their threshold or do not."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is explained: an observation, of several candidates one, and how strongly it is said.

    ``strength``: a probability in [0, 1], or a number in its unit.
    """

    key: str
    label: str
    strength: float

    @property
    def target(self) -> str:
        """How a saliency map names it: the key, and the label behind a colon."""
        return f"{self.key}:{self.label}" if self.label else self.key


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Where a network looked. ``heat``: float32 in [0, 1], (`PARTS`, `PARTS`); zero: nowhere.

    ``change``: by how much the answer falls where the hot parts are hidden together.
    """

    spoken: Spoken
    heat: Float
    change: float


def spoken_first(observations: Sequence[Observation]) -> Spoken | None:
    """Return what matters most of what a network said; None where nothing can be explained.

    What is believed before what is not; of both the most probable before numbers.
    """
    said = [*_candidates(observations), *_numbers(observations)]
    return max(said, key=lambda each: each[:2])[2] if said else None


def strength_of(observations: Sequence[Observation], spoken: Spoken) -> float:
    """Return how strongly something is said in another answer of the same network; 0 if not."""
    for one in observations:
        if one.key != spoken.key:
            continue
        if one.kind is ObservationKind.REGION:
            found = [p.probability or 0.0 for p in one.places if p.label == spoken.label]
            return max(found, default=0.0)
        if spoken.label:
            return next((c.probability for c in one.labels if c.key == spoken.label), 0.0)
        return one.value or 0.0
    return 0.0


def explained(
    grey: Float,
    spoken: Spoken,
    strengths: Callable[[Float], Sequence[float]],
) -> Explained:
    """Return where a network looked.

    ``grey``: what it saw, float32 in [0, 1], (rows, columns). ``strengths``: how strongly that is
    said of several such, (films, rows, columns).
    """
    film = grey[:, :, None]
    blurred = without_structure(film)
    found: list[float] = []
    places, a_call = range(PARTS**2), max(1, min(_A_CALL, _PIXELS_A_CALL // grey.size))
    for start in places[::a_call]:
        parts = map(_part, places[start : start + a_call])
        hidden = [hide_salient(film, blurred, part)[:, :, 0] for part in parts]
        found += strengths(np.stack(hidden))
    falls = np.maximum(spoken.strength - np.asarray(found), 0).reshape(PARTS, PARTS)
    most = float(falls.max())
    if most <= _LEAST * max(1.0, abs(spoken.strength)):
        return Explained(spoken, np.zeros((PARTS, PARTS), np.float32), 0.0)
    heat = (falls / most).astype(np.float32)
    (without,) = strengths(hide_salient(film, blurred, heat)[None, :, :, 0])
    return Explained(spoken, heat, float(spoken.strength - without))


def _part(place: int) -> Float:
    """Return a heat that is hot in one part alone, as `hide_salient` takes it."""
    hot = np.zeros((PARTS, PARTS), np.float32)
    hot.ravel()[place] = 1.0
    # Its border is soft, and lies half way to the next part.
    return np.asarray(Image.fromarray(hot).resize((4 * PARTS, 4 * PARTS), Image.Resampling.NEAREST))


def _candidates(
    observations: Sequence[Observation],
) -> list[tuple[int, float, Spoken]]:
    found = []
    for one in observations:
        known: Mapping[str, Candidate] = {each.key: each for each in one.labels}
        for candidate in known.values():
            rank = _BELIEVED if candidate in one.believed else _NOT_BELIEVED
            said = Spoken(one.key, candidate.key, candidate.probability)
            found.append((rank, candidate.probability, said))
        if one.kind is ObservationKind.REGION and one.places:
            best = one.places[0]
            strength = best.probability or 0.0
            found.append((_BELIEVED, strength, Spoken(one.key, best.label, strength)))
    return found


def _numbers(observations: Sequence[Observation]) -> list[tuple[int, float, Spoken]]:
    wanted = (ObservationKind.SCORE, ObservationKind.MEASUREMENT)
    return [
        (_REACHED if one.reached else _NOT_REACHED, 0.0, Spoken(one.key, "", one.value))
        for one in observations
        if one.kind in wanted and one.value is not None
    ]
