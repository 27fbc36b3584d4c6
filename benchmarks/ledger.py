"""How fast the ledger is: ``python benchmarks/ledger.py [--rows 100000] [--folder DIR]``.

Prints commits a second for one and several threads (as associations use it), the rows a second that
fill the ledger, and the milliseconds of each question when it holds so many films. With ``--plan``
it also prints which statements walk through a whole table.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import (
    Arrival,
    DeliveryId,
    DeliveryState,
    Digest,
    InstanceId,
    InstanceState,
    Origin,
    StudyId,
    StudyState,
)

_START = datetime(2026, 1, 1, tzinfo=UTC)
_WAITING_SHARE = 10


def digest_of(text: str) -> Digest:
    return Digest(hashlib.sha256(text.encode()).hexdigest())


def arrival(name: str, number: int) -> Arrival:
    return Arrival(
        sop_instance_uid=f"1.2.{name}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid=f"1.3.{name}.{number // 2}",
        series_instance_uid=f"1.4.{name}.{number}",
        digest=digest_of(f"{name}.{number}"),
        size_bytes=8_000_000,
        origin=Origin("PACS", "DICOMNODE", "127.0.0.1"),
    )


def arrivals_a_second(ledger: SqliteLedger, threads: int, seconds: float) -> float:
    """Return how many arrivals a second so many threads get committed."""
    done = [0] * threads
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        while time.perf_counter() < end:
            ledger.received(arrival(f"{threads}.{place}", done[place]))
            done[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - started)


def fill(ledger: SqliteLedger, rows: int) -> None:
    """Add analysed films, a study and a delivery for two; a tenth waits for a dead PACS."""
    execute = ledger._connection._sqlite.executemany
    studies = [
        (f"9.{n}", (_START + timedelta(seconds=n)).isoformat(timespec="microseconds"))
        for n in range(rows // 2)
    ]
    first = ledger._connection.all("select coalesce(max(id), 0) + 1 as id from studies")[0]["id"]
    with ledger._connection.transaction():
        execute(
            "insert into studies (study_instance_uid, state, opened_at, changed_at, revision)"
            " values (?, 'reported', ?2, ?2, 1)",
            studies,
        )
        execute(
            """insert into instances (study_id, sop_instance_uid, sop_class_uid, digest, size_bytes,
               transfer_syntax_uid, series_instance_uid, state, received_at, saliency_digest)
               values (?, ?, '1.2', ?, 8000000, '1.2', '1.4', 'analysed', ?, ?)""",
            (
                (
                    first + n // 2,
                    f"9.{n}.1",
                    digest_of(f"i{n}"),
                    studies[n // 2 % len(studies)][1],
                    digest_of(f"s{n}"),
                )
                for n in range(rows // 2 * 2)
            ),
        )
        execute(
            """insert into results (study_id, revision, group_key, kind, sop_instance_uid,
               sop_class_uid, series_instance_uid, digest, size_bytes, written_at)
               values (?, 1, ?, 'sr', ?, '1', '2', ?, 1, '')""",
            ((first + n, f"sr {n}", f"2.25.{n}", digest_of(f"r{n}")) for n in range(rows // 2)),
        )
        execute(
            """insert into deliveries (study_id, group_key, kind, destination, state, created_at,
               next_attempt_at, expires_at)
               values (?, ?, 'sr', ?, ?, ?5, ?5, '2099-01-01T00:00:00.000000+00:00')""",
            (
                (
                    first + n,
                    f"sr {n}",
                    "DEADPACS" if n % _WAITING_SHARE == 0 else "MAINPACS",
                    "waiting" if n % _WAITING_SHARE == 0 else "sent",
                    studies[n][1],
                )
                for n in range(rows // 2)
            ),
        )
        execute(
            "insert into events (at, what, who, instance_id, study_id) values (?, ?, 'x', ?, ?)",
            (
                (studies[n // 4 % len(studies)][1], "instance.received", n // 2 + 1, first + n // 4)
                for n in range(rows * 2)
            ),
        )


def questions(ledger: SqliteLedger, rows: int) -> dict[str, Callable[[], object]]:
    """Return what the roles and people ask, by name."""
    middle = StudyId(rows // 4)
    return {
        "claim_instances, none": lambda: ledger.claim_instances(InstanceState.ADMITTED, "w", 60, 8),
        "claim_quiet_study, none": lambda: ledger.claim_quiet_study("w", 60),
        "quieten, none": lambda: ledger.quieten(1e9),
        "claim_deliveries, only a busy PACS": lambda: ledger.claim_deliveries(
            "w", 60, 8, ["DEADPACS"]
        ),
        "expire_deliveries, none": ledger.expire_deliveries,
        "removable(1)": lambda: ledger.removable(0, limit=1),
        "studies, first page": ledger.studies,
        "studies, page in the middle": lambda: ledger.studies(offset=rows // 4),
        "studies of a state": lambda: ledger.studies(state=StudyState.REPORTED),
        "instances of a study": lambda: ledger.instances(middle),
        "events of a study": lambda: ledger.events(study_id=middle),
        "events of an instance": lambda: ledger.events(instance_id=InstanceId(middle)),
        "deliveries, waiting": lambda: ledger.deliveries(state=DeliveryState.WAITING),
        "deliveries of a study": lambda: ledger.deliveries(study_id=middle),
        "delivery": lambda: ledger.delivery(DeliveryId(rows // 4)),
        "peers": ledger.peers,
        "counts": ledger.counts,
        "unfinished": ledger.unfinished,
        "release, nothing held": lambda: ledger.release("w"),
        "orphaned, nothing held": lambda: ledger.orphaned("w"),
        "received": lambda: ledger.received(arrival("q", time.perf_counter_ns())),
        "claim of one film": lambda: ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1),
        "claim of one delivery": lambda: ledger.claim_deliveries("w", 60, 1),
        "forget": lambda: ledger.forget(ledger.removable(0, limit=1)[0].id),
        "digests_of_shard": lambda: ledger.digests_of_shard("00"),
    }


def milliseconds(question: Callable[[], object], times: int = 10) -> float:
    """Return the median time of one answer."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        question()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[times // 2] * 1000


