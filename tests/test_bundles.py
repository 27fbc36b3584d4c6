"""A bundle is whole, or it is refused by the name of what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.bundles import list_bundles, open_bundle
from dicom_node.bundles.network import film_digest, load_network, self_test_film, verify
from dicom_node.cli.models import register
from dicom_node.errors import BundleContractBroken, BundleDamaged, BundleMissing
from dicom_node.settings.model import AnalysisSection
from dicom_node.training.evaluation.card import card_with_tables

SHIPPED = [bundle.id for bundle in list_bundles(resources.model_bundles())]
BY_DEFAULT = (AnalysisSection().suite[0], AnalysisSection().lungs)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the shipped bundles that a test may damage."""
    return Path(shutil.copytree(resources.model_bundles(), tmp_path / "models"))


def _edit(models: Path, old: str, new: str) -> None:
    manifest = models / "covidnet" / "model.toml"
    text = manifest.read_text(encoding="utf8")
    assert old in text
    manifest.write_text(text.replace(old, new), encoding="utf8")


def test_covidnet_is_shipped() -> None:
    assert "covidnet" in SHIPPED


@pytest.mark.parametrize(
    "bundle_id",
    [pytest.param(i, marks=[] if i in BY_DEFAULT else pytest.mark.slow) for i in SHIPPED],
)
def test_a_shipped_bundle_is_whole_and_answers_its_self_test(bundle_id: str) -> None:
    verify(open_bundle(resources.model_bundles(), bundle_id))


@pytest.mark.parametrize("bundle_id", SHIPPED)
def test_a_shipped_bundle_holds_exactly_the_weights_that_its_manifest_names(bundle_id: str) -> None:
    bundle = open_bundle(resources.model_bundles(), bundle_id)
    weights = bundle.manifest.weights
    assert [path.name for path in bundle.folder.glob("*.h5")] == [weights.file]
    digest = weights.digest.removeprefix("sha256:")
    assert weights.file == f"{bundle.manifest.version}-{digest[:8]}.weights.h5"


@pytest.mark.parametrize("bundle_id", SHIPPED)
def test_a_card_quotes_the_evaluation_of_the_weights_that_are_shipped(bundle_id: str) -> None:
    bundle = open_bundle(resources.model_bundles(), bundle_id)
    evaluation = json.loads((bundle.folder / "evaluation.json").read_text(encoding="utf8"))
    card = (bundle.folder / "CARD.md").read_text(encoding="utf8")
    assert evaluation["weights"] == bundle.manifest.weights.digest
    assert evaluation["version"] == bundle.manifest.version
    assert evaluation["split"] == "test"
    assert card == card_with_tables(bundle.folder)
    assert "research" in card.lower()


def test_an_unknown_bundle_is_missing_and_the_known_ones_are_named(models: Path) -> None:
    with pytest.raises(BundleMissing) as refused:
        open_bundle(models, "lung-unet-of-tomorrow")
    assert "covidnet" in refused.value.remedy


def test_one_changed_byte_of_the_weights_is_found_before_they_are_read(models: Path) -> None:
    bundle = open_bundle(models, "covidnet")
    path = bundle.folder / bundle.manifest.weights.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleDamaged, match="digest"):
        load_network(bundle)


def test_missing_weights_are_damage(models: Path) -> None:
    bundle = open_bundle(models, "covidnet")
    (bundle.folder / bundle.manifest.weights.file).unlink()
    with pytest.raises(BundleDamaged, match="missing"):
        verify(bundle)


@pytest.mark.parametrize("name", ["CARD.md", "evaluation.json", "self_test.json"])
def test_a_bundle_without_one_of_its_papers_is_damaged(models: Path, name: str) -> None:
    bundle = open_bundle(models, "covidnet")
    (bundle.folder / name).unlink()
    with pytest.raises(BundleDamaged, match=name):
        verify(bundle)


def test_a_misspelt_key_of_the_manifest_is_refused_by_name(models: Path) -> None:
    _edit(models, "temperature =", "temprature =")
    with pytest.raises(BundleContractBroken, match="calibration"):
        open_bundle(models, "covidnet")


def test_an_airspace_network_that_is_not_calibrated_is_refused(tmp_path: Path) -> None:
    copied = tmp_path / "covidnet-cxr-s"
    shutil.copytree(resources.model_bundles() / "covidnet-cxr-s", copied)
    text = (copied / "model.toml").read_text(encoding="utf8")
    (copied / "model.toml").write_text(text.replace('fitted_on = "val"', 'fitted_on = ""'))
    with pytest.raises(BundleContractBroken, match="must be calibrated"):
        open_bundle(tmp_path, "covidnet-cxr-s")


