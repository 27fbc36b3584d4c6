"""DICOMweb: what other viewers ask, asked by dicomweb-client; and Orthanc's answers beside ours."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset
from requests import Session

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.wrap import Identity
from dicom_node.line.admit import describe_studies
from dicom_node.results.preview import preview_film
from dicom_node.web.app import create_app
from dicom_node.web.stow import STOW
from tests.conftest import debian, orthanc_plugin
from tests.node.peers import Orthanc, free_port
from tests.web.conftest import PASSWORD, Site, running, site_in

STUDY, SERIES = "1.2.4.1", str(preview_film().dataset.SeriesInstanceUID)


def client_of(address: str, role: str = "operator") -> DICOMwebClient:
    session = Session()
    session.auth = (role, PASSWORD)
    return DICOMwebClient(f"{address}/dicom-web", session=session)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of pages with two studies, which no test changes."""
    with site_in(tmp_path_factory.mktemp("archive")) as site:
        site.receive(1, PatientName="DOE^JANE", AccessionNumber="A17", report=True)
        site.receive(2, PatientName="ROE^RICHARD")
        with running(create_app(site.house)) as address:
            yield address


@pytest.fixture
def web(archive: str) -> DICOMwebClient:
    return client_of(archive)


def of(document: dict[str, Any]) -> Dataset:
    return Dataset.from_json(document)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, {"DOE^JANE", "ROE^RICHARD"}),
        ({"PatientName": "DOE*"}, {"DOE^JANE"}),
        ({"PatientName": "doe^jane"}, {"DOE^JANE"}),
        ({"PatientName": "*OE*"}, {"DOE^JANE", "ROE^RICHARD"}),
        ({"PatientName": "D*E^JANE"}, {"DOE^JANE"}),
        ({"PatientName": "D?E^JANE"}, {"DOE^JANE"}),
        ({"PatientName": "*oe^jan*"}, {"DOE^JANE"}),
        ({"PatientName": "?OE^J*"}, {"DOE^JANE"}),
        ({"PatientName": "*"}, {"DOE^JANE", "ROE^RICHARD"}),
        ({"PatientName": "*^RICH?RD"}, {"ROE^RICHARD"}),
        ({"PatientName": "OE*"}, set()),
        ({"PatientName": "DOE"}, set()),
        ({"PatientName": "DOE^J?NET"}, set()),
        ({"PatientName": "[DR]OE*"}, set()),
        ({"AccessionNumber": "A17"}, {"DOE^JANE"}),
        ({"AccessionNumber": "A1"}, set()),
        ({"StudyInstanceUID": "1.2.4.2"}, {"ROE^RICHARD"}),
        ({"StudyDate": "20190101-20210101"}, {"DOE^JANE", "ROE^RICHARD"}),
        ({"StudyDate": "20190101-20190201"}, set()),
        ({"PatientID": "4711"}, {"DOE^JANE", "ROE^RICHARD"}),
    ],
)
def test_studies_are_found(web: DICOMwebClient, wanted: dict[str, str], names: set[str]) -> None:
    found = web.search_for_studies(search_filters=wanted)
    assert {str(of(each).PatientName) for each in found} == names


def test_a_page_of_studies_begins_where_it_is_asked(web: DICOMwebClient) -> None:
    every = [of(each).StudyInstanceUID for each in web.search_for_studies()]
    assert [of(each).StudyInstanceUID for each in web.search_for_studies(limit=1, offset=1)] == [
        every[1]
    ]


def test_films_and_results_stand_in_one_study(web: DICOMwebClient) -> None:
    series = [of(each) for each in web.search_for_series(STUDY)]
    assert sorted(each.Modality for each in series) == ["DX", "OT", "SR"]
    (study,) = web.search_for_studies(search_filters={"StudyInstanceUID": STUDY})
    assert of(study).NumberOfStudyRelatedInstances == 3
    assert [of(each).Modality for each in web.search_for_series(
        STUDY, search_filters={"Modality": "SR"})] == ["SR"]  # fmt: skip


def test_an_instance_comes_as_it_was_stored(web: DICOMwebClient) -> None:
    found = web.retrieve_instance(STUDY, SERIES, "1.2.3.1")
    source = preview_film().dataset
    assert str(found.PatientName) == "DOE^JANE"
    assert np.array_equal(found.pixel_array, source.pixel_array)
    assert len(web.retrieve_study(STUDY)) == 3
    assert len(web.retrieve_series(STUDY, SERIES)) == 1


