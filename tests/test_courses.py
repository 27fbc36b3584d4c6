"""A course.toml and films become bundles: read, packed, seen once, taught in pieces, calibrated."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.analysis.calibration import probabilities
from dicom_node.bundles import open_bundle
from dicom_node.errors import TrainingError
from dicom_node.training.datasets.cases import Case
from dicom_node.training.datasets.gate import GateCase
from dicom_node.training.teaching import gate_packs
from dicom_node.training.teaching.calibrate import Scale, fit_scale, operating_point, shares
from dicom_node.training.teaching.course import COURSE_FILE, read_course

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

COURSE = """
id = "chest-gate"
version = "0.0.2"
task = "gate"
seed = 3
size = 64
epochs = 2
batch = 4
films_per_epoch = 8
learning_rate = 1e-3
ema = 0.5
kept_at = "block2_add"
versions = 2
norms = "kept"
[changes]
white_out = 0.3
[mild]
rotation = 2.0
"""


def _written(folder: Path, text: str, name: str = "chest-gate") -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / name / COURSE_FILE
    path.write_text(text, encoding="utf8")
    return path


def test_a_misspelt_key_of_a_course_is_refused_by_name(tmp_path: Path) -> None:
    path = _written(tmp_path, COURSE.replace("versions", "version_s"))
    with pytest.raises(TrainingError, match=r"course\.toml: version_s"):
        read_course(path)


def test_layers_can_only_be_frozen_where_features_are_kept(tmp_path: Path) -> None:
    path = _written(tmp_path, COURSE.replace("kept_at", "frozen"))
    with pytest.raises(TrainingError, match="'frozen' needs 'kept_at'"):
        read_course(path)


def test_a_bundle_that_is_taught_with_another_one_is_taught_by_its_course(tmp_path: Path) -> None:
    _written(tmp_path, COURSE)
    other = _written(tmp_path, 'id = "other"\ntaught_with = "chest-gate"\n', "other")
    course = read_course(other)
    assert course is not None
    assert course.id == "chest-gate"
    assert read_course(tmp_path / "none" / COURSE_FILE) is None


@pytest.mark.parametrize("name", ["covidnet-pyramid", "opacity-map", "chest-gate"])
def test_the_shipped_courses_can_be_read_and_say_which_version_they_made(name: str) -> None:
    models = resources.model_bundles()
    course = read_course(models / name / COURSE_FILE)
    assert course is not None
    assert course.version == open_bundle(models, name).manifest.version


def _scores(apart: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of three classes that say COVID-19 too often, and the true classes."""
    chance = np.random.default_rng(8)
    truth = chance.integers(0, 3, 900)
    logits = chance.normal(size=(900, 3)) + apart * np.eye(3)[truth] + (0.0, 0.0, 2.5)
    return logits, truth


def test_a_scale_takes_back_what_a_network_says_too_often() -> None:
    logits, truth = _scores()
    scale = fit_scale(logits, truth, np.ones(len(truth)))
    assert scale.offsets[2] == pytest.approx(-2.5 / scale.temperature, rel=0.15)


def test_the_operating_point_holds_false_alarms_on_films_read_as_negative() -> None:
    logits, truth = _scores(apart=3.6)
    weights = shares(truth, ["one"] * len(truth))
    negative, typical = truth == 0, truth == 2
    wrong = Scale(1.0, (0.0, 0.0, 0.0))
    held = operating_point(logits, truth, weights, wrong, negative, typical)

    def called(scale: Scale, which: np.ndarray) -> float:
        named = probabilities(logits[which], scale.temperature, scale.offsets).argmax(axis=1)
        return float((named == 2).mean())

    assert called(wrong, negative) > 0.2
    assert called(held, negative) <= 0.10
    assert called(held, typical) >= 0.80


def test_a_negative_film_that_is_called_pneumonia_is_a_false_alarm_too() -> None:
    chance = np.random.default_rng(4)
    truth = np.repeat([0, 1, 2], [400, 10, 400])
    logits = chance.normal(size=(810, 3)) + 2.5 * np.eye(3)[truth] + (0.0, 1.0, 0.0)
    negative, typical = truth == 0, truth == 2
    held = operating_point(
        logits, truth, shares(truth, ["one"] * 810), Scale(1.0, (0.0, 0.0, 0.0)), negative, typical
    )
    named = probabilities(logits[negative], held.temperature, held.offsets).argmax(axis=1)
    assert (named != 0).mean() <= 0.11
    assert held.offsets[1] < 0


