"""The picture of a capture: film with heat and contour beside a panel that explains itself alone.

The film lies at a known place and scale of the picture, so that what is drawn on it lies where it
belongs: see `Layout`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from dicom_node.chest import ZONES, Airspace, Detection
from dicom_node.findings import Explanation, Region, SaliencyMap
from dicom_node.imaging.header import patient_orientation_of
from dicom_node.imaging.opaque import LEVEL
from dicom_node.imaging.orientation import (
    Hanging,
    as_hung,
    hanging,
    observed_as_hung,
    turned_back,
)
from dicom_node.results import panel
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, taken_at
from dicom_node.results.lettering import Colour, Face, width_of, write
from dicom_node.results.mapped import map_sentences
from dicom_node.results.observed_panel import LINES, explain_network, explain_observed
from dicom_node.results.observed_picture import WORDS, FilmScale, draw_observed, letter_observed
from dicom_node.results.paint import HALO, OPAQUE, draw_lines, heat_up, tint
from dicom_node.results.panel import Panel
from dicom_node.results.regions import (
    CONTOUR_LEVEL,
    Places,
    contours_of,
    heat_on_picture,
    is_drawn,
    is_observed,
    opaque_contours,
    opaque_part,
    places_of,
)
from dicom_node.results.template_parts import PanelText
from dicom_node.results.wording import (
    Wording,
    answer_of,
    appearance_sentence,
    course,
    every_appearance,
    evidence_of_network,
    explanation_of_network,
    heading_of,
    interval,
    knows,
    opacity_sentence,
    ordered,
    probability,
    remarks,
    short_digest,
    view,
    view_name,
    wording_of,
)

FILM_WIDTH, FILM_HEIGHT = 1000, 1000
_PANEL_WIDTH, _MARGIN, _BANNER_HEIGHT = 536, 30, 56
_PANEL_TOP = 96
"""Above it the panel is empty: viewers write patient and series into the corners of a picture."""

_SCALES = (1.2, 1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
_BANNER: Colour = (112, 20, 24)
_CONTOUR: Colour = (255, 196, 0)
_LEGEND_GREY = 110
_FADING = 0.04
"""The part of the side of what a network saw over which its colour fades at the edge."""

_SHORT_HEADLINE = 60
"""Characters of a headline that is written in the largest type."""

_LONG_HEADLINE = 240
"""Characters of a headline in the panel: what follows stands below it, and in the report."""

ZONE_MAX = 3.0
"""The highest score of a zone."""

Picture = npt.NDArray[np.uint8]
"""RGB, 8 bit, shape (height, width, 3)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the film of ``rows`` x ``columns`` lies in the picture.

    The film's place (column, row), counted from its corner, is at (left + column * across,
    top + row * down) of the picture, counted from the picture's corner.
    """

    rows: int
    columns: int

    @property
    def scale(self) -> float:
        """Picture pixels a film pixel, before the film's size is rounded to whole pixels."""
        return min(FILM_WIDTH / self.columns, FILM_HEIGHT / self.rows)

    @property
    def film_size(self) -> tuple[int, int]:
        """Width and height of the film in the picture, in whole pixels."""
        return max(round(self.columns * self.scale), 1), max(round(self.rows * self.scale), 1)

    @property
    def across(self) -> float:
        """Picture pixels a column of the film."""
        return self.film_size[0] / self.columns

    @property
    def down(self) -> float:
        """Picture pixels a row of the film."""
        return self.film_size[1] / self.rows

    @property
    def left(self) -> int:
        """Left edge of the film in the picture."""
        return (FILM_WIDTH - self.film_size[0]) // 2

    @property
    def top(self) -> int:
        """Top edge of the film in the picture."""
        return (FILM_HEIGHT - self.film_size[1]) // 2


def draw(film: AnalysedFilm, context: Context) -> Picture:
    """Return the picture of one analysed film, long edge 1536."""
    return np.asarray(drawn(film, context))


def drawn(film: AnalysedFilm, context: Context) -> Image.Image:
    """Return what `draw` does, as Pillow has it."""
    places, picture = places_of(film), draw_lettered(film, context)
    film = _upright(film)
    size = (FILM_WIDTH + _PANEL_WIDTH, FILM_HEIGHT + _BANNER_HEIGHT)
    image = Image.new("RGB", size, panel.BACKGROUND)
    layout = Layout(*film.film.shape)
    image.paste(picture, (layout.left, layout.top))
    wording = wording_of(film, context, has_contour=bool(places.salient))
    image.paste(_panel(film, (places, wording), context), (FILM_WIDTH, 0))
    _banner(image, context.template.research_sentence)
    return image


