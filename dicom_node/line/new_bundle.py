"""From a network's file to the draft of a bundle: what the file tells, what a person told, a guess.

Nothing that executes code is loaded: not TorchScript, no pickle, no archive of Keras.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dicom_node.brains.apart import Apart
from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.onnx_files import wanted_files
from dicom_node.brains.shapes import NamedShape, NetworkShapes, shapes_of
from dicom_node.bundles import CARD, MANIFEST, SELF_TEST
from dicom_node.bundles.declared import (
    SUFFIXES,
    digest_of_weights,
    open_declared,
)
from dicom_node.bundles.drafts import (
    Draft,
    DraftPixels,
    DraftSays,
    card_of,
    id_of,
    key_of,
    manifest_of,
)
from dicom_node.bundles.monai import MonaiBundle, metadata_of, read_monai
from dicom_node.chest import NAMED_KEYS
from dicom_node.errors import BundleContractBroken
from dicom_node.imaging.prepare import Float
from dicom_node.line.self_tests import outputs_of, self_test_text
from dicom_node.observations import ObservationKind as Kind

CLASSED = (Kind.LABELS, Kind.CLASS, Kind.LEVEL)
"""Kinds with a number for each class."""

_CODE = {".pt", ".pth", ".ts", ".pkl", ".pickle", ".joblib", ".keras", ".h5"}
_EXPORT = (
    "Export it to ONNX where you trust its code: torch.onnx.export(network.eval(), example,"
    ' "network.onnx"), or tf2onnx for Keras.'
)
_ID = re.compile(r"[a-z0-9-]{1,40}")
_MOST_CLASSES, _LEAST_SIDE = 1000, 8


@dataclass(frozen=True, slots=True)
class FoundNetwork:
    """A network that a bundle is made of: its file or folder, what lies beside it, its tensors."""

    engine: str
    path: Path
    shapes: NetworkShapes
    beside: tuple[Path, ...] = ()
    monai: MonaiBundle | None = None

    @property
    def given(self) -> NamedShape:
        """The input that a film goes into: that of MONAI's metadata, else the first."""
        named = self.monai.image.name if self.monai else ""
        inputs = self.shapes.inputs
        return next((each for each in inputs if each.name == named), inputs[0])


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person told of a new bundle; None: not told. ``asked``: what needs no mark."""

    id: str | None = None
    title: str | None = None
    kind: Kind | None = None
    classes: tuple[str, ...] | None = None
    activation: str | None = None
    rows: int | None = None
    columns: int | None = None
    channels: int | None = None
    region: str | None = None
    body_parts: tuple[str, ...] | None = None
    views: tuple[str, ...] | None = None
    modalities: tuple[str, ...] | None = None
    licence: str | None = None
    intended_use: str | None = None
    asked: frozenset[str] = field(default_factory=frozenset)


def find_network(source: Path) -> FoundNetwork:
    """Read what a file, or the folder of a SavedModel or a MONAI bundle, tells of its network.

    Raises `BundleContractBroken` for what no engine here takes, with what to do.
    """
    monai = None
    if source.is_dir() and metadata_of(source) is not None:
        monai = read_monai(source)
        source = monai.network
    engine = _engine_of(source)
    beside = tuple(_beside(source, engine))
    shapes = shapes_of(source, engine)
    if not shapes.inputs or not shapes.outputs:
        raise BundleContractBroken(f"{source.name} has no input or no output.")
    return FoundNetwork(engine, source, shapes, beside, monai)


def _engine_of(source: Path) -> str:
    suffix = source.suffix.lower()
    if source.is_dir():
        if (source / "saved_model.pb").is_file():
            return "saved-model"
        code = sorted(path.name for path in source.rglob("*") if path.suffix.lower() in _CODE)
        told = f" ({', '.join(code[:3])}: such files hold code)" if code else ""
        raise BundleContractBroken(
            f"{source.name} is no SavedModel and no MONAI bundle{told}.",
            remedy=_EXPORT if code else "Name the network's file: .onnx, or .xml of OpenVINO.",
        )
    if suffix in _CODE:
        raise BundleContractBroken(
            f"{source.name} holds code beside its weights (or weights alone): it is never loaded.",
            remedy=_EXPORT,
        )
    for engine in ("onnx", "openvino"):
        if suffix in SUFFIXES[engine]:
            return engine
    raise BundleContractBroken(
        f"{source.name} is no network that is known here.",
        remedy="Name a file .onnx, .xml (OpenVINO), or the folder of a SavedModel.",
    )


def _beside(source: Path, engine: str) -> Iterator[Path]:
    """Yield further files of a network: OpenVINO's weights, ONNX's external data."""
    names = [f"{source.stem}.bin"] if engine == "openvino" else []
    if engine == "onnx":
        with suppress(NotComputable):
            names = sorted(wanted_files(source.read_bytes()))
    for name in names:
        if Path(name).name == name and (path := source.with_name(name)).is_file():
            yield path
        else:
            raise BundleContractBroken(f"{name[:100]} is missing beside {source.name}.")


def draft_of(found: FoundNetwork, wishes: Wishes) -> Draft:
    """Return the draft of a bundle. Raises `BundleContractBroken` where wishes do not fit."""
    if wishes.id is not None and not _ID.fullmatch(wishes.id):
        raise BundleContractBroken(
            f"{wishes.id!r} is no id of a bundle.",
            remedy="Write small letters, digits and hyphens, at most 40.",
        )
    pixels, unsure = _pixels(found, wishes)
    says = _with_own_keys(_says(found, wishes))
    monai = found.monai
    name = (monai.title if monai else "") or found.path.stem
    unsure |= {"intended_use", "licence", "eats.modalities", "eats.body_parts", "eats.views"}
    unsure |= {"eats.pixels.fit"} | {mark for said in says for mark in _marks(said, wishes)}
    modality = monai.image.modality if monai else ""
    modalities = wishes.modalities or (
        (modality,) if modality in ("MG", "DX", "CR", "IO") else None
    )
    told = {
        "intended_use": wishes.intended_use or (monai and monai.intended_use),
        "licence": wishes.licence or (monai and monai.licence),
        "eats.modalities": modalities,
        "eats.body_parts": wishes.body_parts,
        "eats.views": wishes.views,
    }
    unsure -= {key for key, value in told.items() if value} | wishes.asked
    return Draft(
        id=wishes.id or id_of(name),
        title=_words(wishes.title or _title(wishes.id or name))[:52] or "Network",
        engine=found.engine,
        file=_file_name(found.path),
        digest=digest_of_weights(found.path),
        pixels=pixels,
        says=says,
        version=_version(monai),
        also=tuple((path.name, digest_of_weights(path)) for path in found.beside),
        licence=_words(str(told["licence"] or "")),
        intended_use=_words(str(told["intended_use"] or "")),
        modalities=tuple(modalities or ("CR", "DX")),
        body_parts=wishes.body_parts or (),
        views=wishes.views or (),
        unsure=frozenset(unsure),
    )


def _file_name(path: Path) -> str:
    """Return the name of the copy, which the manifest's pattern must allow."""
    letters = (
        each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in path.name
    )
    name = "".join(letters).lstrip("._-")
    return name or "network"