def test_a_network_that_is_not_registered_is_refused(models: Path) -> None:
    _edit(models, 'network = "covidnet"', 'network = "os.system"')
    with pytest.raises(BundleContractBroken, match=r"os\.system"):
        open_bundle(models, "covidnet")


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_weights_of_another_shape_break_the_contract(models: Path) -> None:
    _edit(models, '"pneumonia", "covid19"]', '"pneumonia"]')
    with pytest.raises(BundleContractBroken, match="do not fit"):
        load_network(open_bundle(models, "covidnet"))


def test_a_weights_path_that_leaves_the_bundle_is_refused(models: Path) -> None:
    bundle = open_bundle(models, "covidnet")
    _edit(models, bundle.manifest.weights.file, "../../1.0.0-00000000.weights.h5")
    with pytest.raises(BundleContractBroken, match=r"weights\.file"):
        open_bundle(models, "covidnet")


def test_another_answer_to_the_self_test_breaks_the_contract(models: Path) -> None:
    path = models / "covidnet" / "self_test.json"
    stored = json.loads(path.read_text(encoding="utf8"))
    stored["answer"][0] += 1.0
    path.write_text(json.dumps(stored), encoding="utf8")
    with pytest.raises(BundleContractBroken, match="self-test is off by 1"):
        verify(open_bundle(models, "covidnet"))


def test_the_self_test_film_is_the_same_on_every_machine() -> None:
    assert (
        film_digest(self_test_film())
        == json.loads(
            (resources.model_bundles() / "covidnet" / "self_test.json").read_text(encoding="utf8")
        )["film"]
    )


def _run(models: Path, *arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, [*arguments, "--models", str(models)])


def test_the_list_gives_the_cost_beside_the_papers(models: Path) -> None:
    rows = json.loads(_run(models, "models", "--json").stdout)
    row = next(row for row in rows if row["id"] == "covidnet")
    assert row["parameters"] < row["paper"]["parameters"]
    assert row["macs"] < row["paper"]["macs"]
    assert "Research" in row["intended_use"]
    assert "0.88 M" in _run(models, "models", "list").stdout


def test_a_network_on_a_trunk_is_listed_with_what_it_needs_of_the_trunk(models: Path) -> None:
    rows = {row["id"]: row for row in json.loads(_run(models, "models", "--json").stdout)}
    lite, level, extent = (
        rows[name] for name in ("covidnet-lite", "covidnet-cxr-s", "covidnet-s-geographic")
    )
    assert lite["with_trunk"]["macs"] == lite["macs"]
    assert level["macs"] < level["with_trunk"]["macs"] < level["macs"] + lite["macs"]
    assert extent["macs"] < 1e-4 * extent["with_trunk"]["macs"]
    assert extent["input"] == [224, 224]


def test_a_baseline_costs_what_its_paper_says_at_the_papers_input_size(models: Path) -> None:
    rows = {row["id"]: row for row in json.loads(_run(models, "models", "--json").stdout)}
    for name in ("resnet50", "chexnet"):
        row = rows[name]
        assert row["with_trunk"]["macs_at_paper"] == pytest.approx(row["paper"]["macs"], rel=0.01)


@pytest.mark.slow
def test_a_wrong_cost_with_the_trunk_is_found(models: Path) -> None:
    _edit(models, "[cost]\nparameters = 876243", "[cost]\nparameters = 876244")
    with pytest.raises(BundleContractBroken, match="with its trunk it costs"):
        verify(open_bundle(models, "covidnet"))


def test_verify_exits_1_and_says_what_is_wrong(models: Path) -> None:
    assert _run(models, "models", "verify", "covidnet", "lung-unet").exit_code == 0
    bundle = open_bundle(models, "covidnet")
    (bundle.folder / bundle.manifest.weights.file).write_bytes(b"no weights")
    refused = _run(models, "models", "verify", "covidnet", "lung-unet", "--json")
    assert refused.exit_code == 1
    result, other = json.loads(refused.stdout)
    engines = other.pop("engines")
    assert other == {"id": "lung-unet", "well": True, "fault": None}
    assert engines.pop("keras") is None
    assert set(engines.values()) <= {None}  # OpenVINO, where it is installed
    assert not result["well"]
    assert result["engines"] == {}
    assert "digest" in result["fault"]


def test_the_card_can_be_read_on_the_command_line(models: Path) -> None:
    assert "research" in _run(models, "models", "card", "covidnet").stdout.lower()
