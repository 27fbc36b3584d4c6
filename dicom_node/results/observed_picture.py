"""What networks observed that declare it themselves, drawn on the film: places, lines and areas.

Each observation has a colour of its own, on the film and in the panel. The colours are told apart
also by people who see fewer (Okabe and Ito, "Color universal design", 2008), and are none of those
that the opacity map and what weighed for a class are drawn in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from dicom_node.findings import AreaMap, SaliencyMap
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.lettering import Colour, Face, width_of, write
from dicom_node.results.observed_words import called, names, number_of, percent_of
from dicom_node.results.paint import draw_lines
from dicom_node.results.regions import Polygon, area_contours, heat_on_picture

COLOURS: tuple[Colour, ...] = (
    (86, 180, 233), (240, 128, 60), (214, 140, 190), (240, 228, 66), (60, 190, 130),
    (255, 255, 255), (150, 120, 255), (190, 120, 70), (255, 170, 170), (150, 220, 60),
)  # fmt: skip
"""Sky blue, vermillion, reddish purple, yellow, green, white, violet, brown, rose, lime: one
observation after the other; the first five are told apart by everybody."""

_PLATE: Colour = (16, 17, 20)
_PADDING, _TICK = 4, 9.0
WORDS = 17
"""The size of the letters at a place, in pixels of the picture."""

_ALPHA = (0.12, 0.38)
"""How much of an area's colour is laid over the film, at its threshold and where it is sure."""

_LONGEST = 34
"""Characters of the words at a place; what is longer stands in the panel."""

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FilmScale:
    """Picture pixels a column and a row of the film."""

    across: float
    down: float


def colours_of(film: AnalysedFilm) -> Mapping[tuple[str, str], Colour]:
    """Return the colour of each observation that is drawn on the film, by network and key."""
    drawn = [one for one in film.findings.observed if _is_drawn(one, film)]
    return {
        (one.network, one.key): COLOURS[place % len(COLOURS)] for place, one in enumerate(drawn)
    }


def draw_observed(
    picture: Image.Image, film: AnalysedFilm, scale: FilmScale, network: str = ""
) -> None:
    """Draw places, measured lines and areas on the picture of a film, without words.

    ``film``: as it is drawn, hung upright. ``network``: what it observed alone, in the colours that
    it has beside all others; empty: what every network observed.
    """
    colours = colours_of(film)
    for one in film.findings.observed:
        colour = colours.get((one.network, one.key))
        if colour is None or network not in ("", one.network):
            continue
        if (area := _area_of(one, film)) is not None:
            _tint(picture, area, film, colour)
            contours = area_contours(film, one.network, one.key)
            draw_lines(picture, [line * (scale.across, scale.down) for line in contours], colour)
        lines = [line for place in one.places for line in _strokes(place, scale)]
        draw_lines(picture, lines, colour)


