"""QIDO-RS answers what was asked, or says what it did not look at; Accept is honoured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dicom_node.results.preview import preview_film
from dicom_node.web.app import create_app
from tests.web.conftest import PASSWORD, running, site_in

STUDIES = "/dicom-web/studies"
ONE = f"{STUDIES}/1.2.4.1"
INSTANCE = f"{ONE}/series/{preview_film().dataset.SeriesInstanceUID}/instances/1.2.3.1"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of pages with three studies, which no test changes."""
    with site_in(tmp_path_factory.mktemp("searching")) as site:
        site.receive(1, PatientName="DOE^JANE", AccessionNumber="A17", PatientID="P-1", report=True,
                     StudyTime="101500", StudyID="S1", PatientSex="F", StudyDescription="Chest PA",
                     ReferringPhysicianName="HOUSE^GREGORY")  # fmt: skip
        site.receive(2, PatientName="ROE^RICHARD", AccessionNumber="A2", PatientID="P-2",
                     StudyTime="235959.5", PatientSex="M", StudyID="S2")  # fmt: skip
        site.receive(3, PatientName="Hong^Gildong=洪^吉洞=홍^길동", AccessionNumber="X1",
                     SpecificCharacterSet="ISO_IR 192", PatientID="P-3")  # fmt: skip
        with (
            running(create_app(site.house)) as address,
            httpx.Client(base_url=address, auth=("reader", PASSWORD), timeout=60) as client,
        ):
            yield client


def names(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {each["00100010"]["Value"][0]["Alphabetic"][0] for each in answer.json()}


def warning(answer: httpx.Response) -> str:
    return answer.headers.get("warning", "")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("StudyInstanceUID=1.2.4.1,1.2.4.2", "DR"),
        ("StudyInstanceUID=1.2.4.1%5C1.2.4.2", "DR"),
        ("StudyInstanceUID=1.2.4.1&StudyInstanceUID=1.2.4.3", "DH"),
        ("0020000D=1.2.4.3,9.9", "H"),
        ("StudyInstanceUID=9.9", ""),
        ("PatientID=*1*", "D"), ("00100020=P-?", "DRH"), ("PatientID=*nonesuch*", ""),
        ("PatientID=P-2", "R"), ("PatientID=p-2", ""),
        ("AccessionNumber=*1*", "DH"), ("AccessionNumber=A?", "R"),
        ("ModalitiesInStudy=CT", ""), ("ModalitiesInStudy=DX", "DRH"),
        ("ModalitiesInStudy=SR", "D"), ("ModalitiesInStudy=CT,SR", "D"),
        ("ModalitiesInStudy=CT%5CSR", "D"), ("00080061=CT&00080061=SR", "D"),
        ("StudyDescription=*nonesuch*", ""), ("StudyDescription=Chest PA", "D"),
        ("ReferringPhysicianName=Nobody", ""), ("ReferringPhysicianName=house*", "D"),
        ("StudyID=nonesuch", ""), ("StudyID=S?", "DR"), ("PatientSex=X", ""), ("PatientSex=F", "D"),
        ("StudyTime=101500", "D"), ("StudyTime=1000-1100", "D"), ("StudyTime=2300-", "R"),
        ("StudyTime=-1015", "D"), ("StudyTime=0100", ""),
        ("StudyTime=", "DRH"), ("PatientID=", "DRH"), ("PatientName=*", "DRH"),
        ("ModalitiesInStudy=&StudyDate=", "DRH"),
        ("PatientName=洪*", "H"), ("PatientName=*吉洞", "H"), ("PatientName=hong*", "H"),
        ("PatientName=홍^길동", "H"), ("PatientName=洪^吉", ""),
        ("StudyDate=20200101-&ModalitiesInStudy=SR", "D"),
    ],
)  # fmt: skip
def test_a_key_selects_what_it_says_and_nothing_else(
    web: httpx.Client, asked: str, found: str
) -> None:
    answer = web.get(f"{STUDIES}?{asked}")
    assert names(answer) == set(found)
    assert not warning(answer)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (STUDIES, "PatientComments=x"), (STUDIES, "00104000=x"), (STUDIES, "Nonsense=1"),
        (STUDIES, "00081110.00081155=1.2"), (f"{ONE}/series", "PatientName=Nobody"),
        (f"{ONE}/instances", "StudyDescription=x"), (STUDIES, "<script>=1"),
    ],
)  # fmt: skip
def test_a_key_that_is_not_looked_at_is_told(web: httpx.Client, path: str, asked: str) -> None:
    answer = web.get(f"{path}?{asked}")
    assert answer.status_code == 200
    assert answer.json()
    assert warning(answer).startswith("299 ")
    assert "not looked at" in warning(answer)
    assert "<" not in warning(answer)


def test_fuzzy_matching_is_told_to_be_literal(web: httpx.Client) -> None:
    answer = web.get(f"{STUDIES}?PatientName=DOE*&fuzzymatching=true")
    assert names(answer) == {"D"}
    assert "fuzzymatching" in warning(answer)


