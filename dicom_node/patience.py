"""Faults of the house are waited for: with growing pauses, told once when one begins and ends.

A full disk, a locked ledger, a lost device say nothing about the film or study at hand. Whoever
meets one gives back what was taken, uncounted, and asks again later; nobody ends because of it.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from dicom_node.errors import NodeError, Unavailable
from dicom_node.logs import Log

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a piece of work waits for, by the names of the errors it met, and until when."""

    errors: frozenset[str]
    of_house: frozenset[str]
    pause: float
    again_at: float


def place_of(error: BaseException) -> str:
    """Return kind and place of an error, without its words: those may quote a patient's data."""
    where = place(error.__traceback__)
    return f"{type(error).__name__} in {where}" if where else type(error).__name__


def place(trace: TracebackType | None) -> str:
    """Return the function and line where a trace ends, "" without one."""
    frames = traceback.extract_tb(trace)
    return f"{frames[-1].name}, line {frames[-1].lineno}" if frames else ""


class Patience:
    """How a role lives with an ailing house. Safe for several threads."""

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._waits: dict[str, _Wait] = {}

    def attempt(
        self,
        what: str,
        work: Callable[[], _T],
        give_back: Callable[[], object] | None = None,
        *,
        longest: float = LONGEST_PAUSE_SECONDS,
    ) -> _T | None:
        """Do ``work`` unless it is being waited for; return None where it was not done.

        After a fault ``give_back`` returns what the work had taken: at once if that can be done,
        else before the work is tried again. An error that nobody foresaw is waited for as well.
        """
        waited = self._waits.get(what)
        if waited is not None and self._clock() < waited.again_at:
            return None
        try:
            if waited is not None and give_back is not None:
                give_back()
            done = work()
        except Exception as error:  # noqa: BLE001 - a role's loop: one fault ends no role
            self._suffer(what, error, longest)
            if give_back is not None:
                with suppress(Unavailable):
                    give_back()
            return None
        self._recover(what)
        return done

    def until(
        self,
        what: str,
        work: Callable[[], _T],
        stop: threading.Event,
        *,
        longest: float = LONGEST_PAUSE_SECONDS,
    ) -> _T | None:
        """Do ``work``, again and again while the house ails; return None once ``stop`` is set.

        It is tried once at least. Other errors than the house's are raised.
        """
        while True:
            try:
                done = work()
            except Unavailable as error:
                self._suffer(what, error, longest)
            else:
                self._recover(what)
                return done
            if stop.wait(self.pause(what)):
                return None

    def pause(self, what: str) -> float:
        """Return for how many seconds this piece of work still waits."""
        waited = self._waits.get(what)
        return 0.0 if waited is None else max(waited.again_at - self._clock(), 0.0)

    def _suffer(self, what: str, error: Exception, longest: float) -> None:
        kind = type(error).__name__
        with self._lock:
            waited = self._waits.get(what)
            pause = min(waited.pause * 2 if waited else FIRST_PAUSE_SECONDS, longest)
            new = not self._known(kind)
            of_house = isinstance(error, Unavailable)
            errors = (waited.errors if waited else frozenset()) | {kind}
            ended = (waited.of_house if waited else frozenset()) | ({kind} if of_house else set())
            self._waits[what] = _Wait(errors, ended, pause, self._clock() + pause)
        if not new:
            return
        if isinstance(error, NodeError):
            event = "house.unavailable" if of_house else "role.error"
            self._tell(event, error=kind, reason=error.message, remedy=error.remedy)
        else:
            self._tell("role.error", error=kind, reason=f"{what} failed: {place_of(error)}")

    def _recover(self, what: str) -> None:
        if what not in self._waits:
            return
        with self._lock:
            waited = self._waits.pop(what, None)
            ended = [] if waited is None else sorted(waited.of_house)
            told = [kind for kind in ended if not self._known(kind)]
        for kind in told:
            self._tell("house.available", error=kind)

    def _known(self, kind: str) -> bool:
        return any(kind in waited.errors for waited in self._waits.values())

    def _tell(self, event: str, **fields: object) -> None:
        self._log.event(event, **fields)
