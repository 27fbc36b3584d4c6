"""Networks of random weights as ONNX files, and bundles that declare what they say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dicom_node.bundles.declared import Declaration, Declared, digest_of_weights

Outputs = Mapping[str, tuple[int, ...]]
"""Shape of each output without the first axis: ``{"logits": (18,)}``."""


def small_onnx(
    path: Path,
    outputs: Outputs,
    *,
    rows: int = 32,
    columns: int = 32,
    channels: int = 1,
    seed: int = 0,
    constant: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Write a network of one convolution and one dense layer an output, channels first.

    ``constant``: outputs that are always these numbers, whatever the film.
    """
    draw = np.random.default_rng(seed)
    given = helper.make_tensor_value_info(
        "input", TensorProto.FLOAT, ["n", channels, rows, columns]
    )
    kernel = numpy_helper.from_array(
        draw.normal(0, 0.5, (4, channels, 3, 3)).astype(np.float32), "kernel"
    )
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["edges"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["edges"], ["seen"]),
        helper.make_node("AveragePool", ["seen"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    values, told = [kernel], []
    features = 4 * (rows // 8) * (columns // 8)
    for name, shape in outputs.items():
        size = int(np.prod(shape))
        if constant and name in constant:
            weights, bias = np.zeros((features, size)), np.asarray(constant[name], np.float32)
        else:
            weights, bias = draw.normal(0, 1, (features, size)), draw.normal(0, 1, size)
        values += [
            numpy_helper.from_array(weights.astype(np.float32), f"{name} weights"),
            numpy_helper.from_array(np.ravel(bias).astype(np.float32), f"{name} bias"),
            numpy_helper.from_array(np.array([-1, *shape], np.int64), f"{name} shape"),
        ]
        nodes += [
            helper.make_node("Gemm", ["flat", f"{name} weights", f"{name} bias"], [f"{name} flat"]),
            helper.make_node("Reshape", [f"{name} flat", f"{name} shape"], [name]),
        ]
        told.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]))
    graph = helper.make_graph(nodes, "small", [given], told, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


CHEST = 'body_parts = ["CHEST"]\nviews = ["PA", "AP"]'
"""Lines of [eats] for frontal films of the chest."""

LABELS = """
[[says]]
key = "findings"
kind = "labels"
headline = true
severity = 6.0
[[says.classes]]
key = "effusion"
threshold = 0.5
finding = { value = "60046008", scheme = "SCT", meaning = "Pleural effusion" }
[[says.classes]]
key = "pneumothorax"
threshold = 0.5
finding = { value = "36118008", scheme = "SCT", meaning = "Pneumothorax" }
[[says.classes]]
key = "cardiomegaly"
threshold = 0.5
finding = { value = "8186001", scheme = "SCT", meaning = "Cardiomegaly" }

[template.en.findings]
name = "Chest findings"
comment = "Each finding by itself; a network of random weights."
[template.en.findings.classes]
effusion = "Pleural effusion"
pneumothorax = "Pneumothorax"
cardiomegaly = "Large heart"

[template.de.findings]
name = "Befunde"
[template.de.findings.classes]
effusion = "Pleuraerguss"
pneumothorax = "Pneumothorax"
cardiomegaly = "Herzvergrößerung"
"""
LABELS_OUTPUTS: Outputs = {"logits": (3,)}

BOXES = """
[[says]]
key = "nodules"
kind = "region"
output = "scores"
boxes = "boxes"
threshold = 0.5
headline = true
finding = { value = "27925004", scheme = "SCT", meaning = "Nodule" }

[template.en.nodules]
name = "Nodules"
"""
BOXES_OUTPUTS: Outputs = {"scores": (5,), "boxes": (5, 4)}

LENGTH = """
[[says]]
key = "heart_width"
kind = "measurement"
measures = "points"
unit = "mm"
range = [0.0, 400.0]
threshold = 150.0
headline = true
finding = { value = "8186001", scheme = "SCT", meaning = "Cardiomegaly" }

[template.en.heart_width]
name = "Transverse width of the heart"
"""
LENGTH_OUTPUTS: Outputs = {"points": (4,)}

CLASS = """
[[says]]
key = "projection"
kind = "class"
[[says.classes]]
key = "standing"
[[says.classes]]
key = "lying"
"""
CLASS_OUTPUTS: Outputs = {"logits": (2,)}

LEVEL = """
[[says]]
key = "oedema"
kind = "level"
headline = true
[[says.classes]]
key = "none"
[[says.classes]]
key = "vascular"
finding = { value = "19242006", scheme = "SCT", meaning = "Pulmonary edema" }
[[says.classes]]
key = "alveolar"
finding = { value = "19242006", scheme = "SCT", meaning = "Pulmonary edema" }
"""
LEVEL_OUTPUTS: Outputs = {"logits": (3,)}

SCORE = """
[[says]]
key = "congestion"
kind = "score"
range = [0.0, 10.0]
unit = "{0:10}"
threshold = 5.0
half_width = 1.5
headline = true
"""
SCORE_OUTPUTS: Outputs = {"score": (1,)}

MASK = """
[[says]]
key = "consolidation"
kind = "mask"
threshold = 0.5
finding = { value = "95436008", scheme = "SCT", meaning = "Lung consolidation" }
"""
MASK_OUTPUTS: Outputs = {"mask": (1, 16, 16)}


def declared_bundle(
    folder: Path,
    bundle_id: str,
    says: str,
    outputs: Outputs,
    *,
    eats: str = CHEST,
    head: str = "",
    pixels: str = "",
    seed: int = 0,
    constant: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Write ``folder/bundle_id`` with a network of random weights; return its folder.

    ``head``: further lines at the top; ``eats`` and ``pixels``: further lines of these tables.
    """
    place = folder / bundle_id
    weights = small_onnx(place / "network.onnx", outputs, seed=seed, constant=constant)
    (place / "model.toml").write_text(
        f'''id = "{bundle_id}"
title = "{bundle_id.replace("-", " ").capitalize()}"
version = "1.0.0"
engine = "onnx"
intended_use = "Tests only: its weights are random."
licence = "Apache-2.0"
{head}
[eats]
{eats}

[eats.pixels]
rows = 32
columns = 32
{pixels}

[weights]
file = "network.onnx"
digest = "{digest_of_weights(weights)}"
{says}''',
        encoding="utf-8",
    )
    (place / "CARD.md").write_text(f"# {bundle_id}\n\nRandom weights.\n", encoding="utf-8")
    return place


def manifest_alone(says: str, pixels: str = "rows = 32\ncolumns = 32") -> Declared:
    """Return a bundle that is nowhere on the disk, of the id ``net``."""
    tables = tomllib.loads(
        f'id = "net"\ntitle = "Net"\nversion = "1.0.0"\nengine = "onnx"\nintended_use = "Tests."\n'
        f'licence = "None."\n[eats.pixels]\n{pixels}\n[weights]\nfile = "a.onnx"\n'
        f'digest = "sha256:{"0" * 64}"\n{says}'
    )
    return Declared(Path("net"), Declaration.model_validate(tables))


def observations_of(document: str) -> list[dict[str, Any]]:
    """Return the observations of findings in their JSON form."""
    found: list[dict[str, Any]] = json.loads(document)["observations"]
    return found


OUTPUTS: Mapping[str, tuple[str, Outputs]] = {
    "labels": (LABELS, LABELS_OUTPUTS),
    "boxes": (BOXES, BOXES_OUTPUTS),
    "length": (LENGTH, LENGTH_OUTPUTS),
    "class": (CLASS, CLASS_OUTPUTS),
    "level": (LEVEL, LEVEL_OUTPUTS),
    "score": (SCORE, SCORE_OUTPUTS),
    "mask": (MASK, MASK_OUTPUTS),
}
"""What each kind of network says, and its outputs."""


def declaration(bundle_id: str, says: str, **changes: str) -> Declaration:
    """Return a manifest without a network behind it. ``changes``: values at its top."""
    head = {"id": bundle_id, "title": bundle_id.replace("-", " ").capitalize(), **changes}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in head.items())
    document = tomllib.loads(f"""{text}
version = "1.0.0"
engine = "onnx"
intended_use = "Tests only: its weights are random."
licence = "Apache-2.0"
[eats]
{CHEST}
[eats.pixels]
rows = 32
columns = 32
[weights]
file = "network.onnx"
digest = "sha256:{"ab" * 32}"
{says}""")
    return Declaration.model_validate_json(json.dumps(document), strict=True)
