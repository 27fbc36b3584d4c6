"""STOW-RS: what other programs store by HTTP (PS3.18 section 10.5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from dicom_node.dimse.status import status_of
from dicom_node.errors import DataSetMismatch, SpoolUnwritable, StoreError, Unavailable
from dicom_node.intake.identify import StatedIdentifiers, is_uid
from dicom_node.records import Origin
from dicom_node.web import archive
from dicom_node.web.addresses import base_of
from dicom_node.web.dicomweb import Place, place_of
from dicom_node.web.house import House
from dicom_node.web.multipart import NotMultipart, Parts, boundary_of, parameters_of
from dicom_node.web.security import Person, house_of, operator

router = APIRouter(prefix="/dicom-web")

STOW = "STOW-RS"
"""Calling AE title of what came by STOW-RS: a file in remotes/ says who gets its results."""

_JSON, _DICOM = "application/dicom+json", "application/dicom"
_RETRIEVE_URL, _CLASS, _INSTANCE = "00081190", "00081150", "00081155"
_REFERENCED, _FAILED = "00081199", "00081198"
_FAILURE_REASON, _ERROR_COMMENT = "00081197", "00000902"
"""Attributes of the answer (PS3.18 table I.2-1)."""


@router.post("/studies")
@router.post("/studies/{study}")
async def store(
    request: Request,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(operator)],
) -> Response:
    """STOW-RS: store instances, of one study where the address names it (PS3.18 10.5)."""
    content_type = request.headers.get("content-type", "")
    if parameters_of(content_type)[1].get("type", _DICOM).lower() != _DICOM:
        raise HTTPException(415, "Only application/dicom is stored.")
    limiter = request.app.state.storing
    # Taken apart and made durable beside the event loop, on which every page is served.
    with await to_thread.run_sync(_Arriving, request, place.study, limiter=limiter) as arriving:
        async for chunk in request.stream():
            await to_thread.run_sync(arriving.feed, chunk, limiter=limiter)
        return await to_thread.run_sync(arriving.answer, person, limiter=limiter)


class _Arriving(AbstractContextManager["_Arriving"]):
    """A body that is taken in part by part while it comes: at most one part lies on the disk."""

    def __init__(self, request: Request, study: str) -> None:
        self._house, self._study, self._base = house_of(request), study, base_of(request)
        self._answers: list[dict[str, Any]] = []
        boundary = None
        content_type = request.headers.get("content-type", "")
        if parameters_of(content_type)[0] != _DICOM:
            with _told_as_400():
                boundary = boundary_of(content_type)
        self._file = self._house.spool.scratch()
        self._parts = None if boundary is None else Parts(boundary, self._file, self._take)

    def feed(self, chunk: bytes) -> None:
        """Take what has come."""
        try:
            if self._parts is None:
                self._file.write(chunk)
                return
            with _told_as_400():
                self._parts.feed(chunk)
        except OSError as error:
            raise SpoolUnwritable(f"The spool cannot be written: {error.strerror}.") from error

    def answer(self, person: Person) -> Response:
        """Return what is told of the whole body, which has come."""
        if self._parts is None:
            self._take()
        else:
            with _told_as_400():
                self._parts.finish()
        stored = [answer for answer in self._answers if _FAILURE_REASON not in answer]
        failed = [answer for answer in self._answers if _FAILURE_REASON in answer]
        self._house.ledger.note(person.name, "stow", f"{len(stored)} stored, {len(failed)} not")
        where = f"{self._base}/studies" + (f"/{self._study}" if self._study else "")
        document = {_RETRIEVE_URL: _element("UR", where), _REFERENCED: _element("SQ", *stored)}
        if failed:
            document[_FAILED] = _element("SQ", *failed)
        if not stored:
            return _answer(document, 409)
        return _answer(document, 202 if failed else 200)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take(self) -> None:
        self._answers.append(_keep(self._house, self._file, self._study, self._base))


@contextmanager
def _told_as_400() -> Iterator[None]:
    try:
        yield
    except NotMultipart as error:
        raise HTTPException(400, str(error)) from error


def _keep(house: House, file: BinaryIO, study: str, base: str) -> dict[str, Any]:
    """Store one instance; return what is told of it (PS3.18 table I.2-2)."""
    door, remote = house.front_door, house.remotes().get(STOW)
    origin = Origin(
        STOW,
        house.settings.node.ae_title,
        "",
        door=STOW,
        results_to=remote.destinations if remote else (),
    )
    meant: list[StatedIdentifiers] = []

    def agrees(identity: StatedIdentifiers) -> None:
        meant.append(identity)
        if study and identity.study_instance_uid != study:
            raise DataSetMismatch("The data set's study is not the one that the address names.")

    try:
        arrival = door.take_file(file, origin, agrees).arrival
    except (StoreError, Unavailable) as error:
        status, uid = status_of(error), meant[0].sop_instance_uid if meant else ""
        door.refused(origin, uid, status, error)
        return _named_so(*meant) | {_FAILURE_REASON: _element("US", status),
                                    _ERROR_COMMENT: _element("LO", error.message[:64])}  # fmt: skip
    where = (arrival.study_instance_uid, arrival.series_instance_uid, arrival.sop_instance_uid)
    return _named_so(*meant) | {_RETRIEVE_URL: _element("UR", archive.address_of(base, *where))}


def _named_so(*meant: StatedIdentifiers) -> dict[str, Any]:
    """Return the reference to an instance, without what is no UID."""
    named = [(_CLASS, one.sop_class_uid) for one in meant]
    named += [(_INSTANCE, one.sop_instance_uid) for one in meant]
    return {tag: _element("UI", uid) for tag, uid in named if is_uid(uid, "lenient")}


def _element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def _answer(document: dict[str, Any], status: int) -> Response:
    return JSONResponse(document, status_code=status, media_type=_JSON)
