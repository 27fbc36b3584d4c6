"""Colour and lines on a picture, by what draws in C: Pillow's masks and Matplotlib's Agg.

Heat becomes colour through tables of 256 steps; only the part of a picture that changes is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform
from PIL import Image

from dicom_node.imaging.opaque import LEVEL
from dicom_node.results.lettering import Colour
from dicom_node.results.regions import Heat, Polygon

HALO: Colour = (0, 0, 0)
"""What lies on both sides of a line."""

OPAQUE: Colour = (64, 224, 208)
"""Contour and colour of the opacity map: another hue than that of what weighed for a class."""

_OPAQUE_ALPHA = (0.10, 0.35)
"""How much of the map's colour is laid over the film, at its threshold and where it is sure."""

_LINE_WIDTH, _HALO_WIDTH = 2.5, 5.5
_HEAT_FROM, _HEAT_ALPHA = 0.2, 0.4
_COLOUR_MAP, _COLOURS_FROM, _COLOURS_TO = "inferno", 0.30, 0.84
_STEPS = 256

_agg: Any = RendererAgg
"""Matplotlib states no types for it."""

Table = npt.NDArray[np.uint8]


def tint(picture: Image.Image, opaque: Heat, at: tuple[int, int] = (0, 0)) -> None:
    """Lay the map's colour over the picture where it is above `LEVEL`, the surer the stronger.

    ``opaque``: as of `opaque_area`, for the part of the picture that begins ``at`` (column, row).
    """
    picture.paste(OPAQUE, at, Image.fromarray(_tint_alpha()[_levels(opaque)]))


def heat_up(picture: Image.Image, heat: Heat) -> None:
    """Lay colour over the picture, at most 40 %, nothing where there is no heat.

    ``heat``: of every pixel, shape (height, width). Of the perceptually uniform map neither end is
    used: on a film they look like black and white.
    """
    rows, columns = (np.flatnonzero((heat > _HEAT_FROM).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return
    # Where there is no heat nothing changes, and that is most of a film.
    top, left = int(rows[0]), int(columns[0])
    levels = _levels(heat[top : rows[-1] + 1, left : columns[-1] + 1])
    colours, alpha = _heat_colours()
    mask = Image.fromarray(alpha[levels])
    picture.paste(Image.fromarray(colours[levels]), (left, top), mask)


def draw_lines(picture: Image.Image, lines: Sequence[Polygon], colour: Colour) -> None:
    """Draw closed lines with halos on both sides, (column, row) from the picture's corner."""
    if not lines:
        return
    margin = int(_HALO_WIDTH) + 1
    places = np.concatenate(lines)
    left, top = (max(int(edge) - margin, 0) for edge in places.min(axis=0))
    right, bottom = (int(edge) + margin + 1 for edge in places.max(axis=0))
    width = max(min(right, picture.width) - left, 1)
    height = max(min(bottom, picture.height) - top, 1)
    drawn = Image.fromarray(_strokes(lines, (left, top), (width, height), colour))
    picture.paste(drawn.convert("RGB"), (left, top), drawn.getchannel("A"))


def _strokes(
    lines: Sequence[Polygon], corner: tuple[int, int], size: tuple[int, int], colour: Colour
) -> Table:
    """Return the lines on nothing, RGBA, for the part of a picture from ``corner`` on."""
    width, height = size
    places = np.concatenate(lines) - corner
    # Agg counts rows from below.
    places[:, 1] = height - places[:, 1]
    path = Path(places, np.concatenate([_codes(len(line)) for line in lines]))
    path.should_simplify = False
    canvas, pen = _agg(width, height, 72), GraphicsContextBase()
    pen.set_snap(False)
    pen.set_joinstyle("round")
    for ink, thickness in ((HALO, _HALO_WIDTH), (colour, _LINE_WIDTH)):
        pen.set_foreground((ink[0] / 255, ink[1] / 255, ink[2] / 255))
        pen.set_linewidth(thickness)
        canvas.draw_path(pen, path, IdentityTransform())
    return np.asarray(canvas.buffer_rgba())


def _codes(corners: int) -> Table:
    codes = np.full(corners, Path.LINETO, np.uint8)
    codes[0], codes[-1] = Path.MOVETO, Path.CLOSEPOLY
    return codes


def _levels(heat: Heat) -> Table:
    """Return which step of a table each place takes."""
    return (heat * (_STEPS - 1)).astype(np.uint8)


@lru_cache(maxsize=1)
def _tint_alpha() -> Table:
    least, most = _OPAQUE_ALPHA
    sure = (np.arange(_STEPS) / (_STEPS - 1) - LEVEL) / (1 - LEVEL)
    alpha = np.where(sure > 0, least + (most - least) * sure, 0)
    return np.asarray(alpha * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=1)
def _heat_colours() -> tuple[Table, Table]:
    """Return the colour of every step, (256, 3), and how much of it is laid over the film."""
    heat = np.arange(_STEPS) / (_STEPS - 1)
    place = _COLOURS_FROM + (_COLOURS_TO - _COLOURS_FROM) * heat
    colours = matplotlib.colormaps[_COLOUR_MAP](place)[:, :3]
    alpha = _HEAT_ALPHA * np.clip((heat - _HEAT_FROM) / (1 - _HEAT_FROM), 0, 1)
    return (colours * 255 + 0.5).astype(np.uint8), (alpha * 255 + 0.5).astype(np.uint8)
