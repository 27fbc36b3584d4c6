"""The drawn thorax behind the phantom: how much a beam is weakened at each point of a chest film.

Coordinates: x from -1 (image left, the patient's right) to 1, y from -1 (top) to 1, whatever the
size of the film. Every function returns float32 arrays of shape (size, size). Lengths of path are
relative to the thickest part of the chest. Shapes are drawn by hand after frontal radiographs; they
come from no patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Line = list[tuple[float, float]]

_RIBS = 10
_SIDES = (-1, 1)

_LUNG_HEIGHTS = (-0.80, -0.74, -0.62, -0.45, -0.20, 0.10, 0.40, 0.75)
_LUNG_LATERAL = (0.40, 0.45, 0.515, 0.585, 0.655, 0.705, 0.735, 0.74)
_LUNG_MEDIAL = (0.13, 0.115, 0.11, 0.12, 0.125, 0.13, 0.135, 0.14)

_BODY_HEIGHTS = (-1.00, -0.93, -0.86, -0.78, -0.66, -0.40, -0.10, 0.30, 0.70, 1.00)
_BODY_WIDTHS = (0.25, 0.27, 0.40, 0.72, 0.96, 1.06, 0.98, 0.93, 0.92, 0.93)

_STROKES: Mapping[str, tuple[Line, ...]] = {
    "P": ([(0, 1), (0, 0), (0.7, 0), (0.7, 0.5), (0, 0.5)],),
    "H": ([(0, 0), (0, 1)], [(0.7, 0), (0.7, 1)], [(0, 0.5), (0.7, 0.5)]),
    "A": ([(0, 1), (0.35, 0), (0.7, 1)], [(0.15, 0.62), (0.55, 0.62)]),
    "N": ([(0, 1), (0, 0), (0.7, 1), (0.7, 0)],),
    "T": ([(0, 0), (0.7, 0)], [(0.35, 0), (0.35, 1)]),
    "O": (
        [
            (0.1, 0),
            (0.6, 0),
            (0.7, 0.15),
            (0.7, 0.85),
            (0.6, 1),
            (0.1, 1),
            (0, 0.85),
            (0, 0.15),
            (0.1, 0),
        ],
    ),
    "M": ([(0, 1), (0, 0), (0.35, 0.6), (0.7, 0), (0.7, 1)],),
    "L": ([(0, 0), (0, 1), (0.65, 1)],),
}


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square drawing area with its coordinates ``x`` (1, size) and ``y`` (size, 1)."""

    size: int
    x: Map
    y: Map

    @classmethod
    def of(cls, size: int) -> Canvas:
        """Return a canvas of ``size`` × ``size`` pixels."""
        axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
        return cls(size, axis[None, :], axis[:, None])

    def at(self, heights: Iterable[float], values: Iterable[float]) -> Map:
        """Return the smooth curve through (height, value) for each row, shape (size, 1)."""
        curve = np.interp(self.y[:, 0], list(heights), list(values))
        smooth = gaussian_filter(curve, 0.02 * self.size, mode="nearest")
        return np.asarray(smooth[:, None], np.float32)

    def strokes(self, lines: Iterable[tuple[Line, float]], blur: float) -> Map:
        """Return lines of a given width with value 1, blurred by ``blur``; both in x units."""
        image = Image.new("L", (self.size, self.size))
        draw = ImageDraw.Draw(image)
        scale = self.size / 2
        for line, width in lines:
            points = [((x + 1) * scale, (y + 1) * scale) for x, y in line]
            draw.line(points, fill=255, width=max(1, round(width * scale)), joint="curve")
        return self.blurred(np.asarray(image, np.float32) * np.float32(1 / 255), blur)

    def polygon(self, outline: Line, blur: float) -> Map:
        """Return a filled outline with value 1, its edge blurred by ``blur`` in x units."""
        image = Image.new("L", (self.size, self.size))
        scale = self.size / 2
        ImageDraw.Draw(image).polygon([((x + 1) * scale, (y + 1) * scale) for x, y in outline], 255)
        return self.blurred(np.asarray(image, np.float32) * np.float32(1 / 255), blur)

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0
    ) -> Map:
        """Return the path through an ellipsoid, 1 in its centre."""
        turn = np.deg2rad(degrees)
        x, y = self.x - centre[0], self.y - centre[1]
        along = (x * np.cos(turn) + y * np.sin(turn)) / radii[0]
        across = (y * np.cos(turn) - x * np.sin(turn)) / radii[1]
        path: Map = np.sqrt(np.clip(1 - along**2 - across**2, 0, None)).astype(np.float32)
        return path

    def blurred(self, field: Map, blur: float) -> Map:
        """Return ``field`` blurred by a Gaussian of ``blur`` in x units."""
        result: Map = gaussian_filter(field, blur * self.size / 2, mode="nearest", truncate=3.0)
        return result

    def clouds(self, rng: np.random.Generator, blur: float) -> Map:
        """Return smooth noise with mean 0 and standard deviation 1."""
        coarse = max(8, min(self.size, round(4 / blur)))
        noise = rng.standard_normal((coarse, coarse)).astype(np.float32)
        grown = Image.fromarray(noise).resize((self.size, self.size), Image.Resampling.BICUBIC)
        field = np.asarray(grown, np.float32)
        return np.asarray((field - field.mean()) / field.std(), np.float32)


