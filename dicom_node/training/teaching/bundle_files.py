"""The files of a bundle that was taught: weights in half precision, manifest, self-test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicom_node.bundles import MANIFEST, SELF_TEST, Bundle, digest_of, open_bundle
from dicom_node.bundles.network import cost_of, self_test_document
from dicom_node.imaging.contract import InputContract
from dicom_node.networks import cost
from dicom_node.training.datasets.cases import Case, of_split
from dicom_node.training.teaching.loop import HISTORY


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
    """Return a string, number, list or table of these, on one line."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return json.dumps(value, ensure_ascii=False)
