"""An instance answered 0x0000 is on disk and in the ledger, whatever dies, and whenever."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.line.upkeep import sweep
from dicom_node.logs import Log
from dicom_node.records import Origin
from dicom_node.spool import Spool
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import LATEST_SECONDS
from tests.receiving.kill_kit import (
    LARGE,
    SMALL,
    acknowledged,
    check_nothing_is_lost,
    films,
    kill_traced,
    killed_at,
    own_receiver_again,
)
from tests.receiving.store_kit import encoded, film, raw_store
from tests.receiving.wire import c_store_rq

pytestmark = pytest.mark.pacs("strace", "storescu")


KILL_POINTS = [
    (call, when)
    for call, times in {
        "fsync": (1, 2, 3, 4, 5, 6, 8),
        "rename": (1, 2, 3, 4),
        "pwrite64": (1, 3, 5, 8, 13),
        "fdatasync": (1, 2, 3, 5),
        "sendto": (2, 3, 4, 6),
    }.items()
    for when in times
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("call", "when", "size"),
    [(*point, SMALL) for point in KILL_POINTS]
    + [("fsync", 3, LARGE), ("rename", 2, LARGE), ("fdatasync", 3, LARGE), ("pwrite64", 8, LARGE)],
)
def test_a_kill_at_any_system_call_loses_nothing_that_was_acknowledged(
    own_receiver: Callable[..., Receiver], tmp_path: Path, call: str, when: int, size: int
) -> None:
    receiver = own_receiver(pdu_seconds=10.0)
    paths = films(tmp_path / "films", 6, size)
    answered = killed_at(receiver, paths, call, when)
    check = own_receiver_again(receiver)
    check_nothing_is_lost(check, answered)
    sent_again = acknowledged(check, paths)
    assert len(sent_again) == len(paths)
    check_nothing_is_lost(check, answered | sent_again)
    assert len(check.instances()) == len(paths)


@pytest.mark.parametrize("when", [3, 4])
def test_a_kill_between_rename_and_commit_loses_nothing_that_was_acknowledged(
    own_receiver: Callable[..., Receiver], tmp_path: Path, when: int
) -> None:
    receiver = own_receiver(pdu_seconds=10.0)
    paths = films(tmp_path / "films", 4)
    answered = killed_at(receiver, paths, "rename", when)
    assert 0 < len(answered) < 4
    check_nothing_is_lost(own_receiver_again(receiver), answered)


def test_films_of_a_lost_ledger_are_taken_in_as_from_their_sender(
    own_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = own_receiver(pdu_seconds=10.0)
    receiver.start()
    paths = [*films(tmp_path / "small", 2), *films(tmp_path / "large", 1, LARGE)]
    sent = acknowledged(receiver, paths)
    receiver.stop()
    spool = Spool(receiver.spool)
    origin = Origin("MOD1", "DICOMNODE", "127.0.0.1", "C-STORE", ("MOD1",))
    for each in receiver.instances():
        (coming,) = spool.comings(each.digest)
        assert coming.origin == origin
        assert coming.transfer_syntax_uid == each.transfer_syntax_uid
        assert abs((coming.at - each.received_at).total_seconds()) < LATEST_SECONDS
    for path in (receiver.folder / "data").glob("ledger.sqlite*"):
        path.unlink()
    for path in receiver.spool.glob("??/*"):
        os.utime(path, (0, 0))
    ledger = open_ledger(receiver.folder / "data" / "ledger.sqlite", who="test")
    sweep(ledger, spool, Log("housekeep"))
    assert {each.sop_instance_uid for each in receiver.instances()} == sent
    assert {tuple(ledger.origins(study.id)) for study in ledger.studies()} == {("MOD1",)}
    ledger.close()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_files_then_names_then_folder_then_ledger_are_synced_before_the_answer(
    own_receiver: Callable[..., Receiver], tmp_path: Path, size: int
) -> None:
    receiver = own_receiver(pdu_seconds=10.0)
    trace = receiver.folder / "trace"
    calls = "trace=fsync,fdatasync,rename,pwrite64,sendto"
    receiver.start("strace", "-f", "-y", "-qq", "-o", str(trace), "-e", calls)
    (path,) = films(tmp_path / "films", 1, size)
    assert len(acknowledged(receiver, [path])) == 1
    kill_traced(receiver)
    assert receiver.process is not None
    receiver.process.wait(LATEST_SECONDS)
    lines = trace.read_text().splitlines()
    beside, renamed = (number for number, line in enumerate(lines) if "rename(" in line)
    assert re.search(r"/[0-9a-f]{64}\.origin\"", lines[beside]), "where it came from has its name"
    name = re.findall(r'"[^"]*?/([0-9a-f]{2})/[0-9a-f]{64}"', lines[renamed])[0]
    synced = [line for line in lines[:beside] if "fsync(" in line and "incoming" in line]
    assert any(".origin>" in line for line in synced), "where it came from is synced before"
    assert any(".origin>" not in line for line in synced), "the file is synced before"
    after = lines[renamed + 1 :]
    folder = next(
        number for number, line in enumerate(after)
        if "fsync(" in line and re.search(rf"/spool/{name}>", line)
    )  # fmt: skip
    wal = next(
        number for number, line in enumerate(after)
        if number > folder and re.search(r"f(data)?sync\(.*ledger\.sqlite-wal", line)
    )  # fmt: skip
    answers = [
        number for number, line in enumerate(after) if "sendto(" in line and "\\4\\0" in line
    ]
    assert answers, "the C-STORE response leaves"
    assert folder < wal < answers[0]


def test_a_full_disk_is_answered_out_of_resources_and_recovers_by_itself(
    own_receiver: Callable[..., Receiver], small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("14m")
    receiver = own_receiver()
    (receiver.folder / "data").symlink_to(disk, target_is_directory=True)
    receiver.start()
    assert receiver.store(film(1, size=256)) == 0x0000
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(12_000_000))
    big = film(2, size=1600)
    assert receiver.store(big) == 0xA700
    assert receiver.left_overs() == []
    assert receiver.echo() == 0
    ballast.unlink()
    assert receiver.store(big) == 0x0000
    assert len(receiver.instances()) == 2
    assert receiver.process is not None
    receiver.process.send_signal(signal.SIGTERM)
    receiver.process.wait(LATEST_SECONDS)


def test_a_locked_ledger_is_answered_out_of_resources_and_the_receiver_stays(
    own_receiver: Callable[..., Receiver],
) -> None:
    receiver, sent = own_receiver(), film(3)
    receiver.start()
    other = sqlite3.connect(receiver.folder / "data" / "ledger.sqlite", isolation_level=None)
    command = c_store_rq(sent.SOPInstanceUID.encode())
    with closing(other):
        other.execute("begin immediate")
        assert raw_store(receiver, command, encoded(sent), seconds=30.0) == 0xA700
        wait_for(lambda: "could not commit" in receiver.log, 30, "the role says so")
        assert receiver.echo() == 0
        assert receiver.process is not None
        assert receiver.process.poll() is None
        other.execute("rollback")
    assert receiver.store(sent) == 0
    assert receiver.stop() == 0


def test_a_disk_that_cannot_sync_is_answered_out_of_resources(
    own_receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    receiver = own_receiver(pdu_seconds=10.0)
    inject = "inject=rename:error=EIO:when=2"
    receiver.start("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", inject)
    paths = films(tmp_path / "films", 3)
    answered = acknowledged(receiver, paths)
    assert len(answered) == 2
    wait_for(lambda: "0xA700" in receiver.log, 30, "the log says why")
    assert receiver.left_overs() == []
    kill_traced(receiver)