def walks(ledger: SqliteLedger, ask: Callable[[], object]) -> list[str]:
    """Return the statements of a question that walk through a whole table without an index."""
    connection = ledger._connection._sqlite
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    ask()
    connection.set_trace_callback(None)
    found = []
    for statement in statements:
        if not statement.lstrip().lower().startswith(("select", "update", "delete", "with")):
            continue
        for row in connection.execute(f"explain query plan {statement}"):
            if row[3].startswith("SCAN") and not re.search("INDEX|names", row[3]):
                found.append(f"{row[3]}: {statement[:100]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="films in the full ledger")
    parser.add_argument("--folder", type=Path, help="where to put the ledger (a disk to measure)")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement of arrivals")
    parser.add_argument("--plan", action="store_true", help="name statements that use no index")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "ledger.sqlite"
        ledger = open_ledger(path, who="benchmark")
        print(f"SQLite {ledger.sqlite_version}")
        for threads in (1, 4, 16):
            rate = arrivals_a_second(ledger, threads, options.seconds)
            print(f"arrivals, {threads:2} threads        {rate:10.0f} rows/s")
        started = time.perf_counter()
        fill(ledger, options.rows)
        rate = options.rows / (time.perf_counter() - started)
        print(f"fill with {options.rows} films  {rate:10.0f} rows/s")
        ledger.close()
        for verify in (False, True):
            started = time.perf_counter()
            open_ledger(path, who="benchmark", verify=verify).close()
            print(f"open, verify={verify!s:5}  {(time.perf_counter() - started) * 1000:10.1f} ms")
        ledger = open_ledger(path, who="benchmark")
        for name, ask in questions(ledger, options.rows).items():
            print(f"{name:36} {milliseconds(ask):10.2f} ms")
            for line in walks(ledger, ask) if options.plan else ():
                print(f"    {line}")
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f"size {size / 1e6:.0f} MB")
        ledger.close()


if __name__ == "__main__":
    main()
