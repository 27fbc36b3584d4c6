"""The examples are whole bundles, and the page on bundles names every key of the manifest."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import pydicom.sr._concepts_dict as concepts
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dicom_node.bundles.declared import (
    Declaration,
    Eats,
    NetworkFile,
    ObservationWords,
    SaidClass,
    Says,
    WantedPixels,
    check_declared_weights,
    open_declared,
)
from dicom_node.observations import ObservationKind
from examples import random_networks

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "bring-your-network.md"
BUNDLES = sorted(path.parent.name for path in EXAMPLES.glob("*/model.toml"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    for name in BUNDLES:
        random_networks.write_bundle(folder, name)
    return folder


def test_there_is_an_example_of_every_kind() -> None:
    assert set(random_networks.NETWORKS) == set(BUNDLES)
    texts = [tomllib.loads((EXAMPLES / name / "model.toml").read_text("utf-8")) for name in BUNDLES]
    kinds = {said["kind"] for text in texts for said in text["says"]}
    assert kinds == set(ObservationKind)


@pytest.mark.parametrize("name", BUNDLES)
def test_an_example_is_a_whole_bundle(written: Path, name: str) -> None:
    bundle = open_declared(written, name)
    manifest, pixels = bundle.manifest, bundle.manifest.eats.pixels
    session = onnxruntime.InferenceSession(check_declared_weights(bundle))
    (given,) = session.get_inputs()
    assert given.name == (pixels.input or given.name)
    assert given.shape[1:] == [pixels.channels, pixels.rows, pixels.columns]
    outputs = {each.name: each.shape[1:] for each in session.get_outputs()}
    for said in manifest.says:
        output = said.output or next(iter(outputs))
        assert output in outputs
        assert said.boxes in outputs or not said.boxes
        if said.classes:
            assert outputs[output] == [len(said.classes)]
        for language in ("en", "de"):
            words = manifest.template[language][said.key]
            assert set(words.classes) == {each.key for each in said.classes}
    card = (bundle.folder / "CARD.md").read_text("utf-8")
    assert "Random weights" in card


@pytest.mark.parametrize("name", BUNDLES)
def test_a_code_that_pydicom_knows_is_meant_as_it_says(name: str) -> None:
    text = (EXAMPLES / name / "model.toml").read_text("utf-8")
    for value, scheme, meaning in re.findall(
        r'value = "([^"]+)", scheme = "([^"]+)", meaning = "([^"]+)"', text
    ):
        known = {
            code: said
            for each in concepts.concepts[scheme].values()
            for code, (said, _) in each.items()
        }
        told = re.sub(r" \((finding|body structure)\)", "", known.get(value, meaning))
        assert told.removesuffix(" breast composition") == meaning


def test_the_same_seed_gives_the_same_network(tmp_path: Path) -> None:
    one, other = (
        random_networks.write_bundle(tmp_path / name, "nodule-boxes") / "network.onnx"
        for name in "ab"
    )
    again = random_networks.write_bundle(tmp_path / "c", "nodule-boxes", seed=1) / "network.onnx"
    assert one.read_bytes() == other.read_bytes() != again.read_bytes()


def test_the_monai_bundle_has_the_folders_of_the_specification(tmp_path: Path) -> None:
    place = random_networks.write_monai(tmp_path)
    assert (place / "models" / "model.onnx").is_file()
    metadata = json.loads((place / "configs" / "metadata.json").read_text("utf-8"))
    assert set(metadata["network_data_format"]) == {"inputs", "outputs"}


TABLES: Mapping[str, type[BaseModel]] = {
    "At the top": Declaration,
    "`[eats]`": Eats,
    "`[eats.pixels]`": WantedPixels,
    "`[[says]]`": Says,
    "`[[says.classes]]`": SaidClass,
    "`[weights]`": NetworkFile,
    "`[template]`": ObservationWords,
}


@pytest.mark.parametrize("heading", TABLES)
def test_the_page_names_every_key_with_its_default(heading: str) -> None:
    section = PAGE.read_text("utf-8").partition(f"### {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+?) \| .+ \|$", section.partition("\n### ")[0], re.M)
    fields = TABLES[heading].model_fields
    assert [name for name, _ in rows] == list(fields)
    defaults = dict(rows)
    for name, field in fields.items():
        assert defaults[name] == _told(field), name


def _told(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    return "-" if field.default is None else f"`{json.dumps(field.default)}`"
