"""What of the ledger waits for the disk: what was answered, concluded and sent, but no claim."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.records import Worker
from tests.ledger_kit import arrival, run

SYNC = re.compile(r"f(data)?sync\(.*ledger\.sqlite")
SAID = re.compile(r'write\(1.*"(?P<what>[^"\\]+)(?:\\n)?"')
FULL, NORMAL = 2, 1


def waited(folder: Path, task: str) -> Mapping[str, bool]:
    """Return of each step that a process said whether it waited for the disk."""
    ledger, trace = folder / "ledger.sqlite", folder / "trace"
    open_ledger(ledger, who="test").close()
    subprocess.run(
        ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=fsync,fdatasync,write",
         sys.executable, "-m", "tests.ledger_process", task, str(ledger)],
        input="\n", text=True, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    steps, synced = dict[str, bool](), False
    for line in trace.read_text().splitlines():
        synced = synced or SYNC.search(line) is not None
        if said := SAID.search(line):
            steps[said["what"]] = steps.get(said["what"], False) or synced
            synced = False
    return steps


def test_what_is_promised_waits_for_the_disk_and_what_is_free_again_by_itself_does_not(
    tmp_path: Path,
) -> None:
    assert waited(tmp_path, "live") == {
        "ready": False,
        "received": True,
        "beat": False,
        "claim a film": False,
        "renew": False,
        "admit": True,
        "conclude": True,
        "quieten": True,
        "claim a study": False,
        "release": False,
        "claim and report": True,
        "claim and return a delivery": False,
        "claim a delivery": False,
        "pin": True,
        "sent": True,
    }


def test_a_film_that_is_set_aside_stays_aside_though_its_claims_need_not(tmp_path: Path) -> None:
    assert waited(tmp_path, "suspect") == {
        "ready": False,
        "received": True,
        "first claim of 1": False,
        "second claim of 1": False,
        "third claim of 0": True,
    }


@pytest.mark.parametrize("how", ["in a transaction", "by itself"])
def test_a_change_behind_a_sign_of_life_waits_for_the_disk_again(tmp_path: Path, how: str) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="test")
    ledger.beat(Worker("analyse", "w"), "idle")
    assert run(ledger, "pragma synchronous")[0][0] == NORMAL
    if how == "in a transaction":
        ledger.received(arrival())
    else:
        ledger._connection.run("update clock set ahead = 0")
    assert run(ledger, "pragma synchronous")[0][0] == FULL
    ledger.close()