def _words(text: str) -> str:
    """Return a text as the manifest takes it: one line, no backslash, at most 400 characters."""
    legible = "".join(each if each.isprintable() and each != "\\" else " " for each in text)
    return " ".join(legible.split())[:400]


def _title(name: str) -> str:
    return _words(name.replace("_", " ").replace("-", " ")).capitalize() or "Network"


def _version(monai: MonaiBundle | None) -> str:
    parts = (monai.version if monai else "").split(".")
    fits = len(parts) == 3 and all(part.isdigit() and len(part) < 6 for part in parts)
    return ".".join(parts) if fits else "1.0.0"


def _pixels(found: FoundNetwork, wishes: Wishes) -> tuple[DraftPixels, set[str]]:
    """Return what the network wants to see, and which keys of it are a guess."""
    given, image = found.given, found.monai.image if found.monai else None
    if len(given.shape) != 4:
        raise BundleContractBroken(
            f"The input {given.name!r} has the shape {_shown(given.shape)}: a film is"
            " (n, channels, rows, columns) or (n, rows, columns, channels).",
            remedy="Export the network with an input of this form.",
        )
    first, last = given.shape[1], given.shape[3]
    is_last = last in (1, 2, 3) and first not in (1, 2, 3)
    shape = given.shape[1:] if is_last else (*given.shape[2:], given.shape[1])
    unsure = set() if image and image.values else {"eats.pixels.values"}
    sizes: dict[str, int] = {}
    for name, real in zip(("rows", "columns", "channels"), shape, strict=True):
        wish, told = getattr(wishes, name), (getattr(image, name) if image else 0)
        if wish and real and wish != real:
            raise BundleContractBroken(
                f"The network wants {real} {name}, not {wish}.", remedy=f"Leave --{name} away."
            )
        default = 1 if name == "channels" else 224
        sizes[name] = wish or real or told or default
        if not (wish or real or told):
            unsure.add(f"eats.pixels.{name}")
    if sizes["channels"] > 3:
        raise BundleContractBroken(
            f"The network wants {sizes['channels']} channels; a film is repeated 3 times at most."
        )
    return DraftPixels(
        given.name, sizes["rows"], sizes["columns"], sizes["channels"],
        "channels-last" if is_last else "channels-first", wishes.region or "film",
        image.values if image else None,
    ), unsure  # fmt: skip


