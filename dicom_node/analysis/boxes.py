"""Boxes that a network found on a film, and which of them are the same place twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class FoundBoxes:
    """Boxes on a film.

    ``corners``: float64, (boxes, 4): left, top, right, bottom, in pixels. ``scores``: float32,
    (boxes,), in [0, 1]; ``labels``: (boxes,), the number of each one's class.
    """

    corners: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.intp]

    def taken(self, which: npt.NDArray[np.intp]) -> FoundBoxes:
        """Return those of these numbers, in their order."""
        return FoundBoxes(self.corners[which], self.scores[which], self.labels[which])

    def without_doubles(self, overlap: float, most: int) -> FoundBoxes:
        """Return at most so many boxes, the most probable first, the first of them on a tie.

        Without those that one of their class before them covers: what both share is more than
        ``overlap`` of what they cover together (non-maximum suppression).
        """
        left = np.argsort(-self.scores, kind="stable")
        kept: list[int] = []
        while len(left) and len(kept) < most:
            first, left = int(left[0]), left[1:]
            kept.append(first)
            same = self.labels[left] == self.labels[first]
            left = left[~(same & (self._shared(first, left) > overlap))]
        return self.taken(np.asarray(kept, np.intp))

    def _shared(self, one: int, others: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return what a box shares with each of the others, as a part of what both cover."""
        box, boxes = self.corners[one], self.corners[others]
        inside = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
        shared = np.prod(np.maximum(inside, 0.0), axis=1)
        union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared
        return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))
