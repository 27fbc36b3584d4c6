"""The ledger in SQLite: the embedded default of one machine (see `interface` for promises)."""

from __future__ import annotations

from pathlib import Path

from dicom_node.ledger.ageing import Ageing
from dicom_node.ledger.alarms import AlarmBook
from dicom_node.ledger.case_row import refresh_case
from dicom_node.ledger.casebook import Casebook
from dicom_node.ledger.clock import Steady
from dicom_node.ledger.connection import Clock, Connection, utc_now
from dicom_node.ledger.delivering import Delivering
from dicom_node.ledger.facts import HeaderFacts
from dicom_node.ledger.observed import ObservedCases
from dicom_node.ledger.opening import BUSY_SECONDS
from dicom_node.ledger.outbox import SearchedOutbox
from dicom_node.ledger.patients import Patients
from dicom_node.ledger.people import People
from dicom_node.ledger.reading import Questions
from dicom_node.ledger.receiving import Receiving
from dicom_node.ledger.recipes import Recipes
from dicom_node.ledger.reporting import Reporting
from dicom_node.ledger.restoring import Restoring
from dicom_node.ledger.shadow import Shadow
from dicom_node.ledger.sign_ins import SignIns
from dicom_node.ledger.symptoms import Symptomatic
from dicom_node.ledger.watching import Watching
from dicom_node.ledger.workers import Supervising
from dicom_node.ledger.working import Working


class SqliteLedger(
    Receiving,
    Working,
    Supervising,
    Reporting,
    Delivering,
    Questions,
    SearchedOutbox,
    Casebook,
    ObservedCases,
    Patients,
    Recipes,
    HeaderFacts,
    People,
    SignIns,
    Shadow,
    Ageing,
    Restoring,
    Symptomatic,
    Watching,
    AlarmBook,
):
    """Every protocol of `interface`; one part a file."""


def open_ledger(
    path: Path,
    *,
    who: str,
    clock: Clock = utc_now,
    steady: Steady | None = None,
    busy_seconds: float = BUSY_SECONDS,
    verify: bool = False,
) -> SqliteLedger:
    """Open (or make) the ledger at ``path`` for the process or person called ``who``.

    ``clock`` is the one on the wall, ``steady`` the machine's, which is never set: by it durations
    stay right where the first is. ``busy_seconds``: how long to wait for another process's
    transaction. ``verify``: read the whole file first (about a second a million films) and refuse a
    damaged one.

    Raises `LedgerUnavailable`, `SchemaTooNew` and `SqliteAffected`.
    """
    return SqliteLedger(
        Connection(
            path,
            who=who,
            clock=clock,
            steady=steady,
            busy_seconds=busy_seconds,
            verify=verify,
            project=refresh_case,
        )
    )
