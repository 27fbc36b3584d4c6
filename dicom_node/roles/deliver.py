"""The delivering role: one thread a destination, so that a dead one delays nobody."""

from __future__ import annotations

import os
import threading

from dicom_node.delivery.sender import Sender
from dicom_node.line.deliver import Porters
from dicom_node.line.heart import Heart
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.1


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Deliver what is due until ``stop`` is set."""
    log = Log("deliver")
    settings, patience = configuration.settings, Patience(log)
    ledger = opened(configuration, "deliver", stop, patience)
    spool = patience.until("the spool", lambda: Spool(configuration.spool_path), stop)
    if ledger is None or spool is None:
        return
    sender = Sender(settings, spool, ledger, worker.token, log, stop, patience)
    heart = Heart(ledger, worker, patience)
    porters = Porters(sender, ledger, remotes_table(configuration, log))
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    while not stop.is_set():
        heart.beat("working")
        if not patience.attempt("taking deliveries", porters.send_one):
            stop.wait(_IDLE_SECONDS)
    porters.drain(settings.node.drain_seconds)
    patience.attempt("giving back", lambda: ledger.release(worker.token))
    heart.beat("stopped")
    ledger.close()
