"""A film in over C-STORE, a report and an overlay back at the sending AE."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from dicom_node.imaging.phantom import Identity, phantom_dataset
from tests.conftest import debian
from tests.node.conftest import Hospital
from tests.node.peers import storescu, wait_for

pytestmark = [pytest.mark.pacs, pytest.mark.timeout(300)]

FIRST_ANSWER_SECONDS = 120
"""Loading TensorFlow on a small machine is part of the first answer."""


def answered(hospital: Hospital, study_instance_uid: str) -> list[pydicom.Dataset]:
    def results() -> list[pydicom.Dataset]:
        found = [
            item
            for item in hospital.pacs.received()
            if item.get("StudyInstanceUID") == study_instance_uid
        ]
        return found if len(found) > 1 and hospital.node.finished() else []

    return wait_for(results, FIRST_ANSWER_SECONDS, "report and overlay are back at the PACS")


def send(hospital: Hospital, file: Path, calling_ae_title: str = "PACS") -> None:
    done = storescu(debian("storescu"), hospital.node, calling_ae_title, file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_film_comes_back_as_one_report_and_one_overlay(
    hospital: Hospital, phantom_file: Path
) -> None:
    source = pydicom.dcmread(phantom_file)
    send(hospital, phantom_file)
    results = answered(hospital, source.StudyInstanceUID)
    assert sorted(item.Modality for item in results) == ["OT", "SR"]
    assert {item.PatientName for item in results} == {source.PatientName}
    assert {item.PatientID for item in results} == {source.PatientID}
    assert {item.AccessionNumber for item in results} == {source.AccessionNumber}


def test_the_same_film_again_gives_one_row_and_no_second_result(
    hospital: Hospital, phantom_file: Path
) -> None:
    source = pydicom.dcmread(phantom_file)
    send(hospital, phantom_file)
    before = {item.SOPInstanceUID for item in answered(hospital, source.StudyInstanceUID)}
    for _ in range(3):
        send(hospital, phantom_file)
    wait_for(hospital.node.finished, 30, "nothing is left to do")
    after = {item.SOPInstanceUID for item in answered(hospital, source.StudyInstanceUID)}
    assert after == before
    with hospital.node.ledger() as ledger:
        (instance,) = ledger.find_instances(source.SOPInstanceUID)
    assert instance.duplicate_count >= 3


def test_two_films_of_a_study_come_back_as_one_report_and_two_overlays(
    hospital: Hospital, tmp_path: Path
) -> None:
    films = [phantom_dataset(seed=41), phantom_dataset(seed=42)]
    for number, film in enumerate(films):
        film.StudyInstanceUID = films[0].StudyInstanceUID
        film.PatientName, film.PatientID = films[0].PatientName, films[0].PatientID
        film.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    for path in sorted(tmp_path.iterdir()):
        send(hospital, path)
    wait_for(hospital.node.finished, FIRST_ANSWER_SECONDS, "nothing is left to do")
    results = answered(hospital, films[0].StudyInstanceUID)
    reports = [item for item in results if item.Modality == "SR"]
    overlays = [item for item in results if item.Modality != "SR"]
    newest = max(reports, key=lambda item: int(item.InstanceNumber))
    evidence = newest.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = {
        item.ReferencedSOPInstanceUID
        for series in evidence
        for item in series.ReferencedSOPSequence
    }
    assert named >= {film.SOPInstanceUID for film in films}
    assert len({item.SOPInstanceUID for item in overlays}) == 2


def test_our_own_overlay_coming_back_gives_no_new_result(
    hospital: Hospital, phantom_file: Path
) -> None:
    source = pydicom.dcmread(phantom_file)
    send(hospital, phantom_file)
    results = answered(hospital, source.StudyInstanceUID)
    overlay = next(path for path in hospital.pacs.folder.iterdir() if path.name.startswith("SC"))
    send(hospital, overlay)
    uid = str(pydicom.dcmread(overlay).SOPInstanceUID)

    def declined() -> str | None:
        with hospital.node.ledger() as ledger:
            return next((item.reason for item in ledger.find_instances(uid)), None)

    assert wait_for(declined, 30, "the overlay is declined") == "result object of this node"
    wait_for(hospital.node.finished, 30, "nothing is left to do")
    assert len(answered(hospital, source.StudyInstanceUID)) == len(results)


def test_an_unknown_ae_is_rejected_and_shown_with_how_to_add_it(
    hospital: Hospital, phantom_file: Path
) -> None:
    done = storescu(debian("storescu"), hospital.node, "STRANGER", phantom_file)
    assert done.returncode != 0
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr

    def listed() -> bool:
        return "dicom-node ae add STRANGER" in hospital.node.command("ae", "list").stdout

    # Refusals are gathered, and written once a second.
    assert wait_for(listed, 30, "the stranger is listed")


def test_a_lateral_film_is_stored_and_declined_with_its_reason(
    hospital: Hospital, tmp_path: Path
) -> None:
    film = phantom_dataset(seed=77)
    film.ViewPosition = "LL"
    film.save_as(tmp_path / "lateral.dcm", enforce_file_format=True)
    send(hospital, tmp_path / "lateral.dcm")
    wait_for(hospital.node.finished, 30, "nothing is left to do")
    shown = hospital.node.command("cases", "show", str(film.StudyInstanceUID), "--json")
    (entry,) = json.loads(shown.stdout)
    assert entry["outcome"] == "declined"
    assert "LL" in entry["reason"]


def test_a_healthy_node_says_so(hospital: Hospital) -> None:
    wait_for(lambda: hospital.node.pid_of("analyse"), FIRST_ANSWER_SECONDS, "networks are loaded")
    done = hospital.node.command("health", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["well"] is True


def test_nothing_said_or_named_by_the_node_tells_who_the_patient_is(
    hospital: Hospital, tmp_path: Path
) -> None:
    canaries = ("CANARY^YELLOW", "CANARY-4711", "19010203")
    who = Identity(patient_name=canaries[0], patient_id=canaries[1], patient_birth_date=canaries[2])
    film = phantom_dataset(seed=90, identity=who)
    film.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    send(hospital, tmp_path / "film.dcm")
    results = answered(hospital, film.StudyInstanceUID)
    assert {str(item.PatientName) for item in results} == {canaries[0]}
    said = hospital.node.log + hospital.node.command("cases", "show", film.StudyInstanceUID).stdout
    said += hospital.node.command("outbox").stdout + hospital.node.command("ae", "list").stdout
    said += "\n".join(str(path) for path in hospital.node.folder.rglob("*"))
    assert str(film.SOPInstanceUID) in said
    for canary in (*canaries, "CANARY", "YELLOW"):
        assert canary not in said
