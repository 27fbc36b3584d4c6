"""Each real film of the shared data through the whole node, sent by DCMTK."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest

from tests.conftest import debian
from tests.node.conftest import Hospital
from tests.node.peers import storescu, wait_for

pytestmark = [pytest.mark.pacs, pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(900)]

ANALYSED = (
    "chest/cr_fuji_mono1_10bit_noheader.dcm",
    "chest/cr_philips_pa_mono1_15bit_j2k.dcm",
    "chest/cr_rsna_pa_jpegbaseline_mono2.dcm",
    "chest_derived/rg1_explicit_le.dcm",
    "chest_derived/rg1_rle.dcm",
    "chest_derived/rg1_jpegls_lossless.dcm",
    "chest_derived/rg1_j2k_lossless.dcm",
    "chest_derived/rg1_explicit_be.dcm",
    "chest_derived/rg1_mono2_inverted_pixels.dcm",
    "chest_derived/rg1_mono2_voi_lut_sequence.dcm",
    "chest_derived/rg1_mono2_no_window.dcm",
)
DECLINED = (
    "not_chest/cr_hip_mono2_jpeglossless.dcm",
    "not_chest/cr_ankle_mono1_jpegls.dcm",
    "not_chest/cr_ankle_mono1_jpeg12bit.dcm",
    "awkward/cr_view_position_says_lateral.dcm",
    "awkward/dx_elbow_no_pixel_data_cyrillic.dcm",
)
FAILED = (
    "awkward/cr_rows_larger_than_pixel_data.dcm",
    "awkward/cr_constant_image.dcm",
    "awkward/cr_chest_pa_multibyte_charset_no_pixel_data.dcm",
)
NOT_ACCEPTED = (
    "not_radiograph/ct_scout_chest_jpeglossless.dcm",
    "not_radiograph/ct_head_j2k.dcm",
    "not_radiograph/us_multiframe_jpeg_ybr.dcm",
    "not_radiograph/xa_multiframe_96.dcm",
    "not_radiograph/seg_liver.dcm",
)


def send(hospital: Hospital, film: Path) -> subprocess.CompletedProcess[str]:
    return storescu(debian("storescu"), hospital.node, "PACS", film)


def outcome(hospital: Hospital, uid: str) -> tuple[str, str]:
    """Return the state of an instance and its reason once nothing is left to do."""
    wait_for(hospital.node.finished, 180, "nothing is left to do")
    with hospital.node.ledger() as ledger:
        instance = ledger.find_instances(uid)[-1]
    return str(instance.state), instance.reason or ""


@pytest.mark.parametrize("name", ANALYSED)
def test_an_analysable_film_is_answered_with_valid_objects(
    hospital: Hospital, shared_data: Path, name: str
) -> None:
    film = shared_data / "dicom" / name
    source = pydicom.dcmread(film, force=True, stop_before_pixels=True)
    done = send(hospital, film)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome(hospital, source.SOPInstanceUID) == ("analysed", "")
    results = [
        path
        for path in hospital.pacs.folder.iterdir()
        if pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID
        == source.StudyInstanceUID
    ]
    assert len(results) >= 2
    for path in results:
        checked = subprocess.run([debian("dciodvfy"), str(path)], capture_output=True, check=False)
        report = (checked.stdout + checked.stderr).decode("latin-1")
        assert [line for line in report.splitlines() if line.startswith("Error")] == []
        assert str(pydicom.dcmread(path).PatientName) == str(source.PatientName)


@pytest.mark.parametrize("name", DECLINED)
def test_another_body_part_or_view_is_stored_and_declined(
    hospital: Hospital, shared_data: Path, name: str
) -> None:
    film = shared_data / "dicom" / name
    done = send(hospital, film)
    assert done.returncode == 0, done.stdout + done.stderr
    uid = pydicom.dcmread(film, stop_before_pixels=True).SOPInstanceUID
    state, reason = outcome(hospital, uid)
    assert state == "declined"
    assert reason


@pytest.mark.parametrize("name", FAILED)
def test_a_damaged_film_is_stored_and_fails_with_the_reason(
    hospital: Hospital, shared_data: Path, name: str
) -> None:
    film = shared_data / "dicom" / name
    done = send(hospital, film)
    assert done.returncode == 0, done.stdout + done.stderr
    uid = pydicom.dcmread(film, stop_before_pixels=True).SOPInstanceUID
    state, reason = outcome(hospital, uid)
    assert state == "failed"
    assert reason


@pytest.mark.parametrize("name", NOT_ACCEPTED)
def test_what_is_no_radiograph_is_not_accepted_at_all(
    hospital: Hospital, shared_data: Path, name: str
) -> None:
    film = shared_data / "dicom" / name
    header = pydicom.dcmread(film, stop_before_pixels=True)
    command = [str(debian("storescu")), "-aet", "PACS", "-aec", "DICOMNODE", "-R", "-xe"]
    done = subprocess.run(
        [*command, "127.0.0.1", str(hospital.node.port), str(film)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    with hospital.node.ledger() as ledger:
        assert ledger.find_instances(header.SOPInstanceUID) == []


def test_markup_in_a_patient_name_comes_back_as_the_same_text(
    hospital: Hospital, shared_data: Path, tmp_path: Path
) -> None:
    source = pydicom.dcmread(
        shared_data / "dicom" / "awkward" / "script_injection_in_patient_name.dcm"
    )
    # The file shares its study with others of another name: such a study is not reported.
    source.StudyInstanceUID = "2.25.4711"
    source.save_as(tmp_path / "film.dcm")
    assert send(hospital, tmp_path / "film.dcm").returncode == 0
    assert outcome(hospital, source.SOPInstanceUID) == ("analysed", "")
    names = {
        str(item.PatientName)
        for item in hospital.pacs.received()
        if item.StudyInstanceUID == "2.25.4711"
    }
    assert names == {str(source.PatientName)}


def test_a_uid_that_breaks_the_standard_is_answered_invalid_sop_instance(
    hospital: Hospital, shared_data: Path
) -> None:
    name = "cr_dental_mono1_modality_lut_sequence.dcm"
    done = send(hospital, shared_data / "dicom" / "not_chest" / name)
    assert done.returncode != 0
    assert '"status": "0x0117"' in hospital.node.log
