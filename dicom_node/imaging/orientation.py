"""Films that are not stored as they are hung, by their Patient Orientation (PS3.3 C.7.6.1.1.1).

Networks have learned from films as they are hung: the patient's left at the right, the feet below
(L\\F). There are eight ways to store a film; each is turned for the networks, and where they looked
is turned back, so that everything in a result lies on the stored matrix and every side is the
patient's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.findings import Explanation, Region
from dicom_node.observations import Observation, Point

Plane = npt.NDArray[Any]
"""Values of a film or of a grid over it, (rows, columns)."""

_ACROSS, _DOWN = "RL", "HF"


@dataclass(frozen=True, slots=True)
class Hanging:
    """What hangs a stored film: first the transposition, then the flips.

    ``stated``: whether Patient Orientation says so. One that contradicts itself says nothing.
    """

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False
    stated: bool = True

    @property
    def is_turned(self) -> bool:
        """Whether head and feet do not lie above and below."""
        return self.transposed or self.upside_down

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be told of it, see `findings.NOTES`."""
        if not self.stated:
            return ("orientation",)
        return ("turned",) if self.is_turned else ("mirrored",) if self.mirrored else ()

    def then(self, other: Hanging) -> Hanging:
        """Return what hangs a film as this does, and what that gives as ``other`` does."""
        down, across = self.upside_down, self.mirrored
        if other.transposed:
            down, across = across, down
        return Hanging(
            transposed=self.transposed != other.transposed,
            upside_down=down != other.upside_down,
            mirrored=across != other.mirrored,
            stated=self.stated and other.stated,
        )

    def hang(self, stored: Plane) -> Plane:
        """Return a stored plane (rows, columns) as it is hung; the plane itself if it is so."""
        return self._flipped(stored.T if self.transposed else stored)

    def store(self, hung: Plane) -> Plane:
        """Return a hung plane (rows, columns) as it is stored."""
        flipped = self._flipped(hung)
        return np.ascontiguousarray(flipped.T) if self.transposed else flipped

    def hang_region(self, region: Region, stored: tuple[int, int]) -> Region:
        """Return a rectangle of the stored matrix of that shape (rows, columns) as it is hung."""
        return self._flipped_region(_swapped(region) if self.transposed else region, stored)

    def store_region(self, region: Region, stored: tuple[int, int]) -> Region:
        """Return a rectangle of the hung film on the stored matrix of that shape."""
        flipped = self._flipped_region(region, stored)
        return _swapped(flipped) if self.transposed else flipped

    def hang_place(self, place: Point, stored: tuple[int, int]) -> Point:
        """Return a place (column, row) of the stored matrix of that shape as it is hung."""
        column, row = place[::-1] if self.transposed else place
        return self._flipped_place((column, row), stored)

    def store_place(self, place: Point, stored: tuple[int, int]) -> Point:
        """Return a place (column, row) of the hung film on the stored matrix of that shape."""
        column, row = self._flipped_place(place, stored)
        return (row, column) if self.transposed else (column, row)

    def _flipped_place(self, place: Point, stored: tuple[int, int]) -> Point:
        rows, columns = stored[::-1] if self.transposed else stored
        column, row = place
        return columns - column if self.mirrored else column, (
            rows - row if self.upside_down else row
        )

    def _flipped(self, plane: Plane) -> Plane:
        if not (self.is_turned or self.mirrored):
            return plane
        down, across = (-1 if flip else 1 for flip in (self.upside_down, self.mirrored))
        return np.ascontiguousarray(plane[::down, ::across])

    def _flipped_region(self, region: Region, stored: tuple[int, int]) -> Region:
        rows, columns = stored[::-1] if self.transposed else stored
        top, left, bottom, right = region.top, region.left, region.bottom, region.right
        if self.upside_down:
            top, bottom = rows - bottom, rows - top
        if self.mirrored:
            left, right = columns - right, columns - left
        return Region(top, left, bottom, right)


