"""The engine answers the same to the same film, and what it shows lies where it belongs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node import resources
from dicom_node.analysis.calibration import abstention_threshold, fit_temperature, probabilities
from dicom_node.analysis.engine import Engine
from dicom_node.analysis.evidence import hide_salient, without_structure
from dicom_node.analysis.saliency import evidence_in_lungs
from dicom_node.brains import KERAS, Answers, Brain
from dicom_node.brains.devices import use_device
from dicom_node.brains.keras import KerasBrain
from dicom_node.brains.models import HEAT, family, key
from dicom_node.bundles import open_bundle
from dicom_node.chest import FINDING_CLASSES
from dicom_node.errors import (
    BundleContractBroken,
    BundleMissing,
    DeviceUnavailable,
    OutputNotFinite,
)
from dicom_node.findings import (
    Evidence,
    FilmFindings,
    Outcome,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.geometry import heat_on_film
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.phantom import phantom
from dicom_node.imaging.prepare import prepare


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The shipped suite, warm."""
    engine = Engine(resources.model_bundles(), ["covidnet"], "cpu")
    engine.warm()
    return engine


@pytest.fixture(scope="module")
def film() -> Any:
    """A synthetic chest, taller than wide."""
    return phantom(1, rows=1100, columns=900, opacities={"right_lower": 0.9}).film


def test_a_film_gets_probabilities_that_sum_to_one_and_a_network_version(
    engine: Engine, film: Any
) -> None:
    findings, _ = engine.analyse(film, "2.25.1")
    assert findings.sop_instance_uid == "2.25.1"
    assert findings.outcome is Outcome.ANALYSED
    assert findings.finding is not None
    assert tuple(findings.finding.probabilities) == FINDING_CLASSES
    assert sum(findings.finding.probabilities.values()) == pytest.approx(1.0)
    bundle = open_bundle(resources.model_bundles(), "covidnet")
    assert findings.suite == {"covidnet": bundle.network_version} == engine.suite_version
    assert FilmFindings.from_json(findings.to_json()).finding == findings.finding


def test_the_saliency_map_explains_the_named_class_on_the_region_that_was_seen(
    engine: Engine, film: Any
) -> None:
    findings, explanation = engine.analyse(film, "2.25.1")
    (heat,) = explanation.maps
    assert findings.finding is not None
    assert heat.network == "covidnet"
    assert heat.target == findings.finding.finding_class
    assert heat.region == prepare(film)[1]
    assert 0.0 <= heat.heat.min() <= heat.heat.max() <= 1.0


def test_the_evidence_says_what_hiding_the_heat_does(engine: Engine, film: Any) -> None:
    findings, _ = engine.analyse(film, "2.25.1")
    assert findings.evidence is not None
    assert findings.evidence.change_when_hidden is not None
    assert -1.0 <= findings.evidence.change_when_hidden <= 1.0


def test_the_same_film_twice_gives_the_same_bits(engine: Engine, film: Any) -> None:
    first, second = engine.analyse(film, "2.25.1"), engine.analyse(film, "2.25.1")
    assert first[0] == second[0]
    assert np.array_equal(first[1].maps[0].heat, second[1].maps[0].heat)


def test_a_film_gets_the_same_findings_whatever_films_come_with_it(
    engine: Engine, film: Any
) -> None:
    alone = engine.analyse(film, "2.25.1")
    films = [(phantom(2).film, "2.25.2"), (film, "2.25.1"), (phantom(3).film, "2.25.3")]
    together = engine.analyse_many(films)
    assert [findings.sop_instance_uid for findings, _ in together] == [uid for _, uid in films]
    assert together[1][0] == alone[0]
    assert np.array_equal(together[1][1].maps[0].heat, alone[1].maps[0].heat)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_a_film_with_a_value_that_is_no_grey_is_refused(engine: Engine, value: float) -> None:
    film = np.full((600, 600), 0.5, dtype=np.float32)
    film[300, 300] = value
    with pytest.raises(OutputNotFinite, match=r"2\.25\.9"):
        engine.analyse(film, "2.25.9")


def test_a_uniform_film_still_gets_a_finite_answer(engine: Engine) -> None:
    findings, explanation = engine.analyse(np.zeros((600, 600), dtype=np.float32), "2.25.1")
    (heat,) = explanation.maps
    assert findings.finding is not None
    assert np.isfinite(heat.heat).all()


def test_an_engine_with_an_unknown_bundle_does_not_start() -> None:
    with pytest.raises(BundleMissing):
        Engine(resources.model_bundles(), ["no-such-network"])


