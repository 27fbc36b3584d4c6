"""Random changes to a film that leave its finding as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dicom_node.imaging.prepare import Float, equalised
from dicom_node.training.teaching.recipe import Augmentation


def augmented(film: Float, how: Augmentation, chance: np.random.Generator) -> Float:
    """Return a changed copy of the film, float32 in [0, 1], shape (rows, columns) kept.

    The result depends on nothing but the film, ``how`` and the state of ``chance``.
    """
    return retouched(moved(film, draw_placement(film.shape, how, chance)), how, chance)


def retouched(film: Float, how: Augmentation, chance: np.random.Generator) -> Float:
    """Return the film with changed tone, resolution, rim and corners, nothing moved."""
    film = _toned(film, how, chance)
    film = _degraded(film, how, chance)
    _hide_rim(film, how, chance)
    _hide_corners(film, how, chance)
    return np.clip(film, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each place of the changed film comes from.

    ``affine``: column = a x + b y + c, row = d x + e y + f, in pixels. ``mirrored``: left and
    right have changed places.
    """

    affine: tuple[float, float, float, float, float, float]
    mirrored: bool


def draw_placement(
    shape: tuple[int, ...], how: Augmentation, chance: np.random.Generator
) -> Placement:
    """Draw a shift, turn, zoom and perhaps a mirroring about the centre."""
    rows, columns = shape
    angle = math.radians(chance.uniform(-how.rotation_degrees, how.rotation_degrees))
    stretch = chance.uniform(-how.zoom, how.zoom)
    zoom_y, zoom_x = np.exp(stretch + chance.uniform(-0.3, 0.3, 2) * how.zoom)
    shift_y, shift_x = chance.uniform(-how.translation, how.translation, 2) * (rows, columns)
    mirror = -1.0 if how.flip and chance.random() < 0.5 else 1.0
    cosine, sine = math.cos(angle), math.sin(angle)
    a, b = mirror * cosine / zoom_x, mirror * sine / zoom_x
    d, e = -sine / zoom_y, cosine / zoom_y
    centre_x, centre_y = columns / 2, rows / 2
    c = centre_x - a * (centre_x + shift_x) - b * (centre_y + shift_y)
    f = centre_y - d * (centre_x + shift_x) - e * (centre_y + shift_y)
    return Placement((a, b, c, d, e, f), mirror < 0)


def moved(picture: Float, placement: Placement) -> Float:
    """Return the picture so placed, in one linear interpolation; 0 comes in from outside."""
    rows, columns = picture.shape
    found = Image.fromarray(picture).transform(
        (columns, rows), Image.Transform.AFFINE, placement.affine, Image.Resampling.BILINEAR
    )
    return np.array(found, dtype=np.float32)


def _toned(film: Float, how: Augmentation, chance: np.random.Generator) -> Float:
    """Change brightness, gamma and, sometimes, pull the histogram towards a flat one."""
    gain = chance.uniform(1 - how.intensity, 1 + how.intensity)
    offset = chance.uniform(-how.intensity, how.intensity) / 2
    exponent = math.exp(chance.uniform(-how.gamma, how.gamma))
    film = np.clip(film * gain + offset, 0.0, 1.0).astype(np.float32)
    if how.gamma:
        film = film**exponent
    if chance.random() < how.equalise:
        film = film + chance.uniform(0.2, 1.0) * (equalised(film) - film)
    return film.astype(np.float32)


def _degraded(film: Float, how: Augmentation, chance: np.random.Generator) -> Float:
    """Take resolution away and add noise, each sometimes."""
    rows, columns = film.shape
    if chance.random() < how.blur:
        part = chance.uniform(0.4, 0.9)
        small = Image.fromarray(film).resize(
            (max(8, round(columns * part)), max(8, round(rows * part))), Image.Resampling.BILINEAR
        )
        film = np.array(small.resize((columns, rows), Image.Resampling.BILINEAR), dtype=np.float32)
    if chance.random() < how.noise:
        amount = np.float32(chance.uniform(0.0, 0.03))
        film = film + amount * chance.standard_normal(film.shape, dtype=np.float32)
    return film


def _hide_rim(film: Float, how: Augmentation, chance: np.random.Generator) -> None:
    """Grey out up to 15 % on each side, sometimes, in place."""
    if chance.random() >= how.rim:
        return
    rows, columns = film.shape
    top, bottom = (chance.uniform(0, 0.15, 2) * rows).astype(int)
    left, right = (chance.uniform(0, 0.15, 2) * columns).astype(int)
    value = chance.uniform(0.0, 1.0)
    film[:top], film[rows - bottom :] = value, value
    film[:, :left], film[:, columns - right :] = value, value


def _hide_corners(film: Float, how: Augmentation, chance: np.random.Generator) -> None:
    """Paint over each corner, where letters and markers are, sometimes, in place."""
    rows, columns = film.shape
    for at_bottom in (False, True):
        for at_right in (False, True):
            if chance.random() >= how.corners:
                continue
            height, width = (chance.uniform(0.05, 0.25, 2) * (rows, columns)).astype(int)
            down = slice(rows - height, rows) if at_bottom else slice(0, height)
            across = slice(columns - width, columns) if at_right else slice(0, width)
            film[down, across] = chance.uniform(0.0, 1.0)
