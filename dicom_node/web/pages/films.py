"""A film for the viewer: its stored pixels in full depth, and what lies over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image
from pydicom import Dataset

from dicom_node.errors import FilmWithoutContrast
from dicom_node.imaging.decode import Pixels, decode, little_endian
from dicom_node.imaging.grayscale import film_of, grayscale, is_inverted
from dicom_node.imaging.header import header_of, read_dataset
from dicom_node.imaging.values import integer, number
from dicom_node.records import Instance, InstanceId, InstanceState
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.regions import Places, Polygon, contours_of, is_drawn, places_of
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.pages.observed import drawn_places, words_context
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.trail import seen
from dicom_node.web.turns import InTurn

router = APIRouter(prefix="/films")

_THUMBNAIL = 256
_TAIL = 0.005


@router.get("/{instance_id}/film.json")
def about(
    request: Request, instance_id: RowId, person: Annotated[Person, Depends(reader)], _: InTurn
) -> JSONResponse:
    """Return size, greys, window, polarity and everything that is drawn over the film."""
    house = house_of(request)
    instance = house.ledger.instance(InstanceId(instance_id))
    dataset = read_dataset(house.spool.read(instance.digest))
    pixels = decode(dataset, max_megapixels=house.settings.admission.max_megapixels)
    film = house.stored.film(instance) if instance.state is InstanceState.ANALYSED else None
    document = {
        "rows": pixels.shape[0],
        "columns": pixels.shape[1],
        "signed": pixels.dtype.kind == "i",
        "bytes": pixels.dtype.itemsize,
        "inverted": is_inverted(dataset, pixels),
        "window": _window(dataset, pixels),
        **_greys(dataset, pixels),
        "spacing": header_of(dataset).pixel_spacing,
        **(_drawn(film) if film is not None else {"maps": [], "lungs": {}, "parts": []}),
        "places": drawn_places(film, words_context(house)) if film is not None else [],
    }
    seen(request, person.name, "film.viewed", instance.study_id)
    return JSONResponse(document)


@router.get("/{instance_id}/pixels")
def pixels_of(
    request: Request, instance_id: RowId, person: Annotated[Person, Depends(reader)], _: InTurn
) -> Response:
    """Return the stored values, little endian, row by row, in the width `about` tells."""
    house = house_of(request)
    instance = house.ledger.instance(InstanceId(instance_id))
    dataset = read_dataset(house.spool.read(instance.digest))
    pixels = decode(dataset, max_megapixels=house.settings.admission.max_megapixels)
    seen(request, person.name, "film.viewed", instance.study_id)
    return Response(little_endian(pixels), media_type="application/octet-stream")


@router.get("/{instance_id}/thumbnail.jpg")
def thumbnail(
    request: Request, instance_id: RowId, person: Annotated[Person, Depends(reader)], _: InTurn
) -> Response:
    """Return a small picture of the film."""
    house = house_of(request)
    instance = house.ledger.instance(InstanceId(instance_id))
    picture = picture_of(house, instance, _THUMBNAIL)
    seen(request, person.name, "thumbnail.viewed", instance.study_id)
    return Response(picture, media_type="image/jpeg")


def picture_of(house: House, instance: Instance, longest: int) -> bytes:
    """Return a film as a display shows it, as JPEG, the longer side ``longest`` pixels."""

    def draw() -> bytes:
        picture = grey_picture(house, read_dataset(house.spool.read(instance.digest)))
        picture.thumbnail((longest, longest), Image.Resampling.BOX)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG")
        return buffer.getvalue()

    return house.album.picture(instance.digest, longest, draw)


def grey_picture(house: House, dataset: Dataset) -> Image.Image:
    """Return a film as a display shows it, 8 bit grey. Raises `ImageError`."""
    film = film_of(dataset, max_megapixels=house.settings.admission.max_megapixels)
    # In place: of the largest films each copy has hundreds of megabytes.
    film *= 255
    return Image.fromarray(film.astype(np.uint8))


def _window(dataset: Dataset, pixels: Pixels) -> dict[str, float]:
    """Return the window in stored values: the film's first, else nearly all that occurs."""
    slope = number(dataset, "RescaleSlope") or 1.0
    intercept = number(dataset, "RescaleIntercept") or 0.0
    centre, width = (number(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 1:
        return {"centre": (centre - intercept) / slope, "width": abs(width / slope)}
    low, high = np.quantile(pixels[::4, ::4], (_TAIL, 1 - _TAIL))
    return {"centre": float(low + high) / 2, "width": max(float(high - low), 1.0)}


def _greys(dataset: Dataset, pixels: Pixels) -> dict[str, Any]:
    """Return the 8-bit grey of every stored value from the lowest on, as the networks' film has it.

    Whatever made it: Modality LUT, VOI LUT or function, window, polarity. Values that do not occur
    lie between their neighbours. ``padding``: the first and the last value that stay black.
    """
    size = 1 << (8 * pixels.dtype.itemsize)
    lowest = -size // 2 if pixels.dtype.kind == "i" else 0
    table = np.full(size, np.nan, np.float32)
    with suppress(FilmWithoutContrast):
        indices = pixels if lowest == 0 else pixels.astype(np.int32) - lowest
        table[indices] = grayscale(dataset, pixels)
    padding = _padding(dataset, lowest, size)
    shown = ~np.isnan(table)
    if padding:
        shown[padding[0] - lowest : padding[1] - lowest + 1] = False
    occurring = np.flatnonzero(shown)
    if occurring.size:
        table = np.interp(np.arange(size), occurring, table[occurring]).astype(np.float32)
    greys = np.rint(np.nan_to_num(table, nan=0.5) * 255).astype(np.uint8)
    return {"greys": base64.b64encode(greys.tobytes()).decode(), "padding": padding}


def _padding(dataset: Dataset, lowest: int, size: int) -> list[int] | None:
    """Return the range of Pixel Padding (PS3.3 C.7.5.1.1.2), whatever sign its VR gave it."""
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer(dataset, "PixelPaddingRangeLimit")
    ends = (value, value if limit is None else limit)
    return sorted((each - lowest) % size + lowest for each in ends)


def _drawn(film: AnalysedFilm) -> dict[str, Any]:
    """Return the maps, outlines and parts of the lungs in pixels of the stored matrix."""
    places, findings = places_of(film), film.findings
    scores = findings.airspace.parts if findings.airspace else {}
    return {
        "maps": [
            *_opacity(film, places),
            *({
                "network": item.network,
                "target": item.target,
                "kind": "looked",
                "label": f"what weighed, {item.network}",
                "grid": np.round(item.heat, 3).tolist(),
                "region": [item.region.top, item.region.left, item.region.bottom,
                           item.region.right],
                "contours": [_line(line) for line in contours_of(film, item)],
                "drawn": is_drawn(film, item),
            } for item in film.explanation.looked),
        ],
        "lungs": {side: _line(line) for side, line in places.lungs.items()},
        "parts": [
            {"name": name.replace("_", " "), "score": round(scores.get(name, 0.0), 1),
             "line": _line(line)}
            for name, line in places.parts.items()
        ],
    }  # fmt: skip


def _opacity(film: AnalysedFilm, places: Places) -> Iterator[dict[str, Any]]:
    """Yield the opacity map, the first explanation, as of `_drawn`, with its threshold."""
    opacity = film.explanation.opacity
    if opacity is None:
        return
    region = opacity.region
    yield {
        "network": opacity.network,
        "target": "opacity",
        "kind": "opacity",
        "label": "opacity map",
        "threshold": opacity.threshold,
        "grid": np.round(opacity.probability, 3).tolist(),
        "region": [region.top, region.left, region.bottom, region.right],
        "contours": [_line(line) for line in places.opaque],
        "drawn": bool(places.opaque),
    }


def _line(line: Polygon) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in line]
