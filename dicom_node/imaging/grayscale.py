"""From stored values to the brightness a display shows: PS3.3 C.11.1, C.11.2, C.7.6.3.1.2.

Modality LUT, VOI LUT, polarity: each step is a function of one value, so the whole chain is
computed once for every value a pixel can have (at most 65 536) and then looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.errors import FilmWithoutContrast
from dicom_node.imaging.decode import DEFAULT_MAX_MEGAPIXELS, Pixels, decode
from dicom_node.imaging.header import parsing, read_dataset
from dicom_node.imaging.values import integer

Film = npt.NDArray[np.float32]
"""A film as a display shows it: float32 in [0, 1], shape (rows, columns), bright = dense."""

Values = npt.NDArray[np.float64]
Step = Callable[[Values], Values]

ROBUST_TAIL = 0.005
"""Without any window, this part of the pixels is clipped at either end: markers, collimator."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored values that occur: ``values`` ascending with their ``counts``, padding left out.

    ``padding`` is a mask over all 2^bits values from ``lowest`` on.
    """

    lowest: int
    padding: npt.NDArray[np.bool_]
    values: Values
    counts: npt.NDArray[np.int64]


def film_of(
    source: Dataset | Path | bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Film:
    """Return the film of a data set, a file, or its bytes.

    Raises ImageError: what `decode` and `grayscale` raise.
    """
    dataset = source if isinstance(source, Dataset) else read_dataset(source)
    return grayscale(dataset, decode(dataset, max_megapixels=max_megapixels))


def grayscale(dataset: Dataset, pixels: Pixels) -> Film:
    """Return the film that a display would show of stored ``pixels``, shape (rows, columns).

    The first VOI LUT is taken, else the first window, else, for more than 8 bits, the range of the
    pixels without `ROBUST_TAIL` (8-bit films without a window are display values already). A window
    that leaves no contrast is passed over. Pixel padding becomes 0. Raises FilmWithoutContrast
    where all pixels outside the padding are equal, HeaderUnreadable for damaged tables.
    """
    with parsing():
        stored = _stored(dataset, pixels)
        if stored.values.size < 2:
            raise FilmWithoutContrast("Every pixel has the same value: the film shows nothing.")
        table = _table(dataset, stored)
    if stored.lowest == 0:
        return np.take(table, pixels)
    return np.take(table, pixels.astype(np.int32) - stored.lowest)


def _stored(dataset: Dataset, pixels: Pixels) -> _Stored:
    signed = pixels.dtype.kind == "i"
    size = 1 << (8 * pixels.dtype.itemsize)
    lowest = -size // 2 if signed else 0
    indices = pixels.astype(np.int32).ravel() - lowest if signed else pixels.ravel()
    histogram = np.bincount(indices, minlength=size)
    padding = _padding(dataset, lowest, size)
    occurring = np.flatnonzero((histogram > 0) & ~padding)
    values = occurring.astype(np.float64) + lowest
    return _Stored(lowest, padding, values, histogram[occurring])


def _padding(dataset: Dataset, lowest: int, size: int) -> npt.NDArray[np.bool_]:
    """Return which values are padding (PS3.3 C.7.5.1.1.2), whatever sign its VR gave them."""
    mask = np.zeros(size, np.bool_)
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return mask
    limit = integer(dataset, "PixelPaddingRangeLimit")
    first, last = sorted(
        _wrapped(each, lowest, size) for each in (value, value if limit is None else limit)
    )
    mask[first - lowest : last - lowest + 1] = True
    return mask


def _wrapped(value: int, lowest: int, size: int) -> int:
    return (value - lowest) % size + lowest


def _table(dataset: Dataset, stored: _Stored) -> npt.NDArray[np.float32]:
    """Return the brightness of each possible stored value, from the lowest on, padding 0."""
    modality = _modality(dataset, signed=stored.lowest < 0)
    voi = _voi(dataset, modality(stored.values), stored.counts)
    every = np.arange(stored.lowest, stored.lowest + stored.padding.size, dtype=np.float64)
    brightness = voi(modality(every))
    if is_inverted(dataset):
        brightness = 1.0 - brightness
    brightness[stored.padding] = 0.0
    return brightness.astype(np.float32)


def is_inverted(dataset: Dataset) -> bool:
    """Whether low values are bright: Presentation LUT Shape (C.11.6), else MONOCHROME1."""
    shape = str(dataset.get("PresentationLUTShape") or "").strip()
    if shape in ("IDENTITY", "INVERSE"):
        return shape == "INVERSE"
    return str(dataset.PhotometricInterpretation).strip() == "MONOCHROME1"


def _modality(dataset: Dataset, *, signed: bool) -> Step:
    """Return the Modality LUT, C.11.1: a table, else rescale, else nothing."""
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        return _lookup(tables[0], signed=signed)[0]
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope is None or slope == 0.0:
        slope = 1.0
    return _linear(slope, intercept or 0.0)


def _linear(slope: float, intercept: float) -> Step:
    return lambda values: values * slope + intercept


def _voi(dataset: Dataset, occurring: Values, counts: npt.NDArray[np.int64]) -> Step:
    """Return the VOI transformation to [0, 1]: the first that leaves the film some contrast."""
    for step in (_voi_table(dataset, occurring), _window(dataset)):
        if step is not None and np.ptp(step(occurring)) > 0:
            return step
    bits = integer(dataset, "BitsStored") or 16
    if bits <= 8 and occurring[0] >= 0 and occurring[-1] < 1 << bits:
        return _ramp(0.0, (1 << bits) - 1.0)
    return _robust_range(occurring, counts)


def _voi_table(dataset: Dataset, occurring: Values) -> Step | None:
    tables = dataset.get("VOILUTSequence")
    if not tables:
        return None
    lookup, highest = _lookup(tables[0], signed=bool(occurring.min() < 0))

    def voi(values: Values) -> Values:
        return lookup(values) / highest

    return voi


def _window(dataset: Dataset) -> Step | None:
    """Return the first window, C.11.2.1.2 and C.11.2.1.3, None where there is no valid one."""
    centre, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip()
    if centre is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        return lambda values: (
            1.0 / (1.0 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        )
    if function == "LINEAR_EXACT":
        return _ramp(centre - width / 2, centre + width / 2)
    return _ramp(centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _ramp(low: float, high: float) -> Step:
    """Return the function that is 0 up to ``low``, 1 above ``high``, and straight between."""
    if high <= low:
        return lambda values: (values > low).astype(np.float64)
    return lambda values: np.clip((values - low) / (high - low), 0.0, 1.0)


def _robust_range(occurring: Values, counts: npt.NDArray[np.int64]) -> Step:
    """Return the ramp over the values between both tails; over all values if nothing is left."""
    order = np.argsort(occurring, kind="stable")
    values, share = occurring[order], np.cumsum(counts[order]) / counts.sum()
    first = int(np.searchsorted(share, ROBUST_TAIL))
    last = min(int(np.searchsorted(share, 1 - ROBUST_TAIL)), values.size - 1)
    low, high = float(values[first]), float(values[last])
    return _ramp(low, high) if high > low else _ramp(values[0], values[-1])


def _lookup(item: Dataset, *, signed: bool) -> tuple[Step, float]:
    """Return a LUT of PS3.3 C.11.1.1 as a function, and the highest value it can give.

    Input below the first mapped value gives the first entry, above the last the last.
    """
    entries, first, bits = (int(each) for each in item.LUTDescriptor)
    entries = entries % 65536 or 65536
    first = _wrapped(first, -32768 if signed else 0, 65536)
    table = _entries(item["LUTData"].value, entries).astype(np.float64)
    highest = _highest(int(table.max()), bits)

    def lookup(values: Values) -> Values:
        index = np.clip(np.rint(values) - first, 0, entries - 1)
        mapped: Values = table[index.astype(np.intp)]
        return mapped

    return lookup, highest


def _entries(data: Any, entries: int) -> npt.NDArray[np.uint16]:
    """Return LUT Data as uint16: words, or bytes where there are too few for words (C.11.1.1.1).

    The size decides, not the descriptor's bits: 8-bit tables come in both forms. Raises ValueError
    where neither fits.
    """
    if not isinstance(data, bytes):
        words = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
        data = words.astype("<u2").tobytes()
    if len(data) >= 2 * entries:
        return np.frombuffer(data, "<u2", count=entries).astype(np.uint16)
    return np.frombuffer(data, np.uint8, count=entries).astype(np.uint16)


def _highest(largest: int, bits: int) -> float:
    """Return the white of a LUT: by its descriptor, unless its entries use another range by far."""
    described = (1 << min(max(bits, 1), 16)) - 1
    if described >= largest > described // 4:
        return float(described)
    return float(max((1 << largest.bit_length()) - 1, 1))


def _number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value of an attribute as a finite float, None where there is none."""
    value = dataset.get(keyword)
    if value is not None and not isinstance(value, str | int | float):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    number = float(value)
    return number if np.isfinite(number) else None
