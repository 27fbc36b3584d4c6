"""The ablation of COVIDNet-VLAD: the same recipe with parts of the network left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicom_node.analysis.calibration import probabilities
from dicom_node.networks import cost
from dicom_node.networks.covidnet_vlad import VARIANTS
from dicom_node.networks.registry import build
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Data, labels_of, of_split
from dicom_node.training.datasets.found_lungs import lungs_of_cases
from dicom_node.training.evaluation.bootstrap import Bootstrap
from dicom_node.training.evaluation.card import ABLATION
from dicom_node.training.evaluation.head import rounded
from dicom_node.training.teaching.lessons.classes import cases_of
from dicom_node.training.teaching.logits import logits_of
from dicom_node.training.teaching.loop import BEST, Watcher, train_recipe
from dicom_node.training.teaching.recipe import RECIPE_FILE, Recipe, read_recipe


def ablate(
    bundle_id: str,
    data: Data,
    models: Path,
    runs: Path,
    *,
    watcher: Callable[[str], Watcher] | None = None,
) -> Path:
    """Train and measure every variant by the bundle's recipe; return the table's file.

    Of each variant the epoch that is best on ``val`` is measured on ``test``. Runs that are
    finished under ``runs`` are not run again.
    """
    recipe = read_recipe(models / bundle_id / RECIPE_FILE)
    rows = []
    for variant in VARIANTS:
        options = {**recipe.options, "variant": variant}
        own = recipe.model_copy(update={"options": options})
        run = train_recipe(own, data, models, runs, watcher=watcher(variant) if watcher else None)
        rows.append({"variant": variant, **_measured(own, run, data, models)})
    path = models / bundle_id / ABLATION
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf8")
    return path


def _measured(recipe: Recipe, run: Path, data: Data, models: Path) -> dict[str, Any]:
    """Return parameters, MACs and the figures of the second class on ``test``."""
    contract = recipe.input.contract(recipe.phases[-1].size)
    network = build(
        recipe.network, rows=contract.rows, columns=contract.columns, channels=contract.channels,
        classes=len(recipe.class_names), dropout=recipe.dropout, **recipe.options,
    )  # fmt: skip
    network.load_weights(run / BEST)
    cases = of_split(cases_of(recipe, data), "test")
    lungs = lungs_of_cases(cases, recipe.input.lungs, models)
    found = probabilities(logits_of(network, cases, contract, lungs=lungs), 1.0)
    labels, draw = labels_of(cases, recipe.class_names), Bootstrap([c.patient for c in cases])
    figures = {
        "auc": draw(lambda t, p: metrics.area_under_curve(t == 1, p[:, 1]), labels, found),
        "sensitivity": draw(lambda t, p: metrics.sensitivities(t, p)[1], labels, found),
        "specificity": draw(lambda t, p: metrics.specificities(t, p)[1], labels, found),
        "accuracy": draw(metrics.accuracy, labels, found),
    }
    size = {"parameters": cost.parameters(network), "macs": cost.macs(network)}
    return {**size, **{name: rounded(asdict(figure)) for name, figure in figures.items()}}
