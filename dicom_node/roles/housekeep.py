"""The node's chores: admission, studies gone quiet, expiry, retention, disk, self-test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from dicom_node.intake.rules import load_rules
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.roles import upkeep
from dicom_node.roles.assemble import (
    admit_received,
    describe_studies,
    key_patients,
    quieten_studies,
)
from dicom_node.roles.heart import Heart
from dicom_node.roles.process import opened, worker_name
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_SWEEP_SECONDS = 0.25
_DAY_SECONDS = 86_400.0
_STOP_SECONDS = 10.0
_BEAT_SECONDS = 0.5


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Run the jobs until ``stop`` is set."""
    log = Log("housekeep")
    patience = Patience(log)
    ledger = opened(configuration, "housekeep", stop, patience)
    spool = patience.until("the spool", lambda: Spool(configuration.spool_path), stop)
    if ledger is None or spool is None:
        return
    worker = worker_name("housekeep")
    chores = _Chores(stop, patience)
    _assemble(chores, configuration, ledger, spool, worker, log)
    _keep_well(chores, configuration, ledger, spool, log)
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    heart = Heart(ledger, "housekeep", patience)
    while not stop.wait(_BEAT_SECONDS):
        heart.beat("working")
    chores.end()
    patience.attempt("giving back", lambda: ledger.release(worker))
    heart.beat("stopped")
    ledger.close()


class _Chores:
    """Jobs that come again and again, a thread each, so that a long one delays no other.

    The pauses between them are not measured by the clock on the wall, which may be set.
    """

    def __init__(self, stop: threading.Event, patience: Patience) -> None:
        self._stop, self._patience = stop, patience
        self._threads: list[threading.Thread] = []

    def every(
        self,
        seconds: float,
        job: Callable[[], object],
        *,
        now: bool = True,
        give_back: Callable[[], object] | None = None,
    ) -> None:
        """Do ``job`` now, unless told otherwise, and so many seconds after each time."""

        def work() -> None:
            pause = 0.0 if now else seconds
            while not self._stop.wait(pause):
                self._patience.attempt(name, job, give_back)
                pause = max(seconds, self._patience.pause(name))

        name = f"chore {len(self._threads) + 1}: {job.__name__.replace('_', ' ')}"
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

    def end(self) -> None:
        """Wait until the jobs under way are done."""
        for thread in self._threads:
            thread.join(_STOP_SECONDS)


def _assemble(
    chores: _Chores,
    configuration: Configuration,
    ledger: SqliteLedger,
    spool: Spool,
    worker: str,
    log: Log,
) -> None:
    settings = configuration.settings
    rules = load_rules(configuration.admission_path, settings.admission)

    def admission() -> None:
        admit_received(ledger, spool, rules, worker, log)

    def description() -> None:
        describe_studies(ledger, spool)

    def patients() -> None:
        key_patients(ledger, spool)

    def quiet_studies() -> None:
        quieten_studies(ledger, settings, log)

    chores.every(_SWEEP_SECONDS, admission, give_back=lambda: ledger.release(worker))
    chores.every(_SWEEP_SECONDS, description)
    chores.every(1.0, patients)
    chores.every(_SWEEP_SECONDS, quiet_studies)


def _keep_well(
    chores: _Chores, configuration: Configuration, ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    settings = configuration.settings

    def expiry() -> None:
        upkeep.expire(ledger, log)

    def disk() -> None:
        upkeep.watch_disk(spool, settings, log)

    def retention() -> None:
        upkeep.retain(ledger, spool, settings, log)

    def left_overs() -> None:
        upkeep.sweep(ledger, spool, log)

    def certificates() -> None:
        upkeep.watch_certificates(settings, log)

    def self_test() -> None:
        upkeep.self_test(configuration, log)

    chores.every(10.0, expiry)
    chores.every(10.0, disk)
    chores.every(600.0, retention)
    chores.every(3600.0, left_overs)
    chores.every(_DAY_SECONDS, certificates)
    chores.every(_DAY_SECONDS, self_test, now=False)