def test_metadata_hold_every_attribute_and_bulk_data_by_address(
    web: DICOMwebClient, archive: str
) -> None:
    (document,) = web.retrieve_series_metadata(STUDY, SERIES)
    source = preview_film().dataset
    assert set(document) >= {f"{element.tag:08X}" for element in source if element.VM}
    address = document["7FE00010"]["BulkDataURI"]
    # dicomweb-client names the host without its port, so the address has none either.
    address = archive + address.removeprefix("http://127.0.0.1").removeprefix(":" + archive[17:])
    (data,) = web.retrieve_bulkdata(address)
    assert data == source.PixelData


def test_frames_come_uncompressed(web: DICOMwebClient) -> None:
    (frame,) = web.retrieve_instance_frames(STUDY, SERIES, "1.2.3.1", [1])
    source = preview_film().dataset
    values = np.frombuffer(frame, np.uint8) if isinstance(frame, bytes) else frame
    shown = np.frombuffer(bytes(values), "<u2").reshape(source.Rows, source.Columns)
    assert np.array_equal(shown, source.pixel_array)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png"])
def test_a_film_is_rendered(web: DICOMwebClient, kind: str) -> None:
    data = web.retrieve_instance_rendered(STUDY, SERIES, "1.2.3.1", media_types=(kind,))
    source = preview_film().dataset
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (source.Columns, source.Rows)
    assert np.asarray(picture).std() > 10


def test_a_stored_film_is_durable_and_goes_the_usual_way(
    site: Site, served: Callable[[], str]
) -> None:
    film = phantom_dataset(5, rows=64, columns=64)
    answer = client_of(served()).store_instances([film])
    (stored,) = answer.ReferencedSOPSequence
    assert stored.ReferencedSOPInstanceUID == film.SOPInstanceUID
    (instance,) = site.house.ledger.find_instances(film.SOPInstanceUID)
    assert site.house.ledger.origins(instance.study_id) == [STOW]
    kept = pydicom.dcmread(io.BytesIO(site.house.spool.read(instance.digest)))
    assert np.array_equal(kept.pixel_array, film.pixel_array)


def test_what_is_no_dicom_is_told_as_failed_beside_what_is_stored(
    site: Site, served: Callable[[], str]
) -> None:
    film = io.BytesIO()
    phantom_dataset(6, rows=64, columns=64).save_as(film, enforce_file_format=True)
    session = Session()
    session.auth = ("operator", PASSWORD)

    def stow(*parts: bytes) -> Any:
        body = b"".join(
            b"--X\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts
        )
        return session.post(
            f"{served()}/dicom-web/studies", body + b"--X--\r\n",
            headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=X'},
        )  # fmt: skip

    mixed = stow(film.getvalue(), b"no film")
    assert mixed.status_code == 202
    assert of(mixed.json()).FailedSOPSequence[0].FailureReason == 0xC000
    assert stow(b"no film").status_code == 409
    headers = {"Content-Type": "application/json"}
    assert session.post(f"{served()}/dicom-web/studies", "{}", headers=headers).status_code == 400


def test_what_is_not_there_is_404_and_a_reader_stores_nothing(archive: str) -> None:
    session = Session()
    session.auth = ("reader", PASSWORD)
    base = f"{archive}/dicom-web/studies"
    assert session.get(f"{base}/9.9").status_code == 404
    assert session.get(f"{base}/{STUDY}/series/9.9/metadata").status_code == 404
    assert session.get(f"{base}/not-a-uid").status_code == 422
    assert session.post(base, b"").status_code == 403


@pytest.mark.parametrize(
    "values",
    [
        {"ExposureInuAs": b"abc "}, {"InstanceNumber": b"abc "}, {"NumberOfFrames": b"abc "},
        {"DistanceSourceToDetector": b"NaN "},
        {"EventElapsedTimes": b"x "}, {"Modality": b"\xff\xff"},
        {"DisplayWindowLabelVector": b"\xff\xfe"}, {"StudyDate": b"no day"},
        {"TableOfXBreakPoints": b"\0\0\0\0\0\0\xf8\x7f"},
    ],
    ids=lambda values: next(iter(values)),
)  # fmt: skip
def test_an_odd_value_is_left_out_and_the_rest_is_told(
    site: Site, values: dict[str, bytes], log: io.StringIO
) -> None:
    instance, _ = site.receive_odd(1, **values)
    study, series = "/dicom-web/studies/1.2.5.1", instance.partition("/instances/")[0]
    client = site.client("reader")
    asked = ("/dicom-web/studies", f"{study}/series", f"{study}/instances", f"{instance}/metadata",
             f"{series}/instances", f"{study}/metadata")  # fmt: skip
    for path in asked:
        answer = client.get(path)
        assert answer.status_code == 200, path
        (told,) = answer.json()
        assert told["0020000D"]["Value"] == ["1.2.5.1"]
    assert client.get(study).status_code == 200
    assert "CANARY" not in log.getvalue()


