"""The delivering role at work: destinations side by side, and what happens when things break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dicom_node.delivery.sender import Sender
from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import Delivery, DeliveryId, Worker
from dicom_node.roles import deliver
from dicom_node.settings import Configuration, load_configuration
from tests.delivery.conftest import Outbox
from tests.delivery.pacs import ScriptedPacs, listening
from tests.node.peers import wait_for

SETTINGS = """
[delivery]
connect_timeout_seconds = 30.0
answer_timeout_seconds = 30.0
retry_first_seconds = 0.1
"""


@pytest.fixture
def site(tmp_path: Path, outbox: Outbox) -> Callable[..., Configuration]:
    """Return the configuration of a node whose outbox is ``outbox``, with remotes at ports."""

    def site(**ports: int) -> Configuration:
        folder = tmp_path / "site"
        (folder / "remotes").mkdir(parents=True)
        (folder / "node.toml").write_text(SETTINGS)
        for name, port in ports.items():
            text = f'ae_title = "{name}"\nhost = "127.0.0.1"\nport = {port}\n'
            (folder / "remotes" / f"{name}.toml").write_text(text)
        return load_configuration(folder, data_dir=tmp_path, thorough=False)

    return site


@contextmanager
def delivering(configuration: Configuration) -> Iterator[tuple[threading.Event, list[Exception]]]:
    """Run the role in a thread; yields how to stop it, and the error it ended with."""
    stop, errors = threading.Event(), []

    def run() -> None:
        try:
            deliver.run(configuration, stop, Worker("deliver", "deliver"))
        except LedgerUnavailable as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield stop, errors
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def states(outbox: Outbox, destination: str) -> set[str]:
    return {item.state for item in outbox.deliveries() if item.destination == destination}


def test_a_slow_destination_delays_no_other(
    outbox: Outbox, site: Callable[..., Configuration]
) -> None:
    outbox.post("SLOW", "QUICK")
    outbox.post("SLOW", "QUICK", number=2)
    slow, quick = ScriptedPacs(go_on=threading.Event()), ScriptedPacs()
    with (
        listening(slow, called="SLOW"),
        listening(quick, called="QUICK"),
        delivering(site(SLOW=slow.port, QUICK=quick.port)),
    ):
        wait_for(lambda: states(outbox, "QUICK") == {"sent"}, 30, "all is with QUICK")
        wait_for(lambda: slow.asked, 30, "SLOW has been asked")
        assert slow.stored == []
        assert states(outbox, "SLOW") == {"waiting"}
        slow.go_on.set()


def test_an_order_to_stop_lets_the_object_under_way_arrive_and_gives_the_rest_back(
    outbox: Outbox, site: Callable[..., Configuration]
) -> None:
    outbox.post("PACS")
    pacs = ScriptedPacs(go_on=threading.Event())
    with listening(pacs), delivering(site(PACS=pacs.port)) as (stop, _):
        wait_for(lambda: pacs.asked, 30, "an object is under way")
        stop.set()
        pacs.go_on.set()
    report, capture = outbox.deliveries()
    assert (report.state, capture.state) == ("sent", "waiting")
    assert capture.attempts == 0
    assert len(pacs.stored) == 1


def test_what_nobody_foresaw_postpones_its_parcel_alone(
    outbox: Outbox, site: Callable[..., Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.post("ODD", "PACS")
    choose = Sender._choose

    def odd(each: Sender, association: Any, delivery: Delivery, *others: Any) -> Any:
        if delivery.destination == "ODD":
            raise ZeroDivisionError
        return choose(each, association, delivery, *others)

    monkeypatch.setattr(Sender, "_choose", odd)
    pacs = ScriptedPacs()
    with listening(pacs), delivering(site(PACS=pacs.port, ODD=pacs.port)):
        wait_for(lambda: states(outbox, "PACS") == {"sent"}, 30, "PACS has its results")
        wait_for(
            lambda: all(
                item.attempts > 1 for item in outbox.deliveries() if item.destination == "ODD"
            ),
            30,
            "ODD is tried again",
        )
    reasons = {item.reason for item in outbox.deliveries() if item.destination == "ODD"}
    assert reasons == {"The attempt failed within the node: ZeroDivisionError."}


def test_an_outcome_that_cannot_be_noted_yet_is_waited_for_and_nothing_is_sent_twice(
    outbox: Outbox, site: Callable[..., Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.post("PACS")
    pacs = ScriptedPacs()
    sent, refusals = SqliteLedger.sent, []

    def full(ledger: SqliteLedger, delivery_id: DeliveryId, worker: str, status: int) -> None:
        if len(refusals) < 2:
            refusals.append(delivery_id)
            raise LedgerUnavailable("The ledger could not commit.")
        sent(ledger, delivery_id, worker, status)

    monkeypatch.setattr(SqliteLedger, "sent", full)
    with listening(pacs), delivering(site(PACS=pacs.port)) as (_, errors):
        wait_for(lambda: states(outbox, "PACS") == {"sent"}, 30, "PACS has its results")
        assert not errors
    assert len(pacs.stored) == len(set(pacs.stored)) == 2
    assert {item.attempts for item in outbox.deliveries()} == {1}


@pytest.mark.parametrize("method", ["claim_deliveries", "pin", "negotiated", "beat"])
def test_a_ledger_that_ails_for_a_while_ends_no_sender_and_costs_no_attempt(
    outbox: Outbox,
    site: Callable[..., Configuration],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    outbox.post("PACS")
    pacs = ScriptedPacs()
    well, refusals = getattr(SqliteLedger, method), []

    def ailing(ledger: SqliteLedger, *values: Any) -> Any:
        if len(refusals) < 2:
            refusals.append(values)
            raise LedgerUnavailable("The ledger could not be written: database is locked.")
        return well(ledger, *values)

    monkeypatch.setattr(SqliteLedger, method, ailing)
    with listening(pacs), delivering(site(PACS=pacs.port)) as (_, errors):
        wait_for(lambda: states(outbox, "PACS") == {"sent"}, 30, "PACS has its results")
        wait_for(lambda: len(refusals) == 2, 30, "the ledger ailed")
        assert not errors
    assert len(pacs.stored) == len(set(pacs.stored)) == 2
    assert {item.attempts for item in outbox.deliveries()} == {1}
