"""The thinking role: films to findings, quiet studies to results. The only one with networks."""

from __future__ import annotations

import os
import threading
import time

from dicom_node.errors import DeviceUnavailable
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.roles.films import Analyst
from dicom_node.roles.heart import Heart
from dicom_node.roles.process import opened, stopped_at_once, worker_name
from dicom_node.roles.reports import Reporter
from dicom_node.roles.wiring import engine_of, network_cards, template_of
from dicom_node.roles.wiring_remotes import remotes_table
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.1
_RENEWALS = 4
_DEVICE_TRIES = 3
"""A device that is lost so often in a row needs a new process (a GPU's driver, say)."""


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Load the networks, then analyse and report until ``stop`` is set.

    Raises `DeviceUnavailable` where a new process may find the device again.
    """
    log = Log("analyse")
    patience = Patience(log)
    ledger = opened(configuration, "analyse", stop, patience)
    # Results may take from the receiver's reserve, but leave the ledger room: sending goes on.
    reserve = configuration.settings.node.min_free_bytes // 2
    spool = patience.until(
        "the spool", lambda: Spool(configuration.spool_path, reserve_bytes=reserve), stop
    )
    if ledger is not None and spool is not None:
        _Line(configuration, ledger, spool, patience, log).work(stop)
        ledger.close()


class _Line:
    """The role's loop: films first, then one study's results, and both again."""

    def __init__(
        self,
        configuration: Configuration,
        ledger: SqliteLedger,
        spool: Spool,
        patience: Patience,
        log: Log,
    ) -> None:
        settings, worker = configuration.settings, worker_name("analyse")
        self._ledger, self._patience, self._log, self._worker = ledger, patience, log, worker
        self._lease_seconds = settings.analysis.lease_seconds
        self._heart = Heart(ledger, "analyse", patience)
        self._engine = engine_of(settings)
        self._remotes = remotes_table(configuration, log)
        self._analyst = Analyst(
            self._engine, ledger, spool, settings, worker, log, self._pulse, self._late_seconds
        )
        self._batch_wait_ms = settings.analysis.batch_wait_ms
        self._reporter = Reporter(
            ledger, spool, settings, template_of(settings), network_cards(settings), worker, log,
            self._pulse,
        )  # fmt: skip
        self._lost: DeviceUnavailable | None = None
        self._losses = 0
        self._renewed = time.monotonic()

    def _late_seconds(self) -> float:
        # On a CPU more films at once are no faster.
        return self._batch_wait_ms / 1000 if self._engine.device == "gpu" else 0.0

    def work(self, stop: threading.Event) -> None:
        self._heart.beat("starting", "loading networks")
        with stopped_at_once(stop):
            self._engine.warm()
        sqlite, device = self._ledger.sqlite_version, self._engine.device
        self._log.event("role.started", pid=os.getpid(), sqlite=sqlite, device=device)
        while not stop.is_set() and self._losses < _DEVICE_TRIES:
            self._heart.beat("working", device)
            films = self._patience.attempt("analysing films", self._analyse, self._give_back)
            study = self._patience.attempt("writing results", self._report, self._give_back)
            if not films and not study:
                stop.wait(_IDLE_SECONDS)
        self._patience.attempt("giving back", self._give_back)
        self._heart.beat("stopped")
        if self._losses >= _DEVICE_TRIES and self._lost is not None:
            raise self._lost

    def _analyse(self) -> int:
        try:
            taken = self._analyst.work()
        except DeviceUnavailable as error:
            self._lost, self._losses = error, self._losses + 1
            raise
        self._losses = 0 if taken else self._losses
        return taken

    def _report(self) -> bool:
        return self._reporter.work(self._remotes.current())

    def _give_back(self) -> None:
        self._ledger.release(self._worker)

    def _pulse(self) -> None:
        """Show, between two films of long work, that it goes on: its leases last again."""
        self._heart.beat("working", self._engine.device)
        now = time.monotonic()
        if now - self._renewed > self._lease_seconds / _RENEWALS:
            self._renewed = now
            self._patience.attempt("keeping leases", self._renew)

    def _renew(self) -> None:
        self._ledger.renewed(self._worker, self._lease_seconds)
