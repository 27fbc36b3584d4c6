"""What the metadata of a MONAI bundle tell of its network (``configs/metadata.json``).

Names, sizes, channels, values and classes are read from ``network_data_format``
(https://docs.monai.io/en/stable/mb_specification.html). Nothing of the bundle is run: its
transforms are Python, its ``.pt`` files pickles, its ``.ts`` files code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.errors import BundleContractBroken

_PLACES = ("configs/metadata.json", "metadata.json")
_CODE = (".ts", ".pt", ".pth")
_TO_ONNX = (
    "Export it where you trust its code: python -m monai.bundle onnx_export --net_id network_def"
    " --filepath models/model.onnx --ckpt_file models/model.pt --meta_file configs/metadata.json"
    " --config_file configs/inference.json"
)
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class MonaiInput:
    """The image that the network wants; 0 and None where the metadata do not tell."""

    name: str = ""
    rows: int = 0
    columns: int = 0
    channels: int = 0
    values: tuple[float, float] | None = None
    modality: str = ""


@dataclass(frozen=True, slots=True)
class MonaiOutput:
    """One output: its name, its channels' names in order, and what the metadata call it."""

    name: str
    classes: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class MonaiBundle:
    """What is taken of a MONAI bundle. ``network``: its ONNX file."""

    network: Path
    image: MonaiInput
    outputs: tuple[MonaiOutput, ...]
    title: str = ""
    version: str = ""
    licence: str = ""
    intended_use: str = ""


def metadata_of(folder: Path) -> Path | None:
    """Return the metadata of a MONAI bundle; None where a folder is none."""
    return next((folder / place for place in _PLACES if (folder / place).is_file()), None)


def read_monai(folder: Path) -> MonaiBundle:
    """Read a MONAI bundle. Raises `BundleContractBroken`, of TorchScript with what to do."""
    place = metadata_of(folder)
    if place is None:
        raise BundleContractBroken(
            f"{folder.name} is no MONAI bundle: it has no configs/metadata.json.",
            remedy="Name the file of the network itself.",
        )
    told = _document(place, f"{folder.name}/{place.relative_to(folder)}")
    network = _onnx_of(folder)
    form = _table(told, "network_data_format")
    inputs, outputs = _table(form, "inputs"), _table(form, "outputs")
    name = "image" if "image" in inputs else next(iter(inputs), "")
    return MonaiBundle(
        network,
        _image(name, _table(inputs, name)),
        tuple(_output(each, _table(outputs, each)) for each in outputs),
        title=_text(told, "name") or _text(told, "task"),
        version=_text(told, "version"),
        licence=_text(told, "license") or _text(told, "copyright"),
        intended_use=_text(told, "intended_use"),
    )


def _onnx_of(folder: Path) -> Path:
    """Return the only ONNX file, or models/model.onnx of several."""
    found = sorted(path for path in folder.rglob("*.onnx") if not path.is_symlink())
    if len(found) > 1:
        found = [path for path in found if path.name == "model.onnx"][:1] or found
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found)
        raise BundleContractBroken(
            f"{folder.name} holds several networks: {names}.",
            remedy="Name one of these files with --from.",
        )
    code = sorted(path.name for path in folder.rglob("*") if path.suffix in _CODE)
    if code:
        raise BundleContractBroken(
            f"{folder.name} holds its weights as {', '.join(code)} alone: such files hold code,"
            " and are never loaded.",
            remedy=_TO_ONNX,
        )
    raise BundleContractBroken(f"{folder.name} holds no network (models/model.onnx).")


def _document(path: Path, name: str) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise BundleContractBroken(f"{name} cannot be read as JSON.") from fault
    if not isinstance(told, dict):
        raise BundleContractBroken(f"{name} holds no table.")
    return told


def _image(name: str, told: Mapping[str, Any]) -> MonaiInput:
    shape = told.get("spatial_shape")
    sizes = [each for each in shape if _is_size(each)] if isinstance(shape, list) else []
    rows, columns = sizes if len(sizes) == 2 else (0, 0)
    channels = told.get("num_channels")
    count = int(channels) if channels is not None and _is_size(channels) else 0
    return MonaiInput(
        name, rows, columns, count, _values(told),
        _text(told, "modality").upper(),
    )  # fmt: skip


def _output(name: str, told: Mapping[str, Any]) -> MonaiOutput:
    channels = _table(told, "channel_def")
    numbered = sorted((int(key), str(value)) for key, value in channels.items() if key.isdigit())
    return MonaiOutput(name, tuple(value for _, value in numbered), _text(told, "type"))


def _values(told: Mapping[str, Any]) -> tuple[float, float] | None:
    found = told.get("value_range")
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != 2:
        return None
    if not all(isinstance(each, int | float) and abs(each) < 1e9 for each in found):
        return None
    low, high = map(float, found)
    return (low, high) if low < high else None


def _table(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = told.get(key)
    return found if isinstance(found, dict) else {}


def _text(told: Mapping[str, Any], key: str) -> str:
    found = told.get(key)
    return " ".join(found.split()) if isinstance(found, str) else ""


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096
