"""The severity networks: bundles from one run of a suite; repeated splits tell how sure that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.answers import LUNGS
from dicom_node.analysis.calibration import abstention_threshold, fit_temperature, probabilities
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.networks.covidnet_lite import SHARED
from dicom_node.networks.covidnet_s import LUNG_SCORE_MAX, ZONE_SCORE_MAX, ZONES
from dicom_node.networks.registry import build
from dicom_node.training.data import Case, labels_of, of_split, read_cases
from dicom_node.training.initial import load_initial
from dicom_node.training.lesson_of_classes import cases_of
from dicom_node.training.lesson_of_severity import (
    SCORES,
    SeverityLesson,
    answers,
)
from dicom_node.training.recipe import RECIPE_FILE, Recipe, Share, read_recipe, read_share
from dicom_node.training.severity_data import is_labelled, level_of, make_examples

GRADING = "covidnet_cxr_s"
NORMAL_FILMS = 150
SPLITS_FILE = "splits.jsonl"
REPEATED_RECIPE = "repeated.toml"
Indices = npt.NDArray[np.int64]


def severity_cases(data: Path, seed: int) -> tuple[Case, ...]:
    """Return graded films of all splits, and some normal films of train and val."""
    cases = read_cases(data)
    graded = [case for case in cases if is_labelled(case)]
    normal = [c for c in cases if c.finding == "normal" and c.split != "test" and c not in graded]
    chosen = np.random.default_rng(seed).permutation(len(normal))[:NORMAL_FILMS]
    return (*graded, *(normal[i] for i in sorted(chosen)))


def _beginner(recipe: Recipe, models: Path) -> Callable[[Any], None]:
    return lambda network: load_initial(network.get_layer(GRADING), recipe.initial, models)


def export_suite(
    run: Path, recipe: Recipe, data: Path, models: Path, best: str
) -> tuple[Bundle, ...]:
    """Write the bundles that one run has taught: detection first, then those that share it."""
    from dicom_node.training.export import epochs_table, training_table
    from dicom_node.training.lesson_of_suite import SuiteLesson, predicted, suite_network

    network = suite_network(recipe)
    network.load_weights(run / best)
    lesson = SuiteLesson(recipe, data, models)
    cases = cases_of(recipe, data)
    training = {**training_table("", cases), **epochs_table(run)}
    found = predicted(network, lesson.checked_films, recipe.input.channels)
    checked = of_split(cases, "val")
    parts = [_finding(network, recipe, checked, found)]
    for folder in sorted(models.iterdir()):
        share = read_share(folder / RECIPE_FILE)
        if share is not None and share.taught_with == recipe.id:
            make = _grading if share.output == "airspace" else _scoring
            parts.append(make(network.get_layer("severity"), share, recipe, checked, found))
    return tuple(_write(part, recipe, training, models) for part in parts)


@dataclass(frozen=True, slots=True)
class _Part:
    """One bundle of a run: its network with weights, and what its manifest says."""

    id: str
    network: Any
    document: Mapping[str, Any]
    data: str


def _finding(
    network: Any, recipe: Recipe, cases: Sequence[Case], found: Mapping[str, Any]
) -> _Part:
    """Return the bundle of the finding, calibrated on the films of ``found``."""
    contract = recipe.input.contract(recipe.phases[-1].size)
    own = build(
        recipe.network, rows=contract.rows, columns=contract.columns, channels=contract.channels,
        classes=len(recipe.class_names), dropout=recipe.dropout,
    )  # fmt: skip
    for layer in own.layers:
        layer.set_weights(network.get_layer(layer.name).get_weights())
    logits, labels = found["finding"], labels_of(cases, recipe.class_names)
    temperature = round(fit_temperature(logits, labels), 3)
    threshold = abstention_threshold(probabilities(logits, temperature))
    document = {
        **_head(recipe.id, recipe.version, recipe.bundle, "detection", recipe.network),
        "outputs": [
            {"name": "finding", "kind": "class-logits", "range": [0.0, 1.0],
             "classes": list(recipe.class_names)},
        ],
        "thresholds": {"abstain": threshold},
        "calibration": {"temperature": temperature, "fitted_on": "val"},
    }  # fmt: skip
    return _Part(recipe.id, own, document, recipe.bundle.data if recipe.bundle else "")


def _grading(
    severity: Any, share: Share, recipe: Recipe, cases: Sequence[Case], found: Mapping[str, Any]
) -> _Part:
    """Return the bundle of airspace level and zones, calibrated on the films of ``found``."""
    own = build("covidnet-cxr-s", dropout=recipe.dropout)
    own.set_weights(severity.get_layer(GRADING).get_weights())
    levels = np.array([level_of(case) for case in cases])
    known = levels >= 0
    temperature = round(fit_temperature(found["airspace"][known], levels[known]), 3)
    document = {
        **_head(share.id, share.version, share.bundle, "airspace", "covidnet-cxr-s"),
        "trunk": recipe.id,
        "trunk_layer": SHARED,
        "outputs": [
            {"name": "airspace", "kind": "class-logits", "range": [0.0, 1.0],
             "classes": ["level-0", "level-1", "level-2"]},
            {"name": "zones", "kind": "scores", "range": [0.0, ZONE_SCORE_MAX],
             "classes": list(ZONES)},
        ],
        "calibration": {"temperature": temperature, "fitted_on": "val"},
    }  # fmt: skip
    return _Part(share.id, own, document, share.bundle.data)


def _scoring(
    severity: Any, share: Share, recipe: Recipe, cases: Sequence[Case], found: Mapping[str, Any]
) -> _Part:
    """Return the bundle of one extent, with its 90 % interval from the films of ``found``."""
    own = build("covidnet-s", dropout=recipe.dropout)
    own.set_weights(severity.get_layer(share.output).get_weights())
    errors = [
        abs(getattr(case, share.output) - float(value))
        for case, value in zip(cases, found[share.output][:, 0], strict=True)
        if getattr(case, share.output) is not None
    ]
    document = {
        **_head(share.id, share.version, share.bundle, "score", "covidnet-s"),
        "trunk": "covidnet-cxr-s",
        "trunk_layer": "zone_features",
        "outputs": [
            {"name": "extent", "kind": "scores", "range": [0.0, 2 * LUNG_SCORE_MAX],
             "reported_as": share.output},
            {"name": "lungs", "kind": "scores", "range": [0.0, LUNG_SCORE_MAX],
             "classes": list(LUNGS)},
        ],
        "calibration": {"half_width": conformal(np.array(errors)), "fitted_on": "val"},
    }  # fmt: skip
    return _Part(share.id, own, document, share.bundle.data)


def conformal(errors: npt.NDArray[np.float64], miss: float = 0.1) -> float:
    """Return the half width that covers 1 - ``miss`` of new films (split conformal), rounded up.

    The ⌈(n + 1)(1 − miss)⌉-th smallest of n absolute errors on films that taught nothing.
    """
    rank = min(len(errors), int(np.ceil((len(errors) + 1) * (1 - miss))))
    return float(np.ceil(np.sort(errors)[rank - 1] * 100) / 100)


def _head(bundle_id: str, version: str, texts: Any, task: str, network: str) -> dict[str, Any]:
    return {
        "id": bundle_id,
        "title": texts.title,
        "version": version,
        "task": task,
        "network": network,
        "intended_use": texts.intended_use,
        "licence": texts.licence,
    } | ({"paper": texts.paper.model_dump()} if texts.paper else {})


def _write(part: _Part, recipe: Recipe, training: Mapping[str, Any], models: Path) -> Bundle:
    """Store one bundle of the run."""
    from dicom_node.training.export import input_table, store_weights, write_bundle

    folder = models / part.id
    document = {
        "thresholds": {},
        **part.document,
        "input": input_table(recipe.input.contract(recipe.phases[-1].size), recipe.input.lungs),
        "training": {**training, "data": part.data},
        "weights": store_weights(part.network, folder, str(part.document["version"])),
    }
    return write_bundle(folder, document, part.network)


@dataclass(frozen=True, slots=True)
class Split:
    """Films of one repeated split, by index; no patient is in both."""

    taught: Indices
    checked: Indices


def monte_carlo_splits(cases: Sequence[Case], count: int, seed: int) -> list[Split]:
    """Return random patient splits, 80 % to learn from, stratified by geographic extent.

    Only films with both extents are checked; all other graded and normal films are learned from,
    unless their patient is checked.
    """
    scored = [i for i, c in enumerate(cases) if c.geographic_extent is not None]
    return [
        _split(cases, scored, _strata_extent, np.random.default_rng([seed, number]), 0.2)
        for number in range(count)
    ]


def level_folds(cases: Sequence[Case], count: int, seed: int) -> list[Split]:
    """Return folds of the films of airspace level 1 and 2, stratified by level, by patient."""
    levelled = [i for i, c in enumerate(cases) if c.airspace_level in (1, 2)]
    patients: dict[str, int] = {}
    for i in levelled:
        known = patients.get(cases[i].patient, 9)
        patients[cases[i].patient] = min(known, int(cases[i].airspace_level or 0))
    chance = np.random.default_rng([seed, count])
    fold_of: dict[str, int] = {}
    for level in (1, 2):
        names = sorted(name for name, found in patients.items() if found == level)
        for place, k in enumerate(chance.permutation(len(names))):
            fold_of[names[k]] = place % count
    return [
        _apart(cases, [i for i in levelled if fold_of[cases[i].patient] == fold])
        for fold in range(count)
    ]


def _strata_extent(case: Case) -> int:
    return min(3, int((case.geographic_extent or 0.0) // 2))


def _split(
    cases: Sequence[Case],
    scored: Sequence[int],
    stratum: Callable[[Case], int],
    chance: np.random.Generator,
    part: float,
) -> Split:
    """Draw patients of every stratum until ``part`` of its films is checked."""
    groups: dict[int, dict[str, list[int]]] = {}
    seen: dict[str, int] = {}
    for i in scored:
        patient = cases[i].patient
        level = seen.setdefault(patient, stratum(cases[i]))
        groups.setdefault(level, {}).setdefault(patient, []).append(i)
    checked: list[int] = []
    for level in sorted(groups):
        names = sorted(groups[level])
        wanted, taken = part * sum(map(len, groups[level].values())), 0
        for k in chance.permutation(len(names)):
            if taken >= wanted:
                break
            checked += groups[level][names[k]]
            taken += len(groups[level][names[k]])
    return _apart(cases, checked)


def _apart(cases: Sequence[Case], checked: Sequence[int]) -> Split:
    """Return the split that checks these films and learns from all of other patients."""
    held_out = {cases[i].patient for i in checked}
    taught = [i for i, case in enumerate(cases) if case.patient not in held_out]
    return Split(np.array(taught, np.int64), np.array(sorted(checked), np.int64))


def repeat(
    bundle_id: str,
    data: Path,
    models: Path,
    *,
    splits: int = 20,
    folds: int = 5,
    fresh: bool = False,
    on_split: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Teach and check the networks on repeated patient splits; return the file of the answers.

    Every split runs the recipe to its last epoch (no epoch is chosen on the checked films) and
    appends one line: kind, number, the answer to each checked film, and what it was made by. A
    file that is there is gone on with: lines that the present recipe, weights and films would not
    make count for nothing. ``fresh`` throws the file away first. The trunk is one that has learned
    the *findings* of the split ``train``, never a severity. ``on_split`` is called with (kind,
    splits done, splits left at the start).
    """
    from dicom_node.training.loop import teach

    recipe = read_recipe(models / bundle_id / REPEATED_RECIPE)
    path, made_by = models / bundle_id / SPLITS_FILE, _makers(recipe, models)
    if fresh:
        path.unlink(missing_ok=True)
    cases = severity_cases(data, recipe.seed)
    known = {(line["kind"], line["number"], *line["films"])
             for line in stored_answers(bundle_id, models)}  # fmt: skip
    left = [
        planned
        for planned in _planned(cases, splits, folds, recipe.seed)
        if (*planned[:2], *_films(cases, planned[2])) not in known
    ]
    if not left:
        return path
    examples = make_examples(cases, data, models, recipe)
    for done, (kind, number, split) in enumerate(left, start=1):
        lesson = SeverityLesson(
            recipe, examples, split.taught, split.checked, _beginner(recipe, models)
        )
        found = answers(teach(lesson), examples, split.checked)
        line = (
            {"kind": kind, "number": number, "films": _films(cases, split)}
            | {name: np.round(found[name], 4).tolist() for name in (*SCORES, "airspace", "zones")}
            | {"made_by": made_by}
        )
        with path.open("a", encoding="utf8") as stream:
            stream.write(json.dumps(line) + "\n")
        if on_split:
            on_split(kind, done, len(left))
    return path


