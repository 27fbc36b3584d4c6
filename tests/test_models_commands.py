"""The commands with which a team brings a network: from its file to a suite, and beyond."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.bundles import CARD, MANIFEST
from dicom_node.bundles.declared import open_declared
from dicom_node.cli.main import app
from dicom_node.errors import BundleError, NodeError, SettingsError
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.imaging.phantom import Encoding, phantom_dataset
from dicom_node.ledger import Conclusion
from dicom_node.line import networks
from dicom_node.line.added import add_bundle, swap_in
from dicom_node.observations import Observation, ObservationKind
from dicom_node.records import InstanceState
from dicom_node.settings import load_configuration
from tests import bringing_kit as bringing
from tests import declared_kit as kit
from tests.commands_kit import Run, a_site, runner
from tests.ledger_kit import WORKER, admit, arrival, claim, fresh_ledger

__all__ = ["a_site", "runner"]


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    with bringing.without_processes():
        yield


def bundle(folder: Path, version: str = "1.0.0", **more: Any) -> Path:
    place = bringing.whole_bundle(folder / version, "three", kit.LABELS, kit.LABELS_OUTPUTS, **more)
    manifest = place / MANIFEST
    told = manifest.read_text("utf-8").replace('version = "1.0.0"', f'version = "{version}"')
    manifest.write_text(told, "utf-8")
    return place


def listed(run: Run) -> dict[str, str]:
    return {row["id"]: row["state"] for row in json.loads(run("models", "list", "--json").stdout)}


def settings(site: Path) -> Any:
    return load_configuration(site, data_dir=site / "data").settings


def well(done: Result) -> Result:
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done


def refused(done: Result, words: str, kind: type[NodeError] = NodeError) -> None:
    assert isinstance(done.exception, kind), done.output
    assert words in done.exception.message


def test_from_a_file_to_a_suite(tmp_path: Path, site: Path, run: Run) -> None:
    network = kit.small_onnx(tmp_path / "net.onnx", {"logits": (2,)})
    invoke = CliRunner().invoke
    well(invoke(app, ["models", "new", "--from", str(network), "--dir", str(tmp_path), "--id",
                      "hands", "--body-part", "CHEST", "--view", "PA", "--yes"]))  # fmt: skip
    made = tmp_path / "hands"
    text = (made / MANIFEST).read_text("utf-8")
    # Keras would start for the gate.
    (made / MANIFEST).write_text(text.replace("[eats]\n", "[eats]\ngate = false\n"), "utf-8")
    checked = invoke(app, ["models", "check", str(made), "--json"])
    assert checked.exit_code == 1
    (told,) = json.loads(checked.stdout)
    assert not told["well"]
    refused(run("models", "add", str(made)), "hands/CARD.md:5: is to be written")
    assert not (site / "data" / "models").exists()

    card = (made / CARD).read_text("utf-8")
    (made / CARD).write_text(card.replace("TODO", "Written"), "utf-8")
    assert "hands: well, " in well(invoke(app, ["models", "check", str(made)])).stdout
    well(run("models", "add", str(made)))
    assert listed(run)["hands"] == "inactive"
    assert "Restart the node" in well(run("models", "activate", "hands")).stdout
    assert listed(run)["hands"] == "active"
    assert settings(site).analysis.suite[-1] == "hands"
    table = well(run("models", "list")).stdout
    assert "labels (labels)" in table
    assert "covidnet-pyramid" in table
    assert "# Hands" in json.loads(well(run("models", "card", "hands", "--json")).stdout)["card"]


def test_a_bundle_is_tried_on_films_without_being_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "Engine", partial(networks.Engine, apart=bringing.InProcess))
    eats = 'body_parts = ["CHEST"]\nviews = ["PA"]\ngate = false'
    place = kit.declared_bundle(tmp_path, "three", kit.LABELS, kit.LABELS_OUTPUTS, eats=eats)
    chest, lateral = tmp_path / "chest.dcm", tmp_path / "lateral.dcm"
    phantom_dataset(seed=1).save_as(chest, enforce_file_format=True)
    encoding = Encoding(view_position="LL")
    phantom_dataset(seed=2, encoding=encoding).save_as(lateral, enforce_file_format=True)
    ask = ["models", "try", str(place), str(chest), str(lateral)]
    first, second = json.loads(well(CliRunner().invoke(app, [*ask, "--json"])).stdout)
    assert {one["network"] for one in first["observations"]} == {"three"}
    assert second["outcome"] == "declined"
    assert "LL is not" in second["reason"]
    told = well(CliRunner().invoke(app, [*ask, "--every-film"])).stdout
    assert told.count("effusion") == 2


def test_what_is_added_is_private_whole_and_without_what_does_not_belong_to_it(
    tmp_path: Path, site: Path, run: Run
) -> None:
    place = bundle(tmp_path)
    (place / "secrets.env").write_text("x", "utf-8")
    well(run("models", "add", str(place)))
    there = site / "data" / "models" / "three"
    names = {path.name for path in there.iterdir()}
    assert names == {MANIFEST, CARD, "network.onnx", "self_test.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in there.iterdir()} == {0o600}
    assert stat.S_IMODE(there.stat().st_mode) == 0o700
    assert [path.name for path in there.parent.iterdir()] == ["three"]


def test_links_are_not_followed(tmp_path: Path, site: Path, run: Run) -> None:
    place = bundle(tmp_path)
    (tmp_path / "figures").mkdir()
    (place / "figures").symlink_to(tmp_path / "figures")
    refused(run("models", "add", str(place)), "figures is a link")
    assert list((site / "data" / "models").iterdir()) == []


def test_a_bundle_in_use_is_not_removed(tmp_path: Path, run: Run) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    well(run("models", "activate", "three"))
    refused(run("models", "remove", "three"), "three is in a suite", BundleError)
    well(run("models", "activate", "three", "--off"))
    well(run("models", "shadow", "three"))
    refused(run("models", "remove", "three"), "three is in shadow", BundleError)
    well(run("models", "shadow", "three", "--off"))
    well(run("models", "remove", "three"))
    assert "three" not in listed(run)
    refused(run("models", "remove", "three"), "There is no bundle 'three'")
    refused(run("models", "remove", "covidnet"), "was not added here")
    refused(run("models", "remove", "../../etc"), "There is no bundle")
    refused(run("models", "activate", "nobody"), "There is no bundle 'nobody'")


def test_editing_keeps_comments_and_refuses_what_would_not_be_served(
    tmp_path: Path, site: Path, run: Run
) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    file = site / "node.toml"
    before = file.read_text("utf-8")
    comments = [line for line in before.splitlines() if line.startswith("#")]
    well(run("models", "activate", "three"))
    after = file.read_text("utf-8")
    assert [line for line in after.splitlines() if line.startswith("#")] == comments
    assert "nothing has changed" in well(run("models", "activate", "three")).stdout
    refused(run("models", "shadow", "three"), "is in a suite", SettingsError)
    assert file.read_text("utf-8") == after
    refused(run("models", "shadow", "covidnet"), "one of our own networks", SettingsError)
    well(run("models", "activate", "three", "--off"))
    refused(run("models", "activate", "three", "--suite", "hands"), "There is no suite 'hands'")
    with file.open("a", encoding="utf-8") as more:
        more.write('\n[[suites]]\nname = "hands"\nnetworks = ["covidnet-pyramid"] # ours\n')
    well(run("models", "activate", "three", "--suite", "hands"))
    assert settings(site).suites[0].networks == ("covidnet-pyramid", "three")
    assert "# ours" in file.read_text("utf-8")
    well(run("models", "activate", "three", "--suite", "hands", "--off"))
    assert settings(site).suites[0].networks == ("covidnet-pyramid",)


def test_an_environment_variable_that_names_the_suite_is_told(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    monkeypatch.setenv("DICOM_NODE__ANALYSIS__SUITE", '["covidnet-pyramid"]')
    refused(run("models", "activate", "three"), "DICOM_NODE__ANALYSIS__SUITE", SettingsError)


def test_a_new_version_runs_beside_the_old_one_and_takes_its_place(
    tmp_path: Path, site: Path, run: Run
) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    well(run("models", "activate", "three"))
    refused(run("models", "add", str(tmp_path / "1.0.0" / "three")), "is there already")
    told = well(run("models", "add", str(bundle(tmp_path, "1.1.0", seed=5)))).stdout
    assert "models compare three three@1.1.0" in told
    well(run("models", "shadow", "three@1.1.0"))
    states = listed(run)
    assert (states["three"], states["three@1.1.0"]) == ("active", "shadow")

    well(run("models", "activate", "three@1.1.0"))
    states = listed(run)
    assert states["three"] == "active"
    assert states["three@1.0.0"] == "inactive"
    assert "three@1.1.0" not in states
    home = site / "data" / "models"
    assert open_declared(home, "three").manifest.version == "1.1.0"
    assert open_declared(home, "three@1.0.0").id == "three@1.0.0"
    assert settings(site).analysis.shadow == ()
    # And back.
    well(run("models", "activate", "three@1.0.0"))
    assert open_declared(home, "three").manifest.version == "1.0.0"


def test_a_swap_can_be_taken_back(tmp_path: Path, site: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        add_bundle(settings(site), bundle(tmp_path, version))
    undo = swap_in(settings(site), "three@1.1.0")
    undo()
    names = {path.name for path in (site / "data" / "models").iterdir()}
    assert names == {"three", "three@1.1.0"}
    assert open_declared(site / "data" / "models", "three").manifest.version == "1.0.0"


def test_the_id_of_a_network_of_ours_is_taken(tmp_path: Path, run: Run) -> None:
    place = bringing.whole_bundle(tmp_path, "covidnet", kit.LABELS, kit.LABELS_OUTPUTS)
    refused(run("models", "add", str(place)), "The id 'covidnet' is that of a bundle in")


def test_added_bundles_are_verified_with_ours(tmp_path: Path, site: Path, run: Run) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    assert "three: well" in well(run("models", "verify", "three")).stdout
    (site / "data" / "models" / "three" / "network.onnx").write_bytes(b"other")
    done = run("models", "verify", "three")
    assert done.exit_code == 1
    assert "is another file" in done.stdout


def test_two_networks_are_compared_on_the_ledger_s_films(
    tmp_path: Path, site: Path, run: Run
) -> None:
    ledger = fresh_ledger(site / "data" / "ledger.sqlite", who="test")
    ledger.received(arrival(1))
    admit(ledger)
    film = claim(ledger, InstanceState.ADMITTED)

    def said(network: str, value: float) -> Observation:
        return Observation("score", ObservationKind.SCORE, network, value, threshold=1.0)

    findings = FilmFindings(film.sop_instance_uid, Outcome.ANALYSED, observations=(said("a", 1.0),))
    beside = {"a@2.0.0": json.dumps([said("a@2.0.0", 3.0).to_json()])}
    text = findings.to_json_text()
    ledger.concluded(
        WORKER, [Conclusion(film, InstanceState.ANALYSED, findings_json=text, beside=beside)]
    )
    ledger.close()
    told = json.loads(well(run("models", "compare", "a", "a@2.0.0", "--json")).stdout)
    (score,) = told["observations"]
    assert (told["films"], score["difference"]["median"]) == (1, 2.0)
    assert score["counts"] == {"both": 1, "first_alone": 0, "second_alone": 0, "neither": 0}
    out = tmp_path / "out"
    shown = well(
        run("models", "compare", "a", "a@2.0.0", "--since", "2020-01-01", "--out", str(out))
    )
    assert "score differs most on 1.2.1 (+2)" in shown.stdout
    assert {path.name for path in out.iterdir()} == {"compare.json", "compare.png"}
    nothing = run("models", "compare", "a", "b")
    assert nothing.exit_code == 1
    assert "answered no film together" in nothing.stdout


def test_a_broken_bundle_is_listed_as_such_and_hides_no_other(
    tmp_path: Path, site: Path, run: Run
) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    home = site / "data" / "models"
    (home / "odd").mkdir()
    (home / "odd" / MANIFEST).write_text("[[says]]\n", "utf-8")
    rows = {row["id"]: row for row in json.loads(well(run("models", "list", "--json")).stdout)}
    assert "odd/model.toml" in rows["odd"]["fault"]
    assert rows["three"]["engine"] == "onnx"
    assert "odd/model.toml" in well(run("models", "list")).stdout
    assert run("models", "verify", "odd", "three").exit_code == 1
    assert isinstance(run("models", "card", "odd").exception, BundleError)


def test_a_network_of_ours_is_checked_by_verify(run: Run) -> None:
    place = resources.model_bundles() / "covidnet"
    done = CliRunner().invoke(app, ["models", "check", str(place)])
    assert done.exit_code == 1
    assert "models verify covidnet" in done.stdout


def test_what_is_activated_runs_in_shadow_no_more(tmp_path: Path, site: Path, run: Run) -> None:
    well(run("models", "add", str(bundle(tmp_path))))
    well(run("models", "shadow", "three"))
    well(run("models", "activate", "three"))
    analysis = settings(site).analysis
    assert (analysis.suite[-1], analysis.shadow) == ("three", ())
