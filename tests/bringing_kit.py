"""Bundles that are made, checked and added without processes of their own: fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.brains.runtimes import load
from dicom_node.brains.shapes import NetworkShapes, read_shapes, shapes_told
from dicom_node.bundles.declared import Declared
from dicom_node.errors import NoAnswer
from dicom_node.imaging.prepare import Float
from dicom_node.line import check_bundle, new_bundle
from tests.declared_kit import Outputs, declared_bundle


class InProcess:
    """Computes an ONNX network here, without a process of its own: for fast tests."""

    def __init__(self, bundle: Declared) -> None:
        self._bundle = bundle
        self.name = ""

    def answer(self, films: Float) -> Mapping[str, Float]:
        try:
            runtime = load(self._bundle, "cpu", 1)
            self.name = runtime.name
            if self._bundle.manifest.eats.pixels.layout == "channels-first":
                films = np.moveaxis(films, -1, 1)
            return runtime.run(np.ascontiguousarray(films))
        except Exception as error:
            raise NoAnswer(f"it does not answer: {error}") from error

    def close(self) -> None:
        pass


def shapes_here(path: Path, engine: str) -> NetworkShapes:
    """Read the shapes of a network's tensors in this process."""
    try:
        return shapes_told(*read_shapes(path, engine))
    except Exception as error:
        raise NoAnswer(f"{path.name} cannot be read: {error}") from error


@contextmanager
def without_processes() -> Iterator[None]:
    """Let new bundles and checks compute here: starting a process takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (check_bundle, new_bundle):
            patch.setattr(module, "Apart", InProcess)
            patch.setattr(module, "shapes_of", shapes_here)
        yield


def checked_here(folder: Path) -> check_bundle.CheckedBundle:
    """Check a bundle without processes of its own."""
    with without_processes():
        return check_bundle.check_bundle(folder)


def whole_bundle(folder: Path, bundle_id: str, says: str, outputs: Outputs, **more: Any) -> Path:
    """Write a bundle as `declared_bundle` does, with its self-test: one without a fault."""
    place = declared_bundle(folder, bundle_id, says, outputs, **more)
    with without_processes():
        check_bundle.renew_self_test(place)
    return place
