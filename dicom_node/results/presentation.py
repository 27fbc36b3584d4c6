"""The contours of a film as a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

For viewers that draw them over the film itself. The reader's window is never set: there is no
Softcopy VOI LUT. Modality LUT and polarity are the film's own, since a presentation state replaces
what the film says of them (PS3.4 N.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from dicom_node.chest import is_opaque
from dicom_node.imaging.lut import lookup
from dicom_node.imaging.values import items, numbers, text, unreadable
from dicom_node.observations import Observation, ObservationKind
from dicom_node.results.films import AnalysedFilm, Context, part_examined
from dicom_node.results.mapped import map_sentences
from dicom_node.results.modules import (
    copy_identity,
    reference_to,
    set_equipment,
    set_part_examined,
    set_times,
)
from dicom_node.results.observed_picture import colours_of, words_at
from dicom_node.results.observed_words import conclusion_of, names, number_of
from dicom_node.results.regions import Places, Polygon, area_contours, places_of, simplified
from dicom_node.results.template_parts import LONG_STRING
from dicom_node.results.wording import interval, view, wording_of

SERIES_OFFSET = 3
LAYER, OBSERVED_LAYER = "AI_FINDINGS", "AI_OBSERVED"
_DESCRIPTION = "AI CXR contours - RESEARCH USE ONLY"
_MOST_LINES = 100
"""So many areas of one mask are drawn, the largest."""

_TEXT = 1024
"""Characters of an annotation (PS3.5 6.2, ST)."""

_RESCALE = {"RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "US"}
"""What the film means where it leaves one of them out."""


def presentation(film: AnalysedFilm, context: Context, uid: str, number: int) -> Dataset:
    """Return the presentation state of one analysed film.

    What is mapped opaque (without a map: what stood out for the finding), both lungs and the parts
    as polylines in pixels of the stored matrix; the headline and the scores as text. What networks
    observed that declare themselves what they say, in a layer each.
    """
    source, document = film.dataset, Dataset()
    copy_identity(source, document)
    set_times(source, document)
    set_equipment(source, document, context.cards([film]), context.node_ae_title)
    document.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    document.SOPInstanceUID = uid
    document.Modality = "PR"
    document.SeriesInstanceUID = context.series_uid(source, "presentation")
    document.SeriesNumber = context.series_number_base + SERIES_OFFSET
    document.SeriesDescription = _DESCRIPTION
    set_part_examined(source, document, part_examined([film]))
    document.InstanceNumber = number
    _named(document, context)
    _film(film, document)
    _drawn(film, context, document)
    return document


def _named(document: Dataset, context: Context) -> None:
    document.ContentLabel = LAYER
    document.ContentDescription = _DESCRIPTION
    document.ContentCreatorName = ""
    document.PresentationCreationDate = document.ContentDate
    document.PresentationCreationTime = document.ContentTime
    document.ImageComments = context.template.research_sentence


def _film(film: AnalysedFilm, document: Dataset) -> None:
    """Refer to the film and show all of it, in its own polarity."""
    source = film.dataset
    series = Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    series.ReferencedImageSequence = [_reference(source)]
    document.ReferencedSeriesSequence = [series]
    area = Dataset()
    area.ReferencedImageSequence = [_reference(source)]
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [int(source.Columns), int(source.Rows)]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelAspectRatio = _aspect(source)
    document.DisplayedAreaSelectionSequence = [area]
    _modality_lut(source, document)
    document.PresentationLUTShape = "INVERSE" if film.is_inverted else "IDENTITY"


def _modality_lut(source: Dataset, document: Dataset) -> None:
    """Set the film's modality LUT: its table, or all three values of its rescale (C.11.1)."""
    tables = items(source, "ModalityLUTSequence")
    if tables and lookup(tables[0], signed=False):
        document.ModalityLUTSequence = source.ModalityLUTSequence
        return
    rescale = ("RescaleIntercept", "RescaleSlope")
    if tables or unreadable(source, *rescale) or not any(text(source, each) for each in rescale):
        return
    for keyword, meant in _RESCALE.items():
        setattr(document, keyword, source.get(keyword) if text(source, keyword) else meant)


def _aspect(source: Dataset) -> list[int]:
    # Vertical\horizontal; some makers send one number, which then says nothing (PS3.3 C.7.6.3.1.7).
    given = numbers(source, "PixelAspectRatio")
    return [int(part) for part in given] if len(given) == 2 else [1, 1]


def _reference(source: Dataset) -> Dataset:
    return reference_to(source.SOPClassUID, source.SOPInstanceUID)


def _drawn(film: AnalysedFilm, context: Context, document: Dataset) -> None:
    source, places = film.dataset, places_of(film)
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = LAYER, 1
    layer.GraphicLayerDescription = _DESCRIPTION
    document.GraphicLayerSequence = [layer]
    annotation = Dataset()
    annotation.ReferencedImageSequence = [_reference(source)]
    annotation.GraphicLayer = LAYER
    annotation.GraphicObjectSequence = [_line(line, source) for line in _lines(film, places)]
    annotation.TextObjectSequence = [_text(film, places, context)]
    if not annotation.GraphicObjectSequence:
        del annotation.GraphicObjectSequence
    observed = list(_observed(film, context))
    document.GraphicLayerSequence.extend(layer for layer, _ in observed)
    document.GraphicAnnotationSequence = [annotation, *(each for _, each in observed)]


