"""The node's clock: admission, studies gone quiet, expiry, retention, disk, self-test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from dicom_node.errors import NodeError
from dicom_node.intake.rules import load_rules
from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.roles import upkeep
from dicom_node.roles.assemble import (
    admit_received,
    describe_studies,
    key_patients,
    quieten_studies,
)
from dicom_node.roles.process import worker_name
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_SWEEP_SECONDS = 0.25
_DAY_SECONDS = 86_400.0


def run(configuration: Configuration, stop: threading.Event) -> None:
    """Run the jobs until ``stop`` is set."""
    log, worker = Log("housekeep"), worker_name("housekeep")
    settings = configuration.settings
    ledger = open_ledger(configuration.ledger_path, who="housekeep")
    spool = Spool(configuration.spool_path)
    rules = load_rules(configuration.admission_path, settings.admission)
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={"default": ThreadPoolExecutor(8)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )

    def every(seconds: float, job: Callable[[], object], *, now: bool = True) -> None:
        first = {} if not now else {"next_run_time": upkeep.utc_now()}
        scheduler.add_job(_guarded(job, log), "interval", seconds=seconds, **first)

    every(_SWEEP_SECONDS, lambda: admit_received(ledger, spool, rules, worker, log))
    every(_SWEEP_SECONDS, lambda: describe_studies(ledger, spool))
    every(1.0, lambda: key_patients(ledger, spool))
    every(_SWEEP_SECONDS, lambda: quieten_studies(ledger, settings, log))
    every(1.0, lambda: ledger.beat("housekeep", "working"))
    every(10.0, lambda: upkeep.expire(ledger, log))
    every(10.0, lambda: upkeep.watch_disk(spool, settings, log))
    every(600.0, lambda: upkeep.retain(ledger, spool, settings, log))
    every(3600.0, lambda: upkeep.sweep(ledger, spool, log))
    every(_DAY_SECONDS, lambda: upkeep.watch_certificates(settings, log))
    every(_DAY_SECONDS, lambda: upkeep.self_test(configuration, log), now=False)
    scheduler.start()
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    stop.wait()
    scheduler.shutdown(wait=True)
    ledger.release(worker)
    ledger.close()


def _guarded(job: Callable[[], object], log: Log) -> Callable[[], None]:
    def guarded() -> None:
        try:
            job()
        except NodeError as error:
            log.event("role.error", reason=error.message, remedy=error.remedy)
        except Exception as error:  # noqa: BLE001 - a role's loop: one bad job stops no other
            log.event("role.error", reason="a job failed", error=type(error).__name__)

    return guarded
