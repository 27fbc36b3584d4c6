"""A table of films from folders of public sources, in their own layouts."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import TrainingError
from dicom_node.training.datasets.build import COLUMNS, Row, build, read_picture
from dicom_node.training.datasets.cases import read_cases
from dicom_node.training.datasets.copies import copies, print_of
from dicom_node.training.datasets.nih import MAPPING
from dicom_node.training.datasets.records import Record
from dicom_node.training.datasets.sources import SOURCES, read_sources
from dicom_node.training.datasets.splits import PatientGroup, joined, split_groups
from dicom_node.training.datasets.words import age_of, finding_of, view_of
from tests.drawn_sources import dicom as _dicom
from tests.drawn_sources import drawn as _film
from tests.drawn_sources import recompressed as _recompressed
from tests.drawn_sources import save as _save
from tests.drawn_sources import table as _table

KEYS = ("cohen", "figure1", "actualmed", "hannover", "nih", "rsna", "dicom")
Folders = dict[str, Path]
Make = Callable[..., list[dict[str, str]]]


def _cohen(root: Path) -> None:
    """``metadata.csv`` of the repository, as of autumn 2020: its own column names and order."""
    films = [
        ("1", "M", "61", "Pneumonia/Viral/COVID-19", "PA", "X-ray", "a.png", "CC BY"),
        ("1", "M", "61", "Pneumonia/Viral/COVID-19", "AP Supine", "X-ray", "b.jpeg", ""),
        ("2", "", "", "Pneumonia/Bacterial/Streptococcus", "AP semi erect", "X-ray", "c.png", ""),
        ("3", "F", "40", "Pneumonia/Viral/COVID-19", "L", "X-ray", "lateral.png", ""),
        ("4", "F", "40", "Pneumonia/Viral/COVID-19", "Axial", "CT", "ct.png", ""),
        ("4", "F", "40", "Pneumonia/Viral/COVID-19", "Coronal", "CT", "ct2.png", ""),
        ("5", "M", "4", "Pneumonia", "PA", "X-ray", "child.png", ""),
        ("6", "M", "50", "todo", "PA", "X-ray", "todo.png", ""),
        ("7", "M", "50", "Tuberculosis", "AP Erect", "X-ray", "tb.png", ""),
    ]  # fmt: skip
    keys = ("patientid", "sex", "age", "finding", "view", "modality", "filename", "license")
    for number, film in enumerate(films):
        _save(_film(number), root / "images" / film[6])
    rows = [{"offset": "0", **dict(zip(keys, film, strict=True)), "": ""} for film in films]
    _table(root / "metadata.csv", rows)


def _figure1_and_actualmed(figure1: Path, actualmed: Path) -> None:
    films = [
        ("COVID-00003a", "28", "COVID-19", "AP erect", "jpg"),
        ("COVID-00003b", "28", "COVID-19", "AP erect", "jpg"),
        ("COVID-00040a", "early 40s", "No finding", "", "png"),
        ("COVID-00005", "50+", "", "", "jpg"),
    ]
    for number, (name, *_, ending) in enumerate(films):
        _save(_film(20 + number), figure1 / "images" / f"{name}.{ending}")
    _table(figure1 / "metadata.csv", [
        {"patientid": name, "offset": "", "sex": "", "age": age, "finding": finding, "view": view,
         "modality": "X-ray", "artifacts/distortion": "", "notes": "38\xb0"}
        for name, age, finding, view, _ in films
    ], "iso-8859-1")  # fmt: skip
    _save(_film(30), actualmed / "images" / "CR.1.2.png")
    _save(_film(31), actualmed / "images" / "DX.1.3.png")
    _table(actualmed / "metadata.csv", [
        {"patientid": "ANON56", "finding": "No finding", "view": "PA", "modality": "X-ray",
         "imagename": "CR.1.2.png"},
        {"patientid": "ANON8", "finding": "", "view": "PA", "modality": "X-ray",
         "imagename": "DX.1.3.png"},
    ])  # fmt: skip


def _nih(root: Path) -> None:
    ages = {26: "411Y", 27: "011M", 28: "016Y"}
    for number in range(30):
        _save(_film(100 + number), root / "images_001" / "images" / f"{number:08d}_000.png")
    _table(root / "Data_Entry_2017_v2020.csv", [
        {"Image Index": f"{n:08d}_000.png", "Follow-up #": "0", "Patient ID": str(n // 2),
         "Finding Labels": "No Finding" if n % 3 else "Infiltration|Pneumonia",
         "Patient Age": ages.get(n, "058Y"), "Patient Gender": "F", "View Position": "PA"}
        for n in range(30)
    ] + [{"Image Index": "00000099_000.png", "Finding Labels": "Mass", "Patient ID": "99",
          "Patient Age": "58", "View Position": "PA"}])  # fmt: skip


def _rsna(root: Path) -> None:
    for number, age in enumerate(("51", "33", "12")):
        _dicom(root / "stage_2_train_images" / f"f{number}.dcm", 40 + number,
               PatientAge=f"0{age}Y", ViewPosition="AP", PatientSex="F")  # fmt: skip
    _table(root / "stage_2_train_labels.csv", [
        {"patientId": "f0", "x": "1", "y": "1", "width": "9", "height": "9", "Target": "1"},
        {"patientId": "f0", "x": "5", "y": "5", "width": "9", "height": "9", "Target": "1"},
        {"patientId": "f1", "Target": "0"}, {"patientId": "f2", "Target": "0"},
        {"patientId": "f3", "Target": "0"},
    ])  # fmt: skip
    _table(root / "stage_2_detailed_class_info.csv", [
        {"patientId": "f0", "class": "Lung Opacity"}, {"patientId": "f0", "class": "Lung Opacity"},
        {"patientId": "f1", "class": "Normal"}, {"patientId": "f2", "class": "Normal"},
        {"patientId": "f3", "class": "No Lung Opacity / Not Normal"},
    ])  # fmt: skip
    (root / MAPPING).write_text(json.dumps([
        {"img_id": "00000001_005.png", "subset_img_id": "f0", "orig_labels": ["Pneumonia"]},
        {"img_id": "00000777_000.png", "subset_img_id": "f1", "orig_labels": ["No Finding"]},
    ]))  # fmt: skip


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """One small folder a source, as the sources distribute them."""
    root = {key: tmp_path / key for key in KEYS}
    _cohen(root["cohen"])
    _figure1_and_actualmed(root["figure1"], root["actualmed"])
    # The first film of Cohen's again, half the size and compressed.
    _save(_recompressed(_film(0), (150, 130), 50), root["hannover"] / "png" / "b343e657.png")
    _save(_film(50), root["hannover"] / "png" / "c9280a30.png")
    _table(root["hannover"] / "data.csv", [
        {"patient_id": "042f06a9", "image_id": image, "sex": "m", "age": "", "modality": "CR",
         "projection": "ap"} for image in ("b343e657", "c9280a30")
    ])  # fmt: skip
    _nih(root["nih"])
    _rsna(root["rsna"])
    _dicom(root["dicom"] / "one.dcm", 60, "SECRET-1")
    _dicom(root["dicom"] / "two.dcm", 61, "SECRET-1")
    _dicom(root["dicom"] / "lateral.dcm", 62, "SECRET-2", ViewPosition="LL")
    _save(_film(70), root["dicom"] / "three.png")
    _table(root["dicom"] / "labels.csv", [
        {"file": "one.dcm", "finding": "normal"}, {"file": "two.dcm", "finding": "COVID19"},
        {"file": "lateral.dcm", "finding": "normal"},
        {"file": "three.png", "finding": "pneumonia", "patient_id": "x"},
    ])  # fmt: skip
    return root


@pytest.fixture
def make(folders: Folders, tmp_path: Path) -> Make:
    """Builds sources into a folder of that name; returns the rows of the table."""

    def make_it(name: str, *keys: str) -> list[dict[str, str]]:
        chosen = {key: [folders[key]] for key in keys or folders}
        build(read_sources(chosen).records, tmp_path / name)
        with (tmp_path / name / "cases.csv").open(newline="", encoding="utf8") as lines:
            return list(csv.DictReader(lines))

    return make_it


def _by_name(rows: Sequence[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {Path(row["source_path"]).name: row for row in rows}


def test_the_table_can_be_trained_on_and_names_every_picture(make: Make, tmp_path: Path) -> None:
    rows = make("out")
    assert tuple(rows[0]) == COLUMNS
    cases = read_cases(tmp_path / "out")
    assert {case.path for case in cases} == {*(tmp_path / "out" / "images").iterdir()}
    assert len(cases) == len(rows) == 42
    assert all(case.mask is None and case.zones is None for case in cases)
    with Image.open(cases[0].path) as picture:
        assert (picture.mode, picture.format) == ("L", "JPEG")


def test_each_source_gives_its_findings_patients_views_and_facts(make: Make) -> None:
    row = _by_name(make("out"))
    told = ("finding", "patient_id", "view", "age", "sex")
    assert [row["c.png"][key] for key in told] == ["pneumonia", "cohen_2", "AP", "", ""]
    assert [row["b.jpeg"][key] for key in told] == ["covid19", "cohen_1", "AP Supine", "61", "M"]
    assert [row["COVID-00040a.png"][key] for key in told] == [
        "normal", "figure1_COVID-00040", "unknown", "40", ""]  # fmt: skip
    assert [row["CR.1.2.png"][key] for key in told] == ["normal", "actualmed_ANON56", "PA", "", ""]
    assert [row["00000003_000.png"][key] for key in told] == [
        "pneumonia", "nih_00000001", "PA", "58", "F"]  # fmt: skip
    assert [row["f0.dcm"][key] for key in told] == ["pneumonia", "nih_00000001", "AP", "51", "F"]
    assert row["f1.dcm"]["patient_id"] == "nih_00000777"
    assert row["f1.dcm"]["rsna_reader_class"] == "Normal"
    assert row["tb.png"]["finding"] == "other"
    assert "CC BY" in row["a.png"]["licence_note"]


def test_laterals_ct_children_and_films_without_a_diagnosis_are_left_out_and_counted(
    folders: Folders,
) -> None:
    found = read_sources({"cohen": [folders["cohen"]], "nih": [folders["nih"]]})
    names = {Path(record.name).name for record in found.records}
    assert {"a.png", "b.jpeg", "c.png", "00000026_000.png"} <= names
    assert not names & {"lateral.png", "ct.png", "ct2.png", "child.png", "todo.png"}
    assert not names & {"00000027_000.png", "00000028_000.png"}
    reasons = {(each.origin.split()[0], each.reason): n for each, n in found.left_out.items()}
    assert reasons == {
        ("covid-chestxray-dataset", "not frontal"): 1,
        ("covid-chestxray-dataset", "no radiograph"): 2,
        ("covid-chestxray-dataset", "not an adult"): 1,
        ("covid-chestxray-dataset", "no diagnosis told"): 1,
        ("NIH", "not an adult"): 2, ("NIH", "no diagnosis told"): 1,
    }  # fmt: skip


def test_the_same_film_from_two_sources_is_one_row_and_one_patient_group(make: Make) -> None:
    row = _by_name(make("out"))
    assert row["a.png"]["other_filenames_same_image"] == "png/b343e657.png"
    assert "b343e657.png" not in row
    assert "CC BY 3.0" in row["a.png"]["licence_note"]
    group = {row[name]["patient_id"] for name in ("a.png", "b.jpeg", "c9280a30.png")}
    assert group == {"cohen_1"}


def test_films_of_one_patient_have_one_patient_group(make: Make) -> None:
    row = _by_name(make("out"))
    assert row["COVID-00003a.jpg"]["patient_id"] == row["COVID-00003b.jpg"]["patient_id"]
    assert row["one.dcm"]["patient_id"] == row["two.dcm"]["patient_id"]
    assert "SECRET" not in str(row)


def test_copies_that_are_labelled_in_two_ways_are_not_recommended(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    _save(_film(1), folder / "a.png")
    _save(_recompressed(_film(1), (200, 170), 60), folder / "b.png")
    _table(folder / "labels.csv", [{"file": "a.png", "finding": "normal"},
                                   {"file": "b.png", "finding": "pneumonia"}])  # fmt: skip
    (row,) = build(read_sources({"dicom": [folder]}).records, tmp_path / "out").rows
    assert (row["finding"], row["recommended"]) == ("pneumonia", "0")
    assert row["quality_note"] == "sources_disagree"
    assert row["source_path"] == "a.png"


@pytest.mark.parametrize(
    "change",
    [
        lambda film: _recompressed(film, (100, 87), 40),
        lambda film: _recompressed(film, (512, 512), 75),
        lambda film: film.point([round(255 * (v / 255) ** 1.4) for v in range(256)]),
    ],
    ids=["third of the size", "other aspect ratio", "other gamma"],
)
def test_a_copy_is_found_among_other_films(change: Callable[[Image.Image], Image.Image]) -> None:
    films = [np.asarray(_film(seed)) for seed in range(12)]
    prints = [print_of(film) for film in [*films, np.asarray(change(_film(3)))]]
    assert copies(prints) == [(3, 12)]


@pytest.mark.data
def test_real_films_of_different_patients_are_not_copies(real_data: Path) -> None:
    cases = read_cases(real_data / "cxr")[::4]
    prints = [print_of(read_picture(case.path)) for case in cases]
    patient = [case.patient for case in cases]
    assert [pair for pair in copies(prints) if patient[pair[0]] != patient[pair[1]]] == []


def test_copies_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [print_of(np.asarray(_film(seed % 7))) for seed in range(14)]
    whole = copies(prints)
    monkeypatch.setattr("dicom_node.training.datasets.copies._BLOCK", 4)
    assert copies(prints) == whole == [(n, n + 7) for n in range(7)]


def test_no_patient_is_in_two_splits(make: Make) -> None:
    rows = make("out")
    of_patient = {(row["patient_id"], row["split"]) for row in rows}
    assert len(of_patient) == len({patient for patient, _ in of_patient})
    assert {row["split"] for row in rows} == {"train", "val", "test"}


def _some_groups(source: str, number: int, films: int = 1) -> list[PatientGroup]:
    return [
        PatientGroup(f"{source}_{n}", (source, finding), films)
        for finding in ("normal", "covid19") for n in range(number * (finding == "normal"),
                                                            number * (1 + (finding == "normal")))
    ]  # fmt: skip


def test_each_finding_of_each_source_is_split_70_10_20() -> None:
    groups = _some_groups("a", 200) + _some_groups("b", 60)
    split = split_groups(groups, 1)
    for stratum in {group.stratum for group in groups}:
        names = [group.name for group in groups if group.stratum == stratum]
        count = Counter(split[name] for name in names)
        assert count["train"] / len(names) == pytest.approx(0.7, abs=0.02)
        assert count["val"] / len(names) == pytest.approx(0.1, abs=0.02)


def test_splits_follow_from_the_seed_and_not_from_the_order() -> None:
    groups = _some_groups("a", 50)
    assert split_groups(groups, 1) == split_groups(groups[::-1], 1)
    assert split_groups(groups, 1) != split_groups(groups, 2)


def test_another_source_moves_nobody_and_another_patient_hardly_anybody() -> None:
    groups = _some_groups("a", 100)
    before = split_groups(groups, 1)
    with_source = split_groups([*groups, *_some_groups("b", 300)], 1)
    assert {name: with_source[name] for name in before} == before
    with_patient = split_groups([*groups, PatientGroup("a_new", ("a", "normal"), 1)], 1)
    assert sum(with_patient[name] != split for name, split in before.items()) <= 2


def test_another_source_leaves_images_and_splits_as_they_were(make: Make) -> None:
    alone, both = make("alone", "nih"), make("both", "nih", "figure1", "actualmed")
    kept = {row["image_id"]: row for row in both if row["origin"].startswith("NIH")}
    assert {row["image_id"]: row for row in alone} == kept


def test_a_chain_of_shared_films_is_one_group() -> None:
    group = joined([("c", "d"), ("b", "c"), ("x", "y")], "abcdxyz")
    assert group == {"a": "a", "b": "b", "c": "b", "d": "b", "x": "x", "y": "x", "z": "z"}


def test_the_same_sources_give_the_same_bytes_in_any_order(
    make: Make, folders: Folders, tmp_path: Path
) -> None:
    make("one")
    records = read_sources({key: [folders[key]] for key in reversed(list(folders))}).records
    build(records[::-1], tmp_path / "two")
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes()
         for path in (tmp_path / name).rglob("*") if path.is_file()} for name in ("one", "two")
    )  # fmt: skip
    assert one == two


def _own(folder: Path, **films: Image.Image) -> tuple[Record, ...]:
    for name, film in films.items():
        _save(film, folder / f"{name}.png")
    _table(folder / "labels.csv", [{"file": f"{n}.png", "finding": "normal"} for n in films])
    return read_sources({"dicom": [folder]}).records


def test_large_films_are_reduced_and_small_ones_never_enlarged(tmp_path: Path) -> None:
    records = _own(tmp_path / "own", large=_film(1, (1400, 1100)), small=_film(2, (300, 200)))
    rows = _by_name([dict(row) for row in build(records, tmp_path / "out").rows])
    assert (rows["large.png"]["width"], rows["large.png"]["height"]) == ("652", "512")
    assert (rows["small.png"]["width"], rows["small.png"]["height"]) == ("300", "200")
    assert (rows["large.png"]["orig_width"], rows["large.png"]["orig_height"]) == ("1400", "1100")
    with Image.open(tmp_path / "out" / rows["large.png"]["file"]) as picture:
        assert picture.size == (652, 512)


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _film(1, (300, 200)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (300, 200)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "I;16"])
def test_pictures_of_every_mode_become_grey(mode: str, tmp_path: Path) -> None:
    film = _film(1)
    if mode == "I;16":
        film = Image.fromarray(np.asarray(film).astype(np.uint16) * 200)
    else:
        film = film.convert(mode)
    film.save(tmp_path / "film.png")
    picture = read_picture(tmp_path / "film.png")
    assert picture.dtype == np.uint8
    assert picture.shape == (260, 300)
    assert picture.std() > 20


def test_a_dicom_film_is_read_as_it_is_displayed(tmp_path: Path) -> None:
    _dicom(tmp_path / "film", 1)
    picture = read_picture(tmp_path / "film")
    assert picture.shape == (200, 180)
    assert picture.std() > 20


def test_rsna_films_may_be_those_of_nih(folders: Folders, tmp_path: Path) -> None:
    folder = tmp_path / "mapped"
    for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", MAPPING):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes((folders["rsna"] / name).read_bytes())
    _save(_film(80), folder / "images" / "00000001_005.png")
    (record,) = read_sources({"rsna": [folder]}).records
    assert (record.finding, record.patient) == ("pneumonia", "nih_00000001")


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("Pneumonia/Viral/COVID-19", "covid19"), ("COVID-19, ARDS", "covid19"),
        ("Pneumonia/Viral/SARS", "pneumonia"), ("SARS", "pneumonia"), ("Pneumonia", "pneumonia"),
        ("Pneumonia/Viral/Herpes ", "pneumonia"), ("Pneumonia/Fungal/Pneumocystis", "pneumonia"),
        ("Pneumonia/Lipoid", "other"), ("Pneumonia/Aspiration", "other"), ("ARDS", "other"),
        ("No Finding", "normal"), ("No finding", "normal"), ("Tuberculosis", "other"),
        ("todo", ""), ("Unknown", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_words_of_the_sources_become_our_findings(words: str, finding: str) -> None:
    assert finding_of(words) == finding


@pytest.mark.parametrize(
    ("words", "view"),
    [("PA", "PA"), ("ap", "AP"), ("AP Erect", "AP"), ("AP semi erect", "AP"),
     ("AP Supine", "AP Supine"), ("L", ""), ("LL", ""), ("lateral", ""), ("Axial", ""),
     ("Coronal", ""), ("", "unknown")],
)  # fmt: skip
def test_only_frontal_views_are_known(words: str, view: str) -> None:
    assert view_of(words) == view


@pytest.mark.parametrize(
    ("words", "age"),
    [("65", "65"), ("65.0", "65"), ("058Y", "58"), ("011M", "0"), ("023D", "0"), ("50+", "50"),
     ("early 40s", "40"), ("411Y", ""), ("", ""), ("unknown", "")],
)  # fmt: skip
def test_ages_are_whole_years(words: str, age: str) -> None:
    assert age_of(words) == age


def test_unreadable_films_are_named_and_the_others_are_built(tmp_path: Path) -> None:
    records = _own(tmp_path / "own", good=_film(1), empty=Image.new("L", (90, 90)), bad=_film(2),
                   cut=_film(3))  # fmt: skip
    (tmp_path / "own" / "bad.png").write_bytes(b"no picture")
    whole = (tmp_path / "own" / "cut.png").read_bytes()
    (tmp_path / "own" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "own" / "no.dcm").write_bytes(b"no film")
    records = (*records, replace(records[0], path=tmp_path / "own" / "no.dcm", name="no.dcm"))
    built = build(records, tmp_path / "out")
    assert {path.name for path in built.unreadable} == {"bad.png", "cut.png", "empty.png", "no.dcm"}
    assert [row["source_path"] for row in built.rows] == ["good.png"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    records = _own(tmp_path / "own", good=_film(1))
    build(records, tmp_path / "out")
    with pytest.raises(TrainingError, match="holds films already"):
        build(records, tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "missing"),
    [("cohen", "metadata.csv"), ("figure1", "metadata.csv"), ("actualmed", "metadata.csv"),
     ("hannover", "data.csv"), ("nih", "Data_Entry_2017_v2020.csv"),
     ("rsna", "stage_2_detailed_class_info.csv"), ("rsna", "stage_2_train_labels.csv"),
     ("dicom", "labels.csv")],
)  # fmt: skip
def test_a_missing_table_is_said_with_what_to_do(key: str, missing: str, folders: Folders) -> None:
    (folders[key] / missing).unlink()
    with pytest.raises(TrainingError, match=missing[:12]) as fault:
        read_sources({key: [folders[key]]})
    assert SOURCES[key].layout in fault.value.remedy


def test_a_missing_column_folder_source_and_wrong_labels_are_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no source 'cohn'"):
        read_sources({"cohn": [tmp_path]})
    with pytest.raises(TrainingError, match="there is no folder"):
        read_sources({"cohen": [tmp_path / "absent"]})
    _table(tmp_path / "metadata.csv", [{"patientid": "1", "view": "PA"}])
    with pytest.raises(TrainingError, match="no column finding, modality, filename"):
        read_sources({"cohen": [tmp_path]})
    _table(tmp_path / "labels.csv", [{"file": "a.png", "finding": "flu"}])
    with pytest.raises(TrainingError, match="no finding 'flu'"):
        read_sources({"dicom": [tmp_path]})
    _table(tmp_path / "labels.csv", [{"file": "../a.png", "finding": "normal"}])
    with pytest.raises(TrainingError, match="is outside"):
        read_sources({"dicom": [tmp_path]})
    _table(tmp_path / "labels.csv", [{"file": "a.png", "finding": "normal"}])
    with pytest.raises(TrainingError, match=r"file missing \(1\)"):
        read_sources({"dicom": [tmp_path]})


def test_the_command_builds_and_counts(folders: Folders, tmp_path: Path) -> None:
    arguments = [
        "dataset",
        "build",
        "--out",
        str(tmp_path / "out"),
        *(part for key in folders for part in ("--source", f"{key}={folders[key]}")),
    ]
    done = CliRunner().invoke(app, arguments)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "42 films of" in done.output
    assert "copies merged: 1" in done.output
    assert "not frontal" in done.output
    assert read_cases(tmp_path / "out")


def test_a_source_without_folder_is_explained() -> None:
    done = CliRunner().invoke(app, ["dataset", "build", "--out", "x", "--source", "cohen"])
    assert done.exit_code == 2
    assert "KEY=DIR" in done.output


def test_the_command_lists_every_source() -> None:
    listed = CliRunner().invoke(app, ["dataset", "sources"]).output
    assert all(key in listed for key in SOURCES)


def test_rows_of_the_table_have_every_column(tmp_path: Path) -> None:
    rows: Sequence[Row] = build(_own(tmp_path / "own", a=_film(1)), tmp_path / "out").rows
    assert tuple(rows[0]) == COLUMNS
