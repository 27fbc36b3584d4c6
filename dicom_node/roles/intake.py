"""The deciding role: which received films are analysed, whose they are, which studies are complete.

By headers alone: it decodes no pixels and loads no network.
"""

from __future__ import annotations

import threading

from dicom_node.line.admit import (
    admit_received,
    describe_studies,
    key_patients,
    note_facts,
    quieten_studies,
)
from dicom_node.line.wiring import menu_of
from dicom_node.records import Worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration

_IDLE_SECONDS = 0.2


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Decide what is received until ``stop`` is set."""
    own = shift(worker, configuration, stop)
    if own is None:
        return
    ledger, spool, settings = own.ledger, own.spool, configuration.settings
    menu = menu_of(configuration)
    own.work(
        {
            "admitting films": lambda: admit_received(
                ledger, spool, menu.rules, own.worker, own.log, menu
            ),
            "describing studies": lambda: describe_studies(ledger, spool),
            "noting headers": lambda: note_facts(ledger, spool),
            "noting patients": lambda: key_patients(ledger, spool),
            "ending studies": lambda: quieten_studies(ledger, settings, own.log),
        },
        idle_seconds=_IDLE_SECONDS,
    )
    ledger.close()
