"""``dicom-node config`` as an administrator meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dicom_node.cli import config
from dicom_node.errors import SettingsError
from dicom_node.settings import load_configuration

RUNNER = CliRunner()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.delenv("DICOM_NODE_CONFIG", raising=False)
    monkeypatch.setattr(config.console, "_width", 200)
    program = typer.Typer()
    config.register(program)
    return program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "remotes").mkdir()
    (tmp_path / "node.toml").write_text("[node]\nport = 104\n", "utf-8")
    pacs = 'ae_title = "PACS"\nhost = "10.0.0.5"\nport = 104\naddresses = ["10.0.0.0/24"]\n'
    (tmp_path / "remotes" / "pacs.toml").write_text(pacs, "utf-8")
    modality = 'ae_title = "DX1"\nresults_to = ["PACS"]\n'
    (tmp_path / "remotes" / "dx1.toml").write_text(modality, "utf-8")
    return tmp_path


def test_check_of_a_good_folder_tells_where_results_go(app: typer.Typer, folder: Path) -> None:
    done = RUNNER.invoke(app, ["config", "check", "--config", str(folder)])
    assert done.exit_code == 0, done.output
    assert "No fault" in done.output
    modality = next(line for line in done.output.splitlines() if "DX1" in line)
    assert "PACS at 10.0.0.5:104" in modality


def test_check_prints_every_fault_and_exits_with_1(app: typer.Typer, folder: Path) -> None:
    (folder / "node.toml").write_text("[node]\nprt = 104\n", "utf-8")
    (folder / "remotes" / "pacs.toml").write_text("ae_title =", "utf-8")
    (folder / "admission.toml").write_text("[objects]\n", "utf-8")
    done = RUNNER.invoke(app, ["config", "check", "--config", str(folder)])
    assert done.exit_code == 1
    assert "node.toml:2: node.prt: unknown key — did you mean 'port'?" in done.output
    assert "remotes/pacs.toml:1: not valid TOML" in done.output
    assert "admission.toml" in done.output


def test_check_answers_scripts_in_json(app: typer.Typer, folder: Path) -> None:
    (folder / "node.toml").write_text("[node]\nprt = 104\n", "utf-8")
    done = RUNNER.invoke(app, ["config", "check", "--json", "--config", str(folder)])
    assert done.exit_code == 1
    (fault,) = json.loads(done.output)["faults"]
    assert fault.startswith("node.toml:2: node.prt")


def test_check_warns_of_a_remote_s_file_that_nobody_reads(app: typer.Typer, folder: Path) -> None:
    (folder / "remotes" / "pacs.toml").rename(folder / "remotes" / "pacs.toml.txt")
    (folder / "remotes" / "dx1.toml").unlink()
    done = RUNNER.invoke(app, ["config", "check", "--config", str(folder)])
    assert done.exit_code == 0, done.output
    assert "Warning: remotes/pacs.toml.txt is not read" in done.output


def test_init_makes_a_folder_that_passes_and_overwrites_nothing(
    app: typer.Typer, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    done = RUNNER.invoke(app, ["config", "init", str(folder)])
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.rglob("*.*")} == {
        "node.toml",
        "admission.toml",
        "alarms.toml",
        "example-pacs.toml.sample",
    }
    assert load_configuration(folder).remotes == {}
    (folder / "node.toml").write_text("[node]\nport = 104\n", "utf-8")
    again = RUNNER.invoke(app, ["config", "init", str(folder)])
    assert isinstance(again.exception, SettingsError)
    assert (folder / "node.toml").read_text("utf-8") == "[node]\nport = 104\n"


def test_show_prints_toml_that_can_be_read_back(
    app: typer.Typer, folder: Path, tmp_path: Path
) -> None:
    done = RUNNER.invoke(app, ["config", "show", "--config", str(folder)])
    assert done.exit_code == 0, done.output
    assert "port = 104    # default: 11112" in done.output
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "node.toml").write_text(done.output.partition("\n\n\n")[0].split("┏")[0], "utf-8")
    assert load_configuration(copy).settings == load_configuration(folder).settings


def test_show_masks_what_is_secret(
    app: typer.Typer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_node.settings import Settings
    from dicom_node.settings.model import TlsSection
    from dicom_node.settings.reference import effective

    paths = {"certificate": Path("c"), "key": Path("secret.key"), "ca": Path("a")}
    shown = effective(Settings(tls=TlsSection.model_validate(paths)))
    assert shown["tls"]["key"] == "(masked)"
    assert "secret" not in json.dumps(shown)


def test_show_answers_scripts_in_json(app: typer.Typer, folder: Path) -> None:
    done = RUNNER.invoke(app, ["config", "show", "--json", "--config", str(folder)])
    answer = json.loads(done.output)
    assert answer["node"]["port"] == 104
    assert {remote["ae_title"] for remote in answer["remotes"]} == {"PACS", "DX1"}


@pytest.mark.parametrize(("kind", "key"), [("node", "analysis"), ("remote", "results_to")])
def test_schema_is_json_schema(app: typer.Typer, kind: str, key: str) -> None:
    done = RUNNER.invoke(app, ["config", "schema", kind])
    assert key in json.loads(done.output)["properties"]