def _says(found: FoundNetwork, wishes: Wishes) -> Iterator[DraftSays]:
    """Yield one observation an output; boxes go with the numbers of their places."""
    outputs = list(found.shapes.outputs)
    wanted = wishes.kind is Kind.REGION
    boxes = next((one for one in outputs if _is_boxes(one, wanted=wanted)), None)
    if wanted and (boxes is None or len(outputs) < 2):
        raise BundleContractBroken(
            "No output is a tensor of boxes, (places, 4), beside one of their probabilities.",
            remedy="Choose another --kind.",
        )
    if boxes is not None and wishes.kind in (None, Kind.REGION) and len(outputs) > 1:
        others = [one for one in outputs if one is not boxes]
        labels = next((one for one in others if "label" in one.name.lower()), None)
        scores = next(one for one in others if one is not labels or len(others) == 1)
        yield DraftSays(
            key_of(boxes.name if len(outputs) > 3 else "places"), Kind.REGION, scores.name,
            boxes.name, labels.name if labels and labels is not scores else "",
            tuple(map(key_of, wishes.classes or ())),
        )  # fmt: skip
        used = {boxes.name, scores.name, labels.name if labels else ""}
        outputs = [one for one in outputs if one.name not in used]
    for number, one in enumerate(outputs):
        is_main = number == 0 and len(outputs) == len(found.shapes.outputs)
        yield _one(
            found, one, wishes if is_main else Wishes(), alone=len(found.shapes.outputs) == 1
        )


def _with_own_keys(says: Iterable[DraftSays]) -> tuple[DraftSays, ...]:
    """Return observations with a key of its own each, and none of those of our networks."""
    known, found = set(NAMED_KEYS), []
    for number, said in enumerate(says, start=1):
        key = said.key if said.key not in known else f"{said.key[:36]}_{number}"
        known.add(key)
        found.append(replace(said, key=key))
    return tuple(found)


def _one(found: FoundNetwork, one: NamedShape, wishes: Wishes, *, alone: bool) -> DraftSays:
    kind, size = wishes.kind or _kind(one), _size(one)
    told = found.monai.outputs if found.monai else ()
    monai = next((each for each in told if each.name == one.name), None)
    if monai is None and len(told) == 1 and alone:
        monai = told[0]
    classes: Sequence[str] = ()
    if kind in CLASSED:
        classes = wishes.classes or (monai.classes if monai else ())
        if wishes.classes and size and len(wishes.classes) != size:
            raise BundleContractBroken(
                f"{len(wishes.classes)} classes are named, and {one.name!r} has {size} values.",
                remedy="Name one class a value, in their order.",
            )
        if not classes or (size and len(classes) != size):
            classes = [f"class_{number + 1}" for number in range(min(size or 2, _MOST_CLASSES))]
    activation = wishes.activation or ""
    if not activation and monai and monai.type == "probabilities" and kind in CLASSED:
        activation = "none"
    return DraftSays(
        key_of(one.name, "answer") if not alone else _key(kind), kind, one.name,
        classes=tuple(_distinct(map(key_of, classes))), activation=activation, size=size,
    )  # fmt: skip


def _key(kind: Kind) -> str:
    return {Kind.LABELS: "labels", Kind.MEASUREMENT: "measured"}.get(
        kind, f"{kind.value}_1"
    ).replace("_1", "")


