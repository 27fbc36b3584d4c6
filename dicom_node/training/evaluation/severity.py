"""How well severity is graded: scores against readers, zones, and the airspace level.

Of repeated splits (`dicom_node.training.teaching.repeated`) the answers lie in the bundle of the
airspace network, ``splits.jsonl``: every figure of them is computed here anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.alone import lung_finder
from dicom_node.analysis.answers import told
from dicom_node.analysis.calibration import probabilities
from dicom_node.brains.keras import KerasBrain
from dicom_node.brains.models import family, key
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.chest import ChestAnswers, level_of_parts
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.networks.covidnet_s import ZONES
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, Data, of_split, read_cases, read_film
from dicom_node.training.evaluation.bootstrap import Bootstrap, Interval
from dicom_node.training.evaluation.head import Head, head_of
from dicom_node.training.teaching.repeated import stored_answers

OPAQUE_FROM = 0.5
"""The score (0-3) from which a zone is one with opacities, as the shipped templates count."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Mean and standard deviation over repeated patient splits; ``best_r2``: of the best one."""

    splits: int
    films: int
    mae: float
    mae_sd: float
    r2: float
    r2_sd: float
    best_r2: float


@dataclass(frozen=True, slots=True)
class ScoreEvaluation:
    """A score of 0-8 against the mean of the readers; ``points``: [truth, found, low, high]."""

    head: Head
    score: str
    overall: Mapping[str, Interval]
    interval_width: float
    median_mae: float
    repeated: Repeated | None
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """Level 2 against level 1: ``auc`` by the level, ``auc_zones`` by the sum of the zones.

    Sensitivities and PPV by level. ``agrees``: the part of films whose level is the one that the
    zones give, those of `OPAQUE_FROM` or more counted.
    """

    films: int
    level_1: int
    auc: Interval
    auc_zones: Interval
    agrees: Interval
    accuracy: Interval
    sensitivity_1: Interval
    sensitivity_2: Interval
    ppv_1: Interval
    ppv_2: Interval


@dataclass(frozen=True, slots=True)
class AirspaceEvaluation:
    """Airspace level and zones. ``cross_validation``: every film answered by a network that did
    not learn from its patient; ``zones``: mean absolute error by zone, of 0-3.
    """

    head: Head
    test: LevelFigures
    cross_validation: LevelFigures | None
    zones: Mapping[str, Interval]
    all_zones: Interval
    zone_opacity_auc: Interval
    points: tuple[tuple[float, float], ...]


def evaluate_score(bundle: Bundle, data: Data, split: str) -> ScoreEvaluation:
    """Return the figures of a score on the films of one split that readers have scored."""
    name = bundle.manifest.outputs[0].reported_as
    everyone = [case for case in read_cases(data) if getattr(case, name) is not None]
    cases = of_split(everyone, split)
    scores = [
        ChestAnswers.of(told(bundle, values).observations).scores[name]
        for values in _values(bundle, cases)
    ]
    truth = np.array([float(getattr(case, name)) for case in cases])
    found = np.array([score.value for score in scores])
    low, high = (
        np.array([getattr(score, end) if score.low is not None else np.nan for score in scores])
        for end in ("low", "high")
    )
    draw = Bootstrap([case.patient for case in cases])
    median = np.median([getattr(case, name) for case in everyone if case.split == "train"])
    return ScoreEvaluation(
        head=head_of(bundle, split, cases),
        score=name,
        overall={
            "mae": draw(metrics.mean_absolute_error, truth, found),
            "r2": draw(metrics.r_squared, truth, found),
            "correlation": draw(metrics.correlation, truth, found),
            "coverage": draw(metrics.coverage, truth, low, high),
        },
        interval_width=float(np.mean(high - low)),
        median_mae=float(np.abs(truth - median).mean()),
        repeated=_repeated(bundle, everyone, name),
        points=tuple(zip(*(map(float, v) for v in (truth, found, low, high)), strict=True)),
    )


def _repeated(bundle: Bundle, cases: Sequence[Case], name: str) -> Repeated | None:
    """Return mean and sd over the Monte Carlo splits; None where none were run."""
    truth = {case.image_id: float(getattr(case, name)) for case in cases}
    lines = _lines(bundle.manifest.trunk, bundle.folder.parent, "monte-carlo")
    if not lines:
        return None
    pairs = [
        (np.array([truth[film] for film in line["films"]]), np.clip(np.ravel(line[name]), 0, 8))
        for line in lines
    ]
    mae = [metrics.mean_absolute_error(t, f) for t, f in pairs]
    r2 = [metrics.r_squared(t, f) for t, f in pairs]
    return Repeated(
        splits=len(lines),
        films=round(float(np.mean([len(t) for t, _ in pairs]))),
        mae=float(np.mean(mae)), mae_sd=float(np.std(mae, ddof=1)),
        r2=float(np.mean(r2)), r2_sd=float(np.std(r2, ddof=1)), best_r2=max(r2),
    )  # fmt: skip


