"""Transfer: what a course is worth on films of sources that it was not shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.training.datasets.cases import Case

keras = pytest.importorskip("keras")

from dicom_node.training.evaluation import transfer  # noqa: E402
from dicom_node.training.evaluation.card import transfer_table  # noqa: E402
from dicom_node.training.teaching.calibrate import finding_scale, fit_scale, shares  # noqa: E402
from dicom_node.training.teaching.courses import Films  # noqa: E402
from dicom_node.training.teaching.recipe import read_part  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def _case(number: int, finding: str, source: str = "SIIM", appearance: str = "") -> Case:
    return Case(
        f"f{number}", Path("none"), "val", f"P{number}", finding, source,
        appearance_class=appearance,
    )  # fmt: skip


def _logits(said: list[int]) -> np.ndarray:
    return 4.0 * np.eye(3)[said]


def test_the_table_of_transfer_is_taught_by_a_course_that_can_be_read() -> None:
    folder = resources.model_bundles() / "covidnet-pyramid"
    course = read_part(folder / transfer.TRANSFER_COURSE, transfer.TransferCourse)
    rows = json.loads((folder / "transfer.json").read_text("utf8"))
    assert {row["left_out"] for row in rows} == set(course.left_out)


def test_without_films_read_as_negative_no_operating_point_is_sought() -> None:
    cases = [_case(k, ("normal", "pneumonia", "covid19")[k % 3]) for k in range(30)]
    said = [k % 3 for k in range(30)]
    chance = np.random.default_rng(1).normal(size=(30, 3))
    logits, truth = _logits(said) + chance, np.array(said)
    sources = [case.source for case in cases]
    assert finding_scale(cases, logits) == fit_scale(logits, truth, shares(truth, sources))


def _asked(cases: list[Case], named: list[int], zones: Any) -> transfer._Asked:
    count = len(cases)
    opaque = np.where(np.asarray(zones) > 0, 3.0, -3.0)
    answers = {
        "appearance": np.zeros((count, 4)), "opacity": opaque.max(axis=1, keepdims=True),
        "opaque": opaque,
    }  # fmt: skip
    targets = {
        "opacity": (np.asarray(zones).max(axis=1) > 0).astype(float), "zones": np.asarray(zones),
        "level": np.full(count, -1.0),
    }  # fmt: skip
    return transfer._Asked(Films(cases, {}, targets), answers, 0.8 * np.eye(3)[named] + 0.06)


def test_each_figure_of_a_source_left_out_stands_beside_that_of_the_course_that_knew_it() -> None:
    cases = [
        _case(1, "normal", appearance="negative"), _case(2, "normal", appearance="negative"),
        _case(3, "covid19", appearance="typical"), _case(4, "covid19", appearance="typical"),
    ]  # fmt: skip
    zones = [[0] * 6, [0] * 6, [1, 0, 0, 0, 0, 0], [1] * 6]
    unseen, seen = _asked(cases, [0, 2, 2, 0], zones), _asked(cases, [0, 0, 2, 2], zones)
    rows = {row["figure"]: row for row in transfer._rows("SIIM", unseen, seen)}
    alarms = rows["films of class normal: called covid19"]
    assert alarms["without"]["value"] == 0.5
    assert alarms["with"]["value"] == 0.0
    assert rows["COVID-19 against normal, AUC"]["without"]["value"] == 0.5
    assert rows["COVID-19 against normal, AUC"]["with"]["value"] == 1.0
    assert rows["zones with opacity, AUC"]["without"]["value"] == 1.0
    assert "airspace level 2 against 1, AUC of the zones' sum" not in rows
    text = transfer_table(list(rows.values()))
    assert "| SIIM | films of class normal: called covid19 | 0.50 (" in text


COURSE = """
id = "covidnet-pyramid"
version = "0.0.0"
task = "chest"
seed = 1
size = 64
epochs = 1
batch = 4
films_per_epoch = 8
learning_rate = 1e-3
kept_at = "block4_add"
versions = 1
[left_out]
"NIH" = ["NIH"]
[changes]
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_course_is_taught_without_a_source_and_measured_on_its_films(tmp_path: Path) -> None:
    from dicom_node.cli import train

    chance = np.random.default_rng(2)
    data, models = tmp_path / "data", tmp_path / "models"
    data.mkdir()
    lines = ["image_id,file,split,patient_id,finding,origin,recommended"]
    kinds = [
        (source, finding, split)
        for source in ("NIH", "Hannover")
        for finding in ("normal", "pneumonia", "covid19")
        for split in ("train", "val")
    ]
    for number, (source, finding, split) in enumerate(kinds):
        grey = chance.integers(60, 200, (90, 70), dtype=np.uint8)
        Image.fromarray(grey).save(data / f"c{number}.png")
        lines.append(f"c{number},c{number}.png,{split},P{number},{finding},{source},1")
    (data / "cases.csv").write_text("\n".join(lines), encoding="utf8")
    shutil.copytree(resources.model_bundles() / "lung-unet", models / "lung-unet")
    (models / "covidnet-pyramid").mkdir()
    (models / "covidnet-pyramid" / "transfer.toml").write_text(COURSE, encoding="utf8")
    app = typer.Typer()
    train.register(app)
    asked = ["transfer", "covidnet-pyramid", "--data", str(data), "--models", str(models),
             "--runs", str(tmp_path / "runs")]  # fmt: skip
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    rows = json.loads((models / "covidnet-pyramid" / "transfer.json").read_text("utf8"))
    counted = {row["figure"]: row["without"]["films"] for row in rows}
    assert counted["films of class normal: called covid19"] == 2
    assert counted["COVID-19 against normal, AUC"] == 4
