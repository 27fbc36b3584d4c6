"""From the numbers of a declared network to observations, by what its manifest says.

Nothing of an answer is trusted: an output that is missing, has another size than declared, or holds
what is no number is an error of that network alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.bundles.declared import Declared, Says
from dicom_node.errors import OutputUnusable
from dicom_node.findings import AreaMap, Region
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float
from dicom_node.imaging.wanted import Seen
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind, Point

_Values = npt.NDArray[np.floating[Any]]

_NO_SPACING = "the film states no pixel spacing"
_OUTSIDE = "what was measured lies outside the film"


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
        reader = _Reader(bundle.id, name, said, outputs, film)
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
        said, seen = self.said, self.film.seen
        values = self._output(said.output)
        rows, columns = map(int, (1, 1, *values.shape)[-2:])
        if min(rows, columns) < 2 or values.size != rows * columns:
            raise self._unusable(f"a mask has rows and columns; its shape is {values.shape}")
        plane = values.reshape(rows, columns)
        if said.activated_by == "sigmoid":
            plane = _sigmoid(plane / said.temperature)
        whole = np.clip(plane, 0.0, 1.0).astype(np.float32)
        probability, region = _on_film(whole, seen.region, self.film.shape)
        cells = (int(probability.shape[0]), int(probability.shape[1]))
        lungs, counted = self.film.lungs, np.ones(cells, bool)
        if said.inside == "lungs" and lungs is not None and lungs.found:
            counted = lungs.mask_on(region, cells, widen=0)
            probability = np.where(counted, probability, np.float32(0))
        threshold = 0.5 if said.threshold is None else said.threshold
        part = float((probability >= threshold)[counted].mean()) if counted.any() else 0.0
        one = self._observation(value=part, threshold=said.least_part)
        return one, AreaMap(self.network, said.key, probability, region, threshold)

    def _of_candidates(self) -> Observation:
        said = self.said
        logits = self._picked(len(said.classes)).astype(np.float64) / said.temperature
        values = {"softmax": _softmax, "sigmoid": _sigmoid, "none": _as_it_is}[said.activated_by](
            logits
        )
        if values.min() < 0 or values.max() > 1:
            raise self._unusable(f"probabilities are from 0 to 1; it gave {_shown(values)}")
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
        (raw,) = self._picked(1).tolist()
        if said.activated_by == "sigmoid":
            raw = float(_sigmoid(np.array(raw)))
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
        boxes, scores, labels = self._boxes()
        threshold = 0.5 if said.threshold is None else said.threshold
        kept = [
            _Box(corners, float(score), int(label))
            for corners, score, label in zip(boxes, scores, labels, strict=True)
            if score >= threshold and corners[2] > corners[0] and corners[3] > corners[1]
        ]
        kept.sort(key=lambda box: -box.score)
        places = tuple(
            FoundPlace(_outline(box.corners), self._label(box.label), box.score)
            for box in _apart(kept, said.overlap)[: said.most]
        )
        return self._observation(places=places, calibrated=said.calibrated, threshold=threshold)

    def _boxes(self) -> tuple[_Values, _Values, Sequence[int]]:
        """Return corners on the film (left, top, right, bottom), probabilities and labels."""
        said = self.said
        raw = self._output(said.boxes)
        if raw.size % 4 or (raw.size and raw.shape[-1] != 4):
            raise self._unusable(f"boxes have the shape (places, 4); {said.boxes!r} is {raw.shape}")
        boxes = raw.reshape(-1, 4).astype(np.float64)
        values = self._output(said.output)
        values = _sigmoid(values) if said.activated_by == "sigmoid" else values
        classes = max(1, len(said.classes))
        if values.size == len(boxes):
            scores, labels = values.ravel(), self._numbers(len(boxes))
        elif values.size == len(boxes) * classes:
            table = values.reshape(len(boxes), classes)
            scores, labels = table.max(axis=1), [int(each) for each in table.argmax(axis=1)]
        else:
            raise self._unusable(
                f"{len(boxes)} boxes have {len(boxes)} probabilities, or as many for each of "
                f"{classes} classes; it gave {values.size}"
            )
        if values.size and (values.min() < 0 or values.max() > 1):
            raise self._unusable(f"probabilities are from 0 to 1; it gave {_shown(values)}")
        return self._on_film(boxes), np.asarray(scores, np.float32), labels

    def _numbers(self, places: int) -> list[int]:
        """Return the class's number of each place; 0 where there is no output of them."""
        said = self.said
        if not said.labels_output:
            return [0] * places
        values = self._output(said.labels_output).ravel()
        if values.size != places:
            raise self._unusable(f"{places} boxes have {places} labels; it gave {values.size}")
        if not all(0 <= round(float(each)) < max(1, len(said.classes)) for each in values):
            raise self._unusable(f"a label is the number of a class; it gave {_shown(values)}")
        return [round(float(each)) for each in values]

    def _label(self, number: int) -> str:
        return self.said.classes[number].key if self.said.classes else ""

    def _on_film(self, boxes: _Values) -> _Values:
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
        return np.asarray(np.clip(corners, 0, (columns, rows, columns, rows)))

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
            raise self._unusable(f"output {name!r} holds values that are no numbers")
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


