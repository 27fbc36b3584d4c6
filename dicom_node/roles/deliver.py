"""The delivering role: one thread a destination, so that a dead one delays nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence

from dicom_node.delivery.sender import Sender
from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.records import Delivery
from dicom_node.roles.heart import Heart
from dicom_node.roles.process import worker_name
from dicom_node.roles.wiring_remotes import remotes_table
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.1
_AT_ONCE = 32
_MAX_DESTINATIONS = 16


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Deliver what is due until ``stop`` is set; then finish what is under way."""
    log, worker = Log("deliver"), worker_name("deliver")
    settings = configuration.settings
    ledger = open_ledger(configuration.ledger_path, who="deliver")
    sender = Sender(settings, Spool(configuration.spool_path), ledger, worker, log)
    remotes, heart = remotes_table(configuration, log), Heart(ledger, "deliver")
    # Long enough for every object of a parcel to run into its time-out, one after the other.
    limits = settings.delivery
    lease = (_AT_ONCE + 1) * limits.answer_timeout_seconds + limits.connect_timeout_seconds
    busy: dict[str, threading.Thread] = {}
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    while not stop.is_set():
        heart.beat("working")
        busy = {name: thread for name, thread in busy.items() if thread.is_alive()}
        parcel: Sequence[Delivery] = ()
        if len(busy) < _MAX_DESTINATIONS:
            parcel = ledger.claim_deliveries(worker, lease, _AT_ONCE, tuple(busy))
        if not parcel:
            stop.wait(_IDLE_SECONDS)
            continue
        thread = threading.Thread(
            target=sender.deliver, args=(parcel, remotes.current()), daemon=True
        )
        busy[parcel[0].destination] = thread
        thread.start()
    _drain(busy.values(), settings.node.drain_seconds)
    ledger.release(worker)
    heart.beat("stopped")
    ledger.close()


def _drain(threads: Iterable[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
