"""``analyse`` and ``demo``: the main job for somebody with a file and no PACS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_node.imaging.phantom import Encoding, phantom, phantom_dataset
from tests.museum.film import film

pytestmark = pytest.mark.timeout(300)


def dicom_node(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dicom_node", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_films_are_analysed_declined_or_failed_and_the_exit_status_tells(tmp_path: Path) -> None:
    odd = film("odd").put("0040,0275", "SQ", b"six characters")
    (tmp_path / "a-odd.dcm").write_bytes(odd.file())
    (tmp_path / "b-broken.dcm").write_bytes(b"no DICOM at all")
    (tmp_path / "c-bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    phantom_dataset(seed=1).save_as(tmp_path / "chest.dcm", enforce_file_format=True)
    lateral = phantom_dataset(seed=2, encoding=Encoding(view_position="LL"))
    lateral.save_as(tmp_path / "lateral.dcm", enforce_file_format=True)
    grey = (phantom(3, opacities={"left_lower": 0.9}).film * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "picture.png")
    out = tmp_path / "out"
    done = dicom_node("analyse", str(tmp_path), "--json", "--out", str(out))
    assert done.returncode == 1, done.stderr
    entries = {Path(entry["file"]).name: entry for entry in json.loads(done.stdout)}
    assert {name: entry["outcome"] for name, entry in entries.items()} == {
        "a-odd.dcm": "analysed",
        "b-broken.dcm": "failed",
        "c-bomb.png": "failed",
        "chest.dcm": "analysed",
        "lateral.dcm": "declined",
        "picture.png": "analysed",
    }
    chest = entries["chest.dcm"]
    assert sum(chest["finding"]["probabilities"].values()) == pytest.approx(1)
    assert chest["suite"]["covidnet-pyramid"]["weights"].startswith("sha256:")
    assert pydicom.dcmread(out / "chest-report.dcm").Modality == "SR"
    assert (out / "picture-overlay.png").stat().st_size > 10_000

    assert pydicom.dcmread(out / "a-odd-report.dcm").Modality == "SR"
    assert all(entries[name]["reason"] for name in ("b-broken.dcm", "c-bomb.png", "lateral.dcm"))
    assert dicom_node("analyse", str(tmp_path / "lateral.dcm"), "--json").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["phantom", "dicom", "jpeg"])
def test_the_demo_gets_its_answer_over_c_store(tmp_path: Path, kind: str) -> None:
    more: list[str] = []
    if kind == "dicom":
        phantom_dataset(seed=5, encoding=Encoding(kind="CR", photometric="MONOCHROME1")).save_as(
            tmp_path / "film.dcm", enforce_file_format=True
        )
        more = ["--image", str(tmp_path / "film.dcm")]
    if kind == "jpeg":
        grey = (phantom(6).film * 255).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "film.jpg")
        more = ["--image", str(tmp_path / "film.jpg")]
    done = dicom_node("demo", "--out", str(tmp_path / "out"), *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The answer came back by C-STORE" in done.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.dcm", "overlay.dcm", "overlay.png", "report.txt"}
    assert "FOR RESEARCH USE ONLY" in " ".join(
        (tmp_path / "out" / "report.txt").read_text().split()
    )


@pytest.mark.slow
def test_the_demo_says_why_a_film_has_no_result(tmp_path: Path) -> None:
    lateral = phantom_dataset(seed=7, encoding=Encoding(view_position="LL"))
    lateral.save_as(tmp_path / "lateral.dcm", enforce_file_format=True)
    done = dicom_node(
        "demo", "--out", str(tmp_path / "out"), "--image", str(tmp_path / "lateral.dcm")
    )
    assert done.returncode == 1
    assert "LL" in done.stderr
