"""The node's chores: expiry, retention, disk, certificates, self-test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from dicom_node.ledger.ballast import take_ballast
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line import upkeep
from dicom_node.line.heart import Heart
from dicom_node.logs import Log
from dicom_node.moments import zone_of
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_SELF_TEST_HOUR, _CERTIFICATES_HOUR = 3, 8
_STOP_SECONDS = 10.0
_BEAT_SECONDS = 0.5


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Run the jobs until ``stop`` is set."""
    log = Log("housekeep")
    patience = Patience(log)
    ledger = opened(configuration, "housekeep", stop, patience)
    spool = patience.until("the spool", lambda: Spool(configuration.spool_path), stop)
    if ledger is None or spool is None:
        return
    chores = _Chores(stop, patience)
    clock = _Clock(zone_of(configuration.settings.node.timezone), patience)
    _keep_well(chores, configuration, ledger, spool, log)
    _at_hours(clock, configuration, ledger, log)
    log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version)
    heart = Heart(ledger, worker, patience)
    while not stop.wait(_BEAT_SECONDS):
        heart.beat("working")
    chores.end()
    clock.end()
    heart.beat("stopped")
    ledger.close()


class _Chores:
    """Jobs that come again and again, a thread each, so that a long one delays no other.

    The pauses between them are not measured by the clock on the wall, which may be set.
    """

    def __init__(self, stop: threading.Event, patience: Patience) -> None:
        self._stop, self._patience = stop, patience
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, job: Callable[[], object]) -> None:
        """Do ``job`` now and so many seconds after each time."""

        def work() -> None:
            pause = 0.0
            while not self._stop.wait(pause):
                self._patience.attempt(name, job)
                pause = max(seconds, self._patience.pause(name))

        name = f"chore {len(self._threads) + 1}: {job.__name__.replace('_', ' ')}"
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

    def end(self) -> None:
        """Wait until the jobs under way are done."""
        for thread in self._threads:
            thread.join(_STOP_SECONDS)


class _Clock:
    """Jobs of an hour of the site's day, by the clock on its wall: APScheduler's cron trigger."""

    def __init__(self, zone: tzinfo | None, patience: Patience) -> None:
        self._zone, self._patience = zone, patience
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            **({} if zone is None else {"timezone": zone}),
        )
        self._scheduler.start()

    def daily(self, hour: int, job: Callable[[], object], *, at_once: bool = False) -> None:
        """Do ``job`` at this hour of every day, and now where told so."""
        name = f"daily {job.__name__.replace('_', ' ')}"
        first = {"next_run_time": datetime.now().astimezone()} if at_once else {}
        self._scheduler.add_job(
            lambda: self._patience.attempt(name, job),
            CronTrigger(hour=hour, timezone=self._zone),
            name=name,
            **first,
        )

    @property
    def jobs(self) -> Sequence[Job]:
        """What is planned, with the next time of each."""
        return tuple(self._scheduler.get_jobs())

    def end(self) -> None:
        """Start no more of them; the supervisor ends one that is under way for too long."""
        self._scheduler.shutdown(wait=False)


def _keep_well(
    chores: _Chores, configuration: Configuration, ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    settings = configuration.settings

    def expiry() -> None:
        upkeep.expire(ledger, log)

    def disk() -> None:
        upkeep.watch_disk(spool, settings, log)
        free, reserve = spool.free_bytes(), settings.node.min_free_bytes
        take_ballast(configuration.ledger_path, free, reserve)

    def retention() -> None:
        upkeep.retain(ledger, spool, settings, log)

    def left_overs() -> None:
        upkeep.sweep(ledger, spool, log, settings)

    chores.every(10.0, expiry)
    chores.every(10.0, disk)
    chores.every(600.0, retention)
    chores.every(3600.0, left_overs)


def _at_hours(clock: _Clock, configuration: Configuration, ledger: SqliteLedger, log: Log) -> None:
    def parked() -> None:
        upkeep.announce(ledger, configuration.settings, log)

    def certificates() -> None:
        upkeep.watch_certificates(configuration.settings, log)

    def self_test() -> None:
        upkeep.self_test(configuration, log)

    clock.daily(_CERTIFICATES_HOUR, certificates, at_once=True)
    clock.daily(_CERTIFICATES_HOUR, parked, at_once=True)
    clock.daily(_SELF_TEST_HOUR, self_test)
