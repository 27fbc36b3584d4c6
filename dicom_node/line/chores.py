"""When chores are done: again and again, or at an hour of the site's day."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from dicom_node.patience import Patience

_STOP_SECONDS = 10.0


class Chores:
    """Jobs that come again and again, a thread each, so that a long one delays no other.

    The pauses between them are not measured by the clock on the wall, which may be set.
    """

    def __init__(self, stop: threading.Event, patience: Patience) -> None:
        self._stop, self._patience = stop, patience
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, what: str, job: Callable[[], object]) -> None:
        """Do ``job`` now and so many seconds after each time."""

        def work() -> None:
            pause = 0.0
            while not self._stop.wait(pause):
                self._patience.attempt(name, job)
                pause = max(seconds, self._patience.pause(name))

        name = f"chore {what}"
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

    def end(self) -> None:
        """Wait until the jobs under way are done."""
        for thread in self._threads:
            thread.join(_STOP_SECONDS)


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