def draw_film(film: AnalysedFilm) -> Image.Image:
    """Return the film with what was found on it, upright, without words.

    That is where its lungs are mapped opaque; without a map, what weighed for the class; and what
    networks observed that declare it themselves.
    """
    picture = draw_weighed(film) if film.explanation.opacity is None else _mapped_film(film)
    if film.findings.observed:
        film = _upright(film)
        draw_observed(picture, film, _scale(Layout(*film.film.shape)))
    return picture


def draw_lettered(film: AnalysedFilm, context: Context, size: int = WORDS) -> Image.Image:
    """Return what `draw_film` does, with what is at each place; ``size`` of the letters."""
    picture = draw_film(film)
    if film.findings.observed:
        film = _upright(film)
        letter_observed(picture, film, _scale(Layout(*film.film.shape)), context, size=size)
    return picture


def _mapped_film(film: AnalysedFilm) -> Image.Image:
    film = _upright(film)
    return _film_mapped(film, Layout(*film.film.shape))


def _scale(layout: Layout) -> FilmScale:
    return FilmScale(layout.across, layout.down)


def draw_weighed(film: AnalysedFilm) -> Image.Image:
    """Return the film with what weighed for the class (Grad-CAM), upright, without words."""
    film = _upright(film)
    heat = film.saliency[0] if film.saliency else None
    return _film_with(film, heat, Layout(*film.film.shape))


def _upright(film: AnalysedFilm) -> AnalysedFilm:
    """Return the film as it is hung where it is stored turned: nobody reads it on its head."""
    hung = hanging(patient_orientation_of(film.dataset))
    if not hung.is_turned:
        return film
    rows, columns = film.shape
    explanation = as_hung(film.explanation, hung, (rows, columns))
    observed = observed_as_hung(film.findings.observed, hung, (rows, columns))
    findings = film.findings.with_observed(observed)
    return replace(film, pixels=hung.hang(film.film), explanation=explanation, findings=findings)


def _lies(film: AnalysedFilm) -> Hanging:
    """Return what would hang the film upright as it is drawn, see `_upright`.

    What its pixels alone say is not turned back when it is drawn: it is shown as stored.
    """
    said = hanging(patient_orientation_of(film.dataset))
    drawn = Hanging() if said.is_turned else said
    return drawn.then(turned_back(film.findings.turned))


def draw_overlay(
    film: AnalysedFilm, context: Context, network: str, heat: SaliencyMap | None
) -> Image.Image:
    """Return the film with where one network looked, and what it answered; long edge 1536.

    Of one that declares itself what it says, also what it observed, and no heat where it has none.
    """
    size = (FILM_WIDTH + _PANEL_WIDTH, FILM_HEIGHT + _BANNER_HEIGHT)
    image = Image.new("RGB", size, panel.BACKGROUND)
    if heat is not None:
        (heat,) = _upright(replace(film, explanation=Explanation((heat,)))).saliency
    film = _upright(film)
    layout = Layout(*film.film.shape)
    picture = _film_with(film, heat, layout)
    draw_observed(picture, film, _scale(layout), network)
    letter_observed(picture, film, _scale(layout), context, network)
    image.paste(picture, (layout.left, layout.top))
    if heat is None or is_observed(film, heat):
        column = _fitted(partial(_explain_observing, film, (network, heat), context), LINES)
        image.paste(column, (FILM_WIDTH, 0))
    else:
        _explain_looking(image, film, heat, context)
    _banner(image, context.template.research_sentence)
    return image


def _explain_observing(
    film: AnalysedFilm,
    of: tuple[str, SaliencyMap | None],
    context: Context,
    column: Panel,
    lines: int,
) -> None:
    """Write what a network observed, at most ``lines`` of each, and where it looked (``of``)."""
    words, (network, heat) = context.template.panel, of
    card = context.card(film, network)
    column.text(heading_of([film], context.template), 17, panel.QUIET)
    column.gap(6)
    column.text(card.title, 24, panel.BRIGHT, bold=True)
    if film.view != "PA":
        column.text(view(film, context.template), 14, panel.BAR_FOUND)
    column.gap(6)
    explain_network(column, film, network, context, lines)
    explained = explanation_of_network(film, network, context)
    if explained:
        column.heading(words.explanation)
        if heat is not None and is_drawn(film, heat):
            _legend(column, context)
        column.text(explained, 15)
    _provenance(column, film, context, card)


