"""The delivering role: one thread a destination, so that a dead one delays nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from queue import SimpleQueue

from dicom_node.delivery.sender import PARCEL_SIZE, Sender, lease_seconds
from dicom_node.errors import DeliveryError, LedgerUnavailable
from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.records import Delivery
from dicom_node.roles.heart import Heart
from dicom_node.roles.process import worker_name
from dicom_node.roles.wiring_remotes import remotes_table
from dicom_node.settings import Configuration, Remote
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.1
_MAX_DESTINATIONS = 16

Broken = SimpleQueue[LedgerUnavailable]


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Deliver what is due until ``stop``. Raises `LedgerUnavailable` once outcomes are lost."""
    log, worker = Log("deliver"), worker_name("deliver")
    settings = configuration.settings
    ledger = open_ledger(configuration.ledger_path, who="deliver")
    sender = Sender(settings, Spool(configuration.spool_path), ledger, worker, log, stop)
    remotes, heart = remotes_table(configuration, log), Heart(ledger, "deliver")
    lease = lease_seconds(settings.delivery)
    busy: dict[str, threading.Thread] = {}
    broken: Broken = SimpleQueue()
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    while not stop.is_set() and broken.empty():
        heart.beat("working")
        busy = {name: thread for name, thread in busy.items() if thread.is_alive()}
        parcel: Sequence[Delivery] = ()
        if len(busy) < _MAX_DESTINATIONS:
            parcel = ledger.claim_deliveries(worker, lease, PARCEL_SIZE, tuple(busy))
        if not parcel:
            stop.wait(_IDLE_SECONDS)
            continue
        work = (sender, parcel, remotes.current(), broken)
        thread = threading.Thread(target=_carry, args=work, daemon=True)
        busy[parcel[0].destination] = thread
        thread.start()
    _drain(busy.values(), settings.node.drain_seconds)
    if not broken.empty():
        raise broken.get()
    ledger.release(worker)
    heart.beat("stopped")
    ledger.close()


def _carry(
    sender: Sender, parcel: Sequence[Delivery], remotes: Mapping[str, Remote], broken: Broken
) -> None:
    try:
        try:
            sender.deliver(parcel, remotes)
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one bad parcel stops no other
            name = type(error).__name__
            sender.log.event("role.error", reason="a delivery failed", error=name)
            sender.postpone(parcel, DeliveryError(f"The attempt failed within the node: {name}."))
    except LedgerUnavailable as error:
        broken.put(error)


def _drain(threads: Iterable[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
