"""The sources of the second collection: appearance, boxes, lists of the infected, children."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_node.errors import TrainingError
from dicom_node.training.datasets.build import Row, build
from dicom_node.training.datasets.cases import Case, read_boxes, read_cases
from dicom_node.training.datasets.sources import SOURCES, read_sources
from dicom_node.training.datasets.splits import PatientGroup, split_groups
from tests.drawn_sources import dicom, drawn, recompressed, save, table

Folders = dict[str, Path]
CLASSES = (
    "Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance",
    "Atypical Appearance",
)  # fmt: skip
BOX = "opacity 1 18 40 108 140 opacity 1 0 0 9 20"
NONE = "none 1 0 0 1 1"


def _siim_tables(root: Path) -> None:
    """Four studies, the first with two films; a fifth that the panel put into two classes."""
    films = [
        ("f0", "s0", BOX), ("f1", "s0", NONE), ("f2", "s1", NONE), ("f3", "s2", BOX),
        ("f4", "s3", BOX), ("f5", "s4", NONE),
    ]  # fmt: skip
    table(root / "train_image_level.csv", [
        {"id": f"{film}_image", "boxes": "", "label": label, "StudyInstanceUID": study}
        for film, study, label in films
    ])  # fmt: skip
    of_study = [{1}, {0}, {2}, {3}, {1, 2}]
    table(root / "train_study_level.csv", [
        {"id": f"s{k}_study", **{name: str(int(n in named)) for n, name in enumerate(CLASSES)}}
        for k, named in enumerate(of_study)
    ])  # fmt: skip


def _siim(root: Path) -> None:
    """The challenge's DICOM: a folder a study, a folder a series; films of 180 x 200 pixels."""
    _siim_tables(root)
    for number, (study, patient) in enumerate(
        [("s0", "a"), ("s0", "a"), ("s1", "b"), ("s2", "a"), ("s3", "c"), ("s4", "d")]
    ):
        dicom(root / "train" / study / f"series{number}" / f"f{number}.dcm", 200 + number, patient,
              PatientSex="F", ViewPosition="AP")  # fmt: skip


