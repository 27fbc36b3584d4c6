"""Films that several threads ask about, answered together: in calls of one shape, one at a time.

A device is kept busy by films, not by waiting: a call takes who waits when the call before it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from dicom_node.brains import Answers, Brain, ComputedOn
from dicom_node.errors import NodeError
from dicom_node.imaging.prepare import Float

_Question = tuple[str, bool]
"""The model, and whether to explain."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What waits for an answer: the inputs of one film, and since when."""

    question: _Question
    films: Float
    since: float
    answer: Future[Answers] = field(default_factory=Future)


class Gathered:
    """A brain that is asked about ``lanes`` films a call, filled up with zeros.

    A call that is not full waits for more films for ``wait_seconds``, unless every film that is
    being worked on (`working`) waits for an answer already. Where a call fails, each film is asked
    about alone, so that one costs no other its answer.
    """

    def __init__(self, brain: Brain, lanes: int, wait_seconds: float = 0.0) -> None:
        self._brain, self._lanes, self._wait_seconds = brain, lanes, wait_seconds
        self._waiting: list[_Asked] = []
        self._working = 0
        self._news = threading.Condition()
        threading.Thread(target=self._serve, name="brain", daemon=True).start()

    @property
    def name(self) -> str:
        """The brain's."""
        return self._brain.name

    @property
    def device(self) -> ComputedOn:
        """The brain's."""
        return self._brain.device

    @contextmanager
    def working(self) -> Iterator[None]:
        """A film is being worked on: it may ask at any moment."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._news:
            self._working += more
            self._news.notify_all()

    def answer(self, model: str, films: Float, *, explain: bool) -> Answers:
        """Return what a model says of one film's inputs; see `Brain`."""
        asked = _Asked((model, explain), films, time.monotonic())
        with self._news:
            self._waiting.append(asked)
            self._news.notify_all()
        return asked.answer.result()

    def _serve(self) -> None:
        while True:
            self._ask(self._next())

    def _next(self) -> list[_Asked]:
        """Return who is answered in one call: those who ask what the first asks."""
        with self._news:
            while not self._waiting:
                self._news.wait()
            first = self._waiting[0]
            while True:
                alike = [one for one in self._waiting if one.question == first.question]
                left = first.since + self._wait_seconds - time.monotonic()
                if len(alike) >= self._lanes or len(self._waiting) >= self._working or left <= 0:
                    break
                self._news.wait(left)
            taken = alike[: self._lanes]
            self._waiting = [one for one in self._waiting if one not in taken]
            return taken

    def _ask(self, asked: Sequence[_Asked]) -> None:
        model, explain = asked[0].question
        each, *shape = asked[0].films.shape
        filled = np.zeros((self._lanes * each, *shape), np.float32)
        for place, one in enumerate(asked):
            filled[place * each : (place + 1) * each] = one.films
        try:
            found = self._brain.answer(model, filled, explain=explain)
        except Exception as error:  # noqa: BLE001 - it is raised in the threads that asked
            self._fail(asked, error)
            return
        for place, one in enumerate(asked):
            part = slice(place * each, (place + 1) * each)
            one.answer.set_result({name: values[part] for name, values in found.items()})

    def _fail(self, asked: Sequence[_Asked], error: Exception) -> None:
        if len(asked) == 1 or isinstance(error, NodeError):
            for one in asked:
                one.answer.set_exception(error)
            return
        for one in asked:
            self._ask([one])
