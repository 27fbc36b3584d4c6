"""Chores of an hour of the site's day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from dicom_node.patience import Patience


class WallClock:
    """Jobs of an hour of the site's day, by the clock on its wall: APScheduler's cron trigger."""

    def __init__(self, zone: tzinfo | None, patience: Patience) -> None:
        self._zone, self._patience = zone, patience
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            **({} if zone is None else {"timezone": zone}),
        )
        self._scheduler.start()

    def daily(
        self, hour: int, what: str, job: Callable[[], object], *, at_once: bool = False
    ) -> None:
        """Do ``job`` at this hour of every day, and now where told so."""
        name = f"daily {what}"
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
