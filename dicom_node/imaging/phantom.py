"""A synthetic frontal chest radiograph whose findings are known, as a film and as DICOM."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import FileDataset

from dicom_node.chest import ZONES
from dicom_node.imaging import anatomy
from dicom_node.imaging.anatomy import Canvas, Map, Mask
from dicom_node.imaging.wrap import (
    Encoding,
    Identity,
    StoredPicture,
    picture_dataset,
    shown_range,
    stored_pixels,
    with_uids,
    wrap_picture,
)

__all__ = [
    "ZONES",
    "Encoding",
    "Identity",
    "Phantom",
    "phantom",
    "phantom_dataset",
    "wrap_picture",
]

_DRAWN_AT_MOST = 800
_COLLIMATED = 0.965


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A synthetic film with its truth; every array has the shape (rows, columns).

    ``film``: float32 in [0, 1], bright = dense. ``lungs`` and each of ``parts`` (by the names of
    `ZONES`, thirds of each lung's height; the patient's right is the image's left): bool, where the
    lung is seen without the heart's shadow.
    """

    film: npt.NDArray[np.float32]
    lungs: Mask
    parts: Mapping[str, Mask]


def phantom(
    seed: int = 0,
    *,
    rows: int = 1024,
    columns: int = 1024,
    opacities: Mapping[str, float] | None = None,
) -> Phantom:
    """Return a synthetic chest film with opacities of a degree from 0 to 1 in the named parts.

    The same arguments give the same film. "L" and "PHANTOM" are part of the picture. Raises
    ValueError for an unknown zone, a degree outside [0, 1] or a film below 64 pixels.
    """
    degrees = _checked(opacities or {})
    if min(rows, columns) < 64:
        raise ValueError("a phantom needs at least 64 rows and columns")
    rng = np.random.default_rng([seed, 0xC7])
    canvas = Canvas.of(min(_DRAWN_AT_MOST, max(rows, columns, 256)))
    right, left, air = anatomy.lungs(canvas)
    parts = _parts(right, left)
    weakened = _attenuation(canvas, air, _opacity(canvas, parts, degrees, rng), rng)
    film = _exposed(_resized(weakened, rows, columns), rng)
    grown = {name: _resized_mask(mask, rows, columns) for name, mask in parts.items()}
    return Phantom(_labelled(film, canvas), _resized_mask(right | left, rows, columns), grown)


def phantom_dataset(
    seed: int = 0,
    *,
    rows: int = 1024,
    columns: int = 1024,
    opacities: Mapping[str, float] | None = None,
    encoding: Encoding | None = None,
    identity: Identity | None = None,
) -> FileDataset:
    """Return the phantom of these arguments as a DX or CR image in Explicit VR Little Endian.

    UIDs that ``identity`` leaves empty follow from the arguments: study and series from ``seed``
    alone, so that several phantoms of one seed are several films of one study. Raises ValueError
    as `phantom` does, and for an encoding that cannot be stored.
    """
    encoding, identity = encoding or Encoding(), identity or Identity()
    film = phantom(seed, rows=rows, columns=columns, opacities=opacities).film
    picture = StoredPicture(
        stored_pixels(film, encoding),
        encoding,
        shown_range(encoding),
        manufacturer="SYNTHETIC PHANTOM",
        description="Synthetic phantom, no patient",
    )
    digest = hashlib.sha256(picture.pixels.tobytes()).hexdigest()
    named = with_uids(identity, f"phantom {seed}", digest, repr(encoding))
    return picture_dataset(picture, named)


def _checked(opacities: Mapping[str, float]) -> Mapping[str, float]:
    for zone, degree in opacities.items():
        if zone not in ZONES:
            raise ValueError(f"{zone!r} is no lung zone; there are {', '.join(ZONES)}")
        if not 0 <= degree <= 1:
            raise ValueError(f"the degree of {zone} is {degree}, not between 0 and 1")
    return opacities


