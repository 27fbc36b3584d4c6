"""The command line as a PACS admin uses it: what it prints, and which exit status it gives."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import NodeError
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.health import NodeHealth
from dicom_node.records import (
    InstanceState,
)
from tests.commands_kit import Run, a_ledger, a_site, runner
from tests.commands_kit import known_commands as commands

ROOT = Path(__file__).parents[1]
__all__ = ["a_ledger", "a_site", "runner"]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself_and_its_options(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    leaf = typer.main.get_command(app)
    for name in command:
        leaf = leaf.commands[name]  # type: ignore[attr-defined]
    assert leaf.help
    for parameter in leaf.params:
        assert getattr(parameter, "help", "x"), f"{command}: {parameter.name} has no help"


def test_the_contract_s_commands_are_all_there() -> None:
    words = {" ".join(command) for command in commands()}
    wanted = {
        "demo", "serve", "config check", "ae list", "ae echo", "ae add", "send", "cases list",
        "cases show", "cases retry", "cases reanalyse", "outbox list", "outbox retry",
        "outbox drop", "analyse", "models list", "models verify", "models card", "dataset build",
        "dataset sources", "train", "ablate",
        "evaluate", "report", "templates check", "templates preview", "templates schema", "health",
        "cases retract", "conformance",
    }  # fmt: skip
    assert wanted - words == set()


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
)
def test_each_command_in_the_docs_exists_with_its_options(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    known = _known()
    for line in re.findall(r"dicom-node ((?:[a-z]+ ?)[^`\n]*)", text):
        words = line.split()
        command = next((c for c in known if tuple(words[: len(c)]) == c), None)
        if words[0] not in {c[0] for c in known}:
            continue
        if command is None and len(words) > 1 and not words[1].startswith(("-", "[", "(")):
            assert any(c[0] == words[0] and len(c) == 1 for c in known) or words[1] not in {
                "list", "show", "add", "check",
            }, line  # fmt: skip
            continue
        for option in re.findall(r"(--[a-z-]+)", line):
            if command is not None:
                assert option in known[command], f"{page}: {line}"


@functools.cache
def _known() -> dict[tuple[str, ...], set[str]]:
    return {command: _options(command) for command in commands()}


def _options(command: tuple[str, ...]) -> set[str]:
    leaf = typer.main.get_command(app)
    for name in command:
        leaf = leaf.commands[name]  # type: ignore[attr-defined]
    return {option for parameter in leaf.params for option in parameter.opts} | {"--help"}


def test_cases_are_listed_with_result_and_reason(run: Run, ledger: SqliteLedger) -> None:
    rows = json.loads(run("cases", "list", "--json").stdout)
    by_result = {row["result"]: row for row in rows}
    assert by_result["covid19 70%"]["delivery"] == "1 waiting to PACS"
    assert by_result[""]["reason"] == "view position LL is not frontal"
    assert "covid19 70%" in run("cases").stdout


def test_a_case_tells_its_story(run: Run, ledger: SqliteLedger) -> None:
    shown = run("cases", "show", "1.2.1.5").stdout
    for word in ("instance.received", "instance.analysed", "study.reported", "waiting"):
        assert word in shown


def test_the_findings_of_a_case_are_the_contract_s_json(run: Run, ledger: SqliteLedger) -> None:
    (entry,) = json.loads(run("cases", "show", "1.2.1.5", "--json").stdout)
    assert entry["outcome"] == "analysed"
    assert entry["finding"]["probabilities"]["covid19"] == 0.7


def test_a_declined_film_is_analysed_again_on_request(run: Run, ledger: SqliteLedger) -> None:
    assert run("cases", "retry", "1.2.2.5").exit_code == 0
    (instance,) = ledger.find_instances("1.2.2")
    assert instance.state is InstanceState.RECEIVED
    assert run("cases", "retry", "1.2.1.5").exit_code == 1


def test_an_unknown_case_is_said_to_be_unknown(run: Run, ledger: SqliteLedger) -> None:
    done = run("cases", "show", "4711")
    assert isinstance(done.exception, NodeError)


def test_deliveries_are_dropped_and_sent_again(run: Run, ledger: SqliteLedger) -> None:
    (row,) = json.loads(run("outbox", "list", "--json").stdout)
    assert (row["state"], row["destination"]) == ("waiting", "PACS")
    assert run("outbox", "drop", str(row["id"])).exit_code == 0
    (dropped,) = json.loads(run("outbox", "list", "--json", "--state", "expired").stdout)
    assert "dropped by person:" in dropped["reason"]
    assert run("outbox", "retry", "--all").exit_code == 0
    (row,) = json.loads(run("outbox", "list", "--json").stdout)
    assert row["state"] == "waiting"
    assert run("outbox", "retry").exit_code == 2


def test_sending_all_again_approves_nothing(run: Run, ledger: SqliteLedger) -> None:
    ledger._connection.run("update deliveries set held = 'approve'")
    assert run("outbox", "retry", "--all").stdout.startswith("0 deliveries")
    (row,) = json.loads(run("outbox", "list", "--json").stdout)
    assert ledger.delivery(row["id"]).held == "approve"


def test_the_steps_to_the_reading_room_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "reading-room.md").read_text("utf-8")
    steps = re.findall(r"`dicom-node ([^`]+)`", text.partition("## Begin")[2].partition("\n| ")[0])
    assert [step.split()[0] for step in steps] == ["config", "user", "serve"]
    for step in steps[:-1]:
        done = CliRunner().invoke(app, step.split(), input="a long enough one\n")
        assert done.exit_code == 0, (step, done.output, done.exception)
    # The last one serves until it is stopped: what it starts from is there.
    assert CliRunner().invoke(app, ["config", "check", *steps[-1].split()[1:3]]).exit_code == 0


def test_a_rejected_sender_is_shown_with_the_command_that_adds_it(
    run: Run, ledger: SqliteLedger, site: Path
) -> None:
    listed = json.loads(run("ae", "list", "--json").stdout)
    (rejected,) = listed["rejected"]
    add = rejected["add"].split()
    assert add[:4] == ["dicom-node", "ae", "add", "STRANGER"]
    done = CliRunner().invoke(app, add[1:])
    assert done.exit_code == 0, done.output
    titles = [row["ae_title"] for row in json.loads(run("ae", "list", "--json").stdout)["remotes"]]
    assert titles == ["STRANGER"]
    assert CliRunner().invoke(app, ["config", "check", "--config", str(site)]).exit_code == 0


def test_an_ae_that_would_break_the_table_is_not_added(run: Run, site: Path) -> None:
    arguments = ["ae", "add", "PACS", "--host", "10.0.0.5", "--config", str(site)]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, NodeError)
    assert not (site / "remotes" / "pacs.toml").exists()


def test_an_ae_is_not_overwritten(run: Run, site: Path) -> None:
    arguments = ["ae", "add", "PACS", "--host", "10.0.0.5", "--port", "104", "--config", str(site)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, NodeError)
    assert "exists already" in done.exception.message


def test_a_node_that_never_ran_is_said_to_have_never_run(run: Run) -> None:
    for command in (("cases",), ("outbox",), ("health",)):
        done = run(*command)
        assert isinstance(done.exception, NodeError)
        assert "dicom-node serve" in done.exception.remedy


def test_a_node_without_films_says_so(run: Run, site: Path) -> None:
    open_ledger(site / "data" / "ledger.sqlite", who="test").close()
    assert "nothing has been received yet" in run("cases").stdout
    assert run("outbox").stdout == "No delivery.\n"
    assert run("outbox", "list", "--state", "refused").stdout == "No delivery that is refused.\n"
    assert json.loads(run("cases", "--json").stdout) == []


def test_a_node_without_roles_is_not_healthy(run: Run, ledger: SqliteLedger) -> None:
    done = run("health", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["roles"]["receive"]["sentence"] == "never started"


def test_one_film_that_waits_is_one_film() -> None:
    counts = {"instances.received": 1, "studies.open": 1, "studies.quiet": 1}
    assert NodeHealth((), 0, room=False, counts=counts).work_sentence == (
        "1 film to analyse, 2 studies to report, 0 results to deliver, 0 deliveries parked"
    )


def test_an_unknown_role_is_a_usage_error(run: Run) -> None:
    assert run("serve", "--role", "dance").exit_code == 2


def test_send_without_a_peer_says_what_to_check(tmp_path: Path) -> None:
    film = tmp_path / "film.dcm"
    phantom_dataset(rows=64, columns=64).save_as(film, enforce_file_format=True)
    done = CliRunner().invoke(app, ["send", str(film), "--to", "127.0.0.1:1", "--aec", "X"])
    assert isinstance(done.exception, NodeError)
    assert "Check host and port" in done.exception.remedy
    assert (
        CliRunner().invoke(app, ["send", str(film), "--to", "nowhere", "--aec", "X"]).exit_code == 2
    )
