"""A recipe and films become weights, always the same ones; and the figures mean what they say."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.bundles.network import verify
from dicom_node.errors import TrainingError
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, read_cases
from dicom_node.training.evaluation.card import card_with_tables
from dicom_node.training.teaching.augment import augmented
from dicom_node.training.teaching.batches import draws
from dicom_node.training.teaching.lessons.classes import ClassLesson
from dicom_node.training.teaching.lessons.lungs import LungLesson
from dicom_node.training.teaching.lessons.suite import SuiteLesson
from dicom_node.training.teaching.recipe import Augmentation, Phase, Recipe, read_recipe

# Keras asks TensorFlow's variables for an array in a way that numpy 2 will give up.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

CLASSES = ("normal", "pneumonia", "covid19")
HEAD = "image_id,file,split,patient_id,finding,origin,recommended"

RECIPE = """
id = "covidnet"
version = "0.0.1"
network = "covidnet"
classes = ["normal", "pneumonia", "covid19"]
seed = 5
films_per_epoch = 12
label_smoothing = 0.05
ema = 0.9
[[phases]]
size = 32
epochs = 2
batch = 6
learning_rate = 1e-3
[augmentation]
blur = 0.5
[bundle]
title = "Tiny"
intended_use = "A test."
licence = "None."
data = "Synthetic squares."
[bundle.paper]
title = "None"
parameters = 1
macs = 1
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve small films a split, one class brighter on the left, one on the right."""
    folder, chance, lines = tmp_path / "cxr", np.random.default_rng(0), [HEAD]
    (folder / "images").mkdir(parents=True)
    for number in range(36):
        split, finding = ("train", "val", "test")[number // 12], CLASSES[number % 3]
        film = chance.integers(60, 120, (80, 64), dtype=np.uint8)
        if finding != "normal":
            film[30:60, slice(0, 30) if finding == "covid19" else slice(34, 64)] += 100
        Image.fromarray(film).save(folder / "images" / f"f{number}.png")
        source = "A" if number % 2 else "B"
        lines.append(f"f{number},images/f{number}.png,{split},P{number // 2},{finding},{source},1")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf8")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a tiny recipe and an empty card."""
    folder = tmp_path / "models"
    (folder / "covidnet").mkdir(parents=True)
    (folder / "covidnet" / "recipe.toml").write_text(RECIPE, encoding="utf8")
    (folder / "covidnet" / "CARD.md").write_text(
        "# Tiny, research only\n<!-- figures: begin -->\n<!-- figures: end -->\n", encoding="utf8"
    )
    return folder


def _cases(**sources: int) -> list[Case]:
    return [
        Case(f"{source}{k}", Path("none"), "train", f"{source}{k}", source.split("_")[0], source)
        for source, count in sources.items()
        for k in range(count)
    ]


def _recipe(**changes: object) -> Recipe:
    return Recipe(
        id="x", version="1.0.0", network="covidnet", classes=CLASSES, seed=1, films_per_epoch=600,
        phases=(Phase(size=32, epochs=4, batch=12, learning_rate=0.1),
                Phase(size=64, epochs=2, batch=6, learning_rate=0.1)),
    ).model_copy(update=changes)  # fmt: skip


def test_every_batch_holds_as_many_films_of_each_class() -> None:
    cases = _cases(normal=100, pneumonia=10, covid19_a=30)
    order = draws(cases, _recipe(), 0)
    assert order.shape == (50, 12)
    for batch in order:
        assert Counter(cases[i].finding for i in batch) == dict.fromkeys(CLASSES, 4)


def test_a_rare_source_of_a_class_is_drawn_more_often_than_its_share() -> None:
    cases = _cases(normal=1, pneumonia=1, covid19_big=90, covid19_small=10)
    for exponent, share in ((1.0, 0.1), (0.5, 0.25), (0.0, 0.5)):
        recipe = _recipe(films_per_epoch=60_000, source_exponent=exponent)
        drawn = Counter(cases[i].source for i in draws(cases, recipe, 0).ravel())
        small = drawn["covid19_small"] / (drawn["covid19_small"] + drawn["covid19_big"])
        assert small == pytest.approx(share, abs=0.02)