def _explain_looking(
    image: Image.Image, film: AnalysedFilm, heat: SaliencyMap, context: Context
) -> None:
    column = Panel(image, FILM_WIDTH + _MARGIN, image.width - _MARGIN, _PANEL_TOP, 1.0)
    words, card = context.template.panel, context.card(film, heat.network)
    column.text(heading_of([film], context.template), 17, panel.QUIET)
    column.gap(6)
    column.text(card.title, 24, panel.BRIGHT, bold=True)
    column.gap(4)
    for line in answer_of(film, heat.network, context):
        column.text(line, 18, panel.PLAIN)
    if film.view != "PA":
        column.text(view(film, context.template), 14, panel.BAR_FOUND)
    column.heading(words.explanation)
    if is_drawn(film, heat):
        _legend(column, context)
    has_contour = bool(contours_of(film, heat))
    for line in evidence_of_network(film, heat.network, context, has_contour=has_contour):
        column.text(line, 15)
    _provenance(column, film, context, card)


def _grey(film: AnalysedFilm, layout: Layout) -> Image.Image:
    grey = np.clip(film.film, 0, 1)
    np.multiply(grey, 255, out=grey)
    np.add(grey, 0.5, out=grey)
    picture = Image.fromarray(grey.astype(np.uint8))
    return picture.resize(layout.film_size, Image.Resampling.LANCZOS).convert("RGB")


def _film_mapped(film: AnalysedFilm, layout: Layout) -> Image.Image:
    """Return the film with the opacity map: colour inside its contours alone."""
    picture, (width, height) = _grey(film, layout), layout.film_size
    part = opaque_part(film, (height, width))
    if part is not None:
        tint(picture, part.heat, (part.left, part.top))
        lines = [line * (layout.across, layout.down) for line in opaque_contours(film)]
        draw_lines(picture, lines, OPAQUE)
    return picture


def _film_with(film: AnalysedFilm, heat_of: SaliencyMap | None, layout: Layout) -> Image.Image:
    picture = _grey(film, layout)
    if heat_of is None or not is_drawn(film, heat_of):
        return picture
    width, height = layout.film_size
    heat = heat_on_picture(heat_of, (layout.rows, layout.columns), (height, width))
    heat_up(picture, heat * _fading(heat_of.region, layout))
    lines = [line * (layout.across, layout.down) for line in contours_of(film, heat_of)]
    draw_lines(picture, lines, _CONTOUR)
    return picture


def _fading(region: Region, layout: Layout) -> npt.NDArray[np.float32]:
    """Return 1 inside what the network saw, falling to 0 at its edges: no box is drawn there."""
    width, height = layout.film_size
    down = (np.arange(height) + 0.5) / layout.down
    across = (np.arange(width) + 0.5) / layout.across
    y = np.minimum(down - region.top, region.bottom - down) / (region.bottom - region.top)
    x = np.minimum(across - region.left, region.right - across) / (region.right - region.left)
    nearest = np.minimum(y[:, None], x[None, :])
    return np.asarray(np.clip(nearest / _FADING, 0, 1), np.float32)


def _panel(film: AnalysedFilm, said: tuple[Places, Wording], context: Context) -> Image.Image:
    """Return the text beside the film, in the largest type that fits."""
    # Fewer lines of a network before letters that nobody reads.
    fewest = LINES if film.findings.observed or film.findings.unanswered else LINES[:1]
    return _fitted(partial(_explain, film, said, context), fewest)


def _fitted(explain: Callable[[Panel, int], None], fewest: Sequence[int]) -> Image.Image:
    """Return a panel with what ``explain`` writes, of as many lines as fit of ``fewest``."""
    image = Image.new("RGB", (_PANEL_WIDTH, FILM_HEIGHT), panel.BACKGROUND)

    def written(scale: float, lines: int, *, dry: bool) -> int:
        column = Panel(image, _MARGIN, image.width - _MARGIN, _PANEL_TOP, scale, dry=dry)
        explain(column, lines)
        return column.y

    room, smallest = image.height - _MARGIN, _SCALES[-1]
    lines = next((n for n in fewest if written(smallest, n, dry=True) <= room), fewest[-1])
    fits = bisect_left(_SCALES, True, key=lambda scale: written(scale, lines, dry=True) <= room)  # noqa: FBT003
    written(_SCALES[min(fits, len(_SCALES) - 1)], lines, dry=False)
    return image


