"""DICOMweb for other viewers: QIDO-RS and WADO-RS (PS3.18 chapters 8 and 10); `stow` stores."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image
from pydicom import Dataset

from dicom_node.imaging.decode import decode, little_endian
from dicom_node.imaging.header import parsing, read_dataset
from dicom_node.imaging.values import integer
from dicom_node.ledger.casebook import Case, CaseQuery
from dicom_node.records import StudyId
from dicom_node.web import archive
from dicom_node.web.addresses import base_of as _base
from dicom_node.web.archive import Kept
from dicom_node.web.house import House
from dicom_node.web.multipart import parameters_of, related
from dicom_node.web.pages.films import grey_picture
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.trail import seen

router = APIRouter(prefix="/dicom-web")

_JSON, _DICOM, _OCTETS = "application/dicom+json", "application/dicom", "application/octet-stream"
_PAGE = 200
_PARTS = ("study", "series", "instance")

_BEGINNINGS = re.compile(r"(?:^|(?<=[\s^=,.'-]))[^\W_]+")
"""Of a name with wildcards, what must be the beginning of a word of whoever is meant: all that the
ledger's index can be asked. What follows a wildcard may stand within a word."""

_UID = re.compile(r"[0-9.]{1,64}")

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


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


@router.get("/studies")
def search_studies(
    request: Request,
    person: Annotated[Person, Depends(reader)],
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """QIDO-RS: search for studies (PS3.18 10.6)."""
    house = house_of(request)
    wanted = {key: value for key, value in request.query_params.items() if value}
    found: list[dict[str, Any]] = []
    shown: list[StudyId] = []
    skipped = 0
    for case in _cases(house, wanted):
        if skipped < offset:
            skipped += 1
            continue
        answer = archive.study_json(house, case, _base(request))
        if answer is not None:
            found.append(answer)
            shown.append(case.study_id)
        if len(found) >= limit:
            break
    seen(request, person.name, "dicomweb.found", *shown)
    return _json(found)


@router.get("/studies/{study}/series")
def search_series(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """QIDO-RS: the series of a study."""
    house = house_of(request)
    study_id = _study_id(house, place.study)
    items = archive.kept(house, study_id)
    found = list(archive.series_json(house, place.study, items, _base(request)))
    wanted = request.query_params
    modality = _asked(wanted, "Modality", "00080060")
    if modality:
        found = [each for each in found if each["00080060"].get("Value") == [modality]]
    uid = _asked(wanted, "SeriesInstanceUID", "0020000E")
    if uid:
        found = [each for each in found if each["0020000E"].get("Value") == [uid]]
    found = found[offset : offset + limit]
    if found:
        seen(request, person.name, "dicomweb.found", study_id)
    return _json(found)


@router.get("/studies/{study}/instances")
@router.get("/studies/{study}/series/{series}/instances")
def search_instances(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
    limit: Limit = 1000,
    offset: Offset = 0,
) -> Response:
    """QIDO-RS: the instances of a study, or of a series."""
    house, wanted = house_of(request), request.query_params
    study_id = _study_id(house, place.study)
    items = archive.chosen(archive.kept(house, study_id), place.series, None)
    uid = _asked(wanted, "SOPInstanceUID", "00080018")
    if uid:
        items = archive.chosen(items, None, uid)
    base = _base(request)
    found = items[offset : offset + limit]

    def told(house: House, item: Kept) -> dict[str, Any]:
        return archive.instance_json(house, place.study, item, base)

    answer = list(archive.legible(house, found, told))
    if answer:
        seen(request, person.name, "dicomweb.found", study_id)
    return _json(answer)


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
    any_syntax = _accept_parameters(request).get("transfer-syntax", "") == "*"
    study_id, items = _items(house, place)
    house.ledger.note(person.name, "dicomweb.retrieved", study_id=study_id)
    if place.instance and _accepted(request, "multipart/related", _DICOM) == _DICOM:
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
    frames: Annotated[str, Path(pattern=r"^\d{1,6}$")],
    person: Annotated[Person, Depends(reader)],
) -> Response:
    """WADO-RS: the frame of a film, uncompressed, little endian."""
    house = house_of(request)
    _accepted(request, "multipart/related", _OCTETS)
    study_id, dataset = _dataset(house, place)
    if frames != "1" or "PixelData" not in dataset:
        raise HTTPException(404, "There is no such frame.")
    data = _frame(dataset)
    seen(request, person.name, "dicomweb.viewed", study_id)
    return _related(_OCTETS, [(_OCTETS, data)])


@router.get("/studies/{study}/series/{series}/instances/{instance}/bulk/{tag}")
def retrieve_bulk(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    tag: Annotated[str, Path(pattern=r"^[0-9A-F]{8}$")],
    person: Annotated[Person, Depends(reader)],
) -> Response:
    """WADO-RS: the value of one attribute that `metadata` names by its address."""
    house = house_of(request)
    study_id, dataset = _dataset(house, place)
    with parsing():
        element = dataset.get(int(tag, 16))
    if element is None or not isinstance(element.value, bytes):
        raise HTTPException(404, "There is no such value.")
    data = _frame(dataset) if element.keyword == "PixelData" else element.value
    seen(request, person.name, "dicomweb.viewed", study_id)
    return _related(_OCTETS, [(_OCTETS, data)])


@router.get("/studies/{study}/series/{series}/instances/{instance}/rendered")
def rendered(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
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
    kind = _accepted(request, "image/jpeg", "image/png")
    picture = _picture(house, dataset)
    if viewport:
        width, height = (int(part) for part in viewport.split(",")[:2])
        if not 1 <= width <= 8192 or not 1 <= height <= 8192:
            raise HTTPException(400, "viewport: from 1 to 8192 pixels.")
        picture.thumbnail((width, height))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if kind == "image/png" else "JPEG", quality=90)
    return Response(buffer.getvalue(), media_type=kind)


def _asked(wanted: Mapping[str, str], keyword: str, tag: str) -> str:
    """Return what a query wants of an attribute, named either way (PS3.18 8.3.4); "" if nothing."""
    return wanted.get(keyword) or wanted.get(tag) or ""


def _cases(house: House, wanted: dict[str, str]) -> Iterator[Case]:
    of = partial(_asked, wanted)
    name, dates = of("PatientName", "00100010"), of("StudyDate", "00080020")
    since, dash, until = dates.partition("-")
    query = CaseQuery(
        words=" ".join(_BEGINNINGS.findall(name)),
        patient_id=of("PatientID", "00100020"),
        accession_number=of("AccessionNumber", "00080050"),
        study_instance_uid=of("StudyInstanceUID", "0020000D"),
        since=since,
        until=until if dash else since,
        limit=_PAGE,
    )
    while True:
        found = house.ledger.cases(query)
        for case in found.cases:
            if not name or _named(case.patient_name, name):
                yield case
        if found.after is None:
            return
        query = replace(query, after=found.after)


def _named(patient_name: str, wanted: str) -> bool:
    """Whether a name is meant: wildcards of PS3.4 C.2.2.2.4, without regard to case."""
    pattern = wanted.replace("[", "[[]")
    return fnmatchcase(patient_name.casefold(), pattern.casefold())


def _related(media_type: str, bodies: Iterable[tuple[str, bytes]], status: int = 200) -> Response:
    content_type, pieces = related(media_type, bodies)
    return StreamingResponse(pieces, status, headers={"Content-Type": content_type})


def _frame(dataset: Dataset) -> bytes:
    with parsing():
        if (integer(dataset, "SamplesPerPixel") or 1) > 1:
            return bytes(dataset.pixel_array.tobytes())
    return little_endian(decode(dataset))


def _picture(house: House, dataset: Dataset) -> Image.Image:
    with parsing():
        if (integer(dataset, "SamplesPerPixel") or 1) > 1:
            return Image.fromarray(dataset.pixel_array)
    return grey_picture(house, dataset)


def _items(house: House, place: Place) -> tuple[StudyId, list[Kept]]:
    """Return the study's row and the instances that are meant, at least one. Raises 404."""
    study_id = _study_id(house, place.study)
    found = archive.chosen(archive.kept(house, study_id), place.series, place.instance)
    if not found:
        raise HTTPException(404, "There is no such series or instance.")
    return study_id, found


def _dataset(house: House, place: Place) -> tuple[StudyId, Dataset]:
    study_id, (item, *_others) = _items(house, place)
    return study_id, read_dataset(house.spool.read(item.digest))


def _study_id(house: House, study: str) -> StudyId:
    found = house.ledger.find_study(study)
    if found is None:
        raise HTTPException(404, "There is no such study.")
    return found.id


def _accepted(request: Request, *offered: str) -> str:
    """Return the first offered media type that the client takes. Raises 406."""
    header = request.headers.get("accept", "*/*")
    wanted = [parameters_of(part)[0] for part in header.split(",")] or ["*/*"]
    for kind in wanted:
        for each in offered:
            if kind in ("*/*", each, f"{each.partition('/')[0]}/*"):
                return each
    # "Accept: */*" reads as text/plain to the email parser where it is malformed.
    if "*/*" in header:
        return offered[0]
    raise HTTPException(406, f"There are only {', '.join(offered)}.")


def _accept_parameters(request: Request) -> dict[str, str]:
    return parameters_of(request.headers.get("accept", "*/*").partition(",")[0])[1]


def _json(document: Any, status: int = 200) -> Response:
    return JSONResponse(document, status_code=status, media_type=_JSON)
