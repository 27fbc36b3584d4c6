"""``models new``: what a network's file tells becomes a bundle, the rest is marked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.brains.shapes import shapes_of
from dicom_node.bundles import CARD, MANIFEST, SELF_TEST
from dicom_node.bundles.declared import Declared, open_declared
from dicom_node.bundles.drafts import CHECK_MARK, id_of, key_of
from dicom_node.bundles.monai import read_monai
from dicom_node.cli.main import app
from dicom_node.errors import BundleContractBroken, NoAnswer, NodeError
from dicom_node.line.new_bundle import Wishes, draft_of, find_network
from dicom_node.observations import ObservationKind as Kind
from tests import bringing_kit as bringing
from tests import declared_kit as kit


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    with bringing.without_processes():
        yield


def new(*arguments: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["models", "new", *map(str, arguments)], input=typed)


def made(folder: Path, outputs: kit.Outputs, *arguments: str, **more: Any) -> Declared:
    network = kit.small_onnx(folder / "net.onnx", outputs, **more)
    done = new("--from", network, "--dir", folder, "--id", "made", "--yes", *arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return open_declared(folder, "made")


@pytest.mark.parametrize(
    ("outputs", "kinds"),
    [
        ({"logits": (3,)}, [Kind.LABELS]),
        (kit.BOXES_OUTPUTS, [Kind.REGION]),
        (kit.SCORE_OUTPUTS, [Kind.SCORE]),
        (kit.MASK_OUTPUTS, [Kind.MASK]),
        ({"a": (2,), "b": (1,)}, [Kind.LABELS, Kind.SCORE]),
        ({"opacity": (2,)}, [Kind.LABELS]),
        ({"logits": (4,)}, [Kind.LABELS]),
    ],
)
def test_the_kind_of_each_output_is_guessed_by_its_shape(
    tmp_path: Path, outputs: kit.Outputs, kinds: list[Kind]
) -> None:
    bundle = made(tmp_path, outputs, rows=40, channels=3)
    assert [said.kind for said in bundle.manifest.says] == kinds
    pixels = bundle.manifest.eats.pixels
    assert (pixels.rows, pixels.columns, pixels.channels) == (40, 32, 3)
    names = {CARD, MANIFEST, SELF_TEST, "net.onnx"}
    assert {path.name for path in bundle.folder.iterdir()} == names
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_draft_has_nothing_wrong_but_its_card(tmp_path: Path) -> None:
    bundle = made(tmp_path, {"logits": (3,)})
    found = bringing.checked_here(bundle.folder)
    assert found.faults
    assert all(fault.startswith("made/CARD.md:") for fault in found.faults)
    text = (bundle.folder / MANIFEST).read_text("utf-8")
    marked = [line.split(" = ")[0] for line in text.splitlines() if CHECK_MARK in line]
    assert {"licence", "values", "body_parts", "kind", "activation"} <= set(marked)


def test_what_is_told_is_not_marked(tmp_path: Path) -> None:
    bundle = made(
        tmp_path, {"logits": (2,)}, "--kind", "class", "--classes", "Normal,Not normal",
        "--body-part", "HAND", "--view", "PA", "--modality", "DX", "--licence", "MIT",
        "--intended-use", "Tests.", "--activation", "softmax", "--region", "lungs",
    )  # fmt: skip
    (said,) = bundle.manifest.says
    assert [one.key for one in said.classes] == ["normal", "not_normal"]
    eats = bundle.manifest.eats
    assert (eats.body_parts, eats.views, eats.modalities) == (("HAND",), ("PA",), ("DX",))
    text = (bundle.folder / MANIFEST).read_text("utf-8")
    marked = [line.split(" = ")[0] for line in text.splitlines() if CHECK_MARK in line]
    assert set(marked) == {"fit", "values"}


def test_four_classes_are_no_box(tmp_path: Path) -> None:
    bundle = made(tmp_path, {"pred": (4,), "age": (1,)}, "--kind", "level")
    assert [said.kind for said in bundle.manifest.says] == [Kind.LEVEL, Kind.SCORE]


def test_numbers_that_are_probabilities_already_are_left_as_they_are(tmp_path: Path) -> None:
    bundle = made(tmp_path, {"p": (2,)}, constant={"p": [0.25, 0.75]})
    assert bundle.manifest.says[0].activation == "none"


def test_the_self_test_names_film_engine_and_version(tmp_path: Path) -> None:
    told = json.loads((made(tmp_path, {"logits": (3,)}).folder / SELF_TEST).read_text("utf-8"))
    assert len(told["answers"]["logits"]) == 3
    assert told["engine"].startswith("onnxruntime")
    assert set(told) == {"film", "engine", "version", "answers", "tolerance"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    bundle = made(tmp_path, {"logits": (3,)})
    before = (bundle.folder / MANIFEST).read_bytes()
    done = new("--from", tmp_path / "net.onnx", "--dir", tmp_path, "--id", "made", "--yes")
    assert isinstance(done.exception, BundleContractBroken)
    assert (bundle.folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--id", "../evil"), "is no id of a bundle"),
        (("--classes", "a,b"), "2 classes are named, and 'logits' has 3 values"),
        (("--rows", "99"), "wants 32 rows"),
        (("--kind", "region"), "No output is a tensor of boxes"),
    ],
)
def test_wishes_that_do_not_fit_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    network = kit.small_onnx(tmp_path / "net.onnx", {"logits": (3,)})
    done = new("--from", network, "--dir", tmp_path, "--yes", *arguments)
    assert isinstance(done.exception, NodeError)
    assert words in done.exception.message
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("name", ["net.pt", "net.ts", "net.pkl", "net.keras", "net.h5", "net.txt"])
def test_what_holds_code_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04")
    done = new("--from", tmp_path / name, "--yes")
    assert isinstance(done.exception, BundleContractBroken)
    assert "onnx" in done.exception.remedy.lower()


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no network")
    done = new("--from", tmp_path / "net.onnx", "--yes")
    assert isinstance(done.exception, NodeError)


def test_on_a_terminal_what_the_file_cannot_tell_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_node.cli.models import new as command

    found = find_network(kit.small_onnx(tmp_path / "net.onnx", {"logits": (2,)}))
    answers = iter(
        ["class", "no,yes", "hand-age", "Hands", "DX", "HAND", "", "film", "MIT", "Tests."]
    )
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    draft = draft_of(found, sys.modules[command.__module__].ask(found, Wishes()))
    assert (draft.id, draft.title, draft.body_parts, draft.views) == (
        "hand-age",
        "Hands",
        ("HAND",),
        (),
    )
    assert draft.says[0].classes == ("no", "yes")
    assert not {"eats.views", "eats.body_parts", "licence"} & draft.unsure


def test_names_become_keys_and_ids() -> None:
    assert key_of("Pleural Effusion (left)") == "pleural_effusion_left"
    assert key_of("3rd class") == "class_3rd_class"
    assert key_of("ß") == "answer"
    assert id_of("My Net_v2") == "my-net-v2"


METADATA: Mapping[str, Any] = {
    "name": "Breast density",
    "version": "0.1.0",
    "copyright": "Apache-2.0",
    "intended_use": "An example.",
    "network_data_format": {
        "inputs": {"input": {"num_channels": 1, "spatial_shape": [32, 32], "modality": "MG",
                             "value_range": [-1, 1], "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"type": "probabilities", "num_channels": 2,
                             "channel_def": {"1": "dense", "0": "fatty"}}},
    },
}  # fmt: skip


def monai(folder: Path, metadata: object = METADATA, weights: str = "model.onnx") -> Path:
    place = folder / "density_monai"
    (place / "configs").mkdir(parents=True)
    (place / "configs" / "metadata.json").write_text(json.dumps(metadata), "utf-8")
    if weights.endswith(".onnx"):
        kit.small_onnx(place / "models" / weights, {"pred": (2,)}, constant={"pred": [0.4, 0.6]})
    else:
        (place / "models").mkdir()
        (place / "models" / weights).write_bytes(b"code")
    return place


def test_a_monai_bundle_tells_sizes_values_and_classes(tmp_path: Path) -> None:
    done = new("--from", monai(tmp_path), "--dir", tmp_path, "--kind", "level", "--yes")
    assert done.exit_code == 0, repr(done.exception)
    manifest = open_declared(tmp_path, "breast-density").manifest
    assert manifest.eats.pixels.values == (-1.0, 1.0)
    assert (manifest.eats.modalities, manifest.eats.sop_classes) == (("MG",), ("MG",))
    assert [one.key for one in manifest.says[0].classes] == ["fatty", "dense"]
    assert (manifest.says[0].activation, manifest.version) == ("none", "0.1.0")
    assert (manifest.licence, manifest.intended_use) == ("Apache-2.0", "An example.")


@pytest.mark.parametrize("weights", ["model.ts", "model.pt"])
def test_a_monai_bundle_of_code_alone_is_refused_with_the_command_that_exports_it(
    tmp_path: Path, weights: str
) -> None:
    with pytest.raises(BundleContractBroken, match=weights) as refused:
        read_monai(monai(tmp_path, weights=weights))
    assert "onnx_export" in refused.value.remedy


@pytest.mark.parametrize(
    "odd",
    [[], {}, {"network_data_format": 3}, {"network_data_format": {"inputs": [], "outputs": "x"}},
     {"network_data_format": {"inputs": {"input": {"spatial_shape": ["*", "16*n"],
                                                   "num_channels": "three",
                                                   "value_range": [1, "x"]}}}}],
)  # fmt: skip
def test_odd_metadata_are_left_aside_or_refused(tmp_path: Path, odd: object) -> None:
    place = monai(tmp_path, odd)
    try:
        assert read_monai(place).image.rows == 0
    except BundleContractBroken as refused:
        assert odd == [] and "no table" in refused.message  # noqa: PT018, PT017


def test_shapes_are_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    network = kit.small_onnx(tmp_path / "net.onnx", kit.BOXES_OUTPUTS)
    shapes = shapes_of(network, "onnx")
    assert [(each.name, each.shape) for each in shapes.outputs] == [
        ("scores", (None, 5)), ("boxes", (None, 5, 4)),
    ]  # fmt: skip
    network.write_bytes(b"ORTM" + network.read_bytes())
    with pytest.raises(NoAnswer, match="cannot be read as onnx"):
        shapes_of(network, "onnx")


def test_a_network_of_openvino_comes_with_its_weights(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    network = kit.small_onnx(tmp_path / "net.onnx", {"logits": (3,)})
    openvino.serialize(openvino.Core().read_model(network), tmp_path / "vino.xml")
    done = new("--from", tmp_path / "vino.xml", "--dir", tmp_path, "--id", "made", "--yes")
    assert done.exit_code == 0, repr(done.exception)
    bundle = open_declared(tmp_path, "made")
    assert set(bundle.manifest.weights.also) == {"vino.bin"}
    found = bringing.checked_here(bundle.folder)
    assert all(fault.startswith("made/CARD.md:") for fault in found.faults)
    (tmp_path / "vino.bin").unlink()
    again = new("--from", tmp_path / "vino.xml", "--yes")
    assert isinstance(again.exception, BundleContractBroken)
