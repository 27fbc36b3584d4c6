"""Tables of labelled films: several sets read as one, and the pictures that a gate learns from."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_node.errors import TrainingError
from dicom_node.training.datasets.cases import Case, read_boxes, read_cases, sets_of
from dicom_node.training.datasets.gate import KINDS, apart, read_gate

FIRST = {"origin": "Cohen", "finding": "covid19", "split": "train", "recommended": "1", "age": "61"}
SIIM = {
    "origin": "SIIM", "finding": "covid19", "split": "train", "recommended": "1", "age": "",
    "appearance_class": "typical", "opacity_box_count": "2", "opacity_box_lung_fraction": "0.25",
    **{f"zonefrac_{letter}": f"0.{k}" for k, letter in enumerate("abcdef")},
    "airspace_level": "2", "airspace_basis": "siim_boxes_x_predicted_lung_thirds",
    "covid_list_elsewhere": "1", "pcr_test": "positive", "age_group": "unknown",
    "quality_note": "low_contrast;overlay_text",
}  # fmt: skip


def _set(folder: Path, kind: Mapping[str, str], **films: Mapping[str, str]) -> Path:
    """A set of drawn films, each row the kind's with its own values."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for name, own in films.items():
        file = f"images/{name}.png"
        Image.new("L", (30, 24), 90).save(folder / file)
        rows.append({"image_id": name, "file": file, "patient_id": name, **kind, **own})
    _table(folder / "cases.csv", rows)
    return folder


def _table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf8") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder of two sets: the second has other columns."""
    _set(tmp_path / "first", FIRST, a={}, b={"split": "test", "finding": "normal"})
    _set(tmp_path / "second", SIIM, c={}, d={"split": "val", "appearance_class": "negative"})
    return tmp_path


def test_two_sets_are_read_as_one_however_they_are_named(two: Path) -> None:
    for data in (two, [two / "first", two / "second"], [two, two / "first"]):
        assert [case.image_id for case in read_cases(data)] == ["a", "b", "c", "d"]
    assert [case.image_id for case in read_cases(two / "second")] == ["c", "d"]
    assert sets_of(two) == (two / "first", two / "second")


def test_a_film_tells_what_its_set_knows_and_nothing_where_it_knows_nothing(two: Path) -> None:
    first, _, siim, _ = read_cases(two)
    assert (siim.appearance_class, siim.boxes, siim.box_fraction) == ("typical", 2, 0.25)
    assert siim.zone_fractions == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert (siim.airspace_level, siim.airspace_basis[:10]) == (2, "siim_boxes")
    assert siim.covid_list_elsewhere
    assert (siim.pcr, siim.age, siim.age_group) == ("positive", None, "unknown")
    assert siim.quality_notes == ("low_contrast", "overlay_text")
    assert (first.age, first.age_group) == (61, "adult")
    assert (first.appearance_class, first.boxes, first.zone_fractions) == ("", None, None)
    assert not first.covid_list_elsewhere


def test_a_patient_of_one_set_may_not_be_in_another_split_of_another(tmp_path: Path) -> None:
    _set(tmp_path / "first", FIRST, a={"patient_id": "P1"})
    _set(tmp_path / "second", SIIM, c={"patient_id": "P1", "split": "test"})
    assert len(read_cases(tmp_path / "first")) == len(read_cases(tmp_path / "second")) == 1
    with pytest.raises(TrainingError, match="P1 is in more than one split"):
        read_cases(tmp_path)


def test_two_names_for_one_patient_do_not_hide_him_where_the_source_names_him(
    tmp_path: Path,
) -> None:
    _set(tmp_path / "first", FIRST, a={"source_patient_id": "cohen_22"})
    _set(tmp_path / "second", SIIM, c={"source_patient_id": "cohen_22", "split": "test"})
    with pytest.raises(TrainingError, match="cohen_22 is in more than one split"):
        read_cases(tmp_path)


def test_two_films_of_one_name_are_refused(tmp_path: Path) -> None:
    _set(tmp_path / "first", FIRST, a={})
    _set(tmp_path / "second", SIIM, a={})
    with pytest.raises(TrainingError, match="two films a"):
        read_cases(tmp_path)


def test_films_that_are_not_recommended_come_only_when_asked_for(tmp_path: Path) -> None:
    _set(tmp_path / "set", FIRST, a={}, child={"recommended": "0", "age": "4"})
    assert [case.image_id for case in read_cases(tmp_path)] == ["a"]
    _, child = read_cases(tmp_path, recommended_only=False)
    assert (child.image_id, child.recommended, child.age_group) == ("child", False, "child")


@pytest.mark.parametrize(
    ("column", "word"), [("split", "trial"), ("appearance_class", "Typical"), ("age", "about 60")]
)
def test_a_word_that_no_column_may_hold_is_said_with_its_film(
    column: str, word: str, tmp_path: Path
) -> None:
    _set(tmp_path / "set", SIIM, c={column: word})
    with pytest.raises(TrainingError, match=f"c: .*{word}"):
        read_cases(tmp_path)


def test_one_set_fills_what_another_leaves_blank_and_overrules_nothing(two: Path) -> None:
    _table(two / "second" / "extra_annotations.csv", [
        {"image_id": "a", "field": "rsna_reader_class", "value": "Normal"},
        {"image_id": "a", "field": "age", "value": "99"},
        {"image_id": "a", "field": "survival", "value": "Y"},
    ])  # fmt: skip
    first = read_cases(two)[0]
    assert (first.reader_class, first.age) == ("Normal", 61)
    assert read_cases(two / "first")[0].reader_class == ""


