"""The loop that every role has: work at once, rest otherwise, until asked to stop."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.records import Worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration, load_configuration
from tests.ledger_kit import arrival

_NEVER, _PATIENTLY = 3600.0, 60.0


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return load_configuration(data_dir=tmp_path, thorough=False)


def test_a_worker_at_rest_looks_for_work_as_soon_as_another_process_writes_to_the_ledger(
    configuration: Configuration,
) -> None:
    stop, found = threading.Event(), threading.Event()
    looks = threading.Semaphore(0)
    own = shift(Worker("intake", "a", 1), configuration, stop)
    assert own is not None

    def look() -> bool:
        looks.release()
        if own.ledger.find_study("1.3.0") is None:
            return False
        found.set()
        stop.set()
        return True

    at_work = threading.Thread(
        target=lambda: own.work({"looking": look}, idle_seconds=_NEVER), daemon=True
    )
    at_work.start()
    assert looks.acquire(timeout=_PATIENTLY)
    other = open_ledger(configuration.ledger_path, who="receive")
    other.received(arrival(0))
    other.close()
    assert found.wait(_PATIENTLY), "the worker slept on"
    at_work.join(_PATIENTLY)
    own.ledger.close()


def test_a_worker_at_rest_ends_as_soon_as_it_is_asked_to(configuration: Configuration) -> None:
    stop, looked = threading.Event(), threading.Event()
    own = shift(Worker("report", "b", 1), configuration, stop)
    assert own is not None
    at_work = threading.Thread(
        target=lambda: own.work({"looking": looked.set}, idle_seconds=_NEVER), daemon=True
    )
    at_work.start()
    assert looked.wait(_PATIENTLY)
    stop.set()
    at_work.join(_PATIENTLY)
    assert not at_work.is_alive()
    assert [beat.state for beat in own.ledger.beats()] == ["stopped"]
    own.ledger.close()


def test_the_ledgers_version_differs_after_every_change_whoever_made_it(tmp_path: Path) -> None:
    ours, others = (open_ledger(tmp_path / "ledger.sqlite", who=who) for who in ("a", "b"))
    before = ours.version()
    assert ours.version() == before
    others.received(arrival(0))
    theirs = ours.version()
    assert theirs != before
    ours.received(arrival(1))
    assert ours.version() != theirs
    ours.close()
    others.close()
