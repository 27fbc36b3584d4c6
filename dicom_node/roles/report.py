"""The writing role: quiet studies to results in the outbox. Loads no network."""

from __future__ import annotations

import threading
from contextlib import suppress

from dicom_node.errors import ResultError
from dicom_node.line.pulse import Pulse
from dicom_node.line.report import Reporter
from dicom_node.line.wiring import network_cards, template_of
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.records import Worker
from dicom_node.results.preview import rehearse
from dicom_node.roles.process import stopped_at_once
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Write the results of what is complete until ``stop`` is set."""
    settings = configuration.settings
    # Results may take from the receiver's reserve, but leave the ledger room: sending goes on.
    reserve = settings.node.min_free_bytes // 2
    own = shift(worker, configuration, stop, reserve_bytes=reserve)
    if own is None:
        return
    template = template_of(settings)
    own.heart.beat("starting", "rehearsing a report")
    # The first report of a process takes five times as long: let nobody wait for it.
    with stopped_at_once(stop), suppress(ResultError):
        rehearse(template)
    pulse = Pulse(own.ledger, own.worker, own.heart, own.patience, settings.analysis.lease_seconds)
    remotes = remotes_table(configuration, own.log)
    reporter = Reporter(
        own.ledger, own.spool, settings, template, network_cards(settings),
        own.worker, own.log, pulse,
    )  # fmt: skip
    own.work({"writing results": lambda: reporter.work(remotes.current())})
    own.ledger.close()