def _cxnet(root: Path) -> None:
    films = [
        ("260.jpg", "10", "female", "68", "PA", "COVID-19", "positive"),
        ("364.jfif", "11", "male", "47", "", "COVID-19", ""),
        ("1.jpg", "", "", "", "", "COVID-19", ""),
        ("2.jpg", "12", "", "", "L", "COVID-19", ""),
    ]
    keys = ("filename", "patient_id", "sex", "age", "view", "label", "pcr_test")
    for number, film in enumerate(films):
        path = root / "chest_xray_images" / "covid19" / film[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(220 + number).save(path, "JPEG")
    rows = [{**dict(zip(keys, film, strict=True)), "url": "https://a.test/1"} for film in films]
    table(root / "metadata.csv", rows)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """One small folder a source, as it is distributed."""
    keys = ("siim", "cxnet", "radiography", "rsna-normals", "kermany", "tb", "tb-pakistan")
    root = {key: tmp_path / key for key in keys}
    _siim(root["siim"])
    _cxnet(root["cxnet"])
    covid = root["radiography"] / "COVID"
    # The negative film of SIIM's patient b again, small; and one that SIIM does not have.
    save(recompressed(drawn(202, (180, 200)), (90, 100), 90), covid / "images" / "COVID-7.png")
    save(drawn(240), covid / "images" / "COVID-8.png")
    save(drawn(241), covid / "masks" / "COVID-8.png")
    for number in (5, 100, 1500):
        save(drawn(250 + number),
             root["rsna-normals"] / "Normal" / "images" / f"Normal-{number}.png")  # fmt: skip
    for number, name in enumerate((
        "train/PNEUMONIA/person12_virus_31", "test/PNEUMONIA/person12_bacteria_4",
        "train/NORMAL/IM-0115-0001", "val/NORMAL/NORMAL2-IM-1427-0001",
    )):  # fmt: skip
        save(drawn(260 + number), root["kermany"] / f"{name}.jpeg")
    save(drawn(270), root["tb"] / "Tuberculosis" / "Tuberculosis-1.png")
    save(drawn(271), root["tb"] / "Normal" / "Normal-1.png")
    save(drawn(280), root["tb-pakistan"] / "train" / "TB" / "TB.2448.jpg")
    save(drawn(281), root["tb-pakistan"] / "test" / "Normal" / "others (3).jpg")
    return root


def _built(folders: Folders, out: Path, *keys: str) -> dict[str, Row]:
    rows = build(read_sources({key: [folders[key]] for key in keys}).records, out).rows
    return {Path(row["source_path"]).name: row for row in rows}


def _cases(out: Path) -> dict[str, Case]:
    """The cases by their files at the source."""
    with (out / "cases.csv").open(newline="", encoding="utf8") as lines:
        name_of = {row["image_id"]: Path(row["source_path"]).name for row in csv.DictReader(lines)}
    return {name_of[case.image_id]: case for case in read_cases(out, recommended_only=False)}


def test_a_panels_classes_become_findings_and_stay_appearances(
    folders: Folders, tmp_path: Path
) -> None:
    found = _built(folders, tmp_path / "out", "siim")
    told = {name: (row["appearance_class"], row["finding"]) for name, row in found.items()}
    assert told == {
        "f0.dcm": ("typical", "covid19"), "f1.dcm": ("typical", "covid19"),
        "f2.dcm": ("negative", "normal"), "f3.dcm": ("indeterminate", "other"),
        "f4.dcm": ("atypical", "other"),
    }  # fmt: skip
    assert {row["patient_id"] for name, row in found.items() if name in "f0.dcm f3.dcm"} == {
        "siim_a"
    }
    assert (found["f4.dcm"]["sex"], found["f4.dcm"]["view"]) == ("F", "AP")
    assert found["f0.dcm"]["label_basis"] == "siim_radiologist_panel_appearance"


def test_boxes_go_with_their_films_and_no_box_is_told_apart_from_nobody_looked(
    folders: Folders, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _built(folders, out, "siim", "tb")
    case, boxes = _cases(out), read_boxes(out)
    assert boxes[case["f0.dcm"].image_id] == (
        (18.0, 40.0, 90.0, 100.0), (0.0, 0.0, 9.0, 20.0))  # fmt: skip
    assert (case["f0.dcm"].boxes, case["f1.dcm"].boxes) == (2, 0)
    assert case["Tuberculosis-1.png"].boxes is None
    assert case["f1.dcm"].image_id not in boxes


def test_squashed_copies_get_their_shape_back_and_boxes_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "siim"
    _siim_tables(folder)
    save(drawn(200, (256, 256)), folder / "train" / "f0.jpg")
    table(folder / "train_meta.csv", [{"imageid": "f0", "patientid": "a"}])
    table(folder / "meta.csv", [{"image_id": "f0", "dim0": "200", "dim1": "180"}])
    (row,) = build(read_sources({"siim": [folder]}).records, tmp_path / "out").rows
    assert (row["width"], row["height"]) == ("256", "284")
    assert (row["orig_width"], row["orig_height"]) == ("180", "200")
    assert row["geometry_note"] == "aspect_restored"
    assert row["patient_id"] == "siim_a"
    box = read_boxes(tmp_path / "out")[row["image_id"]][0]
    scale = 256 / 180
    assert box == pytest.approx([18 * scale, 40 * 1.42, 90 * scale, 100 * 1.42], abs=0.06)
    with Image.open(tmp_path / "out" / row["file"]) as picture:
        assert picture.size == (256, 284)


def test_without_a_list_of_patients_a_study_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "siim"
    _siim_tables(folder)
    for number in range(2):
        save(drawn(200 + number), folder / "train" / f"f{number}.png")
    records = read_sources({"siim": [folder]}).records
    assert {record.patient for record in records} == {"siim_s0"}


def test_a_list_of_the_infected_does_not_contradict_what_radiologists_saw(
    folders: Folders, tmp_path: Path
) -> None:
    found = _built(folders, tmp_path / "out", "siim", "radiography")
    film = found["f2.dcm"]
    assert (film["finding"], film["appearance_class"], film["recommended"]) == (
        "normal", "negative", "1")  # fmt: skip
    assert film["covid_list_elsewhere"] == "1"
    assert film["also_in"].endswith("COVID-7")
    assert film["label_basis"] == "siim_radiologist_panel_appearance"
    assert "COVID-7.png" not in found
    assert found["f0.dcm"]["covid_list_elsewhere"] == ""


def test_films_that_may_show_another_sources_patients_are_only_taught(
    folders: Folders, tmp_path: Path
) -> None:
    found = _built(folders, tmp_path / "out", "siim", "radiography")
    assert found["COVID-8.png"]["split"] == found["f2.dcm"]["split"] == "train"
    assert "possible_same_patient_as_siim" in found["COVID-8.png"]["quality_note"]


def test_a_group_that_is_only_taught_moves_no_other_group() -> None:
    groups = [PatientGroup(f"a_{n}", ("a", "normal"), 1) for n in range(40)]
    taught = [PatientGroup(f"b_{n}", ("a", "normal"), 1, taught_only=True) for n in range(40)]
    before, after = split_groups(groups, 3), split_groups([*taught, *groups], 3)
    assert {after[group.name] for group in taught} == {"train"}
    assert before == {group.name: after[group.name] for group in groups}


def test_masks_are_no_films(folders: Folders) -> None:
    records = read_sources({"radiography": [folders["radiography"]]}).records
    assert [Path(record.name).name for record in records] == ["COVID-7.png", "COVID-8.png"]


def test_of_the_normal_films_only_those_known_to_be_of_adults_are_taken(folders: Folders) -> None:
    found = read_sources({"rsna-normals": [folders["rsna-normals"]]})
    (record,) = found.records
    assert Path(record.name).name == "Normal-1500.png"
    assert (record.reader_class, record.finding) == ("Normal", "normal")
    assert {each.reason for each in found.left_out} == {"a child", "of an unknown source"}


def test_films_of_children_are_there_but_not_recommended(folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = _built(folders, out, "kermany")
    assert read_cases(out) == ()
    assert {case.age_group for case in read_cases(out, recommended_only=False)} == {"child"}
    assert {row["patient_id"] for row in found.values()} == {
        "kermany_person12", "kermany_im-0115", "kermany_normal2-im-1427"}  # fmt: skip
    assert found["person12_virus_31.jpeg"]["finding_detail"] == "Virus pneumonia"
    assert found["IM-0115-0001.jpeg"]["finding"] == "normal"


def test_films_of_the_web_tell_patient_and_test_and_none_comes_without(folders: Folders) -> None:
    found = read_sources({"cxnet": [folders["cxnet"]]})
    first, second = found.records
    assert (first.patient, first.age, first.sex, first.view) == ("cxnet_10", "68", "F", "PA")
    assert (first.reading.pcr, first.reading.url) == ("positive", "https://a.test/1")
    assert second.path.suffix == ".jfif"
    assert {each.reason: n for each, n in found.left_out.items()} == {
        "no patient told": 1, "not frontal": 1}  # fmt: skip


def test_tuberculosis_is_other_and_its_neighbours_are_normal(
    folders: Folders, tmp_path: Path
) -> None:
    found = _built(folders, tmp_path / "out", "tb", "tb-pakistan", "cxnet")
    assert {name: row["finding"] for name, row in found.items()} == {
        "Tuberculosis-1.png": "other", "TB.2448.jpg": "other", "others (3).jpg": "normal",
        "260.jpg": "covid19", "364.jfif": "covid19",
    }  # fmt: skip
    assert found["260.jpg"]["pcr_test"] == "positive"


@pytest.mark.parametrize(
    ("key", "gone", "said"),
    [
        ("siim", "train_study_level.csv", "train_study_level"),
        ("siim", "train_image_level.csv", "train_image_level"),
        ("cxnet", "metadata.csv", "metadata"),
        ("radiography", "COVID", "no picture at COVID/"),
        ("rsna-normals", "Normal", "no picture at Normal/"),
        ("kermany", "train test val", "no picture at"),
        ("tb", "Tuberculosis", "no picture at Tuberculosis/"),
        ("tb-pakistan", "train test", "no picture at"),
    ],
)
def test_what_a_sources_folder_lacks_is_said_with_what_it_must_hold(
    key: str, gone: str, said: str, folders: Folders
) -> None:
    for name in gone.split():
        (folders[key] / name).rename(folders[key].with_name(f"{key}-{name}-away"))
    with pytest.raises(TrainingError, match=said) as fault:
        read_sources({key: [folders[key]]})
    assert SOURCES[key].layout in fault.value.remedy


def test_a_label_that_is_no_list_of_boxes_is_refused(folders: Folders) -> None:
    path = folders["siim"] / "train_image_level.csv"
    path.write_text(path.read_text("utf8").replace(NONE, "opacity 1 2"), "utf8")
    with pytest.raises(TrainingError, match="no list of boxes"):
        read_sources({"siim": [folders["siim"]]})


def test_the_shape_of_whole_pictures_stays(tmp_path: Path, folders: Folders) -> None:
    row = _built(folders, tmp_path / "out", "tb")["Tuberculosis-1.png"]
    assert (row["width"], row["height"], row["geometry_note"]) == ("300", "260", "")
    with Image.open(tmp_path / "out" / row["file"]) as picture:
        assert np.asarray(picture).std() > 20
