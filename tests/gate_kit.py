"""Gates that say of every film what a test wants them to: the real network, with biases alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dicom_node.analysis.gate import FLAGS, KINDS
from dicom_node.bundles import Bundle, digest_of, open_bundle
from dicom_node.bundles.network import self_test_document
from dicom_node.findings import TURNS
from dicom_node.networks import cost, registry

LEAST = {
    "frontal_chest": 0.5, "quarter_right": 0.9, "upside_down": 0.9, "quarter_left": 0.9,
    "inverted": 0.9, "mirrored": 0.9, "child": 0.9,
}  # fmt: skip

_MANIFEST = """
id = "{name}"
title = "Chest gate of the tests"
version = "0.0.1"
task = "{task}"
network = "chest-gate"
intended_use = "Tests of the node."
licence = "none"
input = {{ rows = 96, columns = 96, channels = 1, crop_top = 0.0, intensity = "unit" }}
outputs = [
  {{ name = "kind", kind = "class-logits", range = [0.0, 1.0], classes = {kinds} }},
  {{ name = "turned", kind = "class-logits", range = [0.0, 1.0], classes = {turns} }},
  {{ name = "flags", kind = "flag-logits", range = [0.0, 1.0], classes = {flags} }},
]
thresholds = {{ least = {{ {least} }} }}
calibration = {{ fitted_on = "val" }}
weights = {{ file = "{file}", digest = "{digest}", parameters = {parameters}, macs = {macs} }}
training = {{ data = "none", films = 1, patients = 1, validation_films = 1, epochs = 1, best_epoch = 1 }}
"""  # noqa: E501 - TOML has its inline tables in one line


def say(
    network: Any,
    *,
    kind: str = "frontal_chest",
    turned: str = "upright",
    flags: tuple[str, ...] = (),
    sure: float = 0.98,
) -> None:
    """Let a gate's network say so of every film from now on, with that probability."""
    odds = math.log(sure / (1 - sure))
    _bias(network, "kind", _logits(tuple(KINDS), kind, sure))
    _bias(network, "turned", _logits(TURNS, turned, sure))
    _bias(network, "flags", {flag: odds if flag in flags else -odds for flag in FLAGS})


def write_gate(folder: Path, name: str = "chest-gate", *, task: str = "gate") -> Bundle:
    """Write the bundle ``folder/name``, of which every film is an upright frontal chest film."""
    network = registry.build("chest-gate", rows=96, columns=96, channels=1, classes=len(KINDS))
    say(network)
    home = folder / name
    home.mkdir(parents=True)
    network.save_weights(home / "new.weights.h5")
    digest = digest_of(home / "new.weights.h5")
    file = f"0.0.1-{digest.removeprefix('sha256:')[:8]}.weights.h5"
    (home / "new.weights.h5").rename(home / file)
    said = {
        "name": name, "task": task, "file": file, "digest": digest,
        "parameters": cost.parameters(network), "macs": cost.macs(network),
        "kinds": json.dumps(tuple(KINDS)), "turns": json.dumps(TURNS), "flags": json.dumps(FLAGS),
        "least": ", ".join(f"{key} = {value}" for key, value in LEAST.items()),
    }  # fmt: skip
    (home / "model.toml").write_text(_MANIFEST.format_map(said), "utf-8")
    bundle = open_bundle(folder, name)
    document = json.dumps(self_test_document(bundle, network))
    files = {"self_test.json": document, "CARD.md": "# Tests\n", "evaluation.json": "{}"}
    for other, text in files.items():
        (home / other).write_text(text, "utf-8")
    return bundle


def _logits(classes: tuple[str, ...], said: str, sure: float) -> Mapping[str, float]:
    """Return logits of which softmax makes ``sure`` for one class, the rest evenly."""
    rest = (1 - sure) / (len(classes) - 1)
    return {each: math.log(sure if each == said else rest) for each in classes}


def _bias(network: Any, output: str, logits: Mapping[str, float]) -> None:
    layer = network.get_layer(output)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * 0, bias * 0 + list(logits.values())])