def test_a_map_counts_places_from_where_few_negative_films_are_called_opaque() -> None:
    from dicom_node.training.teaching.course_bundles import map_threshold

    cells = np.ones((12, 4, 4, 3))
    sure = np.full(12, 0.05)
    sure[:4] = 0.62  # four of the twelve negative films are mapped opaque everywhere
    logits = np.broadcast_to(np.log(sure / (1 - sure))[:, None, None, None], (12, 4, 4, 1))
    negative = [
        Case(f"f{k}", Path("none"), "val", f"P{k}", "normal", "SIIM", appearance_class="negative")
        for k in range(12)
    ]
    assert map_threshold(negative, {"opacity_map": logits, "cells": cells}) == 0.65
    typical = [replace(case, appearance_class="typical") for case in negative]
    assert map_threshold(typical, {"opacity_map": logits, "cells": cells}) == 0.5


def _picture(name: str, label: str, split: str = "train", **more: Any) -> GateCase:
    return GateCase(name, Path(f"{name}.png"), label, "", "adult", split, name, **more)


def test_a_gate_learns_no_frontal_film_that_another_set_tests_on() -> None:
    film = Case("cxr_1", Path("film.png"), "test", "P1", "normal", "NIH")
    table = [
        _picture("same", "frontal_chest", films=("cxr_1",)), _picture("hand", "other_radiograph"),
        _picture("side", "lateral_chest", films=("cxr_1",)),
    ]  # fmt: skip
    found = gate_packs.pictures(table, [film, replace(film, image_id="cxr_2", split="train")])
    assert [picture.image_id for picture in found] == ["hand", "side", "cxr_2"]


def test_rare_kinds_of_pictures_are_drawn_as_often_as_is_said() -> None:
    film = Case("cxr_2", Path("film.png"), "train", "P1", "normal", "NIH")
    films = [replace(film, image_id=f"cxr_{k}") for k in range(2, 60)]
    shown = gate_packs.pictures([_picture("hand", "other_radiograph")], films)
    chances = gate_packs.chances(shown)
    assert chances.sum() == pytest.approx(1.0)
    assert chances[0] == pytest.approx(0.27 / (0.27 + 0.35))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Four chest films and four other pictures, in both splits."""
    chance = np.random.default_rng(2)
    (tmp_path / "data" / "cxr").mkdir(parents=True)
    (tmp_path / "data" / "gate").mkdir()
    cases = ["image_id,file,split,patient_id,finding,origin,recommended"]
    labels = ["image_id,file,label,detail,age_group,split,quality_note"]
    for number in range(8):
        split = ("train", "val")[number % 2]
        grey = chance.integers(60, 200, (90, 70), dtype=np.uint8)
        if number < 4:
            Image.fromarray(grey).save(tmp_path / "data" / "cxr" / f"c{number}.png")
            cases.append(f"c{number},c{number}.png,{split},P{number},normal,NIH,1")
        else:
            Image.fromarray(255 - grey).save(tmp_path / "data" / "gate" / f"g{number}.png")
            label = ("no_radiograph", "other_radiograph")[number // 6]
            labels.append(f"g{number},g{number}.png,{label},,adult,{split},")
    (tmp_path / "data" / "cxr" / "cases.csv").write_text("\n".join(cases), encoding="utf8")
    (tmp_path / "data" / "gate" / "labels.csv").write_text("\n".join(labels), encoding="utf8")
    return tmp_path / "data"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_course_that_is_stopped_goes_on_and_ends_in_a_bundle_that_serves(
    films: Path, tmp_path: Path
) -> None:
    from dicom_node.analysis.alone import gate
    from dicom_node.cli import train

    models, shipped = tmp_path / "models", resources.model_bundles()
    shutil.copytree(shipped / "lung-unet", models / "lung-unet")
    _written(models, COURSE)
    for name in ("model.toml", "CARD.md"):
        shutil.copy(shipped / "chest-gate" / name, models / "chest-gate")
    app = typer.Typer()
    train.register(app)
    asked = ["train", "chest-gate", "--data", str(films), "--models", str(models),
             "--runs", str(tmp_path / "runs")]  # fmt: skip
    first = CliRunner().invoke(app, [*asked, "--minutes", "0.00001"])
    assert first.exit_code == 0, first.output
    assert "goes on" in first.output
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 0, again.output
    (run,) = (tmp_path / "runs").iterdir()
    assert len((run / "history.csv").read_text("ascii").splitlines()) == 3
    kept = np.load(run / "features" / "features.npy", mmap_mode="r")
    assert kept.shape[:2] == (4, 2)
    bundle = open_bundle(models, "chest-gate")
    assert (bundle.manifest.version, bundle.contract.rows) == ("0.0.2", 64)
    film = np.random.default_rng(1).random((80, 60), dtype=np.float32)
    assert gate(bundle).look(film).turned
