"""What only the door knows is counted into the ledger: of few kinds, whatever strangers call."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import logs
from dicom_node.association.policy import Rejected, Requested, decide
from dicom_node.dimse.entity import APPLICATION_CONTEXT_NAME
from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.tallied import ASSOCIATIONS_OPEN, OTHER_REASON, REJECTIONS, TalliedLog
from dicom_node.roles.supervisor import Supervisor
from dicom_node.settings import Remote, load_configuration
from tests.ledger_kit import asked_of, fresh_ledger
from tests.monitor_kit import site


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = fresh_ledger(tmp_path / "ledger.sqlite", who="test")
    yield opened
    opened.close()


@pytest.fixture
def log() -> TalliedLog:
    logs.configure(stream=io.StringIO(), strict=True)
    return TalliedLog("receive")


PEER = {"calling_ae_title": "X", "called_ae_title": "Y", "peer_address": "10.0.0.9"}


def test_what_is_said_is_counted_once_it_is_written(ledger: SqliteLedger, log: TalliedLog) -> None:
    for _ in range(3):
        log.event("association.accepted", **PEER)
    log.event("instance.refused", **PEER, sop_instance_uid="1.2", status="0xA700")
    log.event("remotes.loaded", count=1)
    assert ledger.totals() == {}
    for _ in range(2):
        log.write(ledger, {ASSOCIATIONS_OPEN: lambda: 2})
    assert ledger.totals() == {
        ("association.accepted", ""): 3, ("instance.refused", "0xA700"): 1,
        (ASSOCIATIONS_OPEN, ""): 2,
    }  # fmt: skip


def test_what_the_ledger_does_not_take_is_counted_later(
    ledger: SqliteLedger, log: TalliedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.event("association.accepted", **PEER)

    def full(*_: object) -> None:
        raise LedgerUnavailable("The ledger could not be written: database or disk is full.")

    with monkeypatch.context() as while_full:
        while_full.setattr(SqliteLedger, "add_totals", full)
        with pytest.raises(LedgerUnavailable):
            log.write(ledger, {})
    log.event("association.accepted", **PEER)
    log.write(ledger, {})
    assert ledger.totals() == {("association.accepted", ""): 2}


def test_where_nothing_happened_nothing_is_written(ledger: SqliteLedger, log: TalliedLog) -> None:
    log.write(ledger, {ASSOCIATIONS_OPEN: lambda: 0})
    with asked_of(ledger) as asked:
        log.write(ledger, {ASSOCIATIONS_OPEN: lambda: 0})
    assert asked == []


def rejected(folder: Path, **said: str) -> Rejected:
    configuration = site(folder, "", "CT1")
    (folder / "remotes" / "mr1.toml").write_text(
        'ae_title = "MR1"\nhost = "10.0.0.5"\nport = 104\naddresses = ["10.0.9.0/24"]\n'
    )
    (folder / "remotes" / "pacs.toml").write_text(
        'ae_title = "PACS"\nhost = "10.0.0.5"\nport = 104\nmay_send = false\n'
    )
    told = {"ae_title": "CR1", "host": "10.0.0.5", "port": 104, "certificates": ("ab" * 32,)}
    remotes = {**load_configuration(folder).remotes, "CR1": Remote.model_validate(told)}
    asked = {"calling_ae_title": "CT1", "called_ae_title": "DICOMNODE", "peer_address": "10.0.0.9",
             "application_context_name": APPLICATION_CONTEXT_NAME} | said  # fmt: skip
    answer = decide(Requested(**asked), remotes, configuration.settings, 0)
    assert isinstance(answer, Rejected)
    return answer


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"calling_ae_title": "EVIL"}, "calling-ae-title"),
        ({"called_ae_title": "EVIL"}, "called-ae-title"),
        ({"calling_ae_title": "ct1"}, "letter-case"),
        ({"calling_ae_title": "MR1"}, "address"),
        ({"calling_ae_title": "CR1"}, "certificate"),
        ({"calling_ae_title": "PACS"}, "may-not-send"),
        ({"application_context_name": "1.2.3"}, "application-context"),
    ],
)
def test_every_cause_of_a_rejection_is_counted_by_its_kind(
    ledger: SqliteLedger, log: TalliedLog, tmp_path: Path, said: dict[str, str], counted: str
) -> None:
    answer = rejected(tmp_path / "site", **said)
    log.event("association.rejected", **PEER, reason=answer.reason, remedy=answer.remedy)
    log.write(ledger, {})
    assert ledger.totals() == {("association.rejected", counted): 1}


def test_every_kind_of_rejection_is_one_that_happens() -> None:
    (table,) = (
        mark.args[1]
        for mark in test_every_cause_of_a_rejection_is_counted_by_its_kind.pytestmark  # type: ignore[attr-defined]
    )
    assert {counted for _, counted in table} == set(REJECTIONS.values())


def test_a_reason_or_status_that_nobody_foresaw_is_other(
    ledger: SqliteLedger, log: TalliedLog
) -> None:
    log.event("association.rejected", **PEER, reason="moon", remedy="")
    log.event("instance.refused", **PEER, sop_instance_uid="1", status="<script>")
    log.write(ledger, {})
    assert set(ledger.totals()) == {
        ("association.rejected", OTHER_REASON), ("instance.refused", OTHER_REASON)
    }  # fmt: skip


def test_two_supervisors_of_one_node_are_told_apart(tmp_path: Path) -> None:
    configuration = site(tmp_path)
    one = Supervisor(configuration, ["receive", "monitor"])
    other = Supervisor(configuration, ["analyse", "report"])
    assert one._self.number != other._self.number
    assert (one._says, other._says) == ("roles=receive,monitor", "roles=analyse,report")
