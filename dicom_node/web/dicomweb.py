"""WADO-RS for other viewers (PS3.18 section 10.4); `qido` searches, `stow` stores."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image
from pydicom import Dataset

from dicom_node.imaging.colour import frame_count, is_film, picture_of, samples_of
from dicom_node.imaging.decode import decode, little_endian
from dicom_node.imaging.header import parsing, read_dataset
from dicom_node.imaging.values import integer
from dicom_node.records import StudyId
from dicom_node.web import archive
from dicom_node.web.accept import Offer, chosen
from dicom_node.web.addresses import base_of as _base
from dicom_node.web.archive import Kept
from dicom_node.web.house import House
from dicom_node.web.multipart import related
from dicom_node.web.pages.films import grey_picture
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.trail import seen
from dicom_node.web.turns import InTurn

router = APIRouter(prefix="/dicom-web")

_JSON, _DICOM, _OCTETS = "application/dicom+json", "application/dicom", "application/octet-stream"
_PARTS = ("study", "series", "instance")

_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class Place:
    """What an address names: a study, a series or an instance; "" and None for what it does not."""

    study: str = ""
    series: str | None = None
    instance: str | None = None


def place_of(request: Request) -> Place:
    """Return what the address names. Raises 422 where that is no UID."""
    named = {name: value for name, value in request.path_params.items() if name in _PARTS}
    if not all(map(_UID.fullmatch, named.values())):
        raise HTTPException(422, "A UID has digits and dots, at most 64.")
    return Place(**named)


@router.get("/studies/{study}/metadata")
@router.get("/studies/{study}/series/{series}/metadata")
@router.get("/studies/{study}/series/{series}/instances/{instance}/metadata")
def metadata(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
) -> Response:
    """WADO-RS: every attribute of a study, a series or an instance but its bulk data."""
    house, base = house_of(request), _base(request)
    chosen(request, Offer(_JSON), Offer("application/json"))
    study_id, items = _items(house, place)
    house.ledger.note(person.name, "dicomweb.metadata", study_id=study_id)

    def told(house: House, item: Kept) -> dict[str, Any]:
        address = archive.address_of(
            base, place.study, item.series_instance_uid, item.sop_instance_uid
        )
        return archive.metadata_json(house, item, address)

    return _json(list(archive.legible(house, items, told)))


@router.get("/studies/{study}")
@router.get("/studies/{study}/series/{series}")
@router.get("/studies/{study}/series/{series}/instances/{instance}")
def retrieve(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
) -> Response:
    """WADO-RS: the instances of a study or a series, or one of them."""
    house = house_of(request)
    offers = [Offer("multipart/related", _DICOM)]
    offer, wanted = chosen(request, *offers, *[Offer(_DICOM)] * bool(place.instance))
    any_syntax = wanted.parameters.get("transfer-syntax", "") == "*"
    study_id, items = _items(house, place)
    house.ledger.note(person.name, "dicomweb.retrieved", study_id=study_id)
    if offer.media_type == _DICOM:
        data = archive.as_sent(house, items[0], any_syntax=any_syntax)[1]
        return Response(data, media_type=_DICOM)

    def body(house: House, item: Kept) -> tuple[str, bytes]:
        syntax, data = archive.as_sent(house, item, any_syntax=any_syntax)
        return f"{_DICOM}; transfer-syntax={syntax}", data

    bodies = archive.legible(house, items, body)
    # The first before the status line: an empty 200 would say that the study is empty.
    first = next(bodies)
    whole = all(house.spool.path(item.digest).exists() for item in items)
    return _related(_DICOM, chain([first], bodies), 200 if whole else 206)


@router.get("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}")
def retrieve_frames(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    frames: Annotated[str, Path(pattern=r"^\d{1,6}(,\d{1,6}){0,99}$")],
    person: Annotated[Person, Depends(reader)],
    _: InTurn,
) -> Response:
    """WADO-RS: frames of an instance, each uncompressed, little endian, as often as it is named."""
    house = house_of(request)
    chosen(request, Offer("multipart/related", _OCTETS))
    study_id, dataset = _dataset(house, place)
    numbers = [int(number) for number in frames.split(",")]
    if not all(1 <= number <= frame_count(dataset) for number in numbers):
        raise HTTPException(404, "There is no such frame.")
    decoded = {number: _frame(house, dataset, number) for number in dict.fromkeys(numbers)}
    seen(request, person.name, "dicomweb.viewed", study_id)
    return _related(_OCTETS, [(_OCTETS, decoded[number]) for number in numbers])


@router.get("/studies/{study}/series/{series}/instances/{instance}/bulk/{tag}")
def retrieve_bulk(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    tag: Annotated[str, Path(pattern=r"^[0-9A-F]{8}$")],
    person: Annotated[Person, Depends(reader)],
    _: InTurn,
) -> Response:
    """WADO-RS: the value of one attribute that `metadata` names by its address."""
    house = house_of(request)
    chosen(request, Offer("multipart/related", _OCTETS))
    study_id, dataset = _dataset(house, place)
    with parsing():
        element = dataset.get(int(tag, 16))
    if element is None or not isinstance(element.value, bytes):
        raise HTTPException(404, "There is no such value.")
    data = element.value
    if element.keyword == "PixelData":
        data = b"".join(_frame(house, dataset, 1 + n) for n in range(frame_count(dataset)))
    seen(request, person.name, "dicomweb.viewed", study_id)
    return _related(_OCTETS, [(_OCTETS, data)])


@router.get("/studies/{study}/series/{series}/instances/{instance}/rendered")
def rendered(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
    _: InTurn,
    viewport: Annotated[str, Query(pattern=r"^\d{1,5},\d{1,5}(,.*)?$")] = "",
) -> Response:
    """WADO-RS: a film or capture as JPEG or PNG; the PDF as it is."""
    house = house_of(request)
    study_id, dataset = _dataset(house, place)
    seen(request, person.name, "dicomweb.viewed", study_id)
    if "EncapsulatedDocument" in dataset:
        with parsing():
            length = integer(dataset, "EncapsulatedDocumentLength") or None
        return Response(dataset.EncapsulatedDocument[:length], media_type="application/pdf")
    if "PixelData" not in dataset:
        raise HTTPException(406, "This instance is no picture.")
    kind = chosen(request, Offer("image/jpeg"), Offer("image/png"))[0].media_type
    picture = _picture(house, dataset)
    if viewport:
        width, height = (int(part) for part in viewport.split(",")[:2])
        if not 1 <= width <= 8192 or not 1 <= height <= 8192:
            raise HTTPException(400, "viewport: from 1 to 8192 pixels.")
        picture.thumbnail((width, height))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if kind == "image/png" else "JPEG", quality=90)
    return Response(buffer.getvalue(), media_type=kind)


def _related(media_type: str, bodies: Iterable[tuple[str, bytes]], status: int = 200) -> Response:
    content_type, pieces = related(media_type, bodies)
    return StreamingResponse(pieces, status, headers={"Content-Type": content_type})


def _frame(house: House, dataset: Dataset, number: int) -> bytes:
    most = house.settings.admission.max_megapixels
    if is_film(dataset):
        return little_endian(decode(dataset, max_megapixels=most))
    samples = samples_of(dataset, number, max_megapixels=most)
    return samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()


def _picture(house: House, dataset: Dataset) -> Image.Image:
    if is_film(dataset):
        return grey_picture(house, dataset)
    return picture_of(dataset, 1, max_megapixels=house.settings.admission.max_megapixels)


def _items(house: House, place: Place) -> tuple[StudyId, list[Kept]]:
    """Return the study's row and the instances that are meant, at least one. Raises 404."""
    study_id = study_of(house, place.study)
    found = archive.chosen(archive.kept(house, study_id), place.series, place.instance)
    if not found:
        raise HTTPException(404, "There is no such series or instance.")
    return study_id, found


def _dataset(house: House, place: Place) -> tuple[StudyId, Dataset]:
    study_id, (item, *_others) = _items(house, place)
    return study_id, read_dataset(house.spool.read(item.digest))


def study_of(house: House, study: str) -> StudyId:
    """Return the row of a Study Instance UID. Raises 404."""
    found = house.ledger.find_study(study)
    if found is None:
        raise HTTPException(404, "There is no such study.")
    return found.id


def _json(document: Any, status: int = 200) -> Response:
    return JSONResponse(document, status_code=status, media_type=_JSON)
