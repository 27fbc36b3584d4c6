"""STOW-RS is the front door too: the same checks, the same file, one row a film."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fastapi.testclient import TestClient
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from requests import post

from dicom_node.imaging.header import parsing
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.intake.take import split
from dicom_node.records import Instance, Origin
from dicom_node.settings import Settings
from dicom_node.web.app import create_app
from tests.web.conftest import PASSWORD, Site, running, site_in

MODALITY = Origin("MOD1", "DICOMNODE", "127.0.0.1")
CANARY = "CANARY^OLIVIA"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("stow")) as made:
        yield made


CLIENTS: dict[Path, TestClient] = {}
NUMBERS = itertools.count(1)


def film(**changes: str) -> Dataset:
    """Return a film that no other test has."""
    made = phantom_dataset(seed=next(NUMBERS), rows=64, columns=64)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


def encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a data set as it goes over the wire."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = UID(syntax).is_implicit_VR
    buffer.is_little_endian = UID(syntax).is_little_endian
    write_dataset(buffer, Dataset({tag: dataset[tag] for tag in dataset.keys()}))  # noqa: SIM118
    return buffer.getvalue()


def file(
    data_set: bytes, syntax: str = ExplicitVRLittleEndian, *, preamble: bytes = bytes(128),
    odd: bytes = b"",
) -> bytes:  # fmt: skip
    """Return a Part 10 file as some client writes it; ``odd``: more of group 2."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.1")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID("1.2.826.0.1.3680043.9")
    meta.ImplementationVersionName = "SOMEBODY ELSE"
    buffer = DicomBytesIO()
    pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=True)
    return preamble + b"DICM" + buffer.getvalue() + odd + data_set


MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=X'}


