"""Random changes to films, made where the network is taught: shape, tone, trace of the source.

A Keras layer of ``keras.ops`` only, so that it runs on any backend and on the device that teaches.
Each change blurs what tells the source of a film (tone curve, window, processing, resolution,
frame, letters, what lies outside the lungs) rather than its disease.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops


@dataclass(frozen=True, slots=True)
class Extent:
    """How far films are changed; parts are chances in [0, 1], all zero = not at all.

    ``translation``: of the side; ``rotation``: degrees; ``zoom``, ``aspect``: natural logarithms;
    ``gamma``: natural logarithm of the exponent; ``window``: how much of the grey range a narrower
    window may cut off at each end; ``contrast``: chance of local contrast as CLAHE and sharpening
    give it; ``blur``, ``coarse``: chances of lost resolution; ``noise``: its largest standard
    deviation; ``frame``, ``corners``: chances of a border and of covered corners; ``outside``:
    chance that what lies outside the lungs is another film's, or nothing; ``white_out``: chance
    that a part of the lungs is covered by opacity (where lungs are what is learned).
    """

    translation: float = 0.06
    rotation: float = 10.0
    zoom: float = 0.15
    aspect: float = 0.06
    flip: bool = True
    gamma: float = 0.45
    window: float = 0.2
    contrast: float = 0.4
    blur: float = 0.3
    coarse: float = 0.3
    noise: float = 0.04
    frame: float = 0.25
    corners: float = 0.25
    outside: float = 0.25
    white_out: float = 0.0


class Chance(keras.layers.Layer):  # type: ignore[misc]
    """A layer with a generator of its own, so that every step draws anew and seeds decide all."""

    def __init__(self, seed: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.generator = keras.random.SeedGenerator(seed)

    def uniform(self, shape: Sequence[Any], low: float = 0.0, high: float = 1.0) -> Any:
        """Return values in [low, high), float32."""
        return keras.random.uniform(shape, low, high, seed=self.generator)

    def happens(self, count: Any, chance: float) -> Any:
        """Return (count, 1, 1, 1) of 1 with that chance and 0 else."""
        return ops.cast(self.uniform((count, 1, 1, 1)) < chance, "float32")


class Movement(Chance):
    """Cuts a window out of each film and moves it: shift, turn, zoom, mirror.

    `place` draws where, `moved` moves films, and alike whatever else is known of them.
    """

    def __init__(self, extent: Extent, seed: int, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.extent = extent

    def place(self, windows: Any, *, training: bool) -> tuple[Any, Any]:
        """Return (batch, 6) affine coefficients in parts of the film, and who is mirrored.

        ``windows``: (batch, 4), top, left, bottom and right of what is nominally shown, likewise.
        ``x' = a x + b y + c``, ``y' = d x + e y + f`` from [0, 1]² of what comes out to [0, 1]² of
        what goes in; mirrored: (batch,) of 0 and 1.
        """
        how, count = self.extent, ops.shape(windows)[0]
        height, width = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
        middle_y = (windows[:, 2] + windows[:, 0]) / 2
        middle_x = (windows[:, 3] + windows[:, 1]) / 2
        zero = ops.zeros_like(height)
        if training:
            angle = self.uniform((count,), -how.rotation, how.rotation) * (math.pi / 180)
            zoom = self.uniform((count,), -how.zoom, how.zoom)
            aspect = self.uniform((count,), -how.aspect, how.aspect)
            shift_x = self.uniform((count,), -how.translation, how.translation)
            shift_y = self.uniform((count,), -how.translation, how.translation)
            mirrored = ops.cast(self.uniform((count,)) < (0.5 if how.flip else 0.0), "float32")
        else:
            angle, zoom, aspect, shift_x, shift_y, mirrored = (zero,) * 6
        across, down = width * ops.exp(zoom + aspect), height * ops.exp(zoom - aspect)
        sign = 1.0 - 2.0 * mirrored
        a, b = sign * across * ops.cos(angle), -across * ops.sin(angle)
        d, e = sign * down * ops.sin(angle), down * ops.cos(angle)
        c = middle_x + shift_x * width - (a + b) / 2
        f = middle_y + shift_y * height - (d + e) / 2
        return ops.stack([a, b, c, d, e, f], axis=-1), mirrored

    def moved(self, pictures: Any, place: Any, size: int) -> Any:
        """Return the pictures so placed, (batch, size, size, channels), by linear interpolation.

        What comes from outside is 0.
        """
        side = pictures.shape[1]
        # Not place[:, k, None, None]: TensorFlow's graph optimiser takes such a slice of what was
        # stacked before as the column itself, and drops the two axes.
        a, b, c, d, e, f = (ops.reshape(place[:, k], (-1, 1, 1)) for k in range(6))
        # From pixel centres of what comes out to pixel centres of what goes in.
        grid = (ops.arange(size, dtype="float32") + 0.5) / size
        x_out, y_out = grid[None, None, :], grid[None, :, None]
        x = side * (a * x_out + b * y_out + c) - 0.5
        y = side * (d * x_out + e * y_out + f) - 0.5
        return _resampled(pictures, x, y)


def _resampled(pictures: Any, x: Any, y: Any) -> Any:
    """Return pictures at columns x and rows y, (batch, size, size), by linear interpolation."""
    side, channels, size = pictures.shape[1], pictures.shape[3], x.shape[2]
    x0, y0 = ops.floor(x), ops.floor(y)
    flat = ops.reshape(pictures, (-1, side * side, channels))
    total = 0.0
    for down in (0.0, 1.0):
        for across in (0.0, 1.0):
            xi, yi = x0 + across, y0 + down
            weight = (1.0 - ops.abs(x - xi)) * (1.0 - ops.abs(y - yi))
            inside = (xi >= 0) & (xi < side) & (yi >= 0) & (yi < side)
            weight = weight * ops.cast(inside, "float32")
            index = ops.clip(yi, 0, side - 1) * side + ops.clip(xi, 0, side - 1)
            index = ops.cast(ops.reshape(index, (-1, size * size)), "int32")
            values = ops.take_along_axis(flat, index[..., None], axis=1)
            total = total + values * ops.reshape(weight, (-1, size * size, 1))
    return ops.reshape(total, (-1, size, size, channels))


class Retouch(Chance):
    """Changes the tone of films and covers what tells their source; nothing moves.

    Call: films float32 in [0, 1], (batch, rows, columns, 1), and where the lungs are, the same
    shape. Returns films in [0, 1].
    """

    def __init__(self, extent: Extent, seed: int, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.extent = extent

    def call(self, films: Any, lungs: Any) -> Any:
        """Return the changed films, (batch, rows, columns, 1)."""
        how, count = self.extent, ops.shape(films)[0]
        films = self._other_outside(films, lungs, count)
        if how.white_out:
            films = self._white_out(films, lungs, count)
        films = self._locally(films, count)
        films = self._toned(films, count)
        films = self._coarse(films, count)
        films = films + self.uniform((count, 1, 1, 1), 0.0, how.noise) * keras.random.normal(
            ops.shape(films), seed=self.generator
        )
        films = self._framed(films, count)
        return ops.clip(films, 0.0, 1.0)

    def _other_outside(self, films: Any, lungs: Any, count: Any) -> Any:
        """Put another film's surroundings, or one grey, around the lungs of some."""
        chance = self.extent.outside
        if not chance:
            return films
        around = ops.clip(8.0 * _blurred(lungs, 9), 0.0, 1.0)
        grey = self.uniform((count, 1, 1, 1)) * ops.ones_like(films)
        which = self.happens(count, 0.6)
        other = which * ops.roll(films, 1, axis=0) + (1.0 - which) * grey
        changed = around * films + (1.0 - around) * other
        # A film whose lungs were hardly found keeps what it has.
        found = ops.cast(ops.mean(lungs, axis=(1, 2, 3), keepdims=True) > 0.1, "float32")
        mixed = self.happens(count, chance) * found
        return films + mixed * (changed - films)

    def _white_out(self, films: Any, lungs: Any, count: Any) -> Any:
        """Cover a part of the lungs by smooth opacity, as disease does, in some films."""
        x, y = _places(films.shape[1])
        covered = ops.zeros_like(films)
        for _ in range(3):
            centre_x, centre_y = self.uniform((count, 1, 1, 1)), self.uniform((count, 1, 1, 1))
            wide, high = (self.uniform((count, 1, 1, 1), 0.08, 0.45) for _ in range(2))
            far = ((x - centre_x) / wide) ** 2 + ((y - centre_y) / high) ** 2
            strength = self.uniform((count, 1, 1, 1)) * self.happens(count, 0.7)
            covered = ops.maximum(covered, strength * ops.exp(-(far**2)))
        covered = covered * self.happens(count, self.extent.white_out)
        texture = _blurred(keras.random.normal(ops.shape(films), seed=self.generator), 5)
        bright = self.uniform((count, 1, 1, 1), 0.55, 0.95) + 0.1 * texture
        return films + covered * _blurred(lungs, 9) * (ops.maximum(bright, films) - films)

    def _locally(self, films: Any, count: Any) -> Any:
        """Raise local contrast, as sharpening and CLAHE do, or blur."""
        fine, wide = _blurred(films, 5), _blurred(films, 25)
        sharp = self.happens(count, self.extent.contrast) * self.uniform((count, 1, 1, 1), 0.0, 1.5)
        clahe = self.happens(count, self.extent.contrast) * self.uniform((count, 1, 1, 1), 0.0, 1.0)
        soft = self.happens(count, self.extent.blur) * self.uniform((count, 1, 1, 1))
        return films + (sharp - soft) * (films - fine) + clahe * (fine - wide)

    def _toned(self, films: Any, count: Any) -> Any:
        """Change window and gamma."""
        how = self.extent
        low = self.uniform((count, 1, 1, 1), -how.window / 2, how.window)
        high = 1.0 - self.uniform((count, 1, 1, 1), -how.window / 2, how.window)
        films = ops.clip((films - low) / (high - low), 0.0, 1.0)
        exponent = ops.exp(self.uniform((count, 1, 1, 1), -how.gamma, how.gamma))
        return ops.power(films + 1e-4, exponent)

    def _coarse(self, films: Any, count: Any) -> Any:
        """Take resolution away from some films, in blocks as strong JPEG does."""
        side = films.shape[1]
        small = ops.average_pool(films, 2, 2, padding="valid")
        spread = ops.image.resize(small, (side, side), interpolation="bilinear")
        mixed = self.happens(count, self.extent.coarse) * self.uniform((count, 1, 1, 1), 0.3, 1.0)
        return films + mixed * (spread - films)

    def _framed(self, films: Any, count: Any) -> Any:
        """Cover borders and corners of some films with one grey."""
        x, y = _places(films.shape[1])
        grey = self.uniform((count, 1, 1, 1))
        frame = self.happens(count, self.extent.frame)
        edges = [self.uniform((count, 1, 1, 1), 0.0, 0.12) * frame for _ in range(4)]
        kept = (x >= edges[0]) & (x < 1.0 - edges[1]) & (y >= edges[2]) & (y < 1.0 - edges[3])
        films = ops.where(kept, films, grey)
        for right in (False, True):
            for below in (False, True):
                corner = self.happens(count, self.extent.corners)
                wide, high = (self.uniform((count, 1, 1, 1), 0.04, 0.2) * corner for _ in range(2))
                across = x > 1.0 - wide if right else x < wide
                down = y > 1.0 - high if below else y < high
                films = ops.where(across & down, self.uniform((count, 1, 1, 1)), films)
        return films


def _places(side: int) -> tuple[Any, Any]:
    """Return column and row of each pixel's centre in parts of the side, to lie over films."""
    grid = (ops.arange(side, dtype="float32") + 0.5) / side
    return grid[None, None, :, None], grid[None, :, None, None]


def _blurred(films: Any, size: int) -> Any:
    """Return the films blurred by a triangle about ``size`` pixels wide, borders repeated."""
    half = size // 2
    box = ops.pad(films, [[0, 0], [half, half], [half, half], [0, 0]], mode="reflect")
    return ops.average_pool(
        ops.average_pool(box, (size, 1), (1, 1), padding="valid"),
        (1, size),
        (1, 1),
        padding="valid",
    )