def body(canvas: Canvas) -> Map:
    """Return the soft tissue of neck, shoulders and trunk without lungs, 0 beside the body."""
    width = canvas.at(_BODY_HEIGHTS, _BODY_WIDTHS)
    depth = canvas.at((-1.0, -0.85, -0.7, -0.3, 0.3, 1.0), (0.55, 0.60, 0.80, 1.0, 1.0, 1.0))
    across = np.clip(1 - (np.abs(canvas.x) / width) ** 2.6, 0, None)
    path: Map = (depth * np.sqrt(across)).astype(np.float32)
    return path


def _dome(canvas: Canvas, side: int) -> Map:
    """Return the height of the diaphragm for each column: the right dome stands higher."""
    top, crest = (0.40, 0.36) if side < 0 else (0.47, 0.40)
    from_crest = np.abs(canvas.x) - crest
    lateral = np.where(from_crest > 0, 2.1 * from_crest**2, 0.9 * from_crest**2)
    return (top + lateral).astype(np.float32)


def _inside(canvas: Canvas, side: int) -> Map:
    """Return how far a point lies inside the projected lung, negative outside, in x units."""
    distance = np.abs(canvas.x)
    lateral = canvas.at(_LUNG_HEIGHTS, _LUNG_LATERAL) - distance
    medial = distance - canvas.at(_LUNG_HEIGHTS, _LUNG_MEDIAL)
    apex = canvas.y + 0.82 - 2.9 * (distance - 0.27) ** 2
    base = (_dome(canvas, side) - canvas.y) * 0.8
    edge = np.minimum(np.minimum(lateral, medial), np.minimum(apex, base))
    return np.where(canvas.x * side > 0, edge, -1.0).astype(np.float32)


def lungs(canvas: Canvas) -> tuple[Mask, Mask, Map]:
    """Return the masks of the right and the left lung, and the air along the beam (0 to 1).

    The left lung's mask leaves out the heart, as a reader outlines it.
    """
    right, left = (_inside(canvas, side) for side in _SIDES)
    edge = np.maximum(right, left)
    near = np.clip(edge / 0.26, 0, 1)
    air = np.where(edge > 0, np.sqrt(1 - (1 - near) ** 2), 0)
    heart_shadow = heart(canvas) > 0.25
    return (right > 0) & ~heart_shadow, (left > 0) & ~heart_shadow, air.astype(np.float32)


def heart(canvas: Canvas) -> Map:
    """Return the heart: ventricles to the image right, right atrium beside the spine."""
    ventricles = canvas.ellipse((0.15, 0.27), (0.355, 0.245), 24.0)
    atrium = canvas.ellipse((-0.03, 0.20), (0.20, 0.25))
    trunk = canvas.ellipse((0.105, -0.08), (0.125, 0.18), -10.0)
    return np.asarray(np.maximum(np.maximum(ventricles, 0.92 * atrium), 0.7 * trunk), np.float32)


