"""Declared bundles that break in every way that a node has to bear, one folder each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dicom_node.bundles.declared import digest_of_weights
from tests import declared_kit as kit

_LITTLE = "memory_mb = 64\nseconds = 20.0"
_SHORT = "seconds = 1.0"


def _rewritten(place: Path, model: onnx.ModelProto) -> None:
    """Put another network into a bundle, with its digest."""
    weights, manifest = place / "network.onnx", place / "model.toml"
    old = digest_of_weights(weights)
    onnx.checker.check_model(model)
    onnx.save(model, weights)
    text = manifest.read_text("utf-8").replace(old, digest_of_weights(weights))
    manifest.write_text(text, "utf-8")


def _model(nodes: list[onnx.NodeProto], values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 32, 32])
    told = helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])
    weights = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "broken", [given], [told], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def hungry() -> onnx.ModelProto:
    """Return a network that wants ten gigabytes for a number."""
    mean = helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0)
    wide = helper.make_node("Expand", ["mean", "shape"], ["wide"])
    root = helper.make_node("Exp", ["wide"], ["root"])
    most = helper.make_node("ReduceMax", ["root"], ["most"], keepdims=0)
    flat = helper.make_node("Reshape", ["most", "one"], ["score"])
    shape = np.array([50_000, 50_000], np.int64)
    return _model([mean, wide, root, most, flat], {"shape": shape, "one": np.array([1])})


def endless() -> onnx.ModelProto:
    """Return a network that does not come to an end this year."""
    names = ("turn", "on", "so_far")
    kinds = (TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT)
    given = [helper.make_tensor_value_info(n, k, []) for n, k in zip(names, kinds, strict=True)]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["so_far", "so_far"], ["more"]),
        ],
        "turn",
        given,
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, []),
        ],
    )
    mean = helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0)
    loop = helper.make_node("Loop", ["turns", "always", "mean"], ["last"], body=body)
    flat = helper.make_node("Reshape", ["last", "one"], ["score"])
    return _model(
        [mean, loop, flat],
        {
            "turns": np.array(10**15, np.int64),
            "always": np.ones((), bool),
            "one": np.array([1]),
        },
    )


def not_numbers(folder: Path) -> None:
    kit.declared_bundle(
        folder, "not-numbers", kit.LABELS, kit.LABELS_OUTPUTS, constant={"logits": [np.nan] * 3}
    )


def wrong_shape(folder: Path) -> None:
    kit.declared_bundle(folder, "wrong-shape", kit.BOXES, {"scores": (5,), "boxes": (4, 4)})


def no_output(folder: Path) -> None:
    kit.declared_bundle(folder, "no-output", kit.LENGTH, {"elsewhere": (4,), "scores": (1,)})


def other_weights(folder: Path) -> None:
    place = kit.declared_bundle(folder, "other-weights", kit.MASK, kit.MASK_OUTPUTS)
    with (place / "network.onnx").open("ab") as file:
        file.write(b"\0")


def too_hungry(folder: Path) -> None:
    place = kit.declared_bundle(folder, "too-hungry", kit.SCORE, kit.SCORE_OUTPUTS, head=_LITTLE)
    _rewritten(place, hungry())


def too_slow(folder: Path) -> None:
    place = kit.declared_bundle(folder, "too-slow", kit.SCORE, kit.SCORE_OUTPUTS, head=_SHORT)
    _rewritten(place, endless())


BROKEN: Mapping[str, Callable[[Path], None]] = {
    "not-numbers": not_numbers,
    "wrong-shape": wrong_shape,
    "no-output": no_output,
    "other-weights": other_weights,
    "too-hungry": too_hungry,
    "too-slow": too_slow,
}
"""Who writes which of them."""

REASONS: Mapping[str, str] = {
    "not-numbers": "no numbers",
    "wrong-shape": "boxes",
    "no-output": "output",
    "other-weights": "digest",
    "too-hungry": "memory",
    "too-slow": "stopped after 1 s",
}
"""What the reason that people read says, among other things."""
