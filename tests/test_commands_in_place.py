"""Commands work on the node that is meant, or refuse: never on the shipped defaults or nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.cli.demo import called_as
from dicom_node.cli.main import app, main
from dicom_node.errors import BundleError, NodeError, listening_remedy
from dicom_node.ledger import open_ledger


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=typed)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, in a working directory beside it."""
    monkeypatch.delenv("DICOM_NODE_CONFIG", raising=False)
    assert run("config", "init", str(tmp_path / "site")).exit_code == 0
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "site"


@pytest.mark.parametrize("named", [False, True])
def test_nothing_is_written_into_the_shipped_defaults(site: Path, named: bool) -> None:
    shipped = resources.default_configuration()
    before = sorted(shipped.rglob("*"))
    more = ["--config", str(shipped)] if named else []
    done = run("ae", "add", "XRAY5", "--host", "1.2.3.4", "--port", "104", *more)
    assert isinstance(done.exception, NodeError)
    assert "dicom-node config init DIR" in done.exception.remedy
    assert sorted(shipped.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [("cases",), ("outbox",), ("health",), ("user", "list"), ("user", "add", "bob"),
     ("user", "remove", "bob"), ("cases", "show", "1"), ("outbox", "drop", "1")],
)  # fmt: skip
def test_no_command_begins_a_ledger_where_no_node_has_run(
    site: Path, command: tuple[str, ...]
) -> None:
    done = run(*command, "--config", str(site), typed="a long enough one\n")
    assert isinstance(done.exception, NodeError)
    assert str(site / "var") in done.exception.message
    assert "DICOM_NODE_CONFIG" in done.exception.remedy
    assert not (site / "var").exists()
    assert not Path("var").exists()


def test_the_first_user_is_added_before_the_node_has_run_where_that_is_said(site: Path) -> None:
    arguments = ("--role", "admin", "--new", "--config", str(site))
    assert run("user", "add", "ada", *arguments, typed="a long enough one\n").exit_code == 0
    assert run("user", "list", "--config", str(site)).stdout == "ada  admin\n"
    named = ("--config", str(site), "--data-dir", "data")
    assert run("user", "add", "bob", *named, typed="a long enough one\n").exit_code == 0
    assert (Path("data") / "ledger.sqlite").exists()


