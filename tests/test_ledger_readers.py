"""Who reads waits for no transaction of his own process, and sees what is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger.cases import CaseQuery
from dicom_node.ledger.connection import Connection
from dicom_node.ledger.readers import MOST
from dicom_node.ledger.sqlite import SqliteLedger
from tests.ledger_kit import arrival, fresh_ledger

LONG = 30.0


@pytest.fixture
def ledger(quick_folder: Path) -> Iterator[SqliteLedger]:
    opened = fresh_ledger(quick_folder / "ledger.sqlite", who="test")
    yield opened
    opened.close()


def in_a_thread(task: Callable[[], object]) -> list[object]:
    """Return what a task said in a thread of its own, that has ended since."""
    said: list[object] = []
    thread = threading.Thread(target=lambda: said.append(task()), daemon=True)
    thread.start()
    thread.join(LONG)
    return said


def films(connection: Connection) -> int:
    (row,) = connection.all("select count(*) as films from instances")
    return int(row["films"])


def open_files(ledger: SqliteLedger) -> int:
    """Return how many descriptors of this process lead to the ledger's files."""
    path, found = str(ledger._connection._path), 0
    for name in list(Path("/proc/self/fd").iterdir()):
        # One may have been closed meanwhile: that of this list has.
        with suppress(OSError):
            found += str(name.readlink()).startswith(path)
    return found


def test_pages_are_answered_while_another_thread_holds_a_transaction(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    with ledger._connection.transaction() as connection:
        connection.run("update instances set view = 'PA'")
        (page,) = in_a_thread(lambda: ledger.cases(CaseQuery()).cases[0].films)
        (counts,) = in_a_thread(ledger.counts)
    assert page == 1
    assert counts == {"instances.received": 1, "studies.open": 1}


def test_a_transaction_sees_what_it_has_changed_and_others_what_is_committed(
    ledger: SqliteLedger,
) -> None:
    ledger.received(arrival())
    with ledger._connection.transaction() as connection:
        connection.run("delete from instances")
        assert films(connection) == 0
        assert in_a_thread(lambda: films(connection)) == [1]
    assert films(ledger._connection) == 0
    assert in_a_thread(lambda: films(ledger._connection)) == [0]


def test_after_a_transaction_that_failed_its_thread_reads_what_is_committed(
    ledger: SqliteLedger,
) -> None:
    ledger.received(arrival())
    with pytest.raises(ZeroDivisionError), ledger._connection.transaction() as connection:
        assert connection.run("delete from instances") / 0
    assert films(ledger._connection) == 1


def test_who_reads_cannot_write(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    with pytest.raises(LedgerUnavailable, match="readonly"):
        ledger._connection.one("delete from instances returning id")
    assert films(ledger._connection) == 1


def test_a_read_that_fails_hinders_no_later_one(ledger: SqliteLedger) -> None:
    for _ in range(2 * MOST):
        with pytest.raises(LedgerUnavailable, match="no such table"):
            ledger._connection.all("select * from nobody")
    assert films(ledger._connection) == 0


def test_threads_that_come_and_go_leave_no_files_open(ledger: SqliteLedger) -> None:
    in_a_thread(ledger.counts)
    before = open_files(ledger)
    for _ in range(50):
        in_a_thread(ledger.counts)
    assert open_files(ledger) == before


def test_however_many_read_at_a_time_the_files_open_have_a_bound(ledger: SqliteLedger) -> None:
    before, readers = open_files(ledger), ledger._connection._readers
    together, most = threading.Barrier(MOST, timeout=LONG), list[int]()

    def read() -> None:
        with readers.borrowed() as reader:
            together.wait()
            reader.execute("select count(*) from instances").fetchall()
            together.wait()
            most.append(open_files(ledger))

    threads = [threading.Thread(target=read) for _ in range(4 * MOST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(most) == 4 * MOST
    assert max(most) <= before + 2 * MOST


def test_a_ledger_that_is_closed_answers_nobody_and_leaves_no_file_open(quick_folder: Path) -> None:
    ledger = fresh_ledger(quick_folder / "ledger.sqlite", who="test")
    ledger.received(arrival())
    with ledger._connection._readers.borrowed() as reader:
        ledger.counts()
        ledger.close()
        assert reader.execute("select count(*) from instances").fetchone()[0] == 1
    with pytest.raises(LedgerUnavailable, match="closed"):
        ledger.counts()
    assert open_files(ledger) == 0
    assert [each.name for each in quick_folder.iterdir()] == ["ledger.sqlite"]