def test_the_lung_network_is_no_member_of_a_suite() -> None:
    with pytest.raises(BundleContractBroken, match="names no finding"):
        Engine(resources.model_bundles(), ["covidnet", "lung-unet"])


def test_a_wanted_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(DeviceUnavailable):
        use_device("gpu")
    assert use_device("auto") == use_device("cpu") == "cpu"


@pytest.fixture
def sees_brightness(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Heat of a network that looks at brightness: prepared film → heat, (rows, columns)."""
    monkeypatch.setattr("dicom_node.brains.keras.load_network", lambda _, tested: _brightness())
    bundle = open_bundle(resources.model_bundles(), "covidnet")
    brain = KerasBrain([family([bundle], ["covidnet"])], "cpu")
    heat = key("covidnet", HEAT)
    return lambda grid: brain.answer("covidnet", grid[None], explain=True)[heat][0]


def _brightness() -> Any:
    """A network whose last convolution is the film's brightness above 0.25, at full size."""
    import keras

    films = keras.Input((480, 480, 3))
    bright = keras.layers.Conv2D(4, 1, activation="relu", name="last_conv")(films)
    logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(bright))
    network = keras.Model(films, logits)
    network.get_layer("last_conv").set_weights(
        [np.full((1, 1, 3, 4), 1 / 3, np.float32), np.full(4, -0.25, np.float32)]
    )
    network.layers[-1].set_weights([np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32)])
    return network


@pytest.mark.parametrize("shape", [(900, 900), (2400, 1300), (700, 1900), (3000, 2500)])
def test_grad_cam_finds_a_planted_bright_square_within_a_pixel_of_the_film(
    shape: tuple[int, int], sees_brightness: Callable[[Any], Any]
) -> None:
    rows, columns = shape
    film = np.full(shape, 0.25, dtype=np.float32)
    box = np.array([int(rows * 0.55), int(columns * 0.3), int(rows * 0.8), int(columns * 0.45)])
    film[box[0] : box[2], box[1] : box[3]] = 1.0
    grid, region = prepare(film)
    heat = sees_brightness(grid)
    on = heat_on_film(SaliencyMap("test", "normal", heat, region), rows, columns)
    found_rows = np.flatnonzero((on > 0.5).any(axis=1))
    found_columns = np.flatnonzero((on > 0.5).any(axis=0))
    found = [found_rows[0], found_columns[0], found_rows[-1] + 1, found_columns[-1] + 1]
    assert np.abs(found - box).max() <= 1


def test_heat_is_all_zero_where_nothing_speaks_for_the_class(
    sees_brightness: Callable[[Any], Any],
) -> None:
    assert sees_brightness(np.full((480, 480, 3), 0.1, dtype=np.float32)).max() == 0.0


def test_hiding_takes_the_structure_away_where_it_was_hot_and_nowhere_else() -> None:
    grid = np.random.default_rng(5).random((480, 480, 3), dtype=np.float32)
    heat = np.zeros((15, 15), dtype=np.float32)
    heat[4:8, 4:8] = 1.0
    hidden = hide_salient(grid, without_structure(grid), heat)
    assert hidden[160:224, 160:224].std() < 0.1 * grid.std()
    assert np.array_equal(hidden[300:], grid[300:])
    assert 0.0 <= hidden.min() <= hidden.max() <= 1.0


def test_a_film_of_equal_channels_loses_its_structure_as_its_one_channel_does() -> None:
    one = np.random.default_rng(6).random((96, 96, 1), dtype=np.float32)
    other = np.random.default_rng(7).random((96, 96, 1), dtype=np.float32)
    repeated, mixed = np.repeat(one, 3, axis=2), np.concatenate([one, other], axis=2)
    assert np.array_equal(without_structure(repeated)[:, :, 2:], without_structure(one))
    assert np.array_equal(without_structure(mixed)[:, :, 1:], without_structure(other))


def test_a_fitted_temperature_makes_overconfident_logits_honest() -> None:
    chance = np.random.default_rng(11)
    logits = chance.normal(size=(6000, 3))
    drawn = [chance.choice(3, p=row) for row in probabilities(logits, 1.0)]
    assert fit_temperature(4.0 * logits, np.array(drawn)) == pytest.approx(4.0, rel=0.15)


