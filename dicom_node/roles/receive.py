"""The receiving role: keeps answering, whatever happens to the others."""

from __future__ import annotations

import os
import resource
import threading

from dicom_node.association.acceptor import Acceptor
from dicom_node.line.heart import Heart
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_BEAT_SECONDS = 0.5


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Listen until ``stop`` is set, then drain."""
    _raise_descriptor_limit()
    log, settings = Log("receive"), configuration.settings
    patience, reserve = Patience(log), settings.node.min_free_bytes
    ledger = opened(configuration, "receive", stop, patience)
    spool = patience.until(
        "the spool", lambda: Spool(configuration.spool_path, reserve_bytes=reserve), stop
    )
    if ledger is None or spool is None:
        return
    remotes = remotes_table(configuration, log)
    acceptor = Acceptor(settings, remotes.current, spool, ledger, log)
    # A ledger that is locked or full is no reason to stop answering: senders are told 0xA700.
    heart, where = Heart(ledger, worker, patience), f"port={acceptor.port}"
    log.event("role.started", pid=os.getpid(), port=acceptor.port, sqlite=ledger.sqlite_version)
    while not stop.is_set():
        heart.beat("working", where)
        stop.wait(_BEAT_SECONDS)
    heart.beat("stopping", where)
    acceptor.stop(settings.node.drain_seconds)
    heart.beat("stopped")
    ledger.close()


def _raise_descriptor_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
