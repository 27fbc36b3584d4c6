"""Workers that race for one ledger, what each of them writes down, and who reads that afterwards.

A worker notes what it takes after the ledger gave it, and what it lets go before it tells the
ledger. By the one clock of the machine the notes of all workers are then one story, in which
nothing may be held twice.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dicom_node.errors import LeaseLost
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import (
    Delivery,
    Instance,
    InstanceState,
    Study,
)
from tests.ledger_kit import arrival, parcels, run

LEASE_SECONDS = 600.0
KINDS, DESTINATIONS = ("sr", "sc"), ("A", "B")
TAKEN, GIVEN_BACK, DIED, CONCLUDED, HAUNTED = "took", "gave", "died", "ended", "haunted"
MOST_DEATHS = {"film": 2, "study": 3}
"""After so many deaths of its worker it is set aside."""

Held = Instance | Study | Delivery


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """What a worker did: ``at`` nanoseconds of the machine's clock, ``attempts`` it was told of.

    ``beside``: how many it took at once, with this. ``state``: what this was, or became.
    """

    at: int
    worker: str
    what: str
    thing: str
    state: str = ""
    attempts: int = 0
    beside: int = 1

    def text(self) -> str:
        """Return it as a line."""
        return "\t".join(
            map(str, (self.at, self.worker, self.what, self.thing, self.state,
                      self.attempts, self.beside))
        )  # fmt: skip

    @classmethod
    def of_text(cls, line: str) -> Note:
        """Return what `text` told."""
        at, worker, what, thing, state, attempts, beside = line.split("\t")
        return cls(int(at), worker, what, thing, state, int(attempts), int(beside))


@dataclass
class Racer:
    """A worker that does at random what workers do, dies at random, and comes back."""

    ledger: SqliteLedger
    name: str
    films: Sequence[int]
    seed: int
    notes: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._lives = 0
        self._received = 0
        self._held: dict[str, Held] = {}
        self._lost: list[tuple[str, Instance]] = []

    @property
    def worker(self) -> str:
        """The token of its present life."""
        return f"{self.name}.{self._lives}"

    def race(self, steps: int) -> None:
        """Do so many things at random, then work until nothing is left to be taken."""
        acts: dict[Callable[[], object], int] = {
            self.receive: 8, self.claim_films: 12, self.conclude: 30, self.claim_study: 6,
            self.claim_deliveries: 6, self.release: 2, self.die: 3, self.haunt: 3, self.renew: 1,
        }  # fmt: skip
        for act in self._chance.choices([*acts], [*acts.values()], k=steps):
            act()
        while self._received < len(self.films):
            self.receive()
        while self._works() or self._held:
            while self._held:
                self.conclude()

    def _works(self) -> bool:
        return any([self.claim_films(), self.claim_study(), self.claim_deliveries()])

    def receive(self) -> None:
        """Receive one of its own films, or one once more."""
        known, new = self.films[: self._received], self.films[self._received :]
        again = not new or (known and self._chance.random() < 0.1)
        told = self.ledger.received(arrival(self._chance.choice(known) if again else new[0]))
        assert told.duplicate == bool(again)
        self._received += not again

    def claim_films(self) -> bool:
        """Claim some films of either state; return whether there were any."""
        states = [InstanceState.RECEIVED, InstanceState.ADMITTED]
        self._chance.shuffle(states)
        for state in states:
            taken = self.ledger.claim_instances(
                state, self.worker, LEASE_SECONDS, self._chance.randint(1, 3)
            )
            self.ledger.quarantined()
            if taken:
                self._take({f"film {film.id}": film for film in taken})
                return True
        return False

    def claim_study(self) -> bool:
        """Claim a quiet study; return whether there was one."""
        self.ledger.quieten(0)
        study = self.ledger.claim_quiet_study(self.worker, LEASE_SECONDS)
        self._take({f"study {study.id}": study} if study else {})
        return study is not None

    def claim_deliveries(self) -> bool:
        """Claim deliveries of a study and destination; return whether there were any."""
        taken = self.ledger.claim_deliveries(self.worker, LEASE_SECONDS, self._chance.randint(1, 2))
        self._take({f"delivery {item.id}": item for item in taken})
        return bool(taken)

    def conclude(self) -> None:
        """Tell the ledger what became of one thing that is held."""
        if not self._held:
            return
        thing = self._chance.choice([*self._held])
        held = self._held.pop(thing)
        target, tell = self._outcome(held)
        self._note(CONCLUDED, thing, target)
        tell(self.worker)

    def _outcome(self, held: Held) -> tuple[str, Callable[[str], object]]:
        ledger = self.ledger
        if isinstance(held, Study):
            outgoing = parcels(*(f"{kind} {held.id}" for kind in KINDS), to=DESTINATIONS)
            return "reported", lambda worker: ledger.reported(
                held, worker, outgoing, keep_hours=1, signature="s"
            )
        if isinstance(held, Delivery):
            return "sent", lambda worker: ledger.sent(held.id, worker, 0)
        if self._chance.random() < 0.05:
            return "failed", lambda worker: ledger.failed(held.id, worker, "odd")
        if held.state is InstanceState.ADMITTED:
            return "analysed", lambda worker: ledger.analysed(held.id, worker, "{}", None)
        return "admitted", lambda worker: ledger.admitted(held.id, worker, "PA")

    def release(self) -> None:
        """Stop orderly: what is held counts as never claimed."""
        self._let_go(GIVEN_BACK)
        self.ledger.release(self.worker)

    def die(self) -> None:
        """End without a word, and come back when the ledger was told of the death."""
        self._lost = [(self.worker, film) for film in self._held.values()
                      if isinstance(film, Instance)]  # fmt: skip
        self._let_go(DIED)
        self.ledger.orphaned(self.worker)
        self._lives += 1

    def haunt(self) -> None:
        """Conclude, as a worker that was believed dead, what nobody else has claimed since."""
        if not self._lost:
            return
        worker, film = self._lost.pop()
        target, tell = self._outcome(film)
        at = time.monotonic_ns()
        with suppress(LeaseLost):
            tell(worker)
            self.notes.append(Note(at, worker, HAUNTED, f"film {film.id}", target))

    def renew(self) -> None:
        """Live on."""
        self.ledger.renewed(self.worker, LEASE_SECONDS)

    def _take(self, taken: dict[str, Held]) -> None:
        self._held |= taken
        for thing, held in taken.items():
            state = str(held.state)
            self._note(TAKEN, thing, state, attempts=held.attempts, beside=len(taken))

    def _let_go(self, how: str) -> None:
        for thing in self._held:
            self._note(how, thing)
        self._held.clear()

    def _note(self, what: str, thing: str, state: str = "", **more: int) -> None:
        self.notes.append(Note(time.monotonic_ns(), self.worker, what, thing, state, **more))


def read_together(notes: Iterable[Note]) -> dict[str, str]:
    """Read the notes of all as one story; return what became of each thing.

    Raises `AssertionError` where something was held twice, or its attempts were told wrong.
    """
    holders: dict[str, str | None] = {}
    deaths: Counter[str] = Counter()
    became: dict[str, str] = {}
    for note in sorted(notes):
        thing = note.thing
        if note.what == TAKEN:
            assert holders.get(thing) is None, f"{thing}: {holders[thing]} and {note.worker}"
            assert note.attempts == deaths[thing], note
            assert note.attempts < MOST_DEATHS.get(thing.split()[0], 99), note
            assert note.attempts == 0 or note.beside == 1 or not thing.startswith("film"), note
            holders[thing] = note.worker
            continue
        assert holders.get(thing) == (None if note.what == HAUNTED else note.worker), note
        holders[thing] = None
        deaths[thing] += note.what == DIED
        if note.what in (CONCLUDED, HAUNTED):
            became[thing], deaths[thing] = note.state, 0
    assert not any(holders.values())
    return became | {
        thing: "set aside"
        for thing, number in deaths.items()
        if number == MOST_DEATHS.get(thing.split()[0])
    }


def agrees(ledger: SqliteLedger, notes: Iterable[Note], films: Sequence[int]) -> None:
    """Compare the ledger after a race with what its workers noted.

    Raises `AssertionError`.
    """
    became = read_together(notes)
    asked = "select sop_instance_uid, id, state, reason, attempts, lease_owner from instances"
    rows = run(ledger, asked)
    assert sorted(row[0] for row in rows) == sorted(f"1.2.{number}" for number in films)
    for row in rows:
        aside = (row["reason"] or "").startswith("quarantined")
        assert became[f"film {row['id']}"] == ("set aside" if aside else row["state"])
        assert (row["attempts"], row["lease_owner"]) == (0, None)
        assert row["state"] in ("analysed", "failed")
    _were_done_once(ledger, "instance_id", ("instance.analysed", "instance.failed"), len(films))
    _were_done_once(ledger, "instance_id", ("instance.received",), len(films))
    _were_done_once(ledger, "study_id", ("study.reported",), len(films))
    (unsent,) = run(ledger, "select count(*) from deliveries where state <> 'sent'")[0]
    assert unsent == 0
    written = sum(thing.startswith("study") and end == "reported" for thing, end in became.items())
    _were_done_once(
        ledger, "delivery_id", ("delivery.sent",), written * len(KINDS) * len(DESTINATIONS)
    )
    (admitted,) = run(
        ledger, "select count(*) - count(distinct instance_id) from events"
        " where what = 'instance.admitted'",
    )[0]  # fmt: skip
    assert admitted == 0


def _were_done_once(ledger: SqliteLedger, column: str, what: Sequence[str], number: int) -> None:
    places = ", ".join("?" for _ in what)
    told = run(
        ledger,
        f"select count(*) from events where what in ({places}) group by {column}",
        *what,
    )
    assert [times for (times,) in told] == [1] * number, what