def test_an_epoch_is_drawn_the_same_every_time_and_unlike_the_next() -> None:
    cases = _cases(normal=20, pneumonia=20, covid19=20)
    assert np.array_equal(draws(cases, _recipe(), 1), draws(cases, _recipe(), 1))
    assert not np.array_equal(draws(cases, _recipe(), 1), draws(cases, _recipe(), 2))


def test_augmentation_depends_on_its_seed_alone_and_keeps_the_range() -> None:
    film = np.random.default_rng(1).random((96, 80), dtype=np.float32)
    how = Augmentation(gamma=0.4, equalise=1, blur=1, noise=1, rim=1, corners=1)
    first, second = (augmented(film, how, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == film.shape
    assert first.dtype == np.float32
    assert 0.0 <= first.min() <= first.max() <= 1.0
    assert not np.allclose(first, augmented(film, how, np.random.default_rng(10)))


def test_no_augmentation_leaves_a_film_as_it_is() -> None:
    film = np.random.default_rng(1).random((96, 80), dtype=np.float32)
    none = Augmentation(translation=0, rotation_degrees=0, flip=False, zoom=0, intensity=0)
    assert np.allclose(augmented(film, none, np.random.default_rng(1)), film, atol=1e-6)


def test_a_patient_in_two_splits_is_refused(data: Path) -> None:
    table = data / "cases.csv"
    table.write_text(
        table.read_text(encoding="utf8").replace("test,P12", "test,P0").replace("val,P6", "val,P0"),
        encoding="utf8",
    )
    with pytest.raises(TrainingError, match="P0 is in more than one split"):
        read_cases(data, CLASSES)


def test_an_image_that_is_not_there_is_named(data: Path) -> None:
    (data / "images" / "f3.png").unlink()
    with pytest.raises(TrainingError, match=r"f3\.png"):
        read_cases(data, CLASSES)


def test_a_missing_table_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"No cases\.csv") as refused:
        read_cases(tmp_path, CLASSES)
    assert "--data" in refused.value.remedy


def test_a_misspelt_key_of_a_recipe_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("seed", "sede"), encoding="utf8")
    with pytest.raises(TrainingError, match="seed"):
        read_recipe(tmp_path / "recipe.toml")


def test_the_shipped_recipe_can_be_read_and_augments_as_the_paper_does() -> None:
    how = read_recipe(resources.model_bundles() / "covidnet" / "recipe.toml").augmentation
    assert (how.translation, how.rotation_degrees, how.flip) == (0.10, 10.0, True)
    assert (how.zoom, how.intensity) == (0.15, 0.10)


@pytest.mark.parametrize("epochs", [1, 2, 3, 6, 12])
def test_a_shortened_recipe_has_so_many_epochs_and_ends_at_the_served_size(epochs: int) -> None:
    recipe = _recipe().shortened(epochs)
    assert recipe.epochs == epochs
    assert recipe.phases[-1].size == 64


def test_figures_of_a_small_table_are_those_counted_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    found = np.eye(3)[[0, 1, 1, 1, 0]] * 0.7 + 0.1
    assert metrics.confusion_matrix(labels, found).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert metrics.accuracy(labels, found) == pytest.approx(0.6)
    assert metrics.sensitivities(labels, found) == [0.5, 1.0, 0.0]
    assert metrics.positive_predictive_values(labels, found)[:2] == pytest.approx([0.5, 2 / 3])
    assert np.isnan(metrics.positive_predictive_values(labels, found)[2])
    assert metrics.balanced_accuracy(labels, found) == pytest.approx(0.5)
    assert metrics.expected_calibration_error(labels, found) == pytest.approx(0.2)


def test_a_network_that_knows_nothing_has_the_log_loss_of_chance() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    assert metrics.balanced_log_loss(labels, np.full((5, 3), 1 / 3)) == pytest.approx(np.log(3))


@pytest.mark.parametrize("bundle_id", ["covidnet", "covidnet-lite", "lung-unet"])
def test_a_recipe_that_names_another_figure_to_choose_epochs_by_is_refused(
    bundle_id: str,
) -> None:
    from dicom_node.training.teaching.loop import teach

    recipe = read_recipe(resources.model_bundles() / bundle_id / "recipe.toml")
    lesson = {"detection": ClassLesson, "suite": SuiteLesson, "segmentation": LungLesson}[
        recipe.task
    ]
    assert recipe.choose_by == lesson.chosen_by
    untaught = object.__new__(lesson)
    untaught.recipe = recipe.model_copy(update={"choose_by": "extent errors"})
    with pytest.raises(TrainingError, match="judges them by"):
        teach(untaught)