def evaluate_airspace(bundle: Bundle, data: Data, split: str) -> AirspaceEvaluation:
    """Return the figures of level and zones on the films of one split with zone scores."""
    everyone = [case for case in read_cases(data) if case.zones is not None]
    cases = of_split(everyone, split)
    values = _values(bundle, cases)
    zones = np.array([v["zones"] for v in values], dtype=np.float64)
    truth = np.array([case.zones for case in cases], dtype=np.float64)
    draw = Bootstrap([case.patient for case in cases])
    temperature = bundle.manifest.calibration.temperature
    levels = probabilities(np.array([v["airspace"] for v in values]), temperature)
    return AirspaceEvaluation(
        head=head_of(bundle, split, cases),
        test=_levels(cases, levels, zones),
        cross_validation=_folds(bundle, everyone, temperature),
        zones={
            name: draw(metrics.mean_absolute_error, truth[:, k], zones[:, k])
            for k, name in enumerate(ZONES)
        },
        all_zones=draw(metrics.mean_absolute_error, truth, zones),
        zone_opacity_auc=draw(
            lambda t, z: metrics.area_under_curve(t.ravel() > 0, z.ravel()), truth, zones
        ),
        points=tuple(
            zip(map(float, truth.sum(axis=1)), map(float, zones.sum(axis=1)), strict=True)
        ),
    )


def _folds(bundle: Bundle, cases: Sequence[Case], temperature: float) -> LevelFigures | None:
    known = {case.image_id: case for case in cases}
    lines = _lines(bundle.id, bundle.folder.parent, "level-fold")
    if not lines:
        return None
    films = [known[film] for line in lines for film in line["films"]]
    logits, zones = (
        np.concatenate([np.array(line[name]) for line in lines]) for name in ("airspace", "zones")
    )
    return _levels(films, probabilities(logits, temperature), zones)


def _levels(
    cases: Sequence[Case], levels: npt.NDArray[np.float64], zones: npt.NDArray[np.float64]
) -> LevelFigures:
    """Return level 2 against level 1, of films that have one of both; level 0 is not asked."""
    chosen = [i for i, case in enumerate(cases) if case.airspace_level in (1, 2)]
    two = levels[chosen][:, 1:]
    two = two / two.sum(axis=1, keepdims=True)
    truth = np.array([int(cases[i].airspace_level == 2) for i in chosen], dtype=np.int64)
    counted = [level_of_parts(int(np.sum(zones[i] >= OPAQUE_FROM))) for i in chosen]
    agrees = np.array(counted) == levels[chosen].argmax(axis=1)
    draw = Bootstrap([cases[i].patient for i in chosen])
    sensitivity, ppv = metrics.sensitivities, metrics.positive_predictive_values
    return LevelFigures(
        films=len(chosen),
        level_1=int((truth == 0).sum()),
        auc=draw(lambda t, p: metrics.area_under_curve(t == 1, p[:, 1]), truth, two),
        auc_zones=draw(metrics.area_under_curve, truth == 1, zones[chosen].sum(axis=1)),
        agrees=draw(lambda same: float(np.mean(same)), agrees),
        accuracy=draw(metrics.accuracy, truth, two),
        sensitivity_1=draw(lambda t, p: sensitivity(t, p)[0], truth, two),
        sensitivity_2=draw(lambda t, p: sensitivity(t, p)[1], truth, two),
        ppv_1=draw(lambda t, p: ppv(t, p)[0], truth, two),
        ppv_2=draw(lambda t, p: ppv(t, p)[1], truth, two),
    )


def _lines(bundle_id: str, models: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in stored_answers(bundle_id, models) if line["kind"] == kind]


def _values(bundle: Bundle, cases: Sequence[Case]) -> list[dict[str, Float]]:
    """Return the network's outputs on each film, by name, as the node computes them."""
    line = [bundle]
    while trunk := line[-1].manifest.trunk:
        line.append(open_bundle(bundle.folder.parent, trunk))
    model = family(line[::-1], [bundle.id])
    brain = KerasBrain([model])
    finder = lung_finder(open_bundle(bundle.folder.parent, line[-1].manifest.input.lungs))
    answers = []
    for case in cases:
        film = read_film(case.path)
        grid, _ = prepare(film, bundle.contract, finder.find(film))
        found = brain.answer(model.id, grid[None], explain=False)
        answers.append(
            {one.name: found[key(bundle.id, one.name)][0] for one in bundle.manifest.outputs}
        )
    return answers