def letter_observed(
    picture: Image.Image,
    film: AnalysedFilm,
    scale: FilmScale,
    context: Context,
    network: str = "",
    size: int = WORDS,
) -> None:
    """Write beside each place what it is, on a dark plate, away from words that stand already.

    Where there is room also away from every place. ``network``: as of `draw_observed`; ``size``: of
    the letters.
    """
    face, taken = Face(size), list[_Box]()
    colours = {
        name: colour for name, colour in colours_of(film).items() if network in ("", name[0])
    }
    drawn = [one for one in film.findings.observed if (one.network, one.key) in colours]
    places = [_corners(place, scale) for one in drawn for place in one.places]
    for one in drawn:
        colour = colours[one.network, one.key]
        for place in one.places:
            said = words_at(place, one, context)
            at = _room_for((said, face), _corners(place, scale), picture.size, (taken, places))
            taken.append(at)
            ImageDraw.Draw(picture).rectangle(at, fill=_PLATE)
            corner = (round(at[0]) + _PADDING, round(at[1]) + _PADDING // 2)
            write(picture, corner, said, face, (colour, "la"))


def _is_drawn(one: Observation, film: AnalysedFilm) -> bool:
    return bool(one.places) or _area_of(one, film) is not None


def _area_of(one: Observation, film: AnalysedFilm) -> AreaMap | None:
    """Return where a mask is, if any of it reaches its threshold."""
    for area in film.explanation.areas:
        is_its = (area.network, area.key) == (one.network, one.key)
        if is_its and one.kind is ObservationKind.MASK and one.reached:
            return area
    return None


def _tint(picture: Image.Image, area: AreaMap, film: AnalysedFilm, colour: Colour) -> None:
    """Lay an area's colour over the film where it reaches its threshold, the surer the stronger."""
    rows, columns = film.film.shape
    heat = SaliencyMap(area.network, area.key, area.probability, area.region)
    shown = heat_on_picture(heat, (int(rows), int(columns)), (picture.height, picture.width))
    least, most = _ALPHA
    sure = np.clip((shown - area.threshold) / max(1e-6, 1 - area.threshold), 0, 1)
    alpha = np.where(shown >= area.threshold, least + (most - least) * sure, 0)
    picture.paste(colour, (0, 0), Image.fromarray((alpha * 255 + 0.5).astype(np.uint8)))


def _strokes(place: FoundPlace, scale: FilmScale) -> list[Polygon]:
    """Return the closed lines of a place in the picture; of a measured line its ends, too."""
    points = np.asarray(place.points, np.float64) * (scale.across, scale.down)
    if len(points) != 2:
        return [np.concatenate([points, points[:1]])]
    along = points[1] - points[0]
    length = float(np.hypot(*along)) or 1.0
    across = np.array([-along[1], along[0]]) / length * _TICK
    ends = [(end - across, end + across) for end in points]
    return [np.stack([first, second, first]) for first, second in ((points[0], points[1]), *ends)]


def _corners(place: FoundPlace, scale: FilmScale) -> _Box:
    points = np.asarray(place.points, np.float64) * (scale.across, scale.down)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def words_at(place: FoundPlace, one: Observation, context: Context) -> str:
    """Return what stands at a place: what was measured, or what it is and how probable.

    Of what has no value its name: why stands beside the film.
    """
    if one.kind is not ObservationKind.REGION:
        told = names(one, context) if one.value is None else number_of(one, context)
        return _cut(told, _LONGEST)
    name = called(one, place.label, context) if place.label else names(one, context)
    if place.probability is None:
        return _cut(name, _LONGEST)
    said = percent_of(Candidate("", place.probability, one.threshold or 0.0), one, context)
    return f"{_cut(name, _LONGEST - max(6, len(said) + 1))} {said}"


def _cut(words: str, most: int) -> str:
    """Return words of at most so many characters, with dots where they are cut.

    Dots that every character set has: a presentation state says the same.
    """
    return words if len(words) <= most else f"{words[: most - 3].rstrip()}..."


def _room_for(
    words: tuple[str, Face],
    around: _Box,
    size: tuple[int, int],
    avoided: tuple[Sequence[_Box], Sequence[_Box]],
) -> _Box:
    """Return where words stand: above a place, else below, else beside it; on the picture.

    ``avoided``: other words, and places; the first before the second.
    """
    taken, places = avoided
    wide = width_of(*words) + 2 * _PADDING
    high = round(words[1].size * 1.34) + _PADDING
    left, top, right, bottom = around
    wanted = [
        (left, top - high - 3), (left, bottom + 3), (right - wide, top - high - 3),
        (right - wide, bottom + 3), (right + 4, top), (left - wide - 4, top),
        *((left, bottom + 3 + high * step) for step in range(1, 6)),
    ]  # fmt: skip
    boxes = [_inside((x, y, x + wide, y + high), size) for x, y in wanted]
    free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
    clear = (box for box in free if not any(_overlap(box, other) for other in places))
    return next(clear, next(iter(free), boxes[0]))


def _inside(box: _Box, size: tuple[int, int]) -> _Box:
    left = min(max(box[0], 0.0), max(0.0, size[0] - (box[2] - box[0]) - 1))
    top = min(max(box[1], 0.0), max(0.0, size[1] - (box[3] - box[1]) - 1))
    return left, top, left + box[2] - box[0], top + box[3] - box[1]


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
