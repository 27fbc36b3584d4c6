"""A refused call says what it called, why it was refused, and what mends that."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.association.policy import Rejected, Requested, decide
from dicom_node.cli.main import app
from dicom_node.dimse.entity import APPLICATION_CONTEXT_NAME
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.settings import Configuration, load_configuration

STRANGE = "<b>[red]X\x1b[2J"


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "remotes").mkdir()
    (tmp_path / "node.toml").write_text("", "utf-8")
    for name, more in (("CT1", ""), ("MR1", 'addresses = ["10.0.9.0/24"]\n')):
        text = f'ae_title = "{name}"\nhost = "10.0.0.5"\nport = 104\n{more}'
        (tmp_path / "remotes" / f"{name}.toml").write_text(text, "utf-8")
    return load_configuration(tmp_path)


@pytest.fixture
def ledger(configuration: Configuration) -> SqliteLedger:
    return open_ledger(configuration.ledger_path, who="test")


def call(ledger: SqliteLedger, configuration: Configuration, calling: str, called: str) -> Rejected:
    """Let somebody call who is refused, as the acceptor does."""
    asked = Requested(calling, called, "10.0.0.9", APPLICATION_CONTEXT_NAME)
    answer = decide(asked, configuration.remotes, configuration.settings, 0)
    assert isinstance(answer, Rejected)
    ledger.refused(calling, called, asked.peer_address, answer.reason, answer.remedy)
    return answer


def listed(configuration: Configuration, *more: str) -> str:
    done = CliRunner().invoke(app, ["ae", "list", "--config", str(configuration.folder), *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_call_to_another_title_says_what_was_called_and_what_to_correct(
    ledger: SqliteLedger, configuration: Configuration
) -> None:
    answer = call(ledger, configuration, "CT1", "DICOM-NODE")
    assert answer.reason.startswith("called AE title not recognised")
    assert "called DICOM-NODE; this node is DICOMNODE" in answer.reason
    assert answer.remedy == "Correct the called AE title at CT1: DICOMNODE."
    said = listed(configuration)
    for part in ("'CT1'", "10.0.0.9", "'DICOM-NODE'", "Correct the called AE title at CT1"):
        assert part in said
    assert "ae add" not in said


def test_two_causes_of_one_caller_are_two_lines(
    ledger: SqliteLedger, configuration: Configuration
) -> None:
    call(ledger, configuration, "MR1", "DICOM-NODE")
    call(ledger, configuration, "MR1", "DICOMNODE")
    rows = json.loads(listed(configuration, "--json"))["rejected"]
    assert [row["called_ae_title"] for row in rows] == ["DICOMNODE", "DICOM-NODE"]
    assert rows[0]["reason"] == "MR1 may not call from this address"
    assert rows[0]["remedy"].startswith("Add 10.0.0.9 to addresses of MR1")
    assert [row["add"] for row in rows] == [None, None]


def test_adding_is_offered_where_it_would_help_alone(
    ledger: SqliteLedger, configuration: Configuration
) -> None:
    call(ledger, configuration, "NEW", "DICOMNODE")
    call(ledger, configuration, "NEW", "OTHER")
    call(ledger, configuration, "-n", "DICOMNODE")
    call(ledger, configuration, STRANGE, "DICOMNODE")
    rows = json.loads(listed(configuration, "--json"))["rejected"]
    added = {(row["calling_ae_title"], row["called_ae_title"]): row["add"] for row in rows}
    assert added[STRANGE, "DICOMNODE"] is None, "no AE title that the table takes"
    assert added["NEW", "OTHER"] is None
    for title in ("NEW", "-n"):
        done = CliRunner().invoke(app, shlex.split(added[title, "DICOMNODE"])[1:])
        assert done.exit_code == 0, done.output
    rows = json.loads(listed(configuration, "--json"))["rejected"]
    assert {row["add"] for row in rows} == {None}, "they are in the table now"


def test_a_title_that_differs_by_case_alone_is_told_so_and_not_added_again(
    ledger: SqliteLedger, configuration: Configuration
) -> None:
    answer = call(ledger, configuration, "ct1", "DICOMNODE")
    assert answer.reason == "CT1 is in the AE table, ct1 is not: upper and lower case differ"
    (row,) = json.loads(listed(configuration, "--json"))["rejected"]
    assert row["add"] is None
    assert "at the sender: CT1" in row["remedy"]
    assert "case_insensitive = true for CT1" in row["remedy"]


def test_titles_whose_file_names_would_be_the_same_are_added_beside_each_other(
    configuration: Configuration,
) -> None:
    more = ["--host", "10.0.0.5", "--port", "104", "--config", str(configuration.folder)]
    for title in ("X RAY", "X_RAY", "x ray"):
        done = CliRunner().invoke(app, ["ae", "add", title, *more])
        assert done.exit_code == 0, done.output
    names = {path.name for path in configuration.remotes_path.glob("x*.toml")}
    assert names == {"x-ray.toml", "x-ray-2.toml", "x-ray-3.toml"}
    assert {"X RAY", "X_RAY", "x ray"} < set(load_configuration(configuration.folder).remotes)


def test_an_ae_title_is_text_at_the_terminal(
    ledger: SqliteLedger, configuration: Configuration
) -> None:
    call(ledger, configuration, STRANGE, STRANGE)
    said = listed(configuration)
    assert "\x1b" not in said
    assert "[red]" in said


def test_refusals_are_dismissed_and_come_back_with_the_next_call(
    ledger: SqliteLedger, configuration: Configuration
) -> None:
    for calling in ("CT1", "NEW"):
        call(ledger, configuration, calling, "DICOM-NODE")
    more = ["--config", str(configuration.folder)]
    assert CliRunner().invoke(app, ["ae", "dismiss", *more]).exit_code == 2
    assert CliRunner().invoke(app, ["ae", "dismiss", "CT1", *more]).exit_code == 0
    assert [item.calling_ae_title for item in ledger.refusals()] == ["NEW"]
    call(ledger, configuration, "CT1", "DICOM-NODE")
    assert {item.calling_ae_title for item in ledger.refusals()} == {"NEW", "CT1"}
    done = CliRunner().invoke(app, ["ae", "dismiss", "--all", *more])
    assert done.stdout == "2 refusals dismissed.\n"
    assert ledger.refusals() == []
