"""From the numbers of a declared network to observations, by what its manifest says.

Nothing of an answer is trusted: an output that is missing, has another size than declared, or holds
what is no number is an error of that network alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.boxes import FoundBoxes
from dicom_node.bundles.declared import Declared, Says
from dicom_node.errors import OutputUnusable
from dicom_node.findings import AreaMap
from dicom_node.imaging.geometry import cut_to_film
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float
from dicom_node.imaging.wanted import Seen
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind, Point

_Values = npt.NDArray[np.floating[Any]]

_NO_SPACING = "the film states no pixel spacing"
_OUTSIDE = "what was measured lies outside the film"

_SLACK = 1e-3
"""By so much a probability may miss [0, 1]: engines round."""

_MOST_CLASSES = 1e6

_LEAST_PIXELS = 0.5
"""A box that is narrower on the film is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A film as one network saw it.

    ``shape``: rows and columns of the film that it saw; ``spacing``: mm between its rows and
    between its columns, None where the header does not say.
    """

    seen: Seen
    shape: tuple[int, int]
    lungs: Lungs | None = None
    spacing: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What one network observed on one film."""

    observations: tuple[Observation, ...]
    areas: tuple[AreaMap, ...] = ()


def observed(bundle: Declared, name: str, outputs: Mapping[str, Float], film: Looked) -> Observed:
    """Return the observations in a network's outputs of one film, and the areas of its masks.

    ``outputs``: by name, float32 without the films' axis. ``name``: of the network in findings.
    Places lie on the film that it saw. Raises `OutputUnusable`.
    """
    found, areas = [], []
    for said in bundle.manifest.says:
        is_last = bundle.manifest.eats.pixels.layout == "channels-last"
        reader = _Reader(bundle.id, name, said, outputs, film, is_last)
        one, area = reader.mask() if said.kind is ObservationKind.MASK else (reader.read(), None)
        found.append(one)
        areas += [area] if area is not None else []
    return Observed(tuple(found), tuple(areas))


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """Reads one observation out of a network's outputs."""

    bundle_id: str
    network: str
    said: Says
    outputs: Mapping[str, Float]
    film: Looked
    channels_last: bool

    def read(self) -> Observation:
        """Return it, whatever its kind, but for a mask."""
        match self.said.kind:
            case ObservationKind.CLASS | ObservationKind.LEVEL | ObservationKind.LABELS:
                return self._of_candidates()
            case ObservationKind.REGION:
                return self._of_places()
            case _ if self.said.measures == "points":
                return self._of_points()
            case _:
                return self._of_number()

    def mask(self) -> tuple[Observation, AreaMap]:
        """Return a mask, and where it is."""
        said, film = self.said, self.film
        plane, region = cut_to_film(self._plane(), film.seen.region, film.shape)
        cells = (int(plane.shape[0]), int(plane.shape[1]))
        rows, columns = film.shape
        a_cell = (region.bottom - region.top) * (region.right - region.left) / plane.size
        # Of the film or the lungs a part may lie where the network did not look.
        all_of_it, lungs, counted = rows * columns / a_cell, film.lungs, np.ones(cells, bool)
        if said.inside == "lungs" and lungs is not None and lungs.found:
            counted = lungs.mask_on(region, cells, widen=0)
            plane = np.where(counted, plane, np.float32(0))
            all_of_it = max(lungs.part * all_of_it, float(counted.sum()))
        threshold = 0.5 if said.threshold is None else said.threshold
        covered = float(((plane >= threshold) & counted).sum())
        part = min(1.0, covered / all_of_it) if covered else 0.0
        one = self._observation(value=part, threshold=said.least_part)
        return one, AreaMap(self.network, said.key, plane, region, threshold)

    def _plane(self) -> Float:
        """Return the probabilities of a mask, float32 in [0, 1], (rows, columns)."""
        said = self.said
        values = self._output(said.output)
        while values.ndim > 3 and values.shape[0] == 1:
            values = values[0]
        planes = values if values.ndim == 3 else values[None]
        if planes.ndim != 3 or min(sorted(planes.shape)[1:]) < 2:
            raise self._unusable(f"a mask has rows and columns; its shape is {values.shape}")
        if planes.shape[-1] == 1 or (self.channels_last and planes.shape[0] > 1):
            planes = np.moveaxis(planes, -1, 0)
        planes = self._activated(planes, axis=0)
        chosen = said.index or range(len(planes))
        if len(chosen) != 1 or chosen[0] >= len(planes):
            raise self._unusable(f"it gave {len(planes)} planes: name the one of the mask in index")
        return np.ascontiguousarray(self._probabilities(planes[chosen[0]]), np.float32)

    def _activated(self, values: _Values, axis: int = -1) -> _Values:
        """Return float64 values after the temperature and the activation that are declared."""
        said = self.said
        exact = np.asarray(values, np.float64)
        if said.activated_by == "none":
            return exact
        with np.errstate(over="ignore"):
            logits = exact / said.temperature
        if not np.isfinite(logits).all():
            raise self._unusable(f"a temperature of {said.temperature:g} leaves no numbers")
        return _sigmoid(logits) if said.activated_by == "sigmoid" else _softmax(logits, axis)

    def _probabilities(self, values: _Values) -> _Values:
        """Return values that are probabilities, in [0, 1]; refuses what is none."""
        if values.size and not (values.min() >= -_SLACK and values.max() <= 1 + _SLACK):
            raise self._unusable(f"probabilities are from 0 to 1; it gave {_shown(values)}")
        return np.clip(values, 0.0, 1.0)

    def _of_candidates(self) -> Observation:
        said = self.said
        values = self._probabilities(self._activated(self._picked(len(said.classes))))
        candidates = tuple(
            Candidate(each.key, float(value), said.threshold_of(each.key))
            for each, value in zip(said.classes, values, strict=True)
        )
        found = self._observation(labels=candidates, calibrated=said.calibrated)
        if said.kind is ObservationKind.LEVEL and (named := found.named) is not None:
            return replace(found, value=float(candidates.index(named)))
        return found

    def _of_number(self) -> Observation:
        said = self.said
        (raw,) = self._activated(self._picked(1)).tolist()
        value = raw * said.scale + said.offset
        if said.measures == "length":
            spacing = self._millimetres_a_pixel()
            if spacing is None:
                return self._observation(absent=_NO_SPACING)
            value *= spacing
        return self._of_value(value)

    def _of_points(self) -> Observation:
        """Return the distance between two points, with the line between them."""
        first, second = self._picked(4).reshape(2, 2).tolist()
        ends = tuple(self.film.seen.place(float(c), float(r)) for c, r in (first, second))
        line = (FoundPlace(ends),)
        rows, columns = self.film.shape
        if not all(0 <= c <= columns and 0 <= r <= rows for c, r in ends):
            return self._observation(absent=_OUTSIDE)
        if self.film.spacing is None:
            return replace(self._observation(absent=_NO_SPACING), places=line)
        down, across = self.film.spacing
        (c0, r0), (c1, r1) = ends
        length = float(np.hypot((c1 - c0) * across, (r1 - r0) * down))
        return replace(self._of_value(length * self.said.scale + self.said.offset), places=line)

    def _of_value(self, value: float) -> Observation:
        said = self.said
        if not np.isfinite(value):
            raise self._unusable(f"its number is beyond all others ({value})")
        low, high = said.range or (-np.inf, np.inf)
        value = float(min(high, max(low, value)))
        found = self._observation(value=value, threshold=said.threshold)
        if not said.half_width:
            return found
        ends = max(low, value - said.half_width), min(high, value + said.half_width)
        return replace(found, low=float(ends[0]), high=float(ends[1]))

    def _millimetres_a_pixel(self) -> float | None:
        """Return how long a pixel of the input is, as the mean of both ways; None if unknown."""
        if self.film.spacing is None:
            return None
        down, across = self.film.spacing
        seen = self.film.seen
        return float(np.sqrt(down * seen.down * across * seen.across))

    def _of_places(self) -> Observation:
        said = self.said
        found = self._boxes()
        threshold = 0.5 if said.threshold is None else said.threshold
        least = np.full(len(found.labels), threshold, np.float32)
        for number, each in enumerate(said.classes):
            least[found.labels == number] = said.threshold_of(each.key)
        wide = (found.corners[:, 2:] - found.corners[:, :2]).min(axis=1) >= _LEAST_PIXELS
        kept = found.taken(np.flatnonzero((found.scores >= least) & wide))
        kept = kept.without_doubles(said.overlap, said.most)
        places = tuple(
            FoundPlace(_outline(corners), self._label(label), float(score))
            for corners, score, label in zip(kept.corners, kept.scores, kept.labels, strict=True)
        )
        return self._observation(places=places, calibrated=said.calibrated, threshold=threshold)

    def _boxes(self) -> FoundBoxes:
        """Return all boxes of the network, cut to the film."""
        said = self.said
        raw = self._output(said.boxes)
        if raw.size % 4 or (raw.size and raw.shape[-1] != 4):
            raise self._unusable(f"boxes have the shape (places, 4); {said.boxes!r} is {raw.shape}")
        corners = self._on_film(raw.reshape(-1, 4).astype(np.float64))
        table = self._table(len(corners))
        if said.labels_output:
            return FoundBoxes(corners, table[:, 0].astype(np.float32), self._numbers(len(corners)))
        return FoundBoxes(corners, table.max(axis=1).astype(np.float32), table.argmax(axis=1))

    def _table(self, places: int) -> _Values:
        """Return the probabilities of the places, (places, classes), one column without classes."""
        said = self.said
        values = self._output(said.output)
        wanted = 1 if said.labels_output else max(1, len(said.classes))
        given = values.size // places if places else wanted
        if given * places != values.size or not given:
            raise self._unusable(
                f"{places} boxes have {places} probabilities, or as many for each of "
                f"{wanted} classes; it gave {values.size}"
            )
        table = self._activated(values.reshape(places, given))
        if said.index and places:
            if max(said.index) >= given:
                raise self._unusable(f"there is no value {max(said.index)}: it gave {given} a box")
            table = table[:, list(said.index)]
        if table.shape[1] != wanted:
            raise self._unusable(
                f"{places} boxes have {places * wanted} probabilities, {wanted} a box; "
                f"it gave {values.size}"
            )
        return self._probabilities(table)

    def _numbers(self, places: int) -> npt.NDArray[np.intp]:
        """Return the class's number of each place, as the network gives it."""
        values = self._output(self.said.labels_output).ravel()
        if values.size != places:
            raise self._unusable(f"{places} boxes have {places} labels; it gave {values.size}")
        if (np.abs(values) > _MOST_CLASSES).any() or (values != np.round(values)).any():
            raise self._unusable(f"a label is the number of a class; it gave {_shown(values)}")
        return values.astype(np.intp)

    def _label(self, number: int) -> str:
        """Return the key of a class by its number; those of places not kept may be none."""
        classes = self.said.classes
        if not 0 <= number < max(1, len(classes)):
            raise self._unusable(f"a label is the number of a class; it gave {number}")
        return classes[number].key if classes else ""

    def _on_film(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return corners on the film, cut to it, of boxes as the network gives them."""
        said, seen = self.said, self.film.seen
        first, second = boxes[:, :2], boxes[:, 2:]
        if said.box_form == "corner-size":
            second = first + second
        elif said.box_form == "centre-size":
            first, second = first - second / 2, first + second / 2
        corners = np.concatenate([first, second], axis=1)
        if said.box_unit == "parts":
            rows, columns = seen.grid.shape[:2]
            corners = corners * (columns, rows, columns, rows)
        corner = np.array([seen.region.left, seen.region.top] * 2)
        corners = corners * np.array([seen.across, seen.down] * 2) + corner
        rows, columns = self.film.shape
        return np.asarray(np.clip(corners, 0, (columns, rows, columns, rows)), np.float64)

    def _picked(self, wanted: int) -> _Values:
        """Return the values that count of the output: by index, or all of exactly so many."""
        said = self.said
        values = self._output(said.output).ravel()
        if said.index:
            if len(said.index) != wanted:
                raise self._unusable(f"index names {len(said.index)} values; {wanted} are needed")
            if max(said.index) >= values.size:
                raise self._unusable(f"there is no value {max(said.index)}: it gave {values.size}")
            return np.asarray(values[list(said.index)])
        if values.size != wanted:
            raise self._unusable(f"{wanted} values are needed; it gave {values.size}")
        return np.asarray(values)

    def _output(self, name: str) -> _Values:
        known = ", ".join(sorted(self.outputs)) or "nothing"
        if not name and len(self.outputs) > 1:
            raise self._unusable(f"name its output; there are: {known}")
        values = self.outputs.get(name) if name else next(iter(self.outputs.values()), None)
        if values is None:
            raise self._unusable(f"there is no output {name!r}; there are: {known}")
        if not np.isfinite(values).all():
            called = f"output {name!r}" if name else "its output"
            raise self._unusable(f"{called} holds values that are no numbers")
        return values

    def _observation(
        self,
        *,
        value: float | None = None,
        threshold: float | None = None,
        labels: tuple[Candidate, ...] = (),
        calibrated: bool = False,
        places: tuple[FoundPlace, ...] = (),
        absent: str = "",
    ) -> Observation:
        said = self.said
        return Observation(
            said.key, said.kind, self.network, value, said.unit, threshold=threshold,
            labels=labels, calibrated=calibrated, places=places, absent=absent,
        )  # fmt: skip

    def _unusable(self, why: str) -> OutputUnusable:
        return OutputUnusable(f"Bundle {self.bundle_id}, observation {self.said.key!r}: {why}.")


def _outline(corners: _Values) -> tuple[Point, ...]:
    left, top, right, bottom = map(float, corners)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _softmax(logits: _Values, axis: int) -> _Values:
    raised = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis=axis, keepdims=True))


def _sigmoid(logits: _Values) -> _Values:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64))))


def _shown(values: _Values) -> str:
    return ", ".join(_numbers(values))


def _numbers(values: _Values) -> Iterator[str]:
    few = values.ravel()[:4]
    yield from (f"{float(value):.3g}" for value in few)
    if values.size > len(few):
        yield "…"