def _parts(right: Mask, left: Mask) -> dict[str, Mask]:
    parts = {}
    for side, mask in (("right", right), ("left", left)):
        occupied = np.flatnonzero(mask.any(axis=1))
        cuts = np.linspace(occupied[0], occupied[-1] + 1, 4).round().astype(int)
        for height, top, bottom in zip(
            ("upper", "middle", "lower"), cuts[:-1], cuts[1:], strict=True
        ):
            zone = np.zeros_like(mask)
            zone[top:bottom] = mask[top:bottom]
            parts[f"{side}_{height}"] = zone
    return parts


def _opacity(
    canvas: Canvas,
    parts: Mapping[str, Mask],
    degrees: Mapping[str, float],
    rng: np.random.Generator,
) -> Map:
    """Return the part of the air that is replaced, in [0, 1]: soft-edged, patchy clouds."""
    clouds = 0.75 * canvas.clouds(rng, 0.16) + 0.45 * canvas.clouds(rng, 0.06)
    patchy = 0.30 + 0.70 / (1 + np.exp(-(clouds + 0.9) * 1.8))
    total = np.zeros((canvas.size, canvas.size), np.float32)
    for zone, degree in degrees.items():
        soft = canvas.blurred(parts[zone].astype(np.float32), 0.05)
        total = np.maximum(total, (degree * soft * patchy).astype(np.float32))
    return total


def _attenuation(canvas: Canvas, air: Map, opacity: Map, rng: np.random.Generator) -> Map:
    """Return the line integral of attenuation; 1 is about the thickness of a chest in water."""
    trunk, heart = anatomy.body(canvas), anatomy.heart(canvas)
    centre = np.clip(np.maximum(1.15 * heart, anatomy.mediastinum(canvas)), 0, 1)
    inflated = air * (1 - 0.92 * opacity) * (1 - 0.86 * centre**0.8)
    tissue = trunk * (0.95 - 0.70 * inflated) + 0.10 * centre * np.sqrt(air)
    vascular = 0.17 * anatomy.vessels(canvas, rng) * np.sqrt(inflated) * (air > 0)
    bones = 0.12 * anatomy.ribs(canvas) + 0.16 * anatomy.shoulders(canvas)
    column = 0.13 * anatomy.spine(canvas)
    lucent = -0.14 * anatomy.airways(canvas)
    texture = 0.010 * canvas.clouds(rng, 0.02) + 0.014 * canvas.clouds(rng, 0.12)
    inside = trunk > 0.02
    result = tissue + vascular + (bones + column + lucent + texture) * inside
    return canvas.blurred(result.astype(np.float32), 0.0016)


def _exposed(weakened: Map, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the film of an attenuation: quantum noise, then the curve of the display."""
    rows, columns = weakened.shape
    noise = rng.standard_normal((rows, columns), dtype=np.float32)
    noisy = weakened + 0.014 * np.exp(0.45 * weakened) * noise
    film = 1 / (1 + np.exp(-(noisy - 0.62) * 4.4))
    y = np.abs((np.arange(rows) + 0.5) / rows * 2 - 1)[:, None]
    x = np.abs((np.arange(columns) + 0.5) / columns * 2 - 1)[None, :]
    film[(x > _COLLIMATED) | (y > _COLLIMATED + 0.01)] = 0.0
    return np.asarray(np.clip((film - 0.06) / 0.90, 0, 1), np.float32)


def _labelled(film: npt.NDArray[np.float32], canvas: Canvas) -> npt.NDArray[np.float32]:
    """Return the film with the side marker and the word PHANTOM burnt in."""
    rows, columns = film.shape
    marks = anatomy.lettering(canvas, "L", (0.80, -0.93), 0.085)
    marks += anatomy.lettering(canvas, "PHANTOM", (-0.93, 0.885), 0.055)
    burnt = 0.97 * np.clip(_resized(marks, rows, columns), 0, 1)
    return np.asarray(np.maximum(film, burnt), np.float32)


def _resized(field: Map, rows: int, columns: int) -> Map:
    if field.shape == (rows, columns):
        return field
    image = Image.fromarray(field).resize((columns, rows), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def _resized_mask(mask: Mask, rows: int, columns: int) -> Mask:
    image = Image.fromarray(mask).resize((columns, rows), Image.Resampling.NEAREST)
    return np.asarray(image, np.bool_)
