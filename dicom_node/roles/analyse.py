"""The thinking role: films to findings, quiet studies to results. The only one with networks."""

from __future__ import annotations

import os
import threading

from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.roles.films import Analyst
from dicom_node.roles.heart import Heart
from dicom_node.roles.process import stopped_at_once, worker_name
from dicom_node.roles.reports import Reporter
from dicom_node.roles.wiring import engine_of, network_cards, template_of
from dicom_node.roles.wiring_remotes import remotes_table
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.1


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Load the networks, then analyse and report until ``stop`` is set."""
    log, worker = Log("analyse"), worker_name("analyse")
    settings = configuration.settings
    ledger = open_ledger(configuration.ledger_path, who="analyse")
    heart = Heart(ledger, "analyse")
    heart.beat("starting", "loading networks")
    spool = Spool(configuration.spool_path)
    with stopped_at_once(stop):
        engine = engine_of(settings)
        engine.warm()
    analyst = Analyst(engine, ledger, spool, settings, worker, log)
    reporter = Reporter(
        ledger, spool, settings, template_of(settings), network_cards(settings), worker, log
    )
    remotes = remotes_table(configuration, log)
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version, device=engine.device)
    while not stop.is_set():
        heart.beat("working", engine.device)
        worked = analyst.work() > 0
        worked = reporter.work(remotes.current()) or worked
        if not worked:
            stop.wait(_IDLE_SECONDS)
    ledger.release(worker)
    heart.beat("stopped")
    ledger.close()
