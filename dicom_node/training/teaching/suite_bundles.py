"""The bundles of one run of a suite: detection, and the severity networks that share its trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.analysis.answers import LUNGS
from dicom_node.analysis.calibration import abstention_threshold, fit_temperature, probabilities
from dicom_node.bundles import Bundle
from dicom_node.networks.covidnet_lite import SHARED
from dicom_node.networks.covidnet_s import LUNG_SCORE_MAX, ZONE_SCORE_MAX, ZONES
from dicom_node.networks.registry import build
from dicom_node.training.datasets.cases import Case, Data, labels_of, of_split
from dicom_node.training.teaching.bundle_files import (
    epochs_table,
    input_table,
    store_weights,
    training_table,
    write_bundle,
)
from dicom_node.training.teaching.calibrate import conformal
from dicom_node.training.teaching.lessons.classes import cases_of
from dicom_node.training.teaching.lessons.suite import SuiteLesson, predicted, suite_network
from dicom_node.training.teaching.recipe import RECIPE_FILE, Recipe, SharedRecipe, read_share
from dicom_node.training.teaching.severity_data import level_of

GRADING = "covidnet_cxr_s"


def export_suite(
    run: Path, recipe: Recipe, data: Data, models: Path, best: str
) -> tuple[Bundle, ...]:
    """Write the bundles that one run has taught: detection first, then those that share it."""
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
    severity: Any,
    share: SharedRecipe,
    recipe: Recipe,
    cases: Sequence[Case],
    found: Mapping[str, Any],
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
    severity: Any,
    share: SharedRecipe,
    recipe: Recipe,
    cases: Sequence[Case],
    found: Mapping[str, Any],
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
    folder = models / part.id
    document = {
        "thresholds": {},
        **part.document,
        "input": input_table(recipe.input.contract(recipe.phases[-1].size), recipe.input.lungs),
        "training": {**training, "data": part.data},
        "weights": store_weights(part.network, folder, str(part.document["version"])),
    }
    return write_bundle(folder, document, part.network)