@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    """A box on the film: left, top, right, bottom; how probable; which class."""

    corners: _Values
    score: float
    label: int

    @property
    def area(self) -> float:
        left, top, right, bottom = self.corners
        return float((right - left) * (bottom - top))


def _apart(boxes: Sequence[_Box], overlap: float) -> list[_Box]:
    """Return the boxes, the most probable first, without those that one before them covers.

    Of one class; measured by what they share of their union (non-maximum suppression).
    """
    kept: list[_Box] = []
    for box in boxes:
        if all(one.label != box.label or _shared(one, box) <= overlap for one in kept):
            kept.append(box)
    return kept


def _shared(one: _Box, other: _Box) -> float:
    left, top = np.maximum(one.corners[:2], other.corners[:2])
    right, bottom = np.minimum(one.corners[2:], other.corners[2:])
    inside = max(0.0, float(right - left)) * max(0.0, float(bottom - top))
    union = one.area + other.area - inside
    return inside / union if union > 0 else 0.0


def _outline(corners: _Values) -> tuple[Point, ...]:
    left, top, right, bottom = map(float, corners)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _on_film(plane: Float, region: Region, shape: tuple[int, int]) -> tuple[Float, Region]:
    """Return the cells of a grid that lie on the film, and their rectangle.

    A grid that was filled up around the film reaches beyond it: what is there is no part of it.
    """
    rows, columns = shape
    down = (region.bottom - region.top) / plane.shape[0]
    across = (region.right - region.left) / plane.shape[1]
    first, last = _inside(region.top, down, plane.shape[0], rows)
    left, right = _inside(region.left, across, plane.shape[1], columns)
    cut = np.ascontiguousarray(plane[first:last, left:right])
    return cut, Region(
        region.top + first * down, region.left + left * across,
        region.top + last * down, region.left + right * across,
    )  # fmt: skip


def _inside(start: float, step: float, cells: int, limit: int) -> tuple[int, int]:
    """Return the first and behind the last cell whose middle lies in [0, limit]."""
    middles = start + (np.arange(cells) + 0.5) * step
    found = np.flatnonzero((middles >= 0) & (middles <= limit))
    return int(found[0]), int(found[-1]) + 1


def _softmax(logits: _Values) -> _Values:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


def _sigmoid(logits: _Values) -> _Values:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64))))


def _as_it_is(values: _Values) -> _Values:
    return values


def _shown(values: _Values) -> str:
    return ", ".join(_numbers(values))


def _numbers(values: _Values) -> Iterator[str]:
    few = values.ravel()[:4]
    yield from (f"{float(value):.3g}" for value in few)
    if values.size > len(few):
        yield "…"