def mediastinum(canvas: Canvas) -> Map:
    """Return great vessels and the tissue around the spine."""
    width = canvas.at((-1, -0.7, -0.45, -0.2, 0.2, 1), (0.20, 0.15, 0.16, 0.165, 0.15, 0.15))
    column = np.sqrt(np.clip(1 - (np.abs(canvas.x) / width) ** 2, 0, None))
    arch = canvas.ellipse((0.105, -0.37), (0.105, 0.105))
    aorta = canvas.strokes([([(0.13, -0.37), (0.135, 0.0), (0.09, 0.5)], 0.13)], 0.012)
    cava = canvas.strokes([([(-0.10, -0.62), (-0.115, -0.3), (-0.10, 0.05)], 0.09)], 0.015)
    return np.asarray(0.75 * column + 0.6 * arch + 0.25 * aorta + 0.25 * cava, np.float32)


def airways(canvas: Canvas) -> Map:
    """Return trachea, main bronchi and the stomach's air bubble, which let more through."""
    trachea = canvas.strokes([([(0.0, -1.0), (0.0, -0.62), (-0.012, -0.30)], 0.085)], 0.012)
    bronchi = canvas.strokes(
        [
            ([(-0.012, -0.31), (-0.09, -0.19), (-0.16, -0.11)], 0.055),
            ([(-0.012, -0.31), (0.10, -0.20), (0.21, -0.13)], 0.048),
        ],
        0.014,
    )
    bubble = canvas.ellipse((0.34, 0.645), (0.15, 0.085), 8.0)
    return np.asarray(0.8 * trachea + 0.45 * bronchi + 0.9 * bubble, np.float32)


def _rib(index: int, side: int) -> tuple[Line, Line]:
    """Return the posterior and the anterior course of one rib as lines."""
    start = -0.735 + 0.127 * index
    lateral = float(np.interp(start + 0.14, _LUNG_HEIGHTS, _LUNG_LATERAL)) + 0.018
    drop = 0.06 + 0.021 * index
    posterior, anterior = [], []
    for step in np.linspace(0, 1, 24):
        x = 0.055 + (lateral - 0.055) * np.sin(step * np.pi / 2)
        rise = -0.085 * np.sin(np.pi * min(step * 1.25, 1.0))
        posterior.append((side * float(x), float(start + rise + drop * step**2.0)))
    turn = start + drop
    inner = 0.20 + 0.022 * index
    fall = 0.20 + 0.034 * index
    for step in np.linspace(0, 1, 24):
        x = lateral - (lateral - inner) * (1 - np.cos(step * np.pi / 2))
        anterior.append((side * float(x), float(turn + fall * np.sin(step * np.pi / 2))))
    return posterior, anterior


def ribs(canvas: Canvas) -> Map:
    """Return ten pairs of ribs as tubes: brighter along both edges; the anterior parts fainter."""
    courses = [_rib(index, side) for index in range(_RIBS) for side in _SIDES]
    bones = np.zeros((canvas.size, canvas.size), np.float32)
    for part, strength, width in ((0, 1.0, 0.048), (1, 0.62, 0.054)):
        lines = [course[part] for course in courses]
        if part == 1:
            lines = lines[: 2 * (_RIBS - 3)]
        outer = canvas.strokes([(line, width) for line in lines], 0.0045)
        inner = canvas.strokes([(line, width * 0.55) for line in lines], 0.006)
        bones += strength * (outer - 0.45 * inner)
    return bones


def spine(canvas: Canvas) -> Map:
    """Return vertebrae with their discs, pedicles and spinous processes."""
    pitch = canvas.at((-1, 1), (0.092, 0.135))
    phase = np.cumsum(2 / canvas.size / pitch, axis=0)
    body_height = np.clip(2.4 * (0.5 - np.abs(phase % 1 - 0.5)) / 0.28, 0, 1)
    width = canvas.at((-1, 1), (0.068, 0.088)) * (1 + 0.10 * np.abs(2 * (phase % 1) - 1))
    across = np.clip((width - np.abs(canvas.x)) / 0.014, 0, 1)
    bodies = across * (0.35 + 0.65 * body_height)
    pedicle = ((np.abs(canvas.x) - 0.044) / 0.012) ** 2 + ((phase % 1 - 0.42) / 0.17) ** 2
    spinous = (canvas.x / 0.011) ** 2 + ((phase % 1 - 0.78) / 0.16) ** 2
    details = 0.5 * np.exp(-(pedicle**2)) + 0.45 * np.exp(-(spinous**2))
    return canvas.blurred((bodies + details).astype(np.float32), 0.004)


