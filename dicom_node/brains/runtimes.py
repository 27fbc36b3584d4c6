"""What computes a declared bundle's network in its own process: loaded there alone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.onnx_files import wanted_files
from dicom_node.bundles.declared import Declaration, Declared
from dicom_node.imaging.prepare import Float


@dataclass(frozen=True, slots=True)
class Runtime:
    """A loaded network. ``name``: engine and version.

    ``run``: films as its input wants them, float32 with the films first, to its outputs by name.
    """

    name: str
    run: Callable[[Float], Mapping[str, Float]]


def load(bundle: Declared, device: str, cores: int) -> Runtime:
    """Return the network of a bundle, loaded. Raises `NotComputable`, and what engines raise."""
    load_by = {
        "onnx": _onnx,
        "openvino": _openvino,
        "saved-model": _saved_model,
        "keras": _keras,
    }[bundle.manifest.engine]
    return load_by(bundle.folder / bundle.manifest.weights.file, bundle.manifest, device, cores)


def load_engine(engine: str) -> None:
    """Load what computes for an engine, if it is installed: trusted code, before any limit."""
    # Since 1.29 ONNX Runtime reports to its makers unless it is told not to; both names are read.
    os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"
    with suppress(ImportError):
        importlib.import_module(_MODULES[engine])


_MODULES = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "saved-model": "tensorflow",
    "keras": "keras",
}
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
    # ONNX Runtime takes a form of its own as well, and reads that without checking it.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    known = onnxruntime.get_available_providers()
    wanted = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in known:
        wanted.insert(0, "CUDAExecutionProvider")
    data = path.read_bytes()
    for name in sorted(wanted_files(data) - set(manifest.weights.also)):
        raise NotComputable(f"it wants weights from {name[:100]!r}: name that in weights.also")
    given: Any = str(path) if manifest.weights.also else data
    session = onnxruntime.InferenceSession(given, options, providers=wanted)
    inputs = {each.name: each for each in session.get_inputs()}
    chosen = inputs[_chosen(manifest.eats.pixels.input, inputs)]
    kind = _KINDS.get(chosen.type)
    if kind is None:
        raise NotComputable(f"its input is {chosen.type}, not of floating point numbers")
    names = [each.name for each in session.get_outputs()]
    alone = bool(chosen.shape) and chosen.shape[0] == 1

    def run(films: Float) -> Mapping[str, Float]:
        parts = _parts(films, alone=alone)
        told = [session.run(names, {chosen.name: part.astype(kind)}) for part in parts]
        return _joined(names, told, parts)

    return Runtime(f"onnxruntime {onnxruntime.__version__}", run)


def _openvino(path: Path, manifest: Declaration, _device: str, cores: int) -> Runtime:
    try:
        import openvino
    except ImportError:
        raise NotComputable(
            "OpenVINO is not installed here: install dicom-node with its extra cpu"
        ) from None
    options = {
        "INFERENCE_NUM_THREADS": cores,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    data, beside = path.read_bytes(), path.with_suffix(".bin")
    # OpenVINO takes many forms, whatever a file is called; some of them reach further files.
    if not data.lstrip().startswith(b"<"):
        raise NotComputable("it is no file of OpenVINO's (.xml)")
    named = beside.name in manifest.weights.also
    weights = beside.read_bytes() if named else b""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(data, weights), "CPU", options)
    inputs = {each.get_any_name(): each for each in compiled.inputs}
    chosen = _chosen(manifest.eats.pixels.input, inputs)
    names = [each.get_any_name() for each in compiled.outputs]
    shape = inputs[chosen].get_partial_shape()
    alone = bool(len(shape)) and shape[0].is_static and shape[0].get_length() == 1

    def run(films: Float) -> Mapping[str, Float]:
        parts = _parts(films, alone=alone)
        told = [compiled({chosen: part}) for part in parts]
        return _joined(names, [[one[place] for place in range(len(names))] for one in told], parts)

    return Runtime(f"openvino {str(openvino.__version__).partition('-')[0]}", run)


def _saved_model(path: Path, manifest: Declaration, device: str, cores: int) -> Runtime:
    from dicom_node.brains.saved_models import check_operations

    tensorflow = _tensorflow(device, cores)
    check_operations(path)
    loaded = tensorflow.saved_model.load(str(path))
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise NotComputable("the SavedModel has no signature serving_default")
    chosen = _chosen(manifest.eats.pixels.input, signature.structured_input_signature[1])
    names = sorted(signature.structured_outputs)

    def run(films: Float) -> Mapping[str, Float]:
        told = signature(**{chosen: tensorflow.constant(films)})
        return _joined(names, [[told[name].numpy() for name in names]], [films])

    # Without what was loaded its weights would go.
    return Runtime(f"tensorflow {tensorflow.__version__}", _keeping(loaded, run))


def _keeping(_kept: Any, run: Callable[[Float], Mapping[str, Float]]) -> Any:
    return lambda films, _kept=_kept: run(films)


def _keras(path: Path, manifest: Declaration, device: str, cores: int) -> Runtime:
    tensorflow = _tensorflow(device, cores)
    import keras

    from dicom_node.networks import registry
    from dicom_node.networks.keys import KEYS

    if manifest.network not in KEYS:
        raise NotComputable(f"there is no network {manifest.network!r}: see network in model.toml")
    pixels = manifest.eats.pixels
    if pixels.layout != "channels-last":
        raise NotComputable('networks of Keras have layout = "channels-last"')
    shape = {"rows": pixels.rows, "columns": pixels.columns, "channels": pixels.channels}
    if classes := len(manifest.says[0].classes):
        shape["classes"] = classes
    network = registry.build(manifest.network, **shape)
    try:
        network.load_weights(path)
    except (ValueError, KeyError, OSError):
        raise NotComputable(f"the weights do not fit the network {manifest.network}") from None

    def run(films: Float) -> Mapping[str, Float]:
        told = network(films, training=False)
        named = told if isinstance(told, dict) else {"output": told}
        arrays = [keras.ops.convert_to_numpy(value) for value in named.values()]
        return _joined(list(named), [arrays], [films])

    return Runtime(f"keras {keras.__version__}, tensorflow {tensorflow.__version__}", run)


def _tensorflow(device: str, cores: int) -> Any:
    """Return TensorFlow, told which device and how many cores it may use."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    for gpu in tf.config.get_visible_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    return tf


def _chosen(wanted: str, inputs: Collection[str]) -> str:
    """Return the name of the input that takes films. Raises `NotComputable`."""
    if wanted in inputs:
        return wanted
    if wanted or len(inputs) != 1:
        known = ", ".join(inputs)
        raise NotComputable(f"name its input in eats.pixels.input; there are: {known}")
    return next(iter(inputs))


def _parts(films: Float, *, alone: bool) -> list[Float]:
    """Return the films as they are asked about: each by itself where no more are taken."""
    return [films[place : place + 1] for place in range(len(films))] if alone else [films]


def _joined(
    names: Sequence[str], told: Sequence[Sequence[Any]], parts: Sequence[Float]
) -> dict[str, Float]:
    """Return the outputs of all parts by name, with the films first."""
    each = list(zip(told, parts, strict=True))
    return {
        name: np.concatenate([_numbers(name, one[place], len(part)) for one, part in each])
        for place, name in enumerate(names)
    }


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