def _explain(
    film: AnalysedFilm,
    said_of: tuple[Places, Wording],
    context: Context,
    column: Panel,
    lines: int,
) -> None:
    """Write the whole panel. ``lines``: at most so many of an observation, see `LINES`."""
    template, words, (places, wording) = context.template, context.template.panel, said_of
    column.text(heading_of([film], context.template), 17, panel.QUIET)
    column.gap(6)
    if film.findings.contradictions:
        column.text(wording.headline, 21, panel.BAR_FOUND, bold=True)
    else:
        size = 27 if len(wording.headline) <= _SHORT_HEADLINE else 21
        column.text(_cut(wording.headline), size, panel.BRIGHT, bold=True)
    column.gap(4)
    if film.findings.finding is not None:
        _explain_classes(column, film, film.findings.finding, (wording, context))
    else:
        column.text(knows(film, context), 14, panel.QUIET)
        if film.view != "PA":
            column.text(view(film, template), 14, panel.BAR_FOUND)
    explain_observed(column, film, context, lines)
    _course(column, context)
    for said in remarks(film.findings, template):
        column.gap(6)
        column.text(said, 15, panel.BAR_FOUND)
    if film.explanation.opacity is not None:
        _mapped(column, film, places, context)
    elif wording.explanation:
        column.heading(words.explanation)
        if film.saliency and is_drawn(film, film.saliency[0]):
            _legend(column, context)
        column.text(wording.explanation, 15)
    first = context.detector(film)
    observed = dict.fromkeys(one.network for one in film.findings.observed)
    others = [context.card(film, name) for name in observed if name != first.id]
    _provenance(column, film, context, first, others)


def _cut(headline: str) -> str:
    """Return a headline that may be as long as all that many networks found, cut between two."""
    if len(headline) <= _LONG_HEADLINE:
        return headline
    kept = headline[:_LONG_HEADLINE]
    end = max(kept.rfind("; "), kept.rfind("), ") + 1)
    return f"{kept[:end] if end > 0 else kept} …"


def _explain_classes(
    column: Panel, film: AnalysedFilm, detection: Detection, said: tuple[Wording, Context]
) -> None:
    """Write what the networks say of a film that tell classes, opacity and severity."""
    wording, context = said
    template, words = context.template, context.template.panel
    column.text(knows(film, context), 14, panel.QUIET)
    if film.view != "PA":
        column.text(view(film, template), 14, panel.BAR_FOUND)
    if not detection.abstained:
        column.text(template.classes[detection.finding_class].comment, 15, panel.PLAIN)
    _opacity(column, film, context)
    column.heading(words.probabilities if detection.calibrated else words.scores)
    for name in ordered(detection, template):
        found = name == detection.finding_class and not detection.abstained
        column.bar(
            (
                template.classes[name].wording,
                f"{probability(detection, name, template)} %",
            ),
            detection.probabilities[name],
            detection.threshold,
            panel.BAR_FOUND if found else panel.BAR,
        )
    column.text(words.threshold.format(threshold=template.percent(detection.threshold)), 14)
    column.text(wording.calibration, 14, panel.QUIET)
    _appearance(column, film, context)
    _severity(column, film, context)


def _mapped(column: Panel, film: AnalysedFilm, places: Places, context: Context) -> None:
    """Write what the map beside shows: its colours, what they mean, how much of each lung."""
    column.heading(context.template.panel.mapped)
    if places.opaque:
        _map_legend(column, context)
    for sentence in map_sentences(film, places, context.template):
        column.text(sentence, 15)


def _opacity(column: Panel, film: AnalysedFilm, context: Context) -> None:
    """Draw whether there is opacity as a bar, with its threshold, where the network tells it."""
    found, template = film.findings.opacity, context.template
    if found is None:
        return
    column.heading(template.panel.opacity)
    shown = template.percent(found.probability, found.threshold)
    column.bar(
        (template.opacity.tracking, f"{shown} %"),
        found.probability,
        found.threshold,
        panel.BAR_FOUND if found.present else panel.BAR,
    )
    column.text(opacity_sentence(found, template), 14)


def _appearance(column: Panel, film: AnalysedFilm, context: Context) -> None:
    """Write the appearance and the numbers of all four, where the network tells it."""
    found, template = film.findings.appearance, context.template
    if found is None:
        return
    column.heading(template.panel.appearance)
    if found.abstained:
        column.text(appearance_sentence(found, template), 15, panel.BRIGHT)
    column.text(every_appearance(found, template), 15)
    if not found.abstained:
        column.text(template.appearance.classes[found.named].comment, 14, panel.QUIET)