def shoulders(canvas: Canvas) -> Map:
    """Return clavicles, shoulder blades and the heads of the upper arms."""
    clavicles: list[tuple[Line, float]] = []
    inner: list[tuple[Line, float]] = []
    blades = np.zeros((canvas.size, canvas.size), np.float32)
    for side in _SIDES:
        shape = [
            (0.055, -0.585),
            (0.16, -0.635),
            (0.30, -0.665),
            (0.45, -0.735),
            (0.60, -0.775),
            (0.70, -0.765),
        ]
        line = [(side * x, y) for x, y in shape]
        clavicles.append((line, 0.056))
        inner.append((line, 0.030))
        blade = [
            (0.60, -0.70),
            (0.80, -0.66),
            (0.80, -0.42),
            (0.72, -0.10),
            (0.665, 0.10),
            (0.62, -0.05),
            (0.60, -0.35),
        ]
        blades += canvas.polygon([(side * x, y) for x, y in blade], 0.008)
        blades += 1.6 * canvas.ellipse((side * 0.90, -0.60), (0.105, 0.115))
        blades += 1.1 * canvas.strokes([([(side * 0.915, -0.58), (side * 1.0, -0.1)], 0.12)], 0.012)
        blades += 0.5 * canvas.strokes(
            [([(side * 0.63, -0.70), (side * 0.80, -0.745)], 0.05)], 0.01
        )
    bars = canvas.strokes(clavicles, 0.005) - 0.42 * canvas.strokes(inner, 0.008)
    return (1.25 * bars + 0.42 * blades).astype(np.float32)


def vessels(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the branching vessels of both lungs, thick at the hila and gone at the edge."""
    branches: list[tuple[Line, float]] = []
    for side, hilum in ((-1, (-0.165, -0.10)), (1, (0.175, -0.14))):
        for angle in np.linspace(-80, 86, 9) + rng.uniform(-9, 9, 9):
            turn = np.deg2rad(angle)
            _grow(branches, hilum, side, float(turn), 0.034, 0.155, rng)
    thick = canvas.strokes([each for each in branches if each[1] > 0.012], 0.005)
    thin = canvas.strokes([each for each in branches if each[1] <= 0.012], 0.0025)
    hila = canvas.ellipse((-0.175, -0.08), (0.075, 0.15)) + canvas.ellipse(
        (0.18, -0.12), (0.07, 0.13)
    )
    soft = canvas.blurred(hila, 0.025)
    return np.asarray(0.75 * thick + 0.36 * thin + 1.1 * soft, np.float32)


def _grow(
    branches: list[tuple[Line, float]],
    start: tuple[float, float],
    side: int,
    turn: float,
    width: float,
    length: float,
    rng: np.random.Generator,
) -> None:
    """Add one vessel with all its branches; ``turn`` is measured from straight outwards."""
    bend = rng.uniform(-0.5, 0.5)
    line = [start]
    for _ in range(4):
        turn += bend / 4
        x, y = line[-1]
        line.append((x + side * np.cos(turn) * length / 4, y + np.sin(turn) * length / 4))
    branches.append((line, width))
    if width < 0.0045:
        return
    for spread in (-1, 1):
        child = turn + spread * rng.uniform(0.18, 0.5)
        _grow(branches, line[-1], side, child, width * 0.62, length * 0.78, rng)


def lettering(canvas: Canvas, text: str, corner: tuple[float, float], height: float) -> Map:
    """Return ``text`` (letters of PHANTOML) drawn in strokes, its top-left corner at ``corner``."""
    lines: list[tuple[Line, float]] = []
    for index, letter in enumerate(text):
        left = corner[0] + index * 0.95 * height
        for stroke in _STROKES[letter]:
            moved = [(left + x * height, corner[1] + y * height) for x, y in stroke]
            lines.append((moved, 0.16 * height))
    return canvas.strokes(lines, 0.002)
