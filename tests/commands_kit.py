"""A site's folder, commands run on it, and a ledger with a reported and a declined film."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import (
    Arrival,
    Digest,
    InstanceState,
    ObjectKind,
    Origin,
    ResultObject,
)
from tests.ledger_kit import fresh_ledger


def known_commands(
    group: typer.Typer | object = app, path: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """Return every command, by its words."""
    found = []
    root = typer.main.get_command(group) if isinstance(group, typer.Typer) else group
    for name, command in getattr(root, "commands", {}).items():
        below = known_commands(command, (*path, name))
        found += below or [(*path, name)]
    return found


FINDINGS = {
    "sop_instance_uid": "1.2.1",
    "outcome": "analysed",
    "reason": None,
    "finding": {
        "probabilities": {"normal": 0.1, "pneumonia": 0.2, "covid19": 0.7},
        "threshold": 0.45,
        "calibrated": True,
    },
}

Run = Callable[..., Result]


@pytest.fixture(name="site")
def a_site(tmp_path: Path) -> Path:
    done = CliRunner().invoke(app, ["config", "init", str(tmp_path / "site")])
    assert done.exit_code == 0, done.output
    return tmp_path / "site"


@pytest.fixture(name="run")
def runner(site: Path) -> Run:
    """Run a command on the site's configuration and data."""

    def run(*arguments: str) -> Result:
        more = ["--config", str(site), "--data-dir", str(site / "data")]
        return CliRunner().invoke(app, [*arguments, *more])

    return run


@pytest.fixture(name="ledger")
def a_ledger(site: Path) -> SqliteLedger:
    """A ledger with one reported and one declined film."""
    made = fresh_ledger(site / "data" / "ledger.sqlite", who="test")
    for number in (1, 2):
        origin = Origin("PACS", "DICOMNODE", "10.0.0.5")
        uid, digest = f"1.2.{number}", Digest(str(number) * 64)
        made.received(Arrival(uid, "1.1", "1.2", f"{uid}.5", f"{uid}.6", digest, 9, origin))
    first, other = made.claim_instances(InstanceState.RECEIVED, "w", 60, 2)
    made.admitted(first.id, "w", "PA")
    made.declined(other.id, "w", "view position LL is not frontal")
    (first,) = made.claim_instances(InstanceState.ADMITTED, "w", 60, 1)
    made.analysed(first.id, "w", json.dumps(FINDINGS), None)
    made.quieten(0)
    for _ in range(2):
        study = made.claim_quiet_study("w", 60)
        assert study is not None
        item = ResultObject(
            f"sr:{study.id}", ObjectKind.REPORT, f"2.25.{study.id}", "1.3", "2.25.9", Digest("d"), 1
        )
        outgoing = [Outgoing("PACS", (item,))] if study.id == first.study_id else []
        made.reported(study, "w", outgoing, keep_hours=1, signature="s")
    made.refused("STRANGER", "DICOMNODE", "10.0.0.9", "calling AE title not recognised")
    return made
