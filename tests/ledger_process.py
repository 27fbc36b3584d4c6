"""A process of its own that works on a ledger: ``python -m tests.ledger_process TASK PATH …``.

It starts when its standard input gets a line, so that several begin together, and prints one line
for each thing that the ledger acknowledged.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger import open_ledger
from dicom_node.ledger.interface import Conclusion
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import Instance, InstanceState, Worker
from tests.ledger_kit import arrival, report
from tests.racing import Racer

PRINT_LOCK = threading.Lock()


def say(text: object) -> None:
    with PRINT_LOCK:
        print(text, flush=True)


def receive(ledger: SqliteLedger, first: str, count: str) -> None:
    """Receive films ``first`` to ``first + count``."""
    for number in range(int(first), int(first) + int(count)):
        ledger.received(arrival(number))
        say(f"1.2.{number}")


def receive_in_threads(ledger: SqliteLedger, first: str, count: str) -> None:
    """Receive as four associations do."""
    share = int(count) // 4
    starts = [str(int(first) + share * number) for number in range(4)]
    in_threads(*(lambda at=at: receive(ledger, at, str(share)) for at in starts))


def receive_the_same(ledger: SqliteLedger, threads: str) -> None:
    """Receive one and the same film in each of so many threads."""

    def one() -> None:
        said = ledger.received(arrival(1))
        say(f"{said.instance_id} {'again' if said.duplicate else 'new'}")

    in_threads(*[one] * int(threads))


def count(ledger: SqliteLedger, times: str) -> None:
    """Count a rejected association so many times."""
    for _ in range(int(times)):
        ledger.refused("X", "DICOMNODE", "10.0.0.9", "unknown")
        say("counted")


def claim(ledger: SqliteLedger, worker: str) -> None:
    """Claim and admit until nothing is left."""
    while taken := ledger.claim_instances(InstanceState.RECEIVED, worker, 60, 3):
        for instance in taken:
            ledger.admitted(instance.id, worker, "PA")
            say(instance.id)


def claim_deliveries(ledger: SqliteLedger, worker: str) -> None:
    """Claim and send until nothing is left."""
    while taken := ledger.claim_deliveries(worker, 60, 3):
        for delivery in taken:
            ledger.sent(delivery.id, worker, 0)
            say(delivery.id)


def race(ledger: SqliteLedger, name: str, first: str, films: str, steps: str) -> None:
    """Race with others, see `racing`, and say what was noted."""
    own = range(int(first), int(first) + int(films))
    racer = Racer(ledger, name, own, seed=int(first))
    racer.race(int(steps))
    for note in racer.notes:
        say(note.text())


def live(ledger: SqliteLedger) -> None:
    """Take a film from arrival to its PACS; say each step once it has returned."""
    worker = Worker("analyse", "w")
    ledger.received(arrival())
    say("received")
    ledger.beat(worker, "working")
    say("beat")
    steps = (InstanceState.RECEIVED, "admit", admit), (InstanceState.ADMITTED, "conclude", conclude)
    for state, name, end in steps:
        (film,) = ledger.claim_instances(state, worker.token, 60, 1)
        say("claim a film")
        ledger.renewed(worker.token, 60)
        say("renew")
        end(ledger, film)
        say(name)
    ledger.quieten(0)
    say("quieten")
    ledger.claim_quiet_study(worker.token, 60)
    say("claim a study")
    ledger.release(worker.token)
    say("release")
    report(ledger, "sr")
    say("claim and report")
    ledger.returned([each.id for each in ledger.claim_deliveries("w", 60, 1)], "w")
    say("claim and return a delivery")
    (delivery,) = ledger.claim_deliveries("w", 60, 1)
    say("claim a delivery")
    ledger.pin(delivery.id, "w", "2.25.1")
    say("pin")
    ledger.sent(delivery.id, "w", 0)
    say("sent")


def suspect(ledger: SqliteLedger) -> None:
    """Claim a film until it is set aside."""
    ledger.received(arrival())
    say("received")
    for place in ("first", "second", "third"):
        found = ledger.claim_instances(InstanceState.RECEIVED, "w", 0, 1)
        say(f"{place} claim of {len(found)}")


def admit(ledger: SqliteLedger, film: Instance) -> None:
    ledger.admitted(film.id, "w", "PA")


def conclude(ledger: SqliteLedger, film: Instance) -> None:
    ledger.concluded("w", [Conclusion(film, InstanceState.ANALYSED, findings_json="{}")])


def in_threads(*tasks: Callable[[], None]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def hold(path: Path) -> None:
    """Keep everybody else out until standard input gets another line."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("begin exclusive")
    say("held")
    sys.stdin.readline()
    connection.close()


def open_each() -> None:
    """Open, and make where there is none, the ledger at each path of standard input."""
    say("ready")
    for line in sys.stdin:
        try:
            open_ledger(Path(line.strip()), who="test").close()
        except LedgerUnavailable as error:
            say(error.message)
        else:
            say("open")


TASKS = {
    task.__name__: task
    for task in (
        receive,
        receive_in_threads,
        receive_the_same,
        count,
        claim,
        claim_deliveries,
        race,
        live,
        suspect,
    )
}


def main() -> None:
    task, path, *arguments = sys.argv[1:]
    if task == "open_each":
        open_each()
        return
    if task == "hold":
        hold(Path(path))
        return
    ledger = open_ledger(Path(path), who=f"{task}:{':'.join(arguments)}", busy_seconds=30)
    say("ready")
    sys.stdin.readline()
    TASKS[task](ledger, *arguments)
    ledger.close()


if __name__ == "__main__":
    main()