def turned_back(turn: str) -> Hanging:
    """Return what turns a film back that lies turned clockwise as ``turn`` says, of `TURNS`."""
    return _TURNED_BACK[turn]


_TURNED_BACK = {
    "upright": Hanging(),
    "quarter_right": Hanging(transposed=True, upside_down=True),
    "upside_down": Hanging(upside_down=True, mirrored=True),
    "quarter_left": Hanging(transposed=True, mirrored=True),
}


def hanging(patient_orientation: Sequence[str]) -> Hanging:
    """Return how a film is hung, by the directions of its rows and of its columns.

    Of compound directions (RA, LPF) the first that lies in the plane of a frontal film counts. A
    film that does not say, or says it of a quadruped, is as it is hung; so is one whose directions
    are no pair.
    """
    if not any(patient_orientation):
        return Hanging()
    rows, columns = (*patient_orientation, "", "")[:2]
    pair = (_principal(rows), _principal(columns) if columns.strip() else "F")
    if pair in itertools.product(_ACROSS, _DOWN):
        return Hanging(mirrored=pair[0] == "R", upside_down=pair[1] == "H")
    if pair in itertools.product(_DOWN, _ACROSS):
        return Hanging(transposed=True, mirrored=pair[1] == "R", upside_down=pair[0] == "H")
    return Hanging(stated=False)


def as_stored(explanation: Explanation, hung: Hanging, stored: tuple[int, int]) -> Explanation:
    """Return what was found on the hung film, on the stored one of that shape (rows, columns)."""
    if not (hung.is_turned or hung.mirrored):
        return explanation
    return _moved(explanation, hung.store, lambda region: hung.store_region(region, stored))


def observed_as_stored(
    observed: Sequence[Observation], hung: Hanging, stored: tuple[int, int]
) -> tuple[Observation, ...]:
    """Return what was observed on the hung film, its places on the stored one of that shape."""
    return _placed(observed, lambda point: hung.store_place(point, stored))


def observed_as_hung(
    observed: Sequence[Observation], hung: Hanging, stored: tuple[int, int]
) -> tuple[Observation, ...]:
    """Return what was observed, its places on the stored film of that shape, on the hung one."""
    return _placed(observed, lambda point: hung.hang_place(point, stored))


def _placed(
    observed: Sequence[Observation], moved: Callable[[Point], Point]
) -> tuple[Observation, ...]:
    return tuple(
        replace(
            one,
            places=tuple(
                replace(place, points=tuple(map(moved, place.points))) for place in one.places
            ),
        )
        if one.places
        else one
        for one in observed
    )


def as_hung(explanation: Explanation, hung: Hanging, stored: tuple[int, int]) -> Explanation:
    """Return what lies on the stored film of that shape, on the hung one."""
    return _moved(explanation, hung.hang, lambda region: hung.hang_region(region, stored))


def _moved(
    explanation: Explanation,
    turned: Callable[[Plane], Plane],
    place: Callable[[Region], Region],
) -> Explanation:
    lungs, opacity = explanation.lungs, explanation.opacity
    maps = (
        replace(one, heat=turned(one.heat), region=place(one.region)) for one in explanation.maps
    )
    if lungs is not None:
        lungs = replace(lungs, mask=turned(lungs.mask))
    if opacity is not None:
        probability, region = turned(opacity.probability), place(opacity.region)
        opacity = replace(opacity, probability=probability, region=region)
    areas = tuple(
        replace(one, probability=turned(one.probability), region=place(one.region))
        for one in explanation.areas
    )
    return Explanation(tuple(maps), lungs, opacity, areas)


def _principal(direction: str) -> str:
    letters = direction.strip().upper()
    if set(letters) - set("LRAPHF"):
        return ""
    return next((letter for letter in letters if letter in _ACROSS + _DOWN), "")


def _swapped(region: Region) -> Region:
    return Region(region.left, region.top, region.right, region.bottom)
