"""The delivering role: one thread a destination, so that a dead one delays nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence

from dicom_node.delivery.sender import PARCEL_SIZE, Sender, lease_seconds
from dicom_node.errors import DeliveryError, Unavailable
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.heart import Heart
from dicom_node.line.reissue import Reissuer
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Delivery, Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration, RemotesTable
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.1
_MAX_DESTINATIONS = 16


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Deliver what is due until ``stop`` is set."""
    log = Log("deliver")
    settings, patience = configuration.settings, Patience(log)
    ledger = opened(configuration, "deliver", stop, patience)
    spool = patience.until("the spool", lambda: Spool(configuration.spool_path), stop)
    if ledger is None or spool is None:
        return
    sender = Sender(
        settings, spool, ledger, worker.token, log, stop, patience,
        reissues=Reissuer(ledger, spool),
    )  # fmt: skip
    heart = Heart(ledger, worker, patience)
    porters = _Porters(sender, ledger, remotes_table(configuration, log))
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    while not stop.is_set():
        heart.beat("working")
        if not patience.attempt("taking deliveries", porters.send_one):
            stop.wait(_IDLE_SECONDS)
    porters.drain(settings.node.drain_seconds)
    patience.attempt("giving back", lambda: ledger.release(worker.token))
    heart.beat("stopped")
    ledger.close()


class _Porters:
    """The threads, one a destination that has something due."""

    def __init__(self, sender: Sender, ledger: SqliteLedger, remotes: RemotesTable) -> None:
        self._sender, self._ledger, self._remotes = sender, ledger, remotes
        self._lease_seconds = lease_seconds(sender.settings.delivery)
        self._busy: dict[str, threading.Thread] = {}

    def send_one(self) -> bool:
        """Send off one parcel that is due; return whether there was one."""
        self._busy = {name: thread for name, thread in self._busy.items() if thread.is_alive()}
        if len(self._busy) >= _MAX_DESTINATIONS:
            return False
        parcel = self._ledger.claim_deliveries(
            self._sender.worker, self._lease_seconds, PARCEL_SIZE, tuple(self._busy)
        )
        if not parcel:
            return False
        thread = threading.Thread(target=self._carry, args=(parcel,), daemon=True)
        self._busy[parcel[0].destination] = thread
        thread.start()
        return True

    def drain(self, seconds: float) -> None:
        """Wait for the threads, at most so long."""
        _join(self._busy.values(), time.monotonic() + seconds)

    def _carry(self, parcel: Sequence[Delivery]) -> None:
        sender, patience = self._sender, self._sender.patience
        what = f"delivering to {parcel[0].destination}"
        if patience.attempt(what, lambda: self._deliver(parcel)):
            return
        # The thread stays: nothing else goes to this destination while it waits.
        if not sender.stop.wait(patience.pause(what)):
            owed = [item.id for item in parcel]
            back = lambda: self._ledger.returned(owed, sender.worker)  # noqa: E731
            patience.until(f"giving back to {parcel[0].destination}", back, sender.stop)

    def _deliver(self, parcel: Sequence[Delivery]) -> bool:
        try:
            self._sender.deliver(parcel, self._remotes.current())
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one bad parcel stops no other
            name = type(error).__name__
            self._sender.log.event("role.error", reason="a delivery failed", error=name)
            reason = f"The attempt failed within the node: {name}."
            self._sender.postpone(parcel, DeliveryError(reason))
        return True


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
