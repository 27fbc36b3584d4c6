"""A table of films from folders of public sources, in their own layouts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import TrainingError
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.training.data import read_cases
from dicom_node.training.dataset import COLUMNS, build, read_picture, read_sources, splits
from dicom_node.training.dataset_sources import SOURCES, finding_of

Folders = dict[str, Path]


def _film(seed: int, size: tuple[int, int] = (300, 260)) -> Image.Image:
    """A picture of its own: smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 8)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _table(path: Path, rows: list[dict[str, str]], encoding: str = "utf8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, sorted({key for row in rows for key in row}))
        writer.writeheader()
        writer.writerows(rows)


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """One small folder a source, as the sources distribute them."""
    root = {k: tmp_path / k for k in ("cohen", "figure1", "actualmed", "hannover", "nih", "rsna")}
    cohen = [
        ("1", "a.png", "Pneumonia/Viral/COVID-19", "PA", "X-ray", "61"),
        ("1", "b.png", "Pneumonia/Viral/COVID-19", "AP Supine", "X-ray", "61"),
        ("2", "c.png", "Pneumonia/Bacterial/Streptococcus", "AP", "X-ray", ""),
        ("3", "lateral.png", "Pneumonia/Viral/COVID-19", "L", "X-ray", "40"),
        ("4", "ct.png", "Pneumonia/Viral/COVID-19", "Axial", "CT", "40"),
        ("5", "child.png", "Pneumonia", "PA", "X-ray", "4"),
        ("6", "todo.png", "todo", "PA", "X-ray", "50"),
    ]
    for number, (_, name, *_) in enumerate(cohen):
        _save(_film(number), root["cohen"] / "images" / name)
    keys = ("patientid", "filename", "finding", "view", "modality", "age")
    _table(root["cohen"] / "metadata.csv", [dict(zip(keys, row, strict=True)) for row in cohen])
    _save(_film(20), root["figure1"] / "images" / "COVID-00001.jpg")
    _table(root["figure1"] / "metadata.csv",
           [{"patientid": "COVID-00001", "finding": "COVID-19", "view": "PA", "notes": "caf\xe9"}],
           "iso-8859-1")  # fmt: skip
    _save(_film(30), root["actualmed"] / "images" / "CR.1.png")
    _table(root["actualmed"] / "metadata.csv",
           [{"patientid": "p1", "imagename": "CR.1.png", "finding": "No finding", "view": ""}],
           )  # fmt: skip
    # The first film of Cohen's again, half the size and compressed.
    copy = _film(0).resize((150, 130), Image.Resampling.LANCZOS)
    _save(copy, root["hannover"] / "png" / "b343e657.png")
    _table(root["hannover"] / "data.csv",
           [{"patient_id": "042f06a9", "image_id": "b343e657", "projection": "ap", "sex": "m"}],
           )  # fmt: skip
    for number in range(30):
        _save(_film(100 + number), root["nih"] / "images_001" / "images" / f"{number:08d}_000.png")
    _table(root["nih"] / "Data_Entry_2017_v2020.csv", [
        {"Image Index": f"{n:08d}_000.png", "Patient ID": str(n // 2), "Patient Age": "058",
         "Finding Labels": "No Finding" if n % 3 else "Infiltration|Pneumonia",
         "Patient Gender": "F", "View Position": "PA"} for n in range(30)
    ])  # fmt: skip
    dataset = phantom_dataset(rows=200, columns=180)
    (root["rsna"] / "stage_2_train_images").mkdir(parents=True)
    dataset.save_as(root["rsna"] / "stage_2_train_images" / "f1.dcm", enforce_file_format=True)
    _table(root["rsna"] / "stage_2_detailed_class_info.csv",
           [{"patientId": "f1", "class": "Lung Opacity"},
            {"patientId": "f1", "class": "Lung Opacity"},
            {"patientId": "f2", "class": "No Lung Opacity / Not Normal"}])  # fmt: skip
    return root


@pytest.fixture
def made(folders: Folders, tmp_path: Path) -> Callable[[str], list[dict[str, str]]]:
    """Builds all sources into a folder of that name; returns the rows of the table."""

    def make(name: str) -> list[dict[str, str]]:
        records = read_sources({key: [folder] for key, folder in folders.items()})
        build(records, tmp_path / name)
        with (tmp_path / name / "cases.csv").open(newline="", encoding="utf8") as lines:
            return list(csv.DictReader(lines))

    return make


def test_the_table_can_be_trained_on(
    made: Callable[[str], list[dict[str, str]]], tmp_path: Path
) -> None:
    rows = made("out")
    assert tuple(rows[0]) == COLUMNS
    cases = read_cases(tmp_path / "out")
    assert len(cases) == len(rows) == 36
    with Image.open(cases[0].path) as picture:
        assert picture.mode == "L"


def test_laterals_ct_children_and_films_without_a_diagnosis_are_left_out(
    made: Callable[[str], list[dict[str, str]]],
) -> None:
    names = {row["source_path"] for row in made("out")}
    assert {"a.png", "b.png", "c.png"} <= names
    assert not names & {"lateral.png", "ct.png", "child.png", "todo.png"}


def test_the_same_film_from_two_sources_is_one_row_and_one_patient_group(
    made: Callable[[str], list[dict[str, str]]],
) -> None:
    rows = made("out")
    (row,) = [row for row in rows if row["source_path"] == "a.png"]
    assert row["other_filenames_same_image"] == "b343e657.png"
    other = next(row for row in rows if row["source_path"] == "b.png")
    assert other["patient_id"] == row["patient_id"]
    assert "b343e657.png" not in {row["source_path"] for row in rows}


def test_no_patient_is_in_two_splits_and_each_split_has_its_share(
    made: Callable[[str], list[dict[str, str]]],
) -> None:
    rows = made("out")
    of_patient = {(row["patient_id"], row["split"]) for row in rows}
    assert len(of_patient) == len({patient for patient, _ in of_patient})
    normal = [row["split"] for row in rows if row["finding"] == "normal"]
    assert 0.5 < normal.count("train") / len(normal) < 0.85
    assert normal.count("test") > 0


def test_the_same_sources_give_the_same_table(
    made: Callable[[str], list[dict[str, str]]],
) -> None:
    assert made("one") == made("two")


def test_splits_do_not_depend_on_the_order_of_patients() -> None:
    findings = {f"p{k}": "normal" for k in range(50)}
    films = dict.fromkeys(findings, 1)
    turned = dict(reversed(findings.items()))
    assert splits(findings, films, 1) == splits(turned, films, 1)
    assert splits(findings, films, 1) != splits(findings, films, 2)


def test_large_films_are_reduced_and_small_ones_never_enlarged(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    _save(_film(1, (1400, 1100)), folder / "large.png")
    _save(_film(2, (300, 200)), folder / "small.png")
    _table(folder / "labels.csv", [{"file": "large.png", "finding": "normal"},
                                   {"file": "small.png", "finding": "covid19"}])  # fmt: skip
    built = build(read_sources({"dicom": [folder]}), tmp_path / "out")
    sizes = {row["source_path"]: (row["width"], row["height"]) for row in built.rows}
    assert sizes == {"large.png": ("652", "512"), "small.png": ("300", "200")}


def test_a_dicom_film_is_read_as_it_is_displayed(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    phantom_dataset(rows=120, columns=100).save_as(path, enforce_file_format=True)
    picture = read_picture(path)
    assert picture.shape == (120, 100)
    assert picture.dtype == np.uint8
    assert picture.std() > 20


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("Pneumonia/Viral/COVID-19", "covid19"), ("COVID-19, ARDS", "covid19"),
        ("Pneumonia/Viral/SARS", "pneumonia"), ("Pneumonia", "pneumonia"),
        ("Pneumonia/Lipoid", "other"), ("No Finding", "normal"), ("No finding", "normal"),
        ("Tuberculosis", "other"), ("todo", ""), ("Unknown", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_words_of_the_sources_become_our_findings(words: str, finding: str) -> None:
    assert finding_of(words) == finding


def test_an_unreadable_film_is_named_and_the_others_are_built(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    _save(_film(1), folder / "good.png")
    (folder / "bad.png").write_bytes(b"no picture")
    _table(folder / "labels.csv", [{"file": "good.png", "finding": "normal"},
                                   {"file": "bad.png", "finding": "normal"}])  # fmt: skip
    built = build(read_sources({"dicom": [folder]}), tmp_path / "out")
    assert [Path(name).name for name in built.unreadable] == ["bad.png"]
    assert len(built.rows) == 1


def test_a_missing_table_and_a_wrong_finding_are_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no metadata\.csv") as fault:
        read_sources({"cohen": [tmp_path]})
    assert "dataset sources" in str(fault.value.remedy)
    _table(tmp_path / "labels.csv", [{"file": "a.png", "finding": "flu"}])
    with pytest.raises(TrainingError, match="no finding 'flu'"):
        read_sources({"dicom": [tmp_path]})


def test_the_command_builds_and_counts(folders: Folders, tmp_path: Path) -> None:
    arguments = ["dataset", "build", "--out", str(tmp_path / "out"),
                 "--source", f"nih={folders['nih']}",
                 "--source", f"cohen={folders['cohen']}"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "33 films" in done.output
    listed = CliRunner().invoke(app, ["dataset", "sources"]).output
    assert all(key in listed for key in SOURCES)