def test_a_table_that_follows_another_in_a_card_stands_alone(tmp_path: Path) -> None:
    folder = tmp_path / "covidnet-vlad"
    shutil.copytree(resources.model_bundles() / "covidnet-vlad", folder)
    lines = card_with_tables(folder).splitlines()
    (head,) = [k for k, line in enumerate(lines) if line.startswith("| variant |")]
    assert lines[head - 1] == ""


class _Stopped(Exception):
    """The machine was switched off."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stopped_training_goes_on_to_the_very_weights_it_would_have_had(
    data: Path, models: Path, tmp_path: Path
) -> None:
    from dicom_node.training.teaching.loop import EpochReport, Watcher, train

    def stop(report: EpochReport) -> None:
        raise _Stopped

    with pytest.raises(_Stopped):
        train("covidnet", data, models, tmp_path / "a", watcher=Watcher(on_epoch=stop))
    resumed = train("covidnet", data, models, tmp_path / "a")
    straight = train("covidnet", data, models, tmp_path / "b")
    with np.load(resumed / "state.npz") as one, np.load(straight / "state.npz") as other:
        assert set(one) == set(other)
        for name in one:
            assert np.array_equal(one[name], other[name]), name
    assert len((resumed / "history.jsonl").read_text(encoding="utf8").splitlines()) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_train_and_evaluate_make_a_whole_bundle_from_films(
    data: Path, models: Path, tmp_path: Path
) -> None:
    from dicom_node.bundles import open_bundle
    from dicom_node.cli import evaluate, train
    from dicom_node.training.evaluation.plots import NAMES

    app = typer.Typer()
    train.register(app)
    evaluate.register(app)
    place = ["--data", str(data), "--models", str(models)]
    trained = CliRunner().invoke(app, ["train", "covidnet", *place, "--runs", str(tmp_path / "r")])
    assert trained.exit_code == 0, trained.output
    measured = CliRunner().invoke(app, ["evaluate", "covidnet", *place, "--json", "--write"])
    assert measured.exit_code == 0, measured.output
    bundle = open_bundle(models, "covidnet")
    verify(bundle)
    figures = json.loads(measured.stdout)
    assert figures == json.loads((bundle.folder / "evaluation.json").read_text(encoding="utf8"))
    assert figures["films"] == sum(map(sum, figures["confusion"])) == 12
    assert {path.name for path in (bundle.folder / "figures").iterdir()} == set(NAMES["detection"])
    assert "| accuracy |" in (bundle.folder / "CARD.md").read_text(encoding="utf8")


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "bundle_id", ["covidnet-lite", "covidnet-cxr-s", "covidnet-s-geographic", "lung-unet"]
)
def test_the_card_quotes_what_the_shipped_weights_reach_on_the_test_split(
    bundle_id: str, real_data: Path
) -> None:
    from dicom_node.training.evaluation.evaluate import evaluate

    found = evaluate(bundle_id, real_data / "cxr", resources.model_bundles(), "test")
    folder = resources.model_bundles() / bundle_id
    stored = json.loads((folder / "evaluation.json").read_text(encoding="utf8"))
    assert (folder / "CARD.md").read_text(encoding="utf8") == card_with_tables(folder)
    ours, theirs = _leaves(found), _leaves(stored)
    assert ours.keys() == theirs.keys()
    for place, figure in theirs.items():
        close = pytest.approx(figure, abs=0.005) if isinstance(figure, float) else figure
        assert ours[place] == close, place


def _leaves(value: object, place: str = "") -> dict[str, object]:
    """Return every value of an evaluation by its place, but where t-SNE laid the films out.

    The last bits of a feature, which differ between machines, move a film far there.
    """
    if place == "/embedding/points":
        return {}
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            at: leaf
            for key, inner in items
            for at, leaf in _leaves(inner, f"{place}/{key}").items()
        }
    return {place: value}