def _severity(column: Panel, film: AnalysedFilm, context: Context) -> None:
    """Write the scores with their intervals, and the airspace level, where they were graded."""
    findings, template, words = film.findings, context.template, context.template.severity
    if not findings.scores and findings.airspace is None:
        return
    column.heading(context.template.panel.severity)
    for name, score in findings.scores.items():
        column.pair(words.scores[name].wording, interval(score, template))
    if findings.airspace is not None:
        column.text(words.levels[findings.airspace.level].meaning, 15)
        _graded_parts(column, film, findings.airspace, context)


def _graded_parts(column: Panel, film: AnalysedFilm, airspace: Airspace, context: Context) -> None:
    """Draw the parts of the lungs with their scores, each side where it is on the film beside."""
    words = context.template.panel
    sides = [("right", words.right), ("left", words.left)]
    heights = ["upper", "middle", "lower"]
    shown = _lies(film)
    if not shown.transposed:
        sides = sides[::-1] if shown.mirrored else sides
        heights = heights[::-1] if shown.upside_down else heights
    if set(airspace.parts) != set(ZONES):
        return
    column.gap(6)
    column.row((sides[0][1], words.parts, sides[1][1]), 13)
    for height in heights:
        column.cells(
            [
                (context.template.score(value), value / ZONE_MAX)
                for side, _ in sides
                for value in (airspace.parts[f"{side}_{height}"],)
            ]
        )


def _course(column: Panel, context: Context) -> None:
    """Write a line for each earlier film of the patient."""
    if not context.earlier:
        return
    column.heading(context.template.panel.course)
    for line in course(context):
        column.text(line, 14)


def _legend(column: Panel, context: Context) -> None:
    """Draw the colours as they look on a middle grey, with the contour's place."""
    words = context.template.panel
    column.picture((column.right - column.left, column.sized(16)), _heat_legend)
    column.row((words.legend_low, words.legend_contour, words.legend_high), 13)
    column.gap(4)


def _heat_legend(width: int, height: int) -> Image.Image:
    bar = Image.new("RGB", (width, height), (_LEGEND_GREY,) * 3)
    heat_up(bar, np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, 0))
    at = round(CONTOUR_LEVEL * width)
    ImageDraw.Draw(bar).rectangle((at - 3, 0, at + 3, height), fill=HALO)
    ImageDraw.Draw(bar).rectangle((at - 1, 0, at + 1, height), fill=_CONTOUR)
    return bar


def _map_legend(column: Panel, context: Context) -> None:
    """Draw the map's colours from its contour on, as they look on a middle grey."""
    words = context.template.panel
    column.picture((column.right - column.left, column.sized(16)), _opaque_legend)
    column.row((f"{words.legend_contour}: {words.legend_unsure}", "", words.legend_sure), 13)
    column.gap(4)


def _opaque_legend(width: int, height: int) -> Image.Image:
    bar = Image.new("RGB", (width, height), (_LEGEND_GREY,) * 3)
    tint(bar, np.linspace(LEVEL, 1, width, dtype=np.float32)[None].repeat(height, 0))
    ImageDraw.Draw(bar).rectangle((0, 0, 4, height), fill=HALO)
    ImageDraw.Draw(bar).rectangle((0, 0, 2, height), fill=OPAQUE)
    return bar


def _named(words: PanelText, card: NetworkCard) -> str:
    return words.network.format(network=card.title, version=card.version, digest=short_digest(card))


def _provenance(
    column: Panel,
    film: AnalysedFilm,
    context: Context,
    card: NetworkCard,
    others: Sequence[NetworkCard] = (),
) -> None:
    """Write when the film was taken, and which network said what stands first, then ``others``."""
    words = context.template.panel
    column.heading(words.provenance)
    taken = taken_at(film.dataset)
    said = {"when": taken, "view": view_name(film, context.template)}
    column.text((words.taken if taken else words.undated).format(**said), 15)
    column.text(_named(words, card), 15)
    if others:
        column.text("; ".join(map(partial(_named, words), others)), 13)
    column.heading(words.limits)
    if card.intended_use:
        column.text(card.intended_use, 14, panel.QUIET)
        column.gap(4)
    column.text(words.unverified, 16, panel.BRIGHT, bold=True)


def _banner(image: Image.Image, sentence: str) -> None:
    pen = ImageDraw.Draw(image)
    top = image.height - _BANNER_HEIGHT
    pen.rectangle((0, top, image.width, image.height), fill=_BANNER)
    size = 24
    while width_of(sentence, Face(size, bold=True)) > image.width - 2 * _MARGIN and size > 10:
        size -= 1
    middle = (image.width // 2, top + _BANNER_HEIGHT // 2)
    write(image, middle, sentence, Face(size, bold=True), (panel.BRIGHT, "mm"))
