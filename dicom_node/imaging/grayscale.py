"""From stored values to the brightness a display shows: PS3.3 C.11.1, C.11.2, C.7.6.3.1.2.

Modality LUT, VOI LUT, polarity: each step is a function of one value, so the whole chain is
computed once for every value a pixel can have (at most 65 536) and then looked up. What the header
says of it is optional: a part that cannot be read is passed over for the next, with a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.errors import FilmWithoutContrast
from dicom_node.imaging.by_value import counted, looked_up
from dicom_node.imaging.decode import DEFAULT_MAX_MEGAPIXELS, Pixels, read_pixels
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.likeness import LEAST_LIKENESS, likeness
from dicom_node.imaging.lut import Step, Values, lookup
from dicom_node.imaging.orientation import hanging
from dicom_node.imaging.values import integer, items, number, numbers, text, texts, unreadable

Film = npt.NDArray[np.float32]
"""A film as a display shows it: float32 in [0, 1], shape (rows, columns), bright = dense."""

ROBUST_TAIL = 0.005
"""Without any window, this part of the pixels is clipped at either end: markers, collimator."""

_LEAST_SHOWN, _WELL_SHOWN = 0.02, 0.5
_LEAST_SPREAD = 0.02
_MIDDLE_FROM = 64
"""A window that shows less than 2 % of the middle of a film of that size at least, or all of it as
nearly one grey, where its own range shows half of it, was left from another image."""

_READ_FOR_A_FILM = (
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape", "NumberOfFrames",
    "PixelSpacing", "ImagerPixelSpacing", "AnatomicRegionSequence", "ViewCodeSequence",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A film, and how it was read where that is not quite as the standard has it.

    ``inverted``: low stored values are bright, see `is_inverted`.
    """

    film: Film
    notes: tuple[str, ...] = ()
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored values that occur: ``values`` ascending with their ``counts``, padding left out.

    ``padding`` is a mask over all 2^bits values from ``lowest`` on. ``middle``: some of the values
    in the middle of the film; none where the film is too small to have one.
    """

    lowest: int
    padding: npt.NDArray[np.bool_]
    values: Values
    counts: npt.NDArray[np.int64]
    middle: Values


@dataclass(frozen=True, slots=True)
class _Chain:
    """The brightness of each possible stored value from ``lowest`` on, low values dark.

    ``unread``: keywords of the tables that could not be read.
    """

    table: npt.NDArray[np.float32]
    lowest: int
    padding: npt.NDArray[np.bool_]
    notes: tuple[str, ...]
    unread: tuple[str, ...]

    def picture(self, pixels: Pixels) -> Film:
        """Return the pixels' brightness."""
        return looked_up(self.table, pixels, self.lowest)


