"""Films in flight: each in a thread of its own, so many at once, their outcomes kept together.

While one film is in the brain the next is decoded, and what was said of the one before is packed.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from dicom_node.errors import Unavailable
from dicom_node.records import Instance

_LOOK_SECONDS = 0.05
"""How often who has room looks for more films, and how often there is a pulse."""

_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """How many films are in flight, and how long what is done may wait.

    ``films``: at most so many at once, in memory too. ``together``: so many outcomes are kept in
    one commit; fewer where nothing else flies, or the first has waited for ``linger_seconds``.
    ``limit``: after so many films the rest is left for another time. ``silence_seconds``: where no
    film has started or landed for so long there is no pulse: they hang.
    """

    films: int
    together: int
    limit: int
    linger_seconds: float
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class Crew(Generic[_Outcome]):
    """Who does what; all but ``film`` are called by one thread.

    ``claim``: returns films to take, () if there are none; told whether one whose worker died once
    may be among them: never while others fly, whose crash would count against it. ``film``:
    returns what becomes of one; called by many threads. ``judge``: returns what becomes of films on
    which ``film`` raised something else than `Unavailable`. ``conclude``: keeps outcomes.
    ``pulse``: a sign of life. ``going_on``: whether films that wait may still start. Each may raise
    `Unavailable`.
    """

    claim: Callable[[bool], Sequence[Instance]]
    film: Callable[[Instance], _Outcome]
    judge: Callable[[Sequence[tuple[Instance, BaseException]]], Sequence[_Outcome]]
    conclude: Callable[[Sequence[_Outcome]], None]
    pulse: Callable[[], None]
    going_on: Callable[[], bool]


class Flight(Generic[_Outcome]):
    """One run: as long as there are films, up to a limit, or until the house ails."""

    def __init__(self, crew: Crew[_Outcome], plan: FlightPlan) -> None:
        self._crew, self._plan = crew, plan
        self._waiting: deque[Instance] = deque()
        self._flying: dict[Future[_Outcome], Instance] = {}
        self._done: list[_Outcome] = []
        self._first_done = self._moved = time.monotonic()
        self._alone = False
        self._fault: Unavailable | None = None
        self._taken = 0

    def fly(self) -> int:
        """Take films until none waits; return how many.

        Raises the first `Unavailable` that was met, once what was in flight has landed and been
        kept as far as it can be; what had not started is to be given back.
        """
        self._take()
        if not self._waiting:
            return 0
        # Threads that decode set and reset the process's warnings: all of them within this.
        with (
            warnings.catch_warnings(action="ignore"),
            ThreadPoolExecutor(self._plan.films, "film") as pool,
        ):
            while self._waiting or self._flying:
                self._start(pool)
                if self._is_ripe():
                    self._attempt(self._conclude)
                self._land()
                self._attempt(self._claim)
        try:
            if self._done:
                self._conclude()
        except Unavailable as fault:
            self._stop(fault)
        if self._fault is not None:
            raise self._fault
        return self._taken

    def _claim(self) -> None:
        """Take more films where there is room and nothing waits; and none if told to end."""
        if not self._crew.going_on():
            self._waiting.clear()
        elif not self._waiting and self._may_claim():
            self._take()

    def _take(self) -> None:
        claimed = self._crew.claim(not self._flying)
        self._waiting.extend(claimed)
        self._taken += len(claimed)

    def _may_claim(self) -> bool:
        # What is held when a suspect crashes becomes one itself.
        is_suspect_up = self._alone and self._flying
        return self._has_room() and self._taken < self._plan.limit and not is_suspect_up

    def _start(self, pool: ThreadPoolExecutor) -> None:
        while self._may_start():
            film = self._waiting.popleft()
            self._alone = film.attempts > 0
            self._moved = time.monotonic()
            self._flying[pool.submit(self._crew.film, film)] = film

    def _may_start(self) -> bool:
        """Whether the next film may start.

        One whose worker died once flies alone, and all before it, and itself before any other, is
        kept first: it takes no other film with it, nor another it.
        """
        if not self._waiting or not self._has_room():
            return False
        if self._alone or self._waiting[0].attempts:
            return not (self._flying or self._done)
        return True

    def _has_room(self) -> bool:
        return self._fault is None and len(self._flying) < self._plan.films

    def _land(self) -> None:
        """Wait a moment for films to end."""
        landed, _ = wait(self._flying, _LOOK_SECONDS, FIRST_COMPLETED)
        now, doubts = time.monotonic(), []
        for future in landed:
            film, error = self._flying.pop(future), future.exception()
            self._moved = now
            if error is None:
                self._first_done = self._first_done if self._done else now
                self._done.append(future.result())
            elif isinstance(error, Unavailable):
                self._stop(error)
            else:
                doubts.append((film, error))
        if doubts:
            self._attempt(lambda: self._done.extend(self._crew.judge(doubts)))
        if now - self._moved < self._plan.silence_seconds:
            self._crew.pulse()

    def _is_ripe(self) -> bool:
        return bool(self._done) and (
            not self._flying
            or len(self._done) >= self._plan.together
            or time.monotonic() - self._first_done >= self._plan.linger_seconds
        )

    def _conclude(self) -> None:
        self._crew.conclude(self._done)
        self._done.clear()

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do it unless the house ails."""
        if self._fault is not None:
            return
        try:
            work()
        except Unavailable as fault:
            self._stop(fault)

    def _stop(self, fault: Unavailable) -> None:
        """Start nothing any more."""
        self._fault = self._fault or fault
        self._waiting.clear()
