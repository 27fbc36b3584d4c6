"""Brains answer alike whoever asks and whatever is asked beside it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from dicom_node.brains import KERAS, Answers
from dicom_node.brains.gathered import Gathered
from dicom_node.errors import DeviceUnavailable


class Doubles:
    """Answers twice what it is given; stumbles over films of a poisoned grey, or over all."""

    device, name = "gpu", KERAS

    def __init__(self) -> None:
        self.calls = list[Sequence[float]]()
        self.lost: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def answer(self, model: str, films: Any, *, explain: bool) -> Answers:
        self.calls.append([float(film.flat[0]) for film in films])
        self.go_on.wait(30)
        if self.lost is not None:
            raise self.lost
        if 13.0 in self.calls[-1]:
            raise ZeroDivisionError
        return {f"{model}/{explain}": films * 2}


def film(grey: float, variants: int = 1) -> Any:
    return np.full((variants, 4, 4, 1), grey, np.float32)


def asked(brain: Gathered, greys: Sequence[float], variants: int = 1) -> list[Any]:
    """Return the answers, or errors, to films that are asked about at once."""
    together = threading.Barrier(len(greys))

    def one(grey: float) -> Any:
        with brain.working():
            together.wait(30)
            try:
                return brain.answer("m", film(grey, variants), explain=False)["m/False"]
            except Exception as error:  # noqa: BLE001 - what a thread of the line would get
                return error

    with ThreadPoolExecutor(len(greys)) as pool:
        return list(pool.map(one, greys))


def test_films_of_several_threads_share_calls_of_one_shape_and_get_their_own_answers() -> None:
    brain = Doubles()
    found = asked(Gathered(brain, 3, wait_seconds=20), [1.0, 2.0, 3.0, 4.0, 5.0])
    assert [float(one[0, 0, 0, 0]) for one in found] == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert [len(call) for call in brain.calls] == [3, 3]


def test_a_call_has_every_variant_of_each_film_and_zeros_for_films_that_did_not_come() -> None:
    brain = Doubles()
    found = asked(Gathered(brain, 3, wait_seconds=20), [1.0, 2.0], variants=2)
    (call,) = brain.calls
    assert sorted(call) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert [one.shape for one in found] == [(2, 4, 4, 1)] * 2
    assert [set(one.flat) for one in found] == [{2.0}, {4.0}]


def test_different_questions_are_never_in_one_call() -> None:
    brain = Doubles()
    gathered = Gathered(brain, 4)
    brain.go_on.clear()
    with ThreadPoolExecutor(3) as pool:
        questions = [("m", True), ("m", False), ("n", True)]
        found = [
            pool.submit(gathered.answer, model, film(k), explain=explain)
            for k, (model, explain) in enumerate(questions)
        ]
        brain.go_on.set()
        assert [list(one.result(30)) for one in found] == [["m/True"], ["m/False"], ["n/True"]]
    assert len(brain.calls) == 3


def test_a_film_that_no_call_bears_costs_no_other_its_answer() -> None:
    brain = Doubles()
    found = asked(Gathered(brain, 3, wait_seconds=20), [1.0, 13.0, 3.0])
    assert isinstance(found[1], ZeroDivisionError)
    assert [float(one[0, 0, 0, 0]) for one in (found[0], found[2])] == [2.0, 6.0]


def test_a_brain_that_is_lost_is_lost_to_every_film_at_once() -> None:
    brain = Doubles()
    brain.lost = DeviceUnavailable("It is gone.")
    found = asked(Gathered(brain, 3, wait_seconds=20), [1.0, 2.0, 3.0])
    assert [type(one) for one in found] == [DeviceUnavailable] * 3
    assert len(brain.calls) == 1


def test_a_film_alone_does_not_wait_for_others_that_cannot_come() -> None:
    brain = Doubles()
    gathered = Gathered(brain, 8, wait_seconds=3600)
    with gathered.working():
        assert gathered.answer("m", film(1.0), explain=True)["m/True"].shape == (1, 4, 4, 1)
    assert len(brain.calls) == 1


@pytest.mark.parametrize("films", [1, 2])
def test_nobody_waits_longer_than_is_said_for_a_film_that_does_not_ask(films: int) -> None:
    brain = Doubles()
    gathered = Gathered(brain, 8, wait_seconds=0.01)
    with gathered.working():
        found = asked(gathered, [float(k + 1) for k in range(films)])
    assert [one.flat[0] for one in found] == [2.0 * (k + 1) for k in range(films)]
