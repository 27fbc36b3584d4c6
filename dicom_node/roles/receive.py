"""The receiving role: keeps answering, whatever happens to the others."""

from __future__ import annotations

import resource
import threading

from dicom_node.association.acceptor import Acceptor
from dicom_node.line.chores import Chores
from dicom_node.line.tallied import ASSOCIATIONS_OPEN, TalliedLog
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.records import Worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration

_BEAT_SECONDS, _TALLY_SECONDS, _TLS_SECONDS = 0.5, 1.0, 2.0


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Listen until ``stop`` is set, then drain."""
    _raise_descriptor_limit()
    settings = configuration.settings
    own = shift(worker, configuration, stop, reserve_bytes=settings.node.min_free_bytes)
    if own is None:
        return
    log = TalliedLog(own.role)
    remotes = remotes_table(configuration, log)
    acceptor = Acceptor(settings, remotes.current, own.spool, own.ledger, log)
    chores = Chores(stop, own.patience)
    levels = {ASSOCIATIONS_OPEN: acceptor.established}
    chores.every(_TLS_SECONDS, "certificates", acceptor.renew_tls)
    chores.every(_TALLY_SECONDS, "tallies", lambda: log.write(own.ledger, levels))

    def end() -> None:
        acceptor.stop(settings.node.drain_seconds)
        chores.end()
        own.patience.attempt("last tallies", lambda: log.write(own.ledger, levels))

    # A ledger that is locked or full is no reason to stop answering: senders are told 0xA700.
    own.work(
        {},
        idle_seconds=_BEAT_SECONDS,
        detail=f"port={acceptor.port}",
        drain=end,
        port=acceptor.port,
    )
    own.ledger.close()


def _raise_descriptor_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