def test_the_environment_names_the_folder_so_that_no_command_needs_it(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOM_NODE_CONFIG", str(site))
    open_ledger(site / "var" / "ledger.sqlite", who="test").close()
    added = run("ae", "add", "MAINPACS", "--host", "10.0.0.5", "--port", "104")
    assert added.exit_code == 0, added.output
    assert (site / "remotes" / "mainpacs.toml").exists()
    assert run("user", "add", "ada", typed="a long enough one\n").exit_code == 0
    for command in (("cases",), ("outbox",), ("ae", "list"), ("config", "check"), ("user", "list")):
        assert run(*command).exit_code == 0, command


def test_options_of_a_group_hold_for_its_commands_or_are_refused(site: Path) -> None:
    open_ledger(site / "var" / "ledger.sqlite", who="test").close()
    given = ("--config", str(site))
    assert run("cases", *given, "list").stdout == run("cases", "list", *given).stdout
    assert run("outbox", *given, "--json", "list").stdout == "[]\n"
    missing = run("cases", *given, "show", "6")
    assert isinstance(missing.exception, NodeError)
    assert "No node has run" not in missing.exception.message
    other = run("cases", "--config", str(site / "no"), "list", *given)
    assert other.exit_code == 0, "the command's own option wins"
    refused = run("outbox", *given, "--json", "drop", "6")
    assert refused.exit_code == 2
    assert "--json" in refused.output


def test_a_host_with_a_port_is_refused_with_what_was_meant_and_blames_no_file(site: Path) -> None:
    done = run(
        "ae", "add", "PACS", "--host", "10.0.0.5:104", "--port", "104", "--config", str(site)
    )
    assert isinstance(done.exception, NodeError)
    assert 'host "10.0.0.5", port 104' in done.exception.message
    assert "Nothing was written" in done.exception.remedy
    assert "pacs.toml" not in done.exception.message
    assert list((site / "remotes").glob("*.toml")) == []


def test_an_ae_that_only_sends_is_not_to_be_called(site: Path) -> None:
    given = ("--config", str(site))
    pacs = run("ae", "add", "PACS", "--host", "10.0.0.5", "--port", "104", *given)
    assert "`dicom-node ae echo PACS --config" in pacs.stdout
    modality = run("ae", "add", "MOD1", "--results-to", "PACS", *given)
    assert "`dicom-node ae route MOD1 --config" in modality.stdout
    assert run("ae", "route", "MOD1", *given).exit_code == 0


def test_a_new_remote_s_file_explains_each_key_in_one_column(site: Path) -> None:
    run("ae", "add", "PACS", "--host", "10.0.0.5", "--port", "104", "--config", str(site))
    lines = (site / "remotes" / "pacs.toml").read_text("utf-8").splitlines()
    assert len({line.rindex(" # ") for line in lines}) == 1


def test_the_demo_names_commands_by_what_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / ".venv" / "bin" / "dicom-node"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert called_as() == ".venv/bin/dicom-node"
    monkeypatch.setenv("PATH", str(program.parent))
    assert called_as() == "dicom-node"


def test_an_ae_in_another_case_is_asked_about(site: Path) -> None:
    given = ("--config", str(site))
    run("ae", "add", "MAINPACS", "--host", "::1", "--port", "104", *given)
    done = run("ae", "echo", "mainpacs", *given)
    assert isinstance(done.exception, NodeError)
    assert done.exception.remedy == "Did you mean 'MAINPACS'?"
    assert "[::1]:104" in run("config", "check", *given).stdout


def test_each_fault_is_printed_once(site: Path) -> None:
    (site / "node.toml").write_text("[node]\nprt = 1\n", "utf-8")
    command = [sys.executable, "-m", "dicom_node", "cases", "--config", str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("did you mean 'port'?") == 1
    (site / "node.toml").write_text("[node]\nprt = 1\nhst = 1\n", "utf-8")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [done.stderr.count(word) for word in ("node.prt", "node.hst")] == [1, 1]


def test_a_port_without_privilege_and_one_in_use_have_other_remedies() -> None:
    import errno

    denied = listening_remedy(OSError(errno.EACCES, "Permission denied"), "node.port", "node.host")
    taken = listening_remedy(OSError(errno.EADDRINUSE, "in use"), "node.port", "node.host")
    assert "CAP_NET_BIND_SERVICE" in denied
    assert "holds it" in taken
    assert "CAP_NET_BIND_SERVICE" not in taken


def test_who_sends_where_is_not_for_everybody_s_eyes(site: Path) -> None:
    folders = [site, site / "remotes"]
    files = [path for path in site.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o750}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    run("ae", "add", "CT1", "--host", "10.0.0.5", "--port", "104", "--config", str(site))
    assert (site / "remotes" / "ct1.toml").stat().st_mode & 0o777 == 0o640


def test_a_path_that_cannot_be_used_is_a_sentence_and_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("kept", "utf-8")
    for arguments in (["config", "init", str(file)], ["demo", "--out", str(file)]):
        monkeypatch.setattr(sys, "argv", ["dicom-node", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 1
        said = capsys.readouterr().err
        assert f"Error: {file} cannot be used: File exists." in said
        assert "Check the path, its owner and permissions" in said
        assert "Traceback" not in said
    assert file.read_text("utf-8") == "kept"


def test_a_folder_without_bundles_is_an_error_not_a_success(tmp_path: Path) -> None:
    for command in ("list", "verify"):
        done = CliRunner().invoke(app, ["models", command, "--models", str(tmp_path)])
        assert isinstance(done.exception, BundleError)
        assert str(tmp_path) in done.exception.message