def _distinct(keys: Iterator[str]) -> Iterator[str]:
    known: set[str] = set()
    for number, key in enumerate(keys):
        key = key if key not in known else f"{key[:35]}_{number + 1}"  # noqa: PLW2901
        known.add(key)
        yield key


def _is_boxes(one: NamedShape, *, wanted: bool) -> bool:
    """Whether an output is a list of places; four numbers a film are it if they are called so."""
    if not one.shape or one.shape[-1] != 4:
        return False
    return len(one.shape) == 3 or (len(one.shape) == 2 and (wanted or "box" in one.name.lower()))


def _kind(one: NamedShape) -> Kind:
    sides = [side for side in one.shape[1:] if side != 1]
    if len(sides) >= 2 and all(side is None or side >= _LEAST_SIDE for side in sides[-2:]):
        return Kind.MASK
    return Kind.SCORE if _size(one) == 1 else Kind.LABELS


def _size(one: NamedShape) -> int:
    """Return how many numbers a film has in an output; 0 where that is not told."""
    sides = one.shape[1:]
    return 0 if any(side is None for side in sides) else math.prod(side or 1 for side in sides)


def _marks(said: DraftSays, wishes: Wishes) -> Iterator[str]:
    """Yield which keys of an observation are a guess."""
    place = f"says.{said.key}"
    yield from (
        f"{place}.{name}"
        for name in ("range", "unit", "measures", "threshold", "box_form", "box_unit")
    )
    if wishes.kind is None:
        yield f"{place}.kind"
    if not said.activation:
        yield f"{place}.activation"


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('n' if side is None else str(side) for side in shape)})"


def write_bundle(draft: Draft, found: FoundNetwork, folder: Path) -> Path:
    """Write ``folder/<id>`` with manifest, network, card and self-test; return it.

    The network is asked about the self-test film: what it answers also tells whether its numbers
    are probabilities already. Nothing is there where it cannot answer. Raises
    `BundleContractBroken` where there is such a folder, and as `Apart.answer`.
    """
    place = folder / draft.id
    if place.exists() or place.is_symlink():
        raise BundleContractBroken(
            f"{place} exists already: nothing is overwritten.",
            remedy="Choose another --id or --dir.",
        )
    if found.path.is_dir() and place.resolve().is_relative_to(found.path.resolve()):
        raise BundleContractBroken(
            f"{place} lies in the network's own folder.", remedy="Choose another --dir."
        )
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".new-{os.getpid()}" / draft.id
    half.mkdir(parents=True)
    try:
        _copy(found, half, draft.file)
        _write(half / MANIFEST, manifest_of(draft))
        bundle = open_declared(half.parent, draft.id)
        who = Apart(bundle)
        try:
            outputs = outputs_of(bundle, who)
            name = who.name
        finally:
            who.close()
        _write(half / MANIFEST, manifest_of(_with_activations(draft, outputs)))
        open_declared(half.parent, draft.id)
        _write(half / SELF_TEST, self_test_text(outputs, name))
        _write(half / CARD, card_of(draft))
        half.rename(place)
    finally:
        shutil.rmtree(half.parent, ignore_errors=True)
    return place


def _copy(found: FoundNetwork, place: Path, name: str) -> None:
    if found.path.is_dir():
        shutil.copytree(found.path, place / name)
    else:
        shutil.copyfile(found.path, place / name)
    for path in found.beside:
        shutil.copyfile(path, place / path.name)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _with_activations(draft: Draft, outputs: Mapping[str, Float]) -> Draft:
    """Return a draft that says what makes probabilities, where nobody told: by the numbers."""
    says = tuple(
        said
        if said.activation or said.kind not in (*CLASSED, Kind.MASK, Kind.REGION)
        else replace(said, activation=_activation(said, outputs.get(said.output)))
        for said in draft.says
    )
    return replace(draft, says=says)


def _activation(said: DraftSays, values: Float | None) -> str:
    exclusive = said.kind in (Kind.CLASS, Kind.LEVEL)
    if values is not None and values.size and values.min() >= 0 and values.max() <= 1:
        is_whole = abs(float(np.sum(values)) - 1) < 1e-3
        if is_whole or not exclusive:
            return "none"
    return "softmax" if exclusive else "sigmoid"