def film_of(
    source: Dataset | Path | bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Film:
    """Return the film of a data set, a file, or its bytes; see `shown`."""
    return shown(source, max_megapixels=max_megapixels).film


def shown(
    source: Dataset | Path | bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Shown:
    """Return the film of a data set, a file, or its bytes, with the notes on it.

    Raises ImageError: what `read_pixels` and `grayscale` raise.
    """
    dataset = source if isinstance(source, Dataset) else read_dataset(source)
    read = read_pixels(dataset, max_megapixels=max_megapixels)
    film = _shown(dataset, read.pixels)
    return Shown(film.film, (*read.notes, *film.notes), film.inverted)


def grayscale(dataset: Dataset, pixels: Pixels) -> Film:
    """Return the film that a display would show of stored ``pixels``, shape (rows, columns).

    The first VOI LUT is taken, else the first window, else, for more than 8 bits, the range of the
    pixels without `ROBUST_TAIL` (8-bit films without a window are display values already). What
    cannot be read or leaves no contrast is passed over. Pixel padding becomes 0. Raises
    FilmWithoutContrast where all pixels outside the padding are equal, or there are none.
    """
    return _shown(dataset, pixels).film


def is_inverted(dataset: Dataset, pixels: Pixels | None = None) -> bool:
    """Whether low values are bright: Presentation LUT Shape (C.11.6), else MONOCHROME1.

    Where the two contradict each other, the ``pixels`` decide (decoded if they are not given).
    """
    stated, contradicts = _stated_polarity(dataset)
    if not contradicts:
        return stated
    pixels = read_pixels(dataset).pixels if pixels is None else pixels
    return _polarity(dataset, _chain(dataset, pixels), pixels)[0]


def _shown(dataset: Dataset, pixels: Pixels) -> Shown:
    chain = _chain(dataset, pixels)
    inverted, notes = _polarity(dataset, chain, pixels)
    if inverted:
        np.subtract(1.0, chain.table, out=chain.table)
    chain.table[chain.padding] = 0.0
    unread = dict.fromkeys((*unreadable(dataset, *_READ_FOR_A_FILM), *chain.unread))
    unread_note = (f"unread:{','.join(unread)}",) if unread else ()
    return Shown(chain.picture(pixels), (*unread_note, *chain.notes, *notes), inverted)


def _stated_polarity(dataset: Dataset) -> tuple[bool, bool]:
    """Return whether low values are bright by the header, and whether it contradicts itself."""
    shape = text(dataset, "PresentationLUTShape").upper()
    by_photometric = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if shape not in ("IDENTITY", "INVERSE"):
        return by_photometric, False
    return shape == "INVERSE", (shape == "INVERSE") != by_photometric


def _polarity(dataset: Dataset, chain: _Chain, pixels: Pixels) -> tuple[bool, tuple[str, ...]]:
    """Return whether low values are bright, by the pixels where the header contradicts itself."""
    stated, contradicts = _stated_polarity(dataset)
    if not contradicts:
        return stated, ()
    step = max(1, min(pixels.shape) // 256)
    upright = hanging(texts(dataset, "PatientOrientation")).hang(
        chain.picture(pixels[::step, ::step])
    )
    alike = likeness(upright)
    if abs(alike) < LEAST_LIKENESS:
        return stated, ("polarity_stated",)
    return alike < 0, ("polarity",)


def _chain(dataset: Dataset, pixels: Pixels) -> _Chain:
    stored = _stored(dataset, pixels)
    if stored.padding.any() and not stored.values.size:
        raise FilmWithoutContrast(
            "Every pixel is padding, by Pixel Padding Value and Pixel Padding Range Limit."
        )
    if stored.values.size < 2:
        raise FilmWithoutContrast("Every pixel has the same value: the film shows nothing.")
    modality, unread = _modality(dataset, stored.values, signed=stored.lowest < 0)
    occurring = modality(stored.values)
    tables, broken = _voi_tables(dataset, signed=bool(occurring.min() < 0))
    # Windows and VOI LUTs apply to what the modality LUT gives: they say nothing without it.
    offered = [] if unread else [*tables, *_windows(dataset)]
    own = _own_range(dataset, occurring, stored.counts)
    middle = modality(stored.middle)
    voi = next((step for step in offered if _shows(step, occurring, middle, own)), own)
    was_offered = offered or broken or unread or "WindowCenter" in dataset
    every = np.arange(stored.lowest, stored.lowest + stored.padding.size, dtype=np.float64)
    return _Chain(
        voi(modality(every)).astype(np.float32),
        stored.lowest,
        stored.padding,
        ("own_range",) if voi is own and was_offered else (),
        (*unread, *broken),
    )


def _stored(dataset: Dataset, pixels: Pixels) -> _Stored:
    signed = pixels.dtype.kind == "i"
    size = 1 << (8 * pixels.dtype.itemsize)
    lowest = -size // 2 if signed else 0
    histogram = counted(pixels, lowest, size)
    padding = _padding(dataset, lowest, size)
    occurring = np.flatnonzero((histogram > 0) & ~padding)
    values = occurring.astype(np.float64) + lowest
    middle = _middle(pixels).astype(np.float64)
    middle = middle[~padding[(middle - lowest).astype(np.intp)]]
    return _Stored(lowest, padding, values, histogram[occurring], middle)


def _middle(pixels: Pixels) -> npt.NDArray[np.integer]:
    if min(pixels.shape) < _MIDDLE_FROM:
        return pixels.ravel()[:0]
    down, across = pixels.shape[0] // 4, pixels.shape[1] // 4
    step = max(1, min(down, across) // 64)
    return pixels[down:-down:step, across:-across:step].ravel()


def _padding(dataset: Dataset, lowest: int, size: int) -> npt.NDArray[np.bool_]:
    """Return which values are padding (PS3.3 C.7.5.1.1.2), whatever sign its VR gave them."""
    mask = np.zeros(size, np.bool_)
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return mask
    limit = integer(dataset, "PixelPaddingRangeLimit")
    first, last = sorted(
        (each - lowest) % size for each in (value, value if limit is None else limit)
    )
    mask[first : last + 1] = True
    return mask


def _modality(dataset: Dataset, occurring: Values, *, signed: bool) -> tuple[Step, tuple[str, ...]]:
    """Return the Modality LUT, C.11.1: a table, else rescale, else nothing; and what is unread."""
    keywords = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
    for item in items(dataset, keywords[0])[:1]:
        table = lookup(item, signed=signed)
        if table is None or np.ptp(table[0](occurring)) == 0:
            return _linear(1.0, 0.0), keywords[:1]
        return table[0], ()
    if unread := unreadable(dataset, *keywords):
        return _linear(1.0, 0.0), unread
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    return _linear(slope or 1.0, intercept or 0.0), ()


def _linear(slope: float, intercept: float) -> Step:
    return lambda values: values * slope + intercept


def _shows(step: Step, occurring: Values, middle: Values, own: Step) -> bool:
    """Whether a VOI transformation leaves the film some contrast, in its middle, too."""
    if np.ptp(step(occurring)) == 0:
        return False
    if not middle.size:
        return True
    shown = step(middle)
    if _part_shown(shown) >= _LEAST_SHOWN and np.std(shown) >= _LEAST_SPREAD:
        return True
    return _part_shown(own(middle)) < _WELL_SHOWN


def _part_shown(brightness: Values) -> float:
    return float(((brightness > 0.0) & (brightness < 1.0)).mean())


def _voi_tables(dataset: Dataset, *, signed: bool) -> tuple[list[Step], tuple[str, ...]]:
    """Return the VOI LUTs to [0, 1] that can be read; and the keyword if one cannot."""
    found = [lookup(item, signed=signed) for item in items(dataset, "VOILUTSequence")]
    broken = ("VOILUTSequence",) if None in found or unreadable(dataset, "VOILUTSequence") else ()
    return [_scaled(*table) for table in found if table is not None], broken


def _scaled(table: Step, highest: float) -> Step:
    return lambda values: table(values) / highest


def _windows(dataset: Dataset) -> list[Step]:
    """Return the windows, C.11.2.1.2 and C.11.2.1.3, that are valid ones, in their order."""
    function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
    pairs = zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False)
    return [
        _window(function, centre, width)
        for centre, width in pairs
        if width > 0 and (function != "LINEAR" or width >= 1)
    ]


def _window(function: str, centre: float, width: float) -> Step:
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


def _own_range(dataset: Dataset, occurring: Values, counts: npt.NDArray[np.int64]) -> Step:
    """Return the ramp over what a film without a window shows.

    All of an 8-bit film, whose values are display values already; else the values between both
    tails, or all values if nothing is left.
    """
    bits = integer(dataset, "BitsStored") or 16
    if bits <= 8 and occurring.min() >= 0 and occurring.max() < 1 << bits:
        return _ramp(0.0, (1 << bits) - 1.0)
    order = np.argsort(occurring, kind="stable")
    values, share = occurring[order], np.cumsum(counts[order]) / counts.sum()
    first = int(np.searchsorted(share, ROBUST_TAIL))
    last = min(int(np.searchsorted(share, 1 - ROBUST_TAIL)), values.size - 1)
    low, high = float(values[first]), float(values[last])
    return _ramp(low, high) if high > low else _ramp(values[0], values[-1])
