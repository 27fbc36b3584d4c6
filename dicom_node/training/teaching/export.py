"""From a finished run to a bundle: weights, calibration, threshold, manifest, self-test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dicom_node.analysis.calibration import abstention_threshold, fit_temperature, probabilities
from dicom_node.bundles import Bundle
from dicom_node.errors import TrainingError
from dicom_node.imaging.contract import InputContract
from dicom_node.networks import registry
from dicom_node.training.datasets.cases import Case, Data, labels_of, of_split, read_cases
from dicom_node.training.datasets.found_lungs import lungs_of_cases
from dicom_node.training.teaching.bundle_files import (
    epochs_table,
    input_table,
    store_weights,
    training_table,
    write_bundle,
)
from dicom_node.training.teaching.lessons.classes import cases_of
from dicom_node.training.teaching.logits import logits_of
from dicom_node.training.teaching.loop import BEST, RECIPE
from dicom_node.training.teaching.recipe import RECIPE_FILE, ManifestTexts, Recipe, read_recipe
from dicom_node.training.teaching.suite_bundles import export_suite


def export(run: Path, data: Data, models: Path) -> Bundle:
    """Write the run's best epoch as the bundle ``models/<id>`` and return it.

    Temperature and threshold come from the split ``val``; ``test`` is not looked at. The card and
    ``evaluation.json`` are left as they are: `evaluate --write` renews them. Raises
    `TrainingError` if the run has no epoch at the served size yet.
    """
    if not (run / BEST).is_file():
        raise TrainingError(
            f"Run {run.name} has no validated weights yet.", remedy="Go on training, then export."
        )
    recipe = Recipe.model_validate_json((run / RECIPE).read_text(encoding="utf8"))
    if recipe.task == "suite":
        recipe = recipe.model_copy(update={"bundle": _texts(models, recipe.id)})
        return export_suite(run, recipe, data, models, BEST)[0]
    size = recipe.phases[-1].size
    contract = recipe.input.contract(size)
    network = _built(recipe, contract)
    network.load_weights(run / BEST)
    folder = models / recipe.id
    folder.mkdir(parents=True, exist_ok=True)
    weights = store_weights(network, folder, recipe.version)
    cases = cases_of(recipe, data) if recipe.task == "detection" else _drawn(data)
    document = _manifest(recipe, _texts(models, recipe.id), run, cases, contract)
    if recipe.task == "detection":
        document |= _fit(network, of_split(cases, "val"), contract, recipe, models)
    document["weights"] = weights
    return write_bundle(folder, document, network)


def _built(recipe: Recipe, contract: InputContract) -> Any:
    """Return the recipe's network at the size that is served."""
    shape: dict[str, Any] = {
        "rows": contract.rows, "columns": contract.columns, "channels": contract.channels,
    }  # fmt: skip
    if recipe.class_names:
        shape["classes"] = len(recipe.class_names)
    return registry.build(recipe.network, dropout=recipe.dropout, **shape, **recipe.options)


def _drawn(data: Data) -> tuple[Case, ...]:
    return tuple(case for case in read_cases(data) if case.mask is not None)


def _fit(
    network: Any, cases: tuple[Case, ...], contract: InputContract, recipe: Recipe, models: Path
) -> dict[str, Any]:
    """Return the manifest's tables that validation films decide, rounded as they are stated."""
    lungs = lungs_of_cases(cases, recipe.input.lungs, models)
    logits = logits_of(network, cases, contract, lungs=lungs)
    temperature = round(fit_temperature(logits, labels_of(cases, recipe.class_names)), 3)
    threshold = abstention_threshold(probabilities(logits, temperature))
    return {
        "thresholds": {"abstain": threshold},
        "calibration": {"temperature": temperature, "fitted_on": "val"},
    }


def _texts(models: Path, bundle_id: str) -> ManifestTexts:
    """Return the manifest's texts from the recipe as it stands now: they decide no weights."""
    texts = read_recipe(models / bundle_id / RECIPE_FILE).bundle
    if texts is None:
        raise TrainingError(
            "The recipe has no table [bundle].", remedy="Add [bundle] to the recipe and export."
        )
    return texts


_OUTPUTS: dict[str, dict[str, Any]] = {
    "detection": {"name": "finding", "kind": "class-logits", "range": [0.0, 1.0]},
    "segmentation": {"name": "lungs", "kind": "mask-logits", "range": [0.0, 1.0]},
}


def _manifest(
    recipe: Recipe,
    texts: ManifestTexts,
    run: Path,
    cases: tuple[Case, ...],
    contract: InputContract,
) -> dict[str, Any]:
    """Return the manifest without its weights table."""
    output = dict(_OUTPUTS[recipe.task])
    if recipe.class_names:
        output["classes"] = list(recipe.class_names)
    document = {
        "id": recipe.id,
        "title": texts.title,
        "version": recipe.version,
        "task": recipe.task,
        "network": recipe.network,
        "intended_use": texts.intended_use,
        "licence": texts.licence,
        "input": input_table(contract, recipe.input.lungs),
        "outputs": [output],
        "thresholds": {},
        "calibration": {},
        "training": training_table(texts.data, cases) | epochs_table(run),
    }
    if recipe.options:
        document["options"] = dict(recipe.options)
    if texts.paper:
        document["paper"] = texts.paper.model_dump()
    return document
