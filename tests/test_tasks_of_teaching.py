"""What the networks of the pyramid learn from: labels, changes, losses of what is known."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dicom_node import resources
from dicom_node.bundles import open_bundle
from dicom_node.imaging.lungs import lungs_from
from dicom_node.training.datasets.cases import Case
from dicom_node.training.teaching.packs import BOXES, NEGATIVE, labels_of, write_pack

keras = pytest.importorskip("keras")

from dicom_node.training.teaching.changes import Extent, Movement, Retouch  # noqa: E402
from dicom_node.training.teaching.course import Course  # noqa: E402
from dicom_node.training.teaching.feed import draw_weights  # noqa: E402
from dicom_node.training.teaching.tasks import losses  # noqa: E402
from dicom_node.training.teaching.tasks.chest import ChestTask  # noqa: E402
from dicom_node.training.teaching.tasks.gate import GateTask  # noqa: E402

CASE = Case("film", Path("film.png"), "train", "P1", "normal", "SIIM-FISABIO-RSNA COVID-19")
NOWHERE = Extent(flip=False, translation=0, rotation=0, zoom=0, aspect=0)


def test_the_course_of_the_shipped_pyramid_says_what_made_its_weights() -> None:
    folder = resources.model_bundles() / "covidnet-pyramid"
    course = Course.model_validate(tomllib.loads((folder / "course.toml").read_text("utf8")))
    manifest = open_bundle(folder.parent, folder.name).manifest
    assert (course.id, course.version, course.size) == (
        manifest.id, manifest.version, manifest.input.rows,
    )  # fmt: skip
    assert course.epochs == manifest.training.epochs


def test_an_indeterminate_appearance_teaches_that_the_film_is_not_normal_and_nothing_more() -> None:
    labels = labels_of(replace(CASE, finding="other", appearance_class="indeterminate"), boxed=True)
    assert labels.finding == (0, 1, 1)
    assert labels.opacity == 1.0
    assert labels.level == -1.0


def test_an_infection_without_a_reading_allows_a_film_that_looks_normal() -> None:
    infected = replace(CASE, finding="covid19", source="COVID-19 Radiography Database COVID")
    assert labels_of(infected, boxed=False).finding == (1, 0, 1)
    assert labels_of(infected, boxed=False).opacity == -1.0


def test_a_film_read_as_negative_teaches_zeros_everywhere() -> None:
    labels = labels_of(replace(CASE, appearance_class="negative"), boxed=False)
    assert (labels.level, labels.zones, labels.extents) == (0.0, (0.0,) * 6, (0.0, 0.0))


def test_what_nothing_is_known_of_costs_nothing() -> None:
    logits = keras.ops.convert_to_tensor(np.array([[2.0, -1.0, 0.5]], np.float32))
    everything = keras.ops.ones((1, 3))
    assert float(losses.allowed_classes(logits, everything, 0.1)[0]) < 1e-5


def test_a_rare_group_is_drawn_more_often_than_its_share_and_less_than_another_one() -> None:
    weights = draw_weights(np.array(["many"] * 100 + ["few"] * 4), 0.5)
    assert weights[:100].sum() == pytest.approx(10 / 12)
    assert weights[100:].sum() == pytest.approx(2 / 12)


def test_a_film_that_is_not_moved_is_its_nominal_window() -> None:
    movement = Movement(NOWHERE, seed=1)
    film = np.random.default_rng(1).random((1, 40, 40, 1), dtype=np.float32)
    place, mirrored = movement.place(np.array([[0.25, 0.5, 0.75, 1.0]], np.float32), training=True)
    moved = np.asarray(movement.moved(film, place, 20))
    assert np.allclose(moved[0, :, :, 0], film[0, 10:30, 20:40, 0], atol=1e-5)
    assert float(mirrored[0]) == 0.0


def test_retouching_leaves_grey_levels_in_range_and_changes_every_film() -> None:
    films = np.random.default_rng(2).random((6, 64, 64, 1), dtype=np.float32)
    lungs = np.zeros_like(films)
    lungs[:, 16:48, 8:56] = 1.0
    changed = np.asarray(Retouch(Extent(white_out=0.5), seed=3)(films, lungs))
    assert changed.min() >= 0.0
    assert changed.max() <= 1.0
    assert np.abs(changed - films).mean(axis=(1, 2, 3)).min() > 0.005


def test_a_pack_holds_boxes_where_they_lie_on_the_square_around_the_lungs(tmp_path: Path) -> None:
    grey = np.random.default_rng(4).integers(0, 255, (200, 160), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "film.png")
    probability = np.zeros((100, 80), np.float32)
    probability[30:70, 15:35] = probability[30:70, 45:65] = 1.0
    cases = [
        replace(CASE, path=tmp_path / "film.png", appearance_class="typical", finding="covid19"),
        replace(CASE, path=tmp_path / "film.png", appearance_class="negative", image_id="clear"),
    ]
    write_pack(
        cases, {"film": [(30.0, 60.0, 40.0, 80.0)]},
        lambda film: lungs_from(probability, *film.shape), tmp_path / "pack",
    )  # fmt: skip
    films, found = np.load(tmp_path / "pack/films.npy"), np.load(tmp_path / "pack/targets.npz")
    assert films.shape == (2, 240, 240)
    assert found["drawn"].tolist() == [BOXES, NEGATIVE]
    # The box is the right lung, the left one is as large.
    assert found["fraction"] == pytest.approx([0.5, 0.0], abs=0.03)
    opaque = found["opacity_map"][0].astype(float) / 200
    assert opaque[:, :30].mean() > 0.2
    assert opaque[:, 32:].max() < 0.05


def _batch(side: int, chance: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    cells = side // 4
    inputs = {
        "film": chance.integers(0, 255, (4, side, side, 1), dtype=np.uint8),
        "lungs": np.full((4, cells, cells, 1), 255, np.uint8),
        "opaque": np.full((4, cells, cells, 1), 255, np.uint8),
        "window": np.tile(np.array([[0.05, 0.05, 0.95, 0.95]], np.float32), (4, 1)),
    }
    inputs["opaque"][:2] = 200
    targets = {
        "finding": np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]], np.float32),
        "appearance": np.eye(4, dtype=np.float32),
        "opacity": np.array([0, 1, -1, 1], np.float32),
        "zones": np.full((4, 6), -1, np.float32), "brixia": np.full((4, 6), 1, np.float32),
        "level": np.array([0, 1, 2, -1], np.float32),
        "extents": np.array([[0, 0], [3, 2], [-1, -1], [8, 8]], np.float32),
        "drawn": np.array([1, 2, 3, 0], np.float32),
        "fraction": np.array([0, 0.5, -1, 0.9], np.float32),
    }  # fmt: skip
    return inputs, targets


@pytest.mark.slow
def test_a_film_teaches_what_is_known_of_it_and_nothing_else() -> None:
    keras.utils.set_random_seed(5)
    task = ChestTask(NOWHERE, variant=0, size=64, dropout=0.0, smoothing=0.0, seed=5)
    inputs, targets = _batch(72, np.random.default_rng(6))
    found = task(inputs, training=False)
    parts = {name: float(part) for name, part in task.losses_of(targets, found).items()}
    assert parts["zones"] == 0.0  # unknown of every film
    assert all(parts[name] > 0.0 for name in ("finding", "appearance", "map", "extents", "level"))
    assert all(np.isfinite(part) for part in parts.values())


@pytest.mark.slow
def test_the_gate_learns_how_the_films_were_turned_that_it_is_shown() -> None:
    keras.utils.set_random_seed(7)
    task = GateTask(Extent(flip=False, rotation=0), size=64, dropout=0.0, seed=7)
    films = np.zeros((8, 64, 64, 1), np.float32)
    films[:, :16] = 1.0
    turned, done = task._turned(keras.ops.convert_to_tensor(films), 8)
    for film, (quarters, inverted, _) in zip(np.asarray(turned), np.asarray(done), strict=True):
        edges = [film[:16], film[:, -16:], film[-16:], film[:, :16]]
        bright = [float(edge.mean()) for edge in edges]
        assert int(np.argmax([1 - b for b in bright] if inverted else bright)) == int(quarters)
