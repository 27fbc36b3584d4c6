"""The chores' clocks: jobs of an hour of the day follow the site's clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dicom_node.line.wall_clock import WallClock
from dicom_node.logs import Log
from dicom_node.patience import Patience


def test_a_daily_job_comes_at_its_hour_of_the_sites_day_and_at_once_only_where_told() -> None:
    clock = WallClock(ZoneInfo("Asia/Tokyo"), Patience(Log("housekeep")))
    done = threading.Event()

    def at_start() -> None:
        done.set()

    clock.daily(3, "nightly", lambda: None)
    clock.daily(8, "at start", at_start, at_once=True)
    nightly = next(job for job in clock.jobs if job.name == "daily nightly")

    assert done.wait(30), "what is due at the start was not done"
    # Three in the night of Tokyo is six in the evening of the day before in Greenwich.
    assert nightly.next_run_time.astimezone(UTC).hour == 18
    assert nightly.next_run_time > datetime.now(UTC)
    clock.end()


def test_a_daily_job_that_fails_is_told_and_comes_again() -> None:
    clock = WallClock(ZoneInfo("UTC"), Patience(Log("housekeep")))
    tried = threading.Event()

    def broken() -> None:
        tried.set()
        raise ValueError

    clock.daily(8, "broken", broken, at_once=True)

    assert tried.wait(30)
    [job] = clock.jobs
    assert job.next_run_time > datetime.now(UTC)
    clock.end()