@pytest.mark.parametrize("path", [STUDIES, f"{ONE}/series", f"{ONE}/instances"])
def test_every_limit_is_taken_and_what_is_left_out_is_told(web: httpx.Client, path: str) -> None:
    every = web.get(path).json()
    assert len(every) == 3
    for limit in (1000, 1001, 5000, 10**12):
        answer = web.get(f"{path}?limit={limit}")
        assert answer.json() == every
        assert not warning(answer)
    none = web.get(f"{path}?limit=0")
    assert none.json() == []
    assert "additional results" in warning(none)
    pages = [web.get(f"{path}?limit=2&offset={offset}") for offset in (0, 2, 4)]
    assert [each for page in pages for each in page.json()] == every
    assert ["offset=2" in warning(page) for page in pages] == [True, False, False]
    for wrong in ("limit=x", "limit=-1", "offset=1.5"):
        assert web.get(f"{path}?{wrong}").status_code == 400


def test_a_page_of_what_matches_begins_where_it_is_asked(web: httpx.Client) -> None:
    asked = f"{STUDIES}?ModalitiesInStudy=DX&limit=1&offset="
    found = [names(web.get(f"{asked}{offset}")) for offset in range(4)]
    assert sorted("".join(each) for each in found) == ["", "D", "H", "R"]


def test_fields_that_are_asked_for_are_in_the_answer(web: httpx.Client) -> None:
    plain = web.get(f"{STUDIES}?StudyID=S1").json()[0]
    assert "00080070" not in plain
    for field in ("00080070", "Manufacturer", "all,Manufacturer"):
        answer = web.get(f"{STUDIES}?StudyID=S1&includefield={field}")
        assert "00080070" in answer.json()[0]
        assert not warning(answer)


@pytest.mark.parametrize(
    ("path", "asked", "number"),
    [
        ("series", "Modality=SR", 1), ("series", "Modality=SR,DX", 2), ("series", "Modality=C*", 0),
        ("series", "SeriesInstanceUID=1.2.9,9.9", 0), ("series", "BodyPartExamined=CHEST", 3),
        ("instances", "SOPInstanceUID=1.2.3.1,9.9", 1), ("instances", "SOPInstanceUID=9.9", 0),
        ("instances", "Rows=1", 0), ("instances", "SOPClassUID=1.2.840.10008.5.1.4.1.1.1.1", 1),
    ],
)  # fmt: skip
def test_series_and_instances_are_selected_alike(
    web: httpx.Client, path: str, asked: str, number: int
) -> None:
    answer = web.get(f"{ONE}/{path}?{asked}")
    assert len(answer.json()) == number
    assert not warning(answer)


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        (INSTANCE, 'multipart/related; type="application/octet-stream"', 406),
        (INSTANCE, 'multipart/related; type="application/dicom"', 200),
        (INSTANCE, "application/dicom", 200), (INSTANCE, "image/jpeg", 406),
        (INSTANCE, "multipart/related", 200), (INSTANCE, "*/*", 200),
        (INSTANCE, 'image/jpeg, multipart/related; type="application/dicom"; q=0.5', 200),
        (INSTANCE, "application/dicom; q=0", 406),
        (f"{INSTANCE}/frames/1", 'multipart/related; type="image/jpeg"', 406),
        (f"{INSTANCE}/frames/1", 'multipart/related; type="image/jls"', 406),
        (f"{INSTANCE}/frames/1", "multipart/related; type=application/octet-stream", 200),
        (f"{INSTANCE}/frames/1", 'multipart/related; type="image/jpeg", */*', 200),
        (f"{INSTANCE}/rendered", "image/png", 200), (f"{INSTANCE}/rendered", "video/mp4", 406),
        (f"{INSTANCE}/metadata", "application/dicom+json", 200),
        (f"{INSTANCE}/metadata", "application/json", 200),
        (f"{INSTANCE}/metadata", 'multipart/related; type="application/dicom+xml"', 406),
        (STUDIES, 'multipart/related; type="application/dicom+xml"', 406),
        (ONE, "application/dicom", 406),
    ],
)  # fmt: skip
def test_what_a_client_takes_is_what_it_gets_or_406(
    web: httpx.Client, path: str, accept: str, status: int
) -> None:
    assert web.get(path, headers={"Accept": accept}).status_code == status


def test_a_frame_may_be_named_twice(web: httpx.Client) -> None:
    parts: dict[str, Any] = {
        frames: web.get(f"{INSTANCE}/frames/{frames}") for frames in ("1", "1,1")
    }
    assert parts["1,1"].status_code == 200
    marker = b"Content-Type: application/octet-stream"
    assert [each.content.count(marker) for each in parts.values()] == [1, 2]
    for frames in ("2", "0", "1,2"):
        assert web.get(f"{INSTANCE}/frames/{frames}").status_code == 404
