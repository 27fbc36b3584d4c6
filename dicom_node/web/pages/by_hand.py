"""A film dropped on the page: analysed like any other, sent to nobody."""

from __future__ import annotations

from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile
from typing import Annotated

from fastapi import APIRouter, Depends, File, Request, UploadFile
from fastapi.responses import RedirectResponse, Response
from pydicom import Dataset

from dicom_node.errors import DiskFull, ImageError, SettingsError
from dicom_node.imaging.header import header_of, read_dataset
from dicom_node.imaging.wrap import PICTURES, wrap_picture
from dicom_node.records import BY_HAND, Origin
from dicom_node.uids import derived_uid
from dicom_node.web.arrivals import file_bytes_of
from dicom_node.web.house import House
from dicom_node.web.rendering import page
from dicom_node.web.security import Person, SignedInFirst, house_of, reader
from dicom_node.web.turns import InTurn

router = APIRouter(prefix="/by-hand", route_class=SignedInFirst)


_MEGAPIXELS = 50
"""More than any detector has: a picture that claims more would cost a small file nothing."""


@router.get("")
def form(request: Request, _: Annotated[Person, Depends(reader)]) -> Response:
    """Show where to drop a film."""
    return page(request, "by_hand.html", file="", fault=None)


@router.post("")
def analyse(
    request: Request,
    person: Annotated[Person, Depends(reader)],
    file: Annotated[UploadFile, File()],
    _: InTurn,
) -> Response:
    """Take a DICOM, PNG or JPEG film and show its case.

    The film is a copy with UIDs of its own: it never joins a study of the PACS, whose report would
    go out again.
    """
    house, name = house_of(request), file.filename or "The file"
    try:
        megapixels = min(house.settings.admission.max_megapixels, _MEGAPIXELS)
        dataset = _apart(_read(file.file.read(), name, megapixels), person.name)
        data = file_bytes_of(dataset)
        _refuse_too_much(house, person, len(data))
    except (ImageError, SettingsError, DiskFull) as fault:
        return page(request, "by_hand.html", status=422, file=name, fault=fault)
    origin = Origin(BY_HAND, house.settings.node.ae_title, "", door="browser")
    taken = house.front_door.take_file(data, origin)
    study_id = house.ledger.instance(taken.received.instance_id).study_id
    house.ledger.note(person.name, "film.by-hand", study_id=study_id)
    return RedirectResponse(f"/cases/{study_id}", status_code=303)


def _refuse_too_much(house: House, person: Person, size_bytes: int) -> None:
    """Raise where a film by hand would take room that the senders need, or more than a share."""
    reserve = house.settings.node.min_free_bytes
    if house.spool.free_bytes() - size_bytes < 2 * reserve:
        raise DiskFull(
            "The disk is nearly full: what is left is kept for the senders.",
            remedy="Ask an administrator of this node to free disk space or to lower retention.",
        )
    most = house.settings.web.by_hand_bytes_a_day
    if not house.ledger.reserve_upload(person.name, size_bytes, most):
        raise SettingsError(
            f"{person.name} has uploaded as much today as one user may ({most:,} bytes).",
            remedy="Go on tomorrow, or ask for a higher web.by_hand_bytes_a_day in node.toml.",
        )


def _read(data: bytes, name: str, megapixels: float) -> Dataset:
    suffix = PurePath(name).suffix.lower()
    if suffix in PICTURES:
        with NamedTemporaryFile(suffix=suffix) as file:
            file.write(data)
            file.flush()
            return wrap_picture(Path(file.name), max_megapixels=megapixels)
    try:
        dataset = read_dataset(data)
        header_of(dataset)
    except ImageError as error:
        raise SettingsError(
            "This file is neither DICOM, nor PNG, nor JPEG.",
            remedy="Drop a chest radiograph as the PACS exports it (DICOM), or a picture of one.",
        ) from error
    return dataset


def _apart(dataset: Dataset, who: str) -> Dataset:
    """Give the film UIDs of its own, the same for the same film and person."""
    facts = (str(dataset.SOPInstanceUID), who)
    dataset.StudyInstanceUID = derived_uid("by hand study", *facts)
    dataset.SeriesInstanceUID = derived_uid("by hand series", *facts)
    dataset.SOPInstanceUID = derived_uid("by hand", *facts)
    return dataset
