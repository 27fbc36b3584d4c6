"""The sending role: what waits in the outbox, to the AEs that get it."""

from __future__ import annotations

import threading

from dicom_node.delivery.sender import Sender
from dicom_node.line.deliver import Porters
from dicom_node.line.reissue import Reissuer
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.records import Worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Deliver what is due until ``stop`` is set."""
    own = shift(worker, configuration, stop)
    if own is None:
        return
    settings = configuration.settings
    sender = Sender(
        settings, own.spool, own.ledger, own.worker, own.log, stop, own.patience,
        reissues=Reissuer(own.ledger, own.spool),
    )  # fmt: skip
    porters = Porters(sender, own.ledger, remotes_table(configuration, own.log))
    own.work(
        {"taking deliveries": porters.send_one},
        # A destination is free again when its thread ends, which the ledger does not tell.
        idle_seconds=0.1,
        drain=lambda: porters.drain(settings.node.drain_seconds),
    )
    own.ledger.close()
