"""Figures agree with scikit-learn, and intervals with what a bootstrap over patients is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case
from dicom_node.training.evaluation import classes
from dicom_node.training.evaluation.bootstrap import Bootstrap
from dicom_node.training.teaching.calibrate import conformal
from dicom_node.training.teaching.lessons.classes import OTHER

SEEDS = range(6)


def _drawn(seed: int, films: int = 80, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), chance.integers(0, classes, films - classes)])
    found = chance.dirichlet(np.ones(classes), films)
    found[np.arange(films), labels] += 0.4
    return labels, found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_figures_of_classes_agree_with_scikit_learn(seed: int, classes: int) -> None:
    labels, found = _drawn(seed, classes=classes)
    named = found.argmax(axis=1)
    recall = reference.recall_score(labels, named, average=None)
    assert metrics.accuracy(labels, found) == pytest.approx(reference.accuracy_score(labels, named))
    assert metrics.balanced_accuracy(labels, found) == pytest.approx(
        reference.balanced_accuracy_score(labels, named)
    )
    assert metrics.sensitivities(labels, found) == pytest.approx(recall)
    assert metrics.geometric_mean_recall(labels, found) == pytest.approx(
        float(np.prod(recall) ** (1 / classes))
    )
    assert metrics.positive_predictive_values(labels, found) == pytest.approx(
        reference.precision_score(labels, named, average=None)
    )
    assert metrics.f1_scores(labels, found) == pytest.approx(
        reference.f1_score(labels, named, average=None)
    )
    assert metrics.specificities(labels, found) == pytest.approx(
        [reference.recall_score(labels != k, named != k) for k in range(classes)]
    )
    assert np.array_equal(
        metrics.confusion_matrix(labels, found), reference.confusion_matrix(labels, named)
    )
    assert metrics.areas_under_curve(labels, found) == pytest.approx(
        [reference.roc_auc_score(labels == k, found[:, k]) for k in range(classes)]
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_of_scores_agree_with_scikit_learn(seed: int) -> None:
    chance = np.random.default_rng(seed)
    truth = chance.uniform(0, 8, 40)
    found = truth + chance.normal(size=40)
    assert metrics.mean_absolute_error(truth, found) == pytest.approx(
        reference.mean_absolute_error(truth, found)
    )
    assert metrics.r_squared(truth, found) == pytest.approx(reference.r2_score(truth, found))
    assert metrics.correlation(truth, found) == pytest.approx(np.corrcoef(truth, found)[0, 1])
    assert metrics.coverage(truth, found - 1, found + 1) == np.mean(np.abs(truth - found) <= 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_overlaps_agree_with_scikit_learn(seed: int) -> None:
    chance = np.random.default_rng(seed)
    drawn, found = chance.random((2, 20, 30)) > 0.5
    assert metrics.dice(drawn, found) == pytest.approx(
        reference.f1_score(drawn.ravel(), found.ravel())
    )
    assert metrics.intersection_over_union(drawn, found) == pytest.approx(
        reference.jaccard_score(drawn.ravel(), found.ravel())
    )
    nothing = np.zeros_like(drawn)
    assert metrics.dice(nothing, nothing) == metrics.intersection_over_union(nothing, nothing) == 1


def test_a_figure_that_the_films_cannot_give_is_no_number() -> None:
    same = np.ones(5)
    assert np.isnan(metrics.r_squared(same, same))
    assert np.isnan(metrics.correlation(same, np.arange(5.0)))
    assert np.isnan(metrics.area_under_curve(np.ones(5, dtype=bool), np.arange(5.0)))


def test_an_interval_over_patients_is_wider_than_over_films_of_the_same_patients() -> None:
    chance = np.random.default_rng(1)
    of_patient = np.repeat(chance.normal(size=20), 10)
    one = Bootstrap([str(k // 10) for k in range(200)])(lambda v: float(v.mean()), of_patient)
    other = Bootstrap([str(k) for k in range(200)])(lambda v: float(v.mean()), of_patient)
    assert one.value == other.value == pytest.approx(of_patient.mean())
    assert one.high - one.low > 2 * (other.high - other.low)  # type: ignore[operator]


def test_films_of_one_source_are_compared_also_where_their_finding_is_no_class_of_its_own() -> None:
    cohen = "covid-chestxray-dataset (Cohen et al.)"
    cases = [
        Case("a", Path("x"), "test", "p1", OTHER, cohen, stated_finding="pneumonia"),
        Case("b", Path("x"), "test", "p2", OTHER, cohen, stated_finding="normal"),
        Case("c", Path("x"), "test", "p3", "covid19", cohen),
        Case("d", Path("x"), "test", "p4", OTHER, "NIH ChestX-ray8", stated_finding="pneumonia"),
        Case("e", Path("x"), "test", "p5", OTHER, "NIH ChestX-ray8", stated_finding="normal"),
    ]
    found = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.5, 0.5], [0.5, 0.5]])
    told = classes.SplitAnswers(found, {}, found)
    controls = classes._controls(cases, np.array([0, 0, 1, 0, 0]), told, (OTHER, "covid19"))
    assert set(controls) == {"cohen"}
    assert controls["cohen"].films == 2
    assert controls["cohen"].balanced_accuracy.value == 1.0


def test_a_bootstrap_gives_the_same_interval_every_time() -> None:
    values = np.random.default_rng(3).random(50)
    patients = [str(k % 17) for k in range(50)]
    one, two = (Bootstrap(patients)(lambda v: float(v.mean()), values) for _ in range(2))
    assert one == two


def test_nine_of_ten_new_films_lie_in_a_conformal_interval() -> None:
    chance = np.random.default_rng(2)
    covered = [
        np.mean(np.abs(chance.normal(size=500)) <= conformal(np.abs(chance.normal(size=37))))
        for _ in range(200)
    ]
    assert 0.88 < np.mean(covered) < 0.94
