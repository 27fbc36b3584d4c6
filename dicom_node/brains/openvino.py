"""The brain that is OpenVINO: exported functions on the CPU, in bfloat16 where it computes that.

The same functions as `dicom_node.brains.keras` runs (trunk, heads and the gradient of Grad-CAM), in
three fifths of its time. Needs the extra ``cpu``; TensorFlow only to export.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dicom_node.brains import Answers, ComputedOn
from dicom_node.brains.exported import Contents
from dicom_node.brains.models import answering
from dicom_node.imaging.prepare import Float

Precision = Literal["bf16", "f32"]

NAME = "openvino"


def is_installed() -> bool:
    """Whether OpenVINO is here; it is not loaded."""
    return find_spec(NAME) is not None


def version() -> str:
    """Return OpenVINO's version, without what it was built from."""
    import openvino

    return str(openvino.__version__).partition("-")[0]


def computes(precision: Precision) -> bool:
    """Whether this processor has instructions for a precision."""
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision == "f32" or "BF16" in able


class OpenVinoBrain:
    """Answers by the functions of a folder. ``precision``: of the sums; answers are float32.

    Each thread has memory of its own. A call uses all cores of this process, as Keras' do; with
    ``abreast`` it uses one, and as many calls as there are cores are computed at once, which
    answers more films in the same time. ``cores``: how many; 0: all that this process may use.
    Raises `RuntimeError` for what is no function of OpenVINO.
    """

    device: ComputedOn = "cpu"

    def __init__(
        self,
        folder: Path,
        contents: Contents,
        precision: Precision,
        *,
        cores: int = 0,
        abreast: bool = False,
    ) -> None:
        import openvino

        self.name = f"{NAME} {version()} {precision}"
        core, threads = openvino.Core(), cores or len(os.sched_getaffinity(0))
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": threads if abreast else 1,
            "INFERENCE_NUM_THREADS": threads,
            # Several workers on one machine would all be bound to its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._outputs: Mapping[str, tuple[str, ...]] = contents.outputs
        self._compiled = {
            name: core.compile_model(core.read_model(folder / f"{name}.xml"), "CPU", options)
            for name in contents.outputs
        }
        self._requests = threading.local()

    def answer(self, model: str, films: Float, *, explain: bool) -> Answers:
        """Return what a model says of films; see `Brain`."""
        return self.run(answering(self._compiled, model, explain=explain), films)

    def run(self, function: str, films: Float) -> Answers:
        """Return what a function says of films. Raises KeyError for one that is not here."""
        found = self._request(function).infer([np.ascontiguousarray(films, np.float32)])
        return {key: found[place] for place, key in enumerate(self._outputs[function])}

    def _request(self, name: str) -> Any:
        mine: dict[str, Any] = self._requests.__dict__
        if name not in mine:
            mine[name] = self._compiled[name].create_infer_request()
        return mine[name]
