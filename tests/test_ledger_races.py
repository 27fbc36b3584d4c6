"""Several workers at one ledger: nothing is held by two, lost, miscounted, or concluded twice."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from tests.racing import (
    CONCLUDED,
    DIED,
    GIVEN_BACK,
    HAUNTED,
    TAKEN,
    Note,
    Racer,
    agrees,
    read_together,
)


@pytest.fixture
def path() -> Iterator[Path]:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "ledger.sqlite"


def raced(path: Path, workers: int, films: int, steps: int, seed: int) -> list[Note]:
    """Let so many workers race in threads, each with a connection of its own; return all notes."""
    racers: list[Racer] = []
    errors: list[BaseException] = []
    begin = threading.Barrier(workers)

    def work(place: int) -> None:
        with closing(open_ledger(path, who=f"racer {place}", busy_seconds=60)) as ledger:
            own = range(place * films, (place + 1) * films)
            racer = Racer(ledger, f"w{place}", own, seed * 100 + place)
            racers.append(racer)
            begin.wait()
            try:
                racer.race(steps)
            except BaseException as error:
                errors.append(error)
                raise

    threads = [threading.Thread(target=work, args=(place,)) for place in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return [note for racer in racers for note in racer.notes]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_that_race_hold_nothing_twice_and_lose_nothing(path: Path, workers: int) -> None:
    films = 40 // workers
    notes = raced(path, workers, films, steps=600 // workers, seed=workers)
    assert {note.what for note in notes} >= {TAKEN, GIVEN_BACK, DIED, CONCLUDED}
    with closing(open_ledger(path, who="test")) as ledger:
        agrees(ledger, notes, range(workers * films))


STORY = (
    (TAKEN, "a", 0),
    (DIED, "a", 0),
    (TAKEN, "b", 1),
    (GIVEN_BACK, "b", 0),
    (TAKEN, "a", 1),
    (CONCLUDED, "a", 0),
)


def notes_of(story: Iterable[tuple[str, str, int]]) -> list[Note]:
    return [
        Note(at, worker, what, "film 1", "admitted", attempts)
        for at, (what, worker, attempts) in enumerate(story)
    ]


def test_a_story_without_a_fault_is_read_to_its_end() -> None:
    assert read_together(notes_of(STORY)) == {"film 1": "admitted"}
    assert read_together(notes_of([*STORY[:2], (HAUNTED, "a", 0)])) == {"film 1": "admitted"}


@pytest.mark.parametrize(
    "faulty",
    [
        [STORY[0], (TAKEN, "b", 0)],  # held by two
        [STORY[0], STORY[1], (TAKEN, "b", 0), *STORY[3:]],  # a death is forgotten
        [*STORY[:4], (TAKEN, "a", 2), STORY[5]],  # what was given back counts
        [*STORY, (CONCLUDED, "b", 0)],  # concluded twice
        STORY[:3],  # never let go
    ],
)
def test_a_fault_in_the_story_is_seen(faulty: Sequence[tuple[str, str, int]]) -> None:
    with pytest.raises(AssertionError):
        read_together(notes_of(faulty))