def test_the_threshold_leaves_the_wanted_part_unanswered() -> None:
    found = probabilities(np.random.default_rng(1).normal(size=(1000, 3)) * 2, 1.0)
    below = found.max(axis=1) < abstention_threshold(found, 0.1)
    assert below.mean() == pytest.approx(0.1, abs=0.02)


def test_probabilities_of_huge_logits_are_finite() -> None:
    assert probabilities([[1e4, 0.0, -1e4]], 0.1).tolist() == [[1.0, 0.0, 0.0]]


def test_engines_of_two_folders_do_not_mix(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BundleMissing):
        Engine(tmp_path, ["covidnet"])
    assert engine.suite_version


SUITE = ("covidnet-lite", "covidnet-s-geographic", "covidnet-s-opacity", "covidnet-cxr-s")


@pytest.fixture(scope="module")
def suite() -> Engine:
    """The default suite with the lungs, warm."""
    engine = Engine(resources.model_bundles(), SUITE, "cpu", lungs="lung-unet")
    engine.warm()
    return engine


def test_a_suite_gives_every_kind_of_finding_with_its_evidence(suite: Engine, film: Any) -> None:
    findings, explanation = suite.analyse(film, "2.25.1")
    assert findings.finding is not None
    assert findings.airspace is not None
    assert set(findings.scores) == {"geographic_extent", "opacity_extent"}
    assert [heat.network for heat in explanation.maps] == list(SUITE)
    assert explanation.lungs is not None
    assert explanation.lungs.network == "lung-unet"
    assert set(findings.checks) == set(SUITE)
    assert findings.evidence == findings.checks["covidnet-lite"]
    for evidence in findings.checks.values():
        assert evidence.saliency_in_lungs is not None
        assert 0.0 <= evidence.saliency_in_lungs <= 1.0
    for score in findings.scores.values():
        assert score.low is not None
        assert score.high is not None
        assert 0.0 <= score.low <= score.value <= score.high <= 8.0
        assert score.right is not None
        assert score.left is not None
        assert score.right + score.left == pytest.approx(score.value, abs=1e-4)
    assert all(0.0 <= zone <= 3.0 for zone in findings.airspace.parts.values())
    assert FilmFindings.from_json(findings.to_json()) == findings


@pytest.mark.slow
def test_a_network_answers_the_same_alone_as_in_a_family(suite: Engine, film: Any) -> None:
    together, _ = suite.analyse(film, "2.25.1")
    alone, explanation = Engine(resources.model_bundles(), ["covidnet-s-opacity"], "cpu").analyse(
        film, "2.25.1"
    )
    assert alone.finding is None
    assert [heat.target for heat in explanation.maps] == ["opacity_extent"]
    assert alone.scores["opacity_extent"].value == pytest.approx(
        together.scores["opacity_extent"].value, abs=1e-4
    )
    ours, theirs = (found.checks["covidnet-s-opacity"] for found in (alone, together))
    assert ours.saliency_in_lungs == pytest.approx(theirs.saliency_in_lungs, abs=1e-4)
    assert ours.change_when_hidden == pytest.approx(theirs.change_when_hidden, abs=1e-3)
    assert set(alone.suite) == {
        "covidnet-s-opacity",
        "covidnet-cxr-s",
        "covidnet-lite",
        "lung-unet",
    }


class AsOnGpu:
    """A brain on a CPU that says it is a GPU's, and how many films each call had."""

    device, name = "gpu", KERAS

    def __init__(self, brain: Brain) -> None:
        self.brain, self.calls = brain, list[tuple[str, bool, int]]()

    def answer(self, model: str, films: Any, *, explain: bool) -> Answers:
        self.calls.append((model, explain, len(films)))
        return self.brain.answer(model, films, explain=explain)


@pytest.mark.slow
def test_films_that_share_a_call_as_on_a_gpu_get_the_evidence_that_each_gets_alone(
    suite: Engine,
) -> None:
    films = [(phantom(k, rows=700, columns=700).film, f"2.25.{k}") for k in range(4)]
    alone = [suite.analyse(*film)[0] for film in films]
    together = Engine(resources.model_bundles(), SUITE, "cpu", batch=3, lungs="lung-unet")
    together._loaded = together.answered_by(AsOnGpu(suite._load().brain))
    assert together.at_once == 6, "three are made ready while three are answered"
    for (found, _), expected in zip(together.analyse_many(films), alone, strict=True):
        for name, evidence in expected.checks.items():
            ours = found.checks[name].change_when_hidden
            assert ours == pytest.approx(evidence.change_when_hidden, abs=1e-3), name


