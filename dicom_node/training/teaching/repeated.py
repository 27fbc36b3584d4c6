"""Severity networks taught and checked on repeated splits of patients: how sure a figure is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.bundles import open_bundle
from dicom_node.training.datasets.cases import Case, Data, read_cases
from dicom_node.training.teaching.initial import load_initial
from dicom_node.training.teaching.lessons.severity import SCORES, SeverityLesson, answers
from dicom_node.training.teaching.loop import teach
from dicom_node.training.teaching.patient_splits import Split, level_folds, monte_carlo_splits
from dicom_node.training.teaching.recipe import Recipe, read_recipe
from dicom_node.training.teaching.severity_data import is_labelled, make_examples
from dicom_node.training.teaching.suite_bundles import GRADING

NORMAL_FILMS = 150
SPLITS_FILE = "splits.jsonl"
REPEATED_RECIPE = "repeated.toml"


def severity_cases(data: Data, seed: int) -> tuple[Case, ...]:
    """Return graded films of all splits, and some normal films of train and val."""
    cases = read_cases(data)
    graded = [case for case in cases if is_labelled(case)]
    normal = [c for c in cases if c.finding == "normal" and c.split != "test" and c not in graded]
    chosen = np.random.default_rng(seed).permutation(len(normal))[:NORMAL_FILMS]
    return (*graded, *(normal[i] for i in sorted(chosen)))


def _beginner(recipe: Recipe, models: Path) -> Callable[[Any], None]:
    return lambda network: load_initial(network.get_layer(GRADING), recipe.initial, models)


def repeat(
    bundle_id: str,
    data: Data,
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
        if (planned.kind, planned.number, *_films(cases, planned.split)) not in known
    ]
    if not left:
        return path
    examples = make_examples(cases, data, models, recipe)
    for done, planned in enumerate(left, start=1):
        kind, split = planned.kind, planned.split
        lesson = SeverityLesson(
            recipe, examples, split.taught, split.checked, _beginner(recipe, models)
        )
        found = answers(teach(lesson), examples, split.checked)
        line = (
            {"kind": kind, "number": planned.number, "films": _films(cases, split)}
            | {name: np.round(found[name], 4).tolist() for name in (*SCORES, "airspace", "zones")}
            | {"made_by": made_by}
        )
        with path.open("a", encoding="utf8") as stream:
            stream.write(json.dumps(line) + "\n")
        if on_split:
            on_split(kind, done, len(left))
    return path


@dataclass(frozen=True, slots=True)
class _Planned:
    """A split to be taught and checked: of which kind, and which of them."""

    kind: str
    number: int
    split: Split


def _planned(cases: Sequence[Case], splits: int, folds: int, seed: int) -> list[_Planned]:
    """Return everything that is to be taught and checked."""
    kinds = {
        "monte-carlo": monte_carlo_splits(cases, splits, seed),
        "level-fold": level_folds(cases, folds, seed),
    }
    return [
        _Planned(kind, k, split) for kind, found in kinds.items() for k, split in enumerate(found)
    ]


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