def _planned(
    cases: Sequence[Case], splits: int, folds: int, seed: int
) -> list[tuple[str, int, Split]]:
    """Return kind, number and films of everything that is to be taught and checked."""
    kinds = {
        "monte-carlo": monte_carlo_splits(cases, splits, seed),
        "level-fold": level_folds(cases, folds, seed),
    }
    return [(kind, k, split) for kind, found in kinds.items() for k, split in enumerate(found)]


def _films(cases: Sequence[Case], split: Split) -> list[str]:
    return [cases[i].image_id for i in split.checked]


def _makers(recipe: Recipe, models: Path) -> dict[str, str]:
    """Return the digests of what decides the answers: the recipe, the trunk's and lungs' weights.

    Raises `BundleError` leaves.
    """
    trunk = open_bundle(models, recipe.trunk).manifest
    lungs = open_bundle(models, trunk.input.lungs).manifest
    return {
        "recipe": recipe.digest,
        trunk.id: trunk.weights.digest,
        lungs.id: lungs.weights.digest,
    }


def stored_answers(bundle_id: str, models: Path) -> list[dict[str, Any]]:
    """Return the lines of `repeat` that the present recipe and weights made.

    Others would be the answers of networks that are no longer taught here. Raises `TrainingError`
    and `BundleError` leaves.
    """
    path = models / bundle_id / SPLITS_FILE
    if not path.is_file():
        return []
    made_by = _makers(read_recipe(models / bundle_id / REPEATED_RECIPE), models)
    lines = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]
    return [line for line in lines if line.get("made_by") == made_by]
