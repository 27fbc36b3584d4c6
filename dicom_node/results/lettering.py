"""Words in DejaVu Sans on a picture, each measured and drawn once.

Most of what stands beside a film stands beside every film, so that a word in a size is kept as it
was drawn. Letters are set one after the other by FreeType alone: what lays out scripts (Raqm) is on
some machines and not on others, and a capture has the same pixels on all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_AROUND = 4
"""Pixels around a word while it is drawn: a letter may reach beyond its own room."""

_STEPS = 64
"""Places between two pixels that FreeType tells apart."""


class Face(NamedTuple):
    """A type: ``size`` in pixels."""

    size: int
    bold: bool = False


def width_of(text: str, face: Face) -> float:
    """Return how many pixels a line of text is wide."""
    words = text.split(" ")
    return sum(_width(word, face) for word in words) + (len(words) - 1) * _width(" ", face)


def wrapped(text: str, face: Face, room: float) -> list[str]:
    """Return text as lines that are no wider than ``room``, broken between words."""
    lines, line, long, space = [], "", 0.0, _width(" ", face)
    for word in filter(None, text.split(" ")):
        wide = _width(word, face)
        if line and long + space + wide > room:
            lines.append(line)
            line, long = word, wide
        else:
            line, long = (f"{line} {word}", long + space + wide) if line else (word, wide)
    return [*lines, line]


def write(
    image: Image.Image, at: tuple[int, int], text: str, face: Face, ink: tuple[Colour, str]
) -> None:
    """Write a line of text on a picture.

    ``ink``: its colour, and what of it lies at the place ``at`` (column, row), as Pillow's anchors:
    left, middle or right (l, m, r), then the top of the letters or their middle (a, m).
    """
    colour, anchor = ink
    column = at[0] - width_of(text, face) * {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]]
    row = at[1] - (sum(_font(face).getmetrics()) // 2 if anchor[1] == "m" else 0)
    for word in text.split(" "):
        pixel = math.floor(column)
        drawn = _drawn(word, face, math.floor((column - pixel) * _STEPS))
        if drawn is not None:
            image.paste(colour, (pixel + drawn.left, row + drawn.top), drawn.cover)
        column += _width(word, face) + _width(" ", face)


@dataclass(frozen=True, slots=True, eq=False)
class _Word:
    """How far a word covers each pixel (mode L), and where that lies from its beginning."""

    cover: Image.Image
    left: int
    top: int


@lru_cache(maxsize=64)
def _font(face: Face) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if face.bold else "DejaVuSans.ttf"
    path = str(_FONTS / name)
    return ImageFont.truetype(path, face.size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=8192)
def _width(word: str, face: Face) -> float:
    return _font(face).getlength(word)


@lru_cache(maxsize=8192)
def _drawn(word: str, face: Face, step: int) -> _Word | None:
    """Return a word that begins ``step`` of `_STEPS` right of a pixel; None if it has no ink."""
    size = (math.ceil(_width(word, face)) + 2 * _AROUND, 2 * face.size + 2 * _AROUND)
    canvas = Image.new("L", size, 0)
    place = (_AROUND + step / _STEPS, _AROUND)
    ImageDraw.Draw(canvas).text(place, word, font=_font(face), fill=255)
    box = canvas.getbbox()
    if box is None:
        return None
    return _Word(canvas.crop(box), box[0] - _AROUND, box[1] - _AROUND)