def test_boxes_come_from_every_set(two: Path) -> None:
    for name, film in (("first", "a"), ("second", "c"), ("second", "c")):
        row = {"image_id": film, "x": "1.5", "y": "2", "width": "3", "height": "4"}
        table = two / name / "opacity_boxes.csv"
        rows = [row, row] if name == "second" else [row]
        _table(table, rows)
    box = (1.5, 2.0, 3.0, 4.0)
    assert read_boxes(two) == {"a": (box,), "c": (box, box)}
    assert read_boxes([two / "first"]) == {"a": (box,)}


def test_lungs_that_a_network_predicted_are_never_taken_for_drawn_ones(two: Path) -> None:
    masks = two / "second" / "predicted_lung_masks_siim.npz"
    np.savez(masks, image_id=np.array(["c"]), mask=np.ones((1, 96, 96), bool))
    assert [case.mask for case in read_cases(two)] == [None] * 4


@pytest.mark.data
def test_the_shared_sets_are_one_with_patients_apart(real_data: Path) -> None:
    cases = read_cases(real_data, recommended_only=False)
    boxes = read_boxes(real_data)
    assert {case.image_id for case in cases} >= set(boxes)
    assert all(len(boxes.get(c.image_id, ())) == c.boxes for c in cases if c.boxes is not None)
    drawn = {case.mask_source for case in cases if case.mask is not None}
    assert not any("predicted" in source.lower() for source in drawn)


def _gate(folder: Path, *rows: dict[str, str]) -> Path:
    (folder / "images").mkdir(parents=True)
    told = []
    for number, row in enumerate(rows):
        name = f"gate_{number:04d}"
        Image.new("L", (30, 24), 90).save(folder / "images" / f"{name}.jpg")
        told.append({
            "image_id": name, "file": f"images/{name}.jpg", "label": "frontal_chest",
            "detail": "awkward", "age_group": "unknown", "split": "train",
            "quality_note": f"group own_{number}", **row,
        })  # fmt: skip
    _table(folder / "labels.csv", told)
    return folder


def test_a_gates_picture_tells_what_it_is_and_whose(tmp_path: Path) -> None:
    note = "also in cxr2 as cxb_06068; aspect restored; source 256x256; group siim_N06411"
    hand = {"label": "other_radiograph", "detail": "hand", "age_group": "child", "split": "val",
            "quality_note": "source 913x512; group rp_a-broken-hand"}  # fmt: skip
    siim, other, cohen = read_gate(_gate(
        tmp_path / "gate", {"quality_note": note}, hand, {"quality_note": "view L; group cov_144"}
    ))  # fmt: skip
    assert (siim.label, siim.detail, siim.split) == ("frontal_chest", "awkward", "train")
    assert (siim.films, siim.patients, siim.group) == (("cxb_06068",), ("N06411",), "siim_N06411")
    assert (other.label, other.age_group, other.group) == (
        "other_radiograph", "child", "rp_a-broken-hand")  # fmt: skip
    assert (other.films, other.patients) == ((), ())
    assert cohen.patients == ("cohen_144",)
    assert siim.path.is_file()


def test_a_picture_of_a_film_that_is_tested_elsewhere_is_left_out(tmp_path: Path) -> None:
    pictures = read_gate(_gate(
        tmp_path / "gate",
        {"quality_note": "also in cxr2 as cxb_1; group x"},
        {"quality_note": "also in cxr2 as cxb_2; group y"},
        {"quality_note": "group siim_N7"},
        {"quality_note": "group cohen_9", "label": "lateral_chest"},
        {"quality_note": "group rp_hand", "label": "other_radiograph"},
    ))  # fmt: skip
    path = Path("film.png")
    cases = [
        Case("cxb_1", path, "train", "N1", "normal", "s"),
        Case("cxb_2", path, "test", "N2", "normal", "s"),
        Case("cxb_3", path, "val", "N7", "normal", "s"),
        Case("cxr_4", path, "test", "P4", "covid19", "s", source_patient="cohen_9"),
    ]
    assert [each.image_id for each in apart(pictures, cases)] == ["gate_0000", "gate_0004"]
    assert apart(pictures, cases[:1]) == pictures


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"label": "animal"}], "animal"),
        ([{"split": "later"}], "later"),
        ([{"quality_note": "group g"}, {"quality_note": "group g", "split": "test"}],
         "Group g is in more than one split"),
    ],
)  # fmt: skip
def test_a_gates_table_that_would_mislead_is_refused(
    rows: list[dict[str, str]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=said):
        read_gate(_gate(tmp_path / "gate", *rows))


def test_a_gates_missing_table_or_picture_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"No labels\.csv"):
        read_gate(tmp_path)
    folder = _gate(tmp_path / "gate", {})
    (folder / "images" / "gate_0000.jpg").unlink()
    with pytest.raises(TrainingError, match=r"gate_0000\.jpg"):
        read_gate(folder)


@pytest.mark.data
def test_the_shared_gates_pictures_are_of_every_kind_in_every_split(real_data: Path) -> None:
    if not (real_data / "gate").is_dir():
        pytest.skip("needs the folder gate/ beside cxr/")
    pictures = read_gate(real_data / "gate")
    assert {(each.label, each.split) for each in pictures} == {
        (kind, split) for kind in KINDS for split in ("train", "val", "test")
    }
    kept = apart(pictures, read_cases(real_data, recommended_only=False))
    assert 600 < len(kept) < len(pictures)
