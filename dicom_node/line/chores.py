"""Chores that are done again and again; those of an hour of the day: `wall_clock`."""

from __future__ import annotations

import threading
from collections.abc import Callable

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
