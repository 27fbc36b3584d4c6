"""The receiving role: keeps answering, whatever happens to the others."""

from __future__ import annotations

import os
import resource
import threading

from dicom_node.association.acceptor import Acceptor
from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.roles.heart import Heart
from dicom_node.roles.wiring_remotes import remotes_table
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_BEAT_SECONDS = 0.5


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Listen until ``stop`` is set, then drain."""
    _raise_descriptor_limit()
    log, settings = Log("receive"), configuration.settings
    ledger = open_ledger(configuration.ledger_path, who="receive")
    spool = Spool(configuration.spool_path, reserve_bytes=settings.node.min_free_bytes)
    remotes = remotes_table(configuration, log)
    acceptor = Acceptor(settings, remotes.current, spool, ledger, log)
    heart, where = Heart(ledger, "receive"), f"port={acceptor.port}"
    log.event("role.started", pid=os.getpid(), port=acceptor.port, sqlite=ledger.sqlite_version)
    well = True
    while not stop.is_set():
        well = _beat(heart, log, "working", where, well=well)
        stop.wait(_BEAT_SECONDS)
    _beat(heart, log, "stopping", where, well=well)
    acceptor.stop(settings.node.drain_seconds)
    _beat(heart, log, "stopped", None, well=well)
    ledger.close()


def _beat(heart: Heart, log: Log, state: str, detail: str | None, *, well: bool) -> bool:
    """Beat and return whether the ledger took it; ``well`` says whether it took the last one.

    A ledger that is locked or full is no reason to stop answering: senders are told 0xA700 and
    associations go on.
    """
    try:
        heart.beat(state, detail)
    except LedgerUnavailable as error:
        if well:
            log.event("role.error", reason=error.message, remedy=error.remedy)
        return False
    return True


def _raise_descriptor_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
