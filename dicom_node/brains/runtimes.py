"""What computes a declared bundle's network in its own process: loaded there alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.bundles.declared import Declaration, Declared
from dicom_node.imaging.prepare import Float


class NotComputable(Exception):
    """The network cannot be loaded, or does not take such films."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A loaded network. ``name``: engine and version.

    ``run``: films as its input wants them, float32 with the films first, to its outputs by name.
    """

    name: str
    run: Callable[[Float], Mapping[str, Float]]


def load(bundle: Declared, device: str, cores: int) -> Runtime:
    """Return the network of a bundle, loaded. Raises `NotComputable`, and what engines raise."""
    load_by = {"onnx": _onnx}.get(bundle.manifest.engine)
    if load_by is None:
        raise NotComputable(f"the engine {bundle.manifest.engine} is not known here")
    return load_by(bundle.folder / bundle.manifest.weights.file, bundle.manifest, device, cores)


_KINDS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


def _onnx(path: Path, manifest: Declaration, device: str, cores: int) -> Runtime:
    try:
        import onnxruntime
    except ImportError:
        raise NotComputable(
            "ONNX Runtime is not installed here: install dicom-node with its extra onnx"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = cores, 1
    options.log_severity_level = 3
    known = onnxruntime.get_available_providers()
    wanted = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in known:
        wanted.insert(0, "CUDAExecutionProvider")
    # From bytes no file beside it is found: weights outside of it must be named in weights.also.
    given: Any = str(path) if manifest.weights.also else path.read_bytes()
    session = onnxruntime.InferenceSession(given, options, providers=wanted)
    inputs = {each.name: each for each in session.get_inputs()}
    chosen = inputs.get(manifest.eats.pixels.input) if manifest.eats.pixels.input else None
    if chosen is None:
        if manifest.eats.pixels.input or len(inputs) != 1:
            raise NotComputable(f"name its input in eats.pixels; there are: {', '.join(inputs)}")
        (chosen,) = inputs.values()
    kinds = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(double)": np.float64,
    }
    kind = kinds.get(chosen.type)
    if kind is None:
        raise NotComputable(f"its input is {chosen.type}, not of floating point numbers")
    names = [each.name for each in session.get_outputs()]
    alone = isinstance(chosen.shape[0], int) and chosen.shape[0] == 1 if chosen.shape else False

    def run(films: Float) -> Mapping[str, Float]:
        parts = [films[place : place + 1] for place in range(len(films))] if alone else [films]
        told = [session.run(names, {chosen.name: part.astype(kind)}) for part in parts]
        return {
            name: np.concatenate(
                [
                    _numbers(name, one[place], len(part))
                    for one, part in zip(told, parts, strict=True)
                ]
            )
            for place, name in enumerate(names)
        }

    return Runtime(f"onnxruntime {onnxruntime.__version__}", run)


def _numbers(name: str, value: Any, films: int) -> Float:
    """Return an output as float32 with the films first. Raises `NotComputable`."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise NotComputable(f"output {name!r} holds no numbers")
    if not array.ndim or array.shape[0] != films:
        if films != 1:
            raise NotComputable(f"output {name!r} does not have the films first")
        array = array[None]
    return np.ascontiguousarray(array, np.float32)