def _observed(film: AnalysedFilm, context: Context) -> Iterator[tuple[Dataset, Dataset]]:
    """Yield a layer of its own, and what is in it, of each observation that has places.

    In the colours of the capture, each place with what it is.
    """
    for number, (name, colour) in enumerate(colours_of(film).items(), 2):
        one = next(each for each in film.findings.observed if (each.network, each.key) == name)
        placed = list(_placed(one, film, context))
        if not placed:
            continue
        layer, annotation = Dataset(), Dataset()
        layer.GraphicLayer, layer.GraphicLayerOrder = f"{OBSERVED_LAYER}_{number - 1}", number
        layer.GraphicLayerDescription = names(one, context)[:LONG_STRING]
        layer.GraphicLayerRecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(*colour).value)
        annotation.ReferencedImageSequence = [_reference(film.dataset)]
        annotation.GraphicLayer = layer.GraphicLayer
        annotation.TextObjectSequence = [
            _text_at(line, said, film.dataset) for line, said in placed if said
        ]
        annotation.GraphicObjectSequence = [_line(line, film.dataset) for line, _ in placed]
        yield layer, annotation


def _placed(
    one: Observation, film: AnalysedFilm, context: Context
) -> Iterator[tuple[Polygon, str]]:
    """Yield each line of an observation, closed or of two points, and what is written at it."""
    for place in one.places:
        points = np.asarray(place.points, np.float64)
        line = points if len(points) == 2 else np.concatenate([points, points[:1]])
        yield line, words_at(place, one, context)
    if one.kind is ObservationKind.MASK:
        said = f"{names(one, context)}: {number_of(one, context)}"
        for line in area_contours(film, one.network, one.key)[:_MOST_LINES]:
            yield simplified(line), said
            said = ""


def _text_at(line: Polygon, said: str, source: Dataset) -> Dataset:
    """Return words at the top left of a line."""
    column, row = np.clip(line.min(axis=0), 0, (int(source.Columns), int(source.Rows)))
    text = Dataset()
    text.AnchorPointAnnotationUnits = "PIXEL"
    text.AnchorPoint = [float(np.float32(column)), float(np.float32(row))]
    text.AnchorPointVisibility = "N"
    text.UnformattedTextValue = said[:_TEXT]
    return text


def _lines(film: AnalysedFilm, places: Places) -> Iterator[Polygon]:
    """Yield what is mapped opaque, the lungs, and their parts that have opacities.

    Without a map what weighed for the class: the lines of both would look alike. None of it where
    networks alone spoke that declare themselves what they say: nothing of theirs is about it.
    """
    airspace = film.findings.airspace
    if film.findings.finding is None and film.findings.observed:
        return
    first = places.salient if film.explanation.opacity is None else places.opaque
    yield from (simplified(line) for line in first)
    yield from places.lungs.values()
    if airspace is not None:
        yield from (line for name, line in places.parts.items() if is_opaque(airspace.parts[name]))


def _line(line: Polygon, source: Dataset) -> Dataset:
    # PIXEL units count from the corner of the first pixel, as our places do (PS3.3 C.10.5.1.2).
    points = np.clip(line, 0, (int(source.Columns), int(source.Rows)))
    graphic = Dataset()
    graphic.GraphicAnnotationUnits = "PIXEL"
    graphic.GraphicDimensions = 2
    graphic.NumberOfGraphicPoints = len(points)
    graphic.GraphicData = [float(np.float32(value)) for value in points.ravel()]
    graphic.GraphicType = "POLYLINE"
    graphic.GraphicFilled = "N"
    return graphic


def _text(film: AnalysedFilm, places: Places, context: Context) -> Dataset:
    text = Dataset()
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    text.BoundingBoxTopLeftHandCorner = [0.02, 0.90]
    text.BoundingBoxBottomRightHandCorner = [0.98, 0.99]
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    text.UnformattedTextValue = _fitting(_said(film, places, context))
    return text


def _fitting(lines: Sequence[str]) -> str:
    """Return lines as one text; where it is too long, the first ends early, and all others stay."""
    whole = "\r\n".join(lines)
    if len(whole) <= _TEXT:
        return whole
    rest = "".join(f"\r\n{line}" for line in lines[1:])
    return f"{lines[0][: max(_TEXT - len(rest) - 4, 0)]} ...{rest}"[:_TEXT]


def _said(film: AnalysedFilm, places: Places, context: Context) -> Sequence[str]:
    template, words = context.template, context.template.severity
    scores = [
        f"{words.scores[name].wording}: {interval(score, template)}"
        for name, score in film.findings.scores.items()
    ]
    headline = wording_of(film, context, has_contour=bool(places.salient)).headline
    mapped = " ".join(map_sentences(film, places, template))
    if film.findings.finding is not None and film.findings.observed:
        headline = f"{headline}\r\n{conclusion_of(film.findings, context)}"
    lines = [headline, mapped, ", ".join(scores), view(film, template), template.research_sentence]
    return [line for line in lines if line]
