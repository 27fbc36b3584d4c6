"""Names and shapes of what a network takes and gives, read in a process of its own.

Nobody vouches for the file: what it does to the process that reads it is a refusal, and no more.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dicom_node.brains.confined import bare_environment, confine, give_up_sockets
from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.onnx_files import wanted_files
from dicom_node.brains.runtimes import load_engine
from dicom_node.errors import NoAnswer

START_SECONDS = 90.0
"""How long it may take: TensorFlow alone needs many to start."""

_MOST_SAID = 1 << 20

_EXTRA = {"onnx": ("onnxruntime", "onnx"), "openvino": ("openvino", "cpu")}


@dataclass(frozen=True, slots=True)
class NamedShape:
    """One input or output. ``shape``: with the films first; None: any."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class NetworkShapes:
    """What a network takes and gives."""

    inputs: tuple[NamedShape, ...]
    outputs: tuple[NamedShape, ...]


def shapes_of(path: Path, engine: str, memory_mb: int = 4096) -> NetworkShapes:
    """Return names and shapes of a network's inputs and outputs.

    Raises `NoAnswer` for what the engine cannot read, or not in so much memory.
    """
    command = [sys.executable, "-P", "-m", "dicom_node.brains.shapes"]
    command += [engine, str(path.absolute()), str(memory_mb)]
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run(
                command,
                stdout=said,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                env=bare_environment(),
                cwd="/",
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{path.name} could not be read in {START_SECONDS:g} s.") from None
        said.seek(max(0, said.seek(0, os.SEEK_END) - _MOST_SAID))
        lines = said.read().splitlines()
    try:
        told = _Reply.model_validate_json(lines[-1])
    except (IndexError, ValueError):
        raise NoAnswer(f"{path.name} could not be read: its process ended by itself.") from None
    if told.error:
        raise NoAnswer(f"{path.name} cannot be read as {engine}: {told.error}.")
    return shapes_told(told.inputs, told.outputs)


Told = tuple[str, list[int | None]]
"""Name and shape of a tensor, as one process tells another."""


class _Reply(BaseModel):
    """What that process says, believed no more than a file that somebody sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str = Field(default="", max_length=400)
    inputs: list[Told] = []
    outputs: list[Told] = []


def shapes_told(inputs: Iterable[Told], outputs: Iterable[Told]) -> NetworkShapes:
    """Return what was told as values."""
    both = [
        tuple(NamedShape(name, tuple(shape)) for name, shape in each) for each in (inputs, outputs)
    ]
    return NetworkShapes(*both)


def _told(pairs: Iterable[tuple[str, Iterable[object]]]) -> list[Told]:
    return [
        (name, [side if isinstance(side, int) and side > 0 else None for side in shape])
        for name, shape in pairs
    ]


def _onnx(path: Path) -> tuple[list[Told], list[Told]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    # ONNX Runtime takes a form of its own as well, and reads that without checking it.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # From bytes it finds no other file.
    data = path.read_bytes()
    given: Any = str(path) if wanted_files(data) else data
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return (
        _told((each.name, each.shape) for each in session.get_inputs()),
        _told((each.name, each.shape) for each in session.get_outputs()),
    )


def _openvino(path: Path) -> tuple[list[Told], list[Told]]:
    import openvino

    # OpenVINO takes many forms, whatever a file is called; some of them reach further files.
    data, beside = path.read_bytes(), path.with_suffix(".bin")
    if not data.lstrip().startswith(b"<"):
        raise NotComputable("it is no file of OpenVINO's (.xml)")
    model = openvino.Core().read_model(data, beside.read_bytes() if beside.is_file() else b"")

    def told(ports: Iterable[Any]) -> list[Told]:
        return _told(
            (
                port.get_any_name() if port.get_names() else str(number),
                [side.get_length() if side.is_static else None for side in port.partial_shape],
            )
            for number, port in enumerate(ports)
        )

    return told(model.inputs), told(model.outputs)


def _saved_model(path: Path) -> tuple[list[Told], list[Told]]:
    import tensorflow as tf

    from dicom_node.brains.saved_models import check_operations

    check_operations(path)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    return (
        _told((name, spec.shape.as_list()) for name, spec in inputs.items()),
        _told((name, spec.shape.as_list()) for name, spec in signature.structured_outputs.items()),
    )


def _beside(path: Path, engine: str) -> list[Path]:
    """Return the files in its folder that a file has weights in; a manifest will name them."""
    if engine == "openvino":
        return [path.with_suffix(".bin")]
    if engine != "onnx":
        return []
    names = wanted_files(path.read_bytes())
    if outside := [name for name in names if Path(name).name != name]:
        raise NotComputable(f"it wants weights from another folder: {outside[0][:100]}")
    return [path.with_name(name) for name in names]


def read_shapes(path: Path, engine: str) -> tuple[list[Told], list[Told]]:
    """Return inputs and outputs, read in this process. Raises what the engine raises."""
    return {"onnx": _onnx, "openvino": _openvino, "saved-model": _saved_model}[engine](path)


def _main() -> int:
    engine, path, memory_mb = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_SAID, _MOST_SAID))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 1_000_000,) * 2)
    give_up_sockets()
    load_engine(engine)
    try:
        confine([path, *_beside(path, engine)])
        inputs, outputs = read_shapes(path, engine)
        told: dict[str, object] = {"inputs": inputs, "outputs": outputs}
    except ImportError:
        package, extra = _EXTRA.get(engine, (engine, engine))
        told = {"error": f"{package} is not installed here: install dicom-node[{extra}]"}
    except OSError as error:
        told = {"error": error.strerror or "it cannot be read"}
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is its refusal
        told = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
    sys.stdout.write(f"\n{json.dumps(told)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