def test_a_number_that_is_none_in_json_stands_without_value_and_in_the_log(
    site: Site, log: io.StringIO
) -> None:
    instance, _ = site.receive_odd(1, TubeAngle=bytes.fromhex("000000000000f87f"))
    (told,) = site.client("reader").get(f"{instance}/metadata").json()
    assert told["00189303"] == {"vr": "FD"}
    assert told["00100010"]["Value"] == [{"Alphabetic": "CANARY^YELLOW"}]
    (line,) = [line for line in log.getvalue().splitlines() if "illegible" in line]
    assert "00189303" in line


def test_a_lost_file_hides_no_other_study(site: Site, log: io.StringIO) -> None:
    _, lost = site.receive_odd(1)
    site.receive_odd(2)
    site.lose(lost)
    client = site.client("reader")
    (told,) = client.get("/dicom-web/studies").json()
    assert told["0020000D"]["Value"] == ["1.2.5.2"]
    assert client.get("/dicom-web/studies/1.2.5.1/series").json() == []
    for what in ("", "/metadata"):
        answer = client.get(f"/dicom-web/studies/1.2.5.1{what}")
        assert answer.status_code == 503
        assert "missing" in answer.json()["error"]
    assert "instance.illegible" in log.getvalue()


def test_what_is_left_of_a_study_is_told_to_be_a_part(site: Site) -> None:
    site.receive(1, PatientName="DOE^JANE", report=True)
    site.lose(1)
    client = site.client("reader")
    answer = client.get(f"/dicom-web/studies/{STUDY}")
    assert answer.status_code == 206
    assert answer.content.count(b"Content-Type: application/dicom") == 2
    assert len(client.get(f"/dicom-web/studies/{STUDY}/instances").json()) == 2
    assert len(client.get(f"/dicom-web/studies/{STUDY}/metadata").json()) == 2


@pytest.mark.slow
@pytest.mark.pacs("Orthanc")
@pytest.mark.timeout(120)
def test_the_answers_are_those_of_orthanc_for_the_same_objects(
    site: Site, served: Callable[[], str], tmp_path: Path
) -> None:
    identity = Identity(patient_name="DOE^JANE", patient_id="4711", study_instance_uid="1.2.9")
    film = phantom_dataset(7, rows=128, columns=96, identity=identity)
    orthanc = Orthanc("PACS", free_port(), free_port(), tmp_path / "pacs", debian("Orthanc"))
    web = {"Enable": True, "Root": "/dicom-web/"}
    orthanc.start(1, None, Plugins=[orthanc_plugin("orthanc-dicomweb")], DicomWeb=web)
    try:
        theirs = DICOMwebClient(f"http://127.0.0.1:{orthanc.http_port}/dicom-web")
        ours = client_of(served())
        for client in (theirs, ours):
            client.store_instances([film])
        describe_studies(site.house.ledger, site.house.spool)
        for ask in (
            lambda c: c.search_for_studies(search_filters={"PatientID": "4711"}),
            lambda c: c.search_for_series("1.2.9"),
            lambda c: c.search_for_instances("1.2.9"),
        ):
            one, other = (of(ask(client)[0]) for client in (theirs, ours))
            same = {element.tag for element in one} & {element.tag for element in other}
            assert len(same) >= 5
            for tag in same - {pydicom.tag.Tag("RetrieveURL")}:
                if not one[tag].is_empty:
                    assert other[tag].value == one[tag].value, one[tag].keyword
        (one,), (other,) = (client.retrieve_study_metadata("1.2.9") for client in (theirs, ours))
        del one["7FE00010"], other["7FE00010"]
        left = {tag: value for tag, value in one.items() if value.get("Value")}
        right = {tag: value for tag, value in other.items() if value.get("Value")}
        assert left.keys() == right.keys()
        uids = (str(film.SeriesInstanceUID), str(film.SOPInstanceUID))
        frames = [
            np.asarray(pydicom.dcmread(io.BytesIO(_whole(client, *uids))).pixel_array)
            for client in (theirs, ours)
        ]
        assert np.array_equal(*frames)
    finally:
        orthanc.stop()


def _whole(client: DICOMwebClient, series: str, instance: str) -> bytes:
    buffer = io.BytesIO()
    client.retrieve_instance("1.2.9", series, instance).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_description_of_the_api_is_complete(served: Callable[[], str]) -> None:
    request = urllib.request.Request(f"{served()}/api/openapi.json")
    token = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request) as answer:
        described = json.load(answer)
    assert {"/api/cases", "/api/health", "/api/deliveries"} <= set(described["paths"])
    for methods in described["paths"].values():
        for operation in methods.values():
            assert operation["description"]