def body_of(*files: bytes) -> bytes:
    parts = [b"--X\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in files]
    return b"".join(parts) + b"--X--\r\n"


def stow(site: Site, *files: bytes, study: str = "") -> Any:
    where = site.house.configuration.folder
    client = CLIENTS.setdefault(where, CLIENTS.get(where) or site.client(role=None))
    path = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
    return client.post(
        path, content=body_of(*files), auth=("operator", PASSWORD), headers=MULTIPART
    )


def rows(site: Site, uid: str) -> list[Instance]:
    return list(site.house.ledger.find_instances(uid))


def refusals(answer: Any) -> list[int]:
    failed = answer.json().get("00081198", {}).get("Value", [])
    return [one["00081197"]["Value"][0] for one in failed]


ODD_GROUP_2 = b"\x02\x00\x03\x01UN\x00\x00\x04\x00\x00\x00\x01\x02\x03\x04"


@pytest.mark.parametrize("first", ["C-STORE", "STOW-RS"])
@pytest.mark.parametrize(
    ("syntax", "keys"),
    [
        (ExplicitVRLittleEndian, {}),
        (ImplicitVRLittleEndian, {}),
        (ExplicitVRBigEndian, {}),
        (ExplicitVRLittleEndian, {"preamble": b"MZ" + bytes(126)}),
        (ExplicitVRLittleEndian, {"odd": ODD_GROUP_2}),
    ],
)
def test_one_film_by_two_doors_is_one_row_whichever_comes_first(
    site: Site, first: str, syntax: str, keys: dict[str, bytes]
) -> None:
    sent = film()
    data_set = encoded(sent, syntax)
    doors: list[Callable[[], Any]] = [
        lambda: site.house.front_door.take(data_set, syntax, MODALITY),
        lambda: stow(site, file(data_set, syntax, **keys)),
    ]
    for door in doors if first == "C-STORE" else doors[::-1]:
        door()
    (row,) = rows(site, sent.SOPInstanceUID)
    assert (row.duplicate_count, row.conflict) == (1, False)
    assert sorted(site.house.ledger.origins(row.study_id)) == ["MOD1", "STOW-RS"]
    stored = site.house.spool.read(row.digest)
    assert stored[:132] == bytes(128) + b"DICM"
    assert stored.endswith(data_set)
    assert split(io.BytesIO(stored)) == (syntax, len(stored) - len(data_set))


def test_beside_a_film_lies_by_which_door_it_came(site: Site) -> None:
    sent = film()
    stow(site, file(encoded(sent)))
    (instance,) = rows(site, sent.SOPInstanceUID)
    (coming,) = site.house.spool.comings(instance.digest)
    assert (coming.origin.calling_ae_title, coming.origin.door) == ("STOW-RS", "STOW-RS")


def test_one_film_by_two_doors_at_one_moment_is_one_row(site: Site) -> None:
    sent = film()
    data_set = encoded(sent)
    begin = threading.Barrier(6)

    def take(door: Callable[[], Any]) -> None:
        begin.wait()
        door()

    with running(create_app(site.house)) as address:
        doors: list[Callable[[], Any]] = [
            lambda: site.house.front_door.take(data_set, ExplicitVRLittleEndian, MODALITY),
            lambda: post(
                f"{address}/dicom-web/studies", body_of(file(data_set)), headers=MULTIPART,
                auth=("operator", PASSWORD), timeout=60,
            ),
        ]  # fmt: skip
        threads = [threading.Thread(target=take, args=(door,)) for door in doors * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (row,) = rows(site, sent.SOPInstanceUID)
    assert (row.duplicate_count, row.conflict) == (5, False)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("text", [CANARY, "../../etc/passwd", "1.2." + "3" * 100, "12345678", ""])
def test_text_that_is_no_uid_comes_in_by_no_door(
    site: Site, log: io.StringIO, keyword: str, text: str
) -> None:
    sent = film()
    known, studies = str(sent.SOPInstanceUID), site.house.ledger.studies()
    with parsing():
        setattr(sent, keyword, text)
        data_set = encoded(sent)
    answer = stow(site, file(data_set))
    assert answer.status_code == 409
    expected = 0x0117 if keyword == "SOPInstanceUID" and text else 0xC000
    assert refusals(answer) == [expected]
    assert rows(site, known) == []
    assert site.house.ledger.studies() == studies
    said = log.getvalue()
    assert '"instance.refused"' in said
    assert not text or text not in said
    assert not text or text not in answer.text


def test_a_refusal_says_which_uid_and_why(site: Site, log: io.StringIO) -> None:
    with pytest.warns():
        data_set = encoded(film(StudyInstanceUID="1.2.0053.4"))
    answer = stow(site, file(data_set))
    assert refusals(answer) == [0xC000]
    assert "Study Instance UID 1.2.0053.4" in log.getvalue()
    assert "a component begins with 0" in log.getvalue()
    assert "admission.uids" in log.getvalue()


def test_uids_with_leading_zeros_come_in_where_the_admin_lets_them(site: Site) -> None:
    settings = site.house.settings
    lenient = Settings.model_validate(
        settings.model_dump() | {"admission": settings.admission.model_dump() | {"uids": "lenient"}}
    )
    configuration = site.house.configuration
    object.__setattr__(configuration, "settings", lenient)
    uids = {"SOPInstanceUID": "1.2.03.4", "StudyInstanceUID": "1.2.0053.4"}
    with pytest.warns():
        data_set = encoded(film(**uids, SeriesInstanceUID="1.02"))
    assert stow(site, file(data_set)).status_code == 200
    site.house.front_door.take(data_set, ExplicitVRLittleEndian, MODALITY)
    (row,) = rows(site, "1.2.03.4")
    assert (row.study_instance_uid, row.duplicate_count) == ("1.2.0053.4", 1)


@pytest.mark.parametrize(
    ("syntax", "changes", "reason"),
    [
        (DeflatedExplicitVRLittleEndian, {}, 0xC122),
        ("1.2.840.10008.1.2.4.100", {}, 0xC122),
        (CANARY, {}, 0xC122),
        (ExplicitVRLittleEndian, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, 0x0122),
    ],
)
def test_what_c_store_would_not_negotiate_stow_does_not_store(
    site: Site, log: io.StringIO, syntax: str, changes: dict[str, str], reason: int
) -> None:
    sent = film(**changes)
    answer = stow(site, file(encoded(sent), syntax if syntax != CANARY else "1.2.3").replace(
        b"1.2.3\0", b"CANARY" if syntax == CANARY else b"1.2.3\0"))  # fmt: skip
    assert refusals(answer) == [reason]
    assert rows(site, sent.SOPInstanceUID) == []
    assert "CANARY" not in log.getvalue()


def test_another_study_than_the_address_names_is_refused(site: Site) -> None:
    sent = film()
    answer = stow(site, file(encoded(sent)), study="1.2.3")
    assert refusals(answer) == [0xA900]
    assert rows(site, sent.SOPInstanceUID) == []
    assert stow(site, file(encoded(sent)), study=sent.StudyInstanceUID).status_code == 200


@pytest.mark.parametrize(
    "cut", [b"", b"DICM", bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 300]
)
def test_what_is_no_file_is_told_so_beside_what_is_stored(site: Site, cut: bytes) -> None:
    answer = stow(site, cut, file(encoded(film())))
    assert answer.status_code == 202
    assert refusals(answer)[0] in (0xC000, 0xC122)
    assert len(answer.json()["00081199"]["Value"]) == 1


@pytest.mark.parametrize(
    "before", [b"", b"\r\n", b"This is a multipart message.\r\n", b"-" * 900 + b"\n"]
)
def test_text_before_the_first_boundary_means_nothing(site: Site, before: bytes) -> None:
    sent = film()
    answer = CLIENTS[site.house.configuration.folder].post(
        "/dicom-web/studies", content=before + body_of(file(encoded(sent))), headers=MULTIPART,
        auth=("operator", PASSWORD),
    )  # fmt: skip
    assert answer.status_code == 200
    assert len(rows(site, sent.SOPInstanceUID)) == 1


def test_a_single_instance_may_be_the_whole_body(site: Site) -> None:
    sent = film()
    answer = CLIENTS[site.house.configuration.folder].post(
        "/dicom-web/studies", content=file(encoded(sent)), auth=("operator", PASSWORD),
        headers={"Content-Type": "application/dicom"},
    )  # fmt: skip
    assert answer.status_code == 200
    assert len(rows(site, sent.SOPInstanceUID)) == 1


@pytest.mark.parametrize("body", [b"", b"no boundary", body_of(b"x")[:-9], b"n" * 100_000])
def test_a_body_without_its_parts_is_told_so(site: Site, body: bytes) -> None:
    answer = CLIENTS[site.house.configuration.folder].post(
        "/dicom-web/studies", content=body, auth=("operator", PASSWORD), headers=MULTIPART
    )
    assert answer.status_code == 400
