"""What the ledger promises when several processes work on it, and when one of them is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import InstanceId, InstanceState, StudyState
from tests.conftest import CHECKOUT
from tests.ledger_kit import arrival, report, run, study_in
from tests.racing import Note, agrees

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = open_ledger(path, who="test")
    yield opened
    opened.close()


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Return a function that starts a process; it waits for the word."""
    started: list[Process] = []

    def starter(task: str, *arguments: object) -> Process:
        command = [sys.executable, "-m", "tests.ledger_process", task, str(path)]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=CHECKOUT,
        )
        started.append(process)
        return process

    yield starter
    for process in started:
        process.kill()
        process.communicate()


def heard(process: Process) -> str:
    """Return the next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def tell(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")


def go(*processes: Process) -> None:
    assert [heard(process) for process in processes] == ["ready"] * len(processes)
    for process in processes:
        tell(process, "go")


def together(*processes: Process) -> list[list[str]]:
    """Let the processes begin at one time and return what each said."""
    go(*processes)
    said = [process.communicate(timeout=100)[0].split("\n")[:-1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def intact(ledger: SqliteLedger) -> bool:
    return [row[0] for row in run(ledger, "pragma integrity_check")] == ["ok"]


def test_twenty_arrivals_of_one_film_at_one_moment_are_one_row(
    ledger: SqliteLedger, start: Start
) -> None:
    said = together(*[start("receive_the_same", 5) for _ in range(4)])
    answers = [line for lines in said for line in lines]
    assert sorted(answers) == ["1 again"] * 19 + ["1 new"]
    assert ledger.instance(InstanceId(1)).duplicate_count == 19
    assert len(ledger.studies()) == 1


def test_processes_that_make_a_new_ledger_at_one_moment_all_open_it(
    tmp_path: Path, start: Start
) -> None:
    processes = [start("open_each") for _ in range(8)]
    assert [heard(process) for process in processes] == ["ready"] * 8
    for number in range(20):
        for process in processes:
            tell(process, str(tmp_path / f"new{number}.sqlite"))
        assert [heard(process) for process in processes] == ["open"] * 8
    with closing(open_ledger(tmp_path / "new0.sqlite", who="test")) as made:
        assert made.unfinished() == 0


def test_no_increment_of_several_writers_is_lost(ledger: SqliteLedger, start: Start) -> None:
    together(*[start("count", 100) for _ in range(3)])
    (refusal,) = ledger.refusals()
    assert refusal.count == 300
    assert intact(ledger)


def test_claims_of_several_processes_never_overlap(ledger: SqliteLedger, start: Start) -> None:
    for number in range(60):
        ledger.received(arrival(number))
    said = together(*[start("claim", f"w{number}") for number in range(3)])
    taken = [int(line) for lines in said for line in lines]
    assert sorted(taken) == list(range(1, 61))
    assert ledger.counts()["instances.admitted"] == 60
    assert run(ledger, "select count(*) from events where what = 'instance.admitted'")[0][0] == 60


def test_deliveries_of_several_processes_never_overlap(ledger: SqliteLedger, start: Start) -> None:
    for number in range(8):
        study_in(ledger, StudyState.QUIET, number)
        report(ledger, f"sr {number}", f"sc {number}", to=["A", "B"])
    said = together(*[start("claim_deliveries", f"w{number}") for number in range(3)])
    assert sorted(int(line) for lines in said for line in lines) == list(range(1, 33))


def test_a_killed_writer_leaves_all_that_was_acknowledged_and_an_intact_ledger(
    path: Path, start: Start
) -> None:
    acknowledged: set[str] = set()
    for turn in range(6):
        writer = start("receive_in_threads", turn * 100_000, 40_000)
        go(writer)
        assert writer.stdout is not None
        for _ in range(5 + 20 * turn):
            acknowledged.add(writer.stdout.readline().strip())
        writer.kill()
        # What it had said before it died counts too; a half-written line does not.
        rest = writer.stdout.read().split("\n")[:-1]
        acknowledged.update(rest)
    ledger = open_ledger(path, who="test", verify=True)
    assert intact(ledger)
    there = {uid for (uid,) in run(ledger, "select sop_instance_uid from instances")}
    assert acknowledged <= there
    # Each row came with its event, or not at all.
    (events,) = run(ledger, "select count(*) from events where what = 'instance.received'")[0]
    assert events == len(there)
    ledger.close()


def test_a_killed_worker_s_films_come_back_with_the_attempt_counted(
    ledger: SqliteLedger, start: Start
) -> None:
    for number in range(3000):
        ledger._connection.insert(
            "studies", study_instance_uid=f"9.{number}", state="open", opened_at="", changed_at=""
        )
        run(
            ledger,
            """insert into instances (study_id, sop_instance_uid, sop_class_uid, digest, size_bytes,
               transfer_syntax_uid, series_instance_uid, state, received_at)
               values (?, ?, '', ?, 1, '', '', 'received', '2026-01-01T00:00:00.000000+00:00')""",
            number + 1,
            f"9.{number}.1",
            str(number),
        )
    worker = start("claim", "w:1")
    go(worker)
    assert worker.stdout is not None
    for _ in range(10):
        worker.stdout.readline()
    worker.kill()
    worker.wait()
    ended = ledger.orphaned("w:1")
    assert ended <= 3
    left = ledger.counts()["instances.received"]
    seen: set[int] = set()
    while taken := ledger.claim_instances(InstanceState.RECEIVED, "next", 60, 500):
        seen.update(item.id for item in taken)
    assert len(seen) == left


def test_a_ledger_that_another_process_holds_too_long_is_unavailable(
    path: Path, ledger: SqliteLedger, start: Start
) -> None:
    holder = start("hold")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    hasty = open_ledger(path, who="hasty", busy_seconds=0.3)
    before = time.monotonic()
    with pytest.raises(LedgerUnavailable, match="locked"):
        hasty.received(arrival())
    assert time.monotonic() - before > 0.25
    # In WAL, readers go on.
    assert hasty.counts() == {}
    holder.communicate("enough\n")
    assert not hasty.received(arrival()).duplicate
    hasty.close()


def test_several_processes_may_make_the_ledger_at_one_moment(path: Path, start: Start) -> None:
    said = together(*[start("receive", number * 10, 10) for number in range(4)])
    assert [len(lines) for lines in said] == [10] * 4
    ledger = open_ledger(path, who="test")
    assert ledger.counts()["instances.received"] == 40
    ledger.close()


@pytest.mark.slow
def test_writers_checkpoints_and_kills_for_a_minute_lose_nothing(
    path: Path, ledger: SqliteLedger, start: Start
) -> None:
    acknowledged: set[str] = set()
    deadline, turn = time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        writers = [start("receive_in_threads", (turn * 4 + n) * 1_000_000, 400) for n in range(3)]
        victim = start("receive_in_threads", (turn * 4 + 3) * 1_000_000, 400_000)
        go(*writers, victim)
        said = [writer.communicate(timeout=100)[0] for writer in writers]
        victim.kill()
        said.append(victim.communicate()[0])
        acknowledged.update(line for text in said for line in text.split("\n")[:-1])
        turn += 1
    there = {uid for (uid,) in run(ledger, "select sop_instance_uid from instances")}
    assert acknowledged <= there
    assert intact(ledger)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_processes_that_race_hold_nothing_twice_and_lose_nothing(
    ledger: SqliteLedger, start: Start, workers: int
) -> None:
    films = 1000 // workers
    racers = [start("race", f"w{n}", n * films, films, 20 * films) for n in range(workers)]
    notes = [Note.of_text(line) for lines in together(*racers) for line in lines]
    agrees(ledger, notes, range(workers * films))
    assert intact(ledger)
