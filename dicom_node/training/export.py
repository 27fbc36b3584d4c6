"""From a finished run to a bundle: weights, calibration, threshold, manifest, self-test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicom_node.analysis.calibration import abstention_threshold, fit_temperature, probabilities
from dicom_node.bundles import (
    MANIFEST,
    SELF_TEST,
    Bundle,
    cost_of,
    digest_of,
    open_bundle,
    self_test_document,
)
from dicom_node.errors import TrainingError
from dicom_node.imaging.prepare import InputContract
from dicom_node.networks import cost, registry
from dicom_node.training.data import Case, labels_of, of_split, read_cases
from dicom_node.training.found_lungs import lungs_of_cases
from dicom_node.training.lesson_of_classes import cases_of
from dicom_node.training.logits import logits_of
from dicom_node.training.loop import BEST, HISTORY, RECIPE
from dicom_node.training.recipe import RECIPE_FILE, Recipe, Texts, read_recipe
from dicom_node.training.severity import export_suite


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


def _drawn(data: Path) -> tuple[Case, ...]:
    return tuple(case for case in read_cases(data) if case.mask is not None)


def write_bundle(folder: Path, document: Mapping[str, Any], network: Any) -> Bundle:
    """Write manifest and self-test, and return the bundle; see `store_weights` for the weights.

    The manifest's table of the whole cost is made here; the bundles of its trunks are there.
    """
    (folder / MANIFEST).write_text(toml_text(document), encoding="utf8")
    whole = cost_of(open_bundle(folder.parent, folder.name)).model_dump()
    (folder / MANIFEST).write_text(toml_text({**document, "cost": whole}), encoding="utf8")
    bundle = open_bundle(folder.parent, folder.name)
    (folder / SELF_TEST).write_text(
        json.dumps(self_test_document(bundle, network), indent=1) + "\n", encoding="utf8"
    )
    return bundle


def store_weights(network: Any, folder: Path, version: str) -> dict[str, Any]:
    """Write the weights alone and return the manifest's table of them.

    Kernels are stored in half precision; norms and biases keep theirs. The network is left with
    what was stored, so that everything measured from here on is measured on that.
    """
    import h5py

    temporary = folder / "new.weights.h5"
    network.save_weights(temporary)
    with h5py.File(temporary, "r") as full, h5py.File(folder / "half.h5", "w") as half:
        full.visititems(lambda name, item: _copy(name, item, half))
        for name, value in full.attrs.items():
            half.attrs[name] = value
    (folder / "half.h5").replace(temporary)
    network.load_weights(temporary)
    digest = digest_of(temporary)
    name = f"{version}-{digest.removeprefix('sha256:')[:8]}.weights.h5"
    temporary.replace(folder / name)
    return {
        "file": name,
        "digest": digest,
        "parameters": cost.parameters(network),
        "macs": cost.macs(network),
    }


def _copy(name: str, item: Any, half: Any) -> None:
    """Copy one group or array of a weights file; arrays of two and more dimensions are halved."""
    import h5py

    if isinstance(item, h5py.Group):
        copied = half.require_group(name)
    else:
        kind = "float16" if item.ndim > 1 and item.dtype == "float32" else item.dtype
        copied = half.create_dataset(name, data=item[()].astype(kind), track_times=False)
    for key, value in item.attrs.items():
        copied.attrs[key] = value


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


def _texts(models: Path, bundle_id: str) -> Texts:
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
    recipe: Recipe, texts: Texts, run: Path, cases: tuple[Case, ...], contract: InputContract
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


def epochs_table(run: Path) -> dict[str, Any]:
    """Return how many epochs a run had and which one was chosen."""
    lines = (run / HISTORY).read_text(encoding="utf8").splitlines()
    epochs = [json.loads(line) for line in lines]
    best = max(found["epoch"] for found in epochs if found["best"])
    return {"epochs": len(epochs), "best_epoch": best}


def input_table(contract: InputContract, lungs: str) -> dict[str, Any]:
    """Return the manifest's table of an input contract; what is as by default is left out."""
    table = asdict(contract)
    plain = {"region": "film", "margin": 0.0, "outside": "kept"}
    table = {key: value for key, value in table.items() if plain.get(key) != value}
    return table | ({"lungs": lungs} if lungs else {})


def training_table(data: str, cases: tuple[Case, ...]) -> dict[str, Any]:
    """Return the manifest's table of what was learned from, without the epochs."""
    taught = of_split(cases, "train")
    return {
        "data": data,
        "films": len(taught),
        "patients": len({case.patient for case in taught}),
        "validation_films": len(of_split(cases, "val")),
    }


def toml_text(document: Mapping[str, Any]) -> str:
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