def test_a_family_needs_one_pass_of_its_trunk_for_all_its_networks(suite: Engine) -> None:
    (model,) = suite._families
    assert model.id == "covidnet-lite"
    assert {bundle.id for bundle in model.bundles} == set(SUITE)


@pytest.mark.parametrize(
    ("film", "words"),
    [
        (np.full((700, 700), 0.4, np.float32), "uniform"),
        (np.random.default_rng(3).random((700, 700), dtype=np.float32), "Not a"),
        (1.0 - phantom(1, rows=900, columns=900).film, "Not a"),
    ],
    ids=["constant", "noise", "inverted"],
)
def test_what_is_no_chest_radiograph_is_declined_with_a_reason(
    suite: Engine, film: Any, words: str
) -> None:
    findings, explanation = suite.analyse(film, "2.25.1")
    assert findings.outcome is Outcome.DECLINED
    assert words in (findings.reason or "")
    assert findings.finding is None
    assert explanation.maps == ()


def test_a_declined_film_does_not_change_the_answers_to_its_neighbours(
    suite: Engine, film: Any
) -> None:
    constant = np.full((700, 700), 0.4, np.float32)
    answers = suite.analyse_many([(constant, "2.25.1"), (film, "2.25.2"), (constant, "2.25.3")])
    outcomes = [findings.outcome for findings, _ in answers]
    assert outcomes == [Outcome.DECLINED, Outcome.ANALYSED, Outcome.DECLINED]
    assert answers[1][0] == suite.analyse(film, "2.25.2")[0]


def test_the_part_of_the_heat_in_the_lungs_is_what_was_planted() -> None:
    probability = np.zeros((256, 256), dtype=np.float32)
    probability[64:192, 32:96] = probability[64:192, 160:224] = 1.0
    lungs = lungs_from(probability, 512, 512)
    heat = np.zeros((16, 16), dtype=np.float32)
    heat[6:10, 3:5] = 1.0
    assert _in_lungs(heat, lungs) > 0.95
    heat[6:10, 7:9] = 1.0
    assert _in_lungs(heat, lungs) == pytest.approx(0.5, abs=0.05)
    assert evidence_in_lungs(_map(np.zeros((16, 16), np.float32)), lungs, 0.1) == Evidence(
        None, 0.1
    )
    assert evidence_in_lungs(_map(heat), None, 0.1) == Evidence(None, 0.1)


def test_heat_spread_evenly_lies_in_the_lungs_as_often_as_chance() -> None:
    probability = np.zeros((256, 256), dtype=np.float32)
    probability[64:192, 32:96] = probability[64:192, 160:224] = 1.0
    found = evidence_in_lungs(
        _map(np.ones((16, 16), np.float32)), lungs_from(probability, 512, 512)
    )
    assert found.chance == pytest.approx(0.25, abs=0.01)
    assert found.ratio == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("row", "column", "inside"), [(8, 4, True), (8, 8, False), (0, 0, False)])
def test_the_peak_is_told_from_the_mass(row: int, column: int, inside: bool) -> None:
    probability = np.zeros((256, 256), dtype=np.float32)
    probability[64:192, 32:96] = probability[64:192, 160:224] = 1.0
    heat = np.zeros((16, 16), dtype=np.float32)
    heat[5:11, 2:6] = 0.6
    heat[row, column] = 1.0
    found = evidence_in_lungs(_map(heat), lungs_from(probability, 512, 512))
    assert found.peak_in_lungs is inside
    assert found.ratio is not None
    assert found.ratio > 2


def _map(heat: Any) -> SaliencyMap:
    return SaliencyMap("test", "normal", heat, Region(0, 0, 512, 512))


def _in_lungs(heat: Any, lungs: Lungs) -> float:
    found = evidence_in_lungs(_map(heat), lungs).saliency_in_lungs
    assert found is not None
    return found


def test_a_network_that_answers_otherwise_than_stored_does_not_start(tmp_path: Path) -> None:
    for name in ("covidnet", "lung-unet"):
        shutil.copytree(resources.model_bundles() / name, tmp_path / name)
    stored = tmp_path / "covidnet" / "self_test.json"
    document = json.loads(stored.read_text(encoding="utf8"))
    document["answer"][0] += 1.0
    stored.write_text(json.dumps(document), encoding="utf8")
    with pytest.raises(BundleContractBroken, match="self-test is off by 1"):
        Engine(tmp_path, ["covidnet"], "cpu", lungs="lung-unet").warm()
