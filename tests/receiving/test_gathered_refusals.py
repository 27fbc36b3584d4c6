"""Refused callers are gathered: many of them cost few commits and few rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from dicom_node.association.refusals import GatheredRefusals
from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger import Arrivals, open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.logs import Log
from dicom_node.records import OTHER_CALLERS, Refusal
from tests.node.peers import wait_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Counting:
    """A ledger that counts what it is asked to commit, and may be busy."""

    ledger: SqliteLedger
    commits: list[int] = field(default_factory=list)
    busy: bool = False

    def refused_all(self, refusals: Sequence[Refusal]) -> None:
        if self.busy:
            raise LedgerUnavailable("The ledger could not commit: locked.")
        self.commits.append(len(refusals))
        self.ledger.refused_all(refusals)


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Counting]:
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="receive")
    yield Counting(ledger)
    ledger.close()


def gathered(counting: Counting, seconds: float = 3600.0) -> GatheredRefusals:
    return GatheredRefusals(cast("Arrivals", counting), Log("receive"), seconds=seconds)


def called(number: int = 0, title: str = "X") -> Refusal:
    at = NOW + timedelta(milliseconds=number)
    return Refusal(title, "DICOMNODE", "10.0.0.9", "unknown", 1, at, "Add it.")


def test_a_stranger_with_ten_thousand_titles_makes_one_commit_and_few_rows(
    counting: Counting,
) -> None:
    book = gathered(counting)
    for number in range(10_000):
        book.add(called(number, f"X{number}"))
    book.stop()
    assert counting.commits == [501]
    rows = counting.ledger.refusals()
    assert len(rows) <= 501
    assert sum(row.count for row in rows) == 10_000
    assert OTHER_CALLERS in {row.reason for row in rows}


def test_who_calls_again_and_again_is_one_row_with_all_calls_counted(counting: Counting) -> None:
    book = gathered(counting)
    for number in range(7):
        book.add(called(number))
    book.write()
    for number in range(7, 10):
        book.add(called(number))
    book.stop()
    (row,) = counting.ledger.refusals()
    assert (row.count, row.last_at, row.remedy) == (10, called(9).last_at, "Add it.")
    assert counting.commits == [1, 1]


def test_a_busy_ledger_loses_no_call(counting: Counting) -> None:
    book = gathered(counting)
    book.add(called(0))
    counting.busy = True
    book.write()
    book.add(called(1))
    counting.busy = False
    book.stop()
    (row,) = counting.ledger.refusals()
    assert (row.count, row.last_at) == (2, called(1).last_at)


def test_what_was_gathered_is_written_by_itself(counting: Counting) -> None:
    book = gathered(counting, seconds=0.05)
    book.add(called())
    wait_for(lambda: counting.commits, 30, "it is written")
    book.stop()
