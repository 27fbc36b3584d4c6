"""From a finished run to a bundle: weights, calibration, threshold, manifest, self-test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.analysis.calibration import abstention_threshold, fit_temperature, probabilities
from dicom_node.bundles import (
    MANIFEST,
    SELF_TEST,
    Bundle,
    digest_of,
    open_bundle,
    self_test_document,
)
from dicom_node.errors import TrainingError
from dicom_node.imaging.prepare import InputContract
from dicom_node.networks import cost, registry
from dicom_node.training.data import Case, labels_of, of_split, read_cases
from dicom_node.training.evaluate import logits_of
from dicom_node.training.loop import BEST, HISTORY, RECIPE
from dicom_node.training.recipe import RECIPE_FILE, Recipe, Texts, read_recipe


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What validation films decided, all rounded as the manifest states it."""

    temperature: float
    threshold: float


def export(run: Path, data: Path, models: Path) -> Bundle:
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
    size = recipe.phases[-1].size
    contract = InputContract(rows=size, columns=size)
    network = registry.build(
        recipe.network, rows=size, columns=size, classes=len(recipe.classes), dropout=recipe.dropout
    )
    network.load_weights(run / BEST)
    cases = read_cases(data, recipe.classes)
    fitted = _fit(network, of_split(cases, "val"), contract, recipe)
    folder = models / recipe.id
    folder.mkdir(parents=True, exist_ok=True)
    name, digest = _store_weights(network, folder, recipe.version)
    document = _manifest(recipe, _texts(models, recipe.id), run, cases, fitted)
    document["weights"] = {
        "file": name,
        "digest": digest,
        "parameters": cost.parameters(network),
        "macs": cost.macs(network),
    }
    document["input"] |= {"crop_top": contract.crop_top, "intensity": contract.intensity}
    (folder / SELF_TEST).write_text(
        json.dumps(self_test_document(contract, network), indent=1) + "\n", encoding="utf8"
    )
    (folder / MANIFEST).write_text(toml_text(document), encoding="utf8")
    return open_bundle(models, recipe.id)


def _store_weights(network: Any, folder: Path, version: str) -> tuple[str, str]:
    """Write the weights alone (a run's file holds the optimizer too); return name and digest."""
    temporary = folder / "new.weights.h5"
    network.save_weights(temporary)
    digest = digest_of(temporary)
    name = f"{version}-{digest.removeprefix('sha256:')[:8]}.weights.h5"
    temporary.replace(folder / name)
    return name, digest


def _fit(network: Any, cases: tuple[Case, ...], contract: InputContract, recipe: Recipe) -> _Fitted:
    logits = logits_of(network, cases, contract)
    temperature = round(fit_temperature(logits, labels_of(cases, recipe.classes)), 3)
    return _Fitted(temperature, abstention_threshold(probabilities(logits, temperature)))


def _texts(models: Path, bundle_id: str) -> Texts:
    """Return the manifest's texts from the recipe as it stands now: they decide no weights."""
    texts = read_recipe(models / bundle_id / RECIPE_FILE).bundle
    if texts is None:
        raise TrainingError(
            "The recipe has no table [bundle].", remedy="Add [bundle] to the recipe and export."
        )
    return texts


def _manifest(
    recipe: Recipe, texts: Texts, run: Path, cases: tuple[Case, ...], fitted: _Fitted
) -> dict[str, Any]:
    """Return the manifest without its weights table."""
    lines = (run / HISTORY).read_text(encoding="utf8").splitlines()
    epochs = [json.loads(line) for line in lines]
    taught = of_split(cases, "train")
    return {
        "id": recipe.id,
        "title": texts.title,
        "version": recipe.version,
        "task": "detection",
        "network": recipe.network,
        "intended_use": texts.intended_use,
        "licence": texts.licence,
        "input": {"rows": recipe.phases[-1].size, "columns": recipe.phases[-1].size, "channels": 3},
        "outputs": [
            {
                "name": "finding",
                "kind": "class-logits",
                "range": [0.0, 1.0],
                "classes": list(recipe.classes),
            }
        ],
        "thresholds": {"abstain": fitted.threshold},
        "calibration": {"temperature": fitted.temperature, "fitted_on": "val"},
        "paper": texts.paper.model_dump(),
        "training": {
            "data": texts.data,
            "films": len(taught),
            "patients": len({case.patient for case in taught}),
            "validation_films": len(of_split(cases, "val")),
            "epochs": len(epochs),
            "best_epoch": max(found["epoch"] for found in epochs if found["best"]),
        },
    }


def toml_text(document: dict[str, Any]) -> str:
    """Return a document of plain values, tables and lists of tables as TOML."""
    lines = ["# Written by `dicom-node train`; the texts come from recipe.toml."]
    plain = {key: value for key, value in document.items() if not _tables_of(key, value)}
    lines += [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in document.items():
        for head, table in _tables_of(key, value):
            lines += ["", head, *(f"{k} = {_toml_value(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def _tables_of(key: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return (heading, table) pairs of a table or a list of tables; nothing for a plain value."""
    if isinstance(value, dict):
        return [(f"[{key}]", value)]
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [(f"[[{key}]]", item) for item in value]
    return []


def _toml_value(value: Any) -> str:
    """Return a string, number or list of these; JSON's form of them is TOML's as well."""
    return json.dumps(value, ensure_ascii=False)
