"""Does the ledger stay fast as it fills: ``python benchmarks/ledger.py [--rows 10000 1000000]``.

Makes a ledger of each size and lets films live in them by turns, from arrival to the last delivery:
milliseconds of each step, wall and processor, and how much slower the largest is than the smallest.
Then workers in processes of their own race for films in each ledger. ``--folder`` is where the
ledgers lie (a disk to measure).
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from full_ledger import make

from dicom_node.ledger import open_ledger
from dicom_node.ledger.cases import CaseQuery
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.outbox import OutboxQuery
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import (
    Arrival,
    DeliveryState,
    Digest,
    InstanceState,
    ObjectKind,
    Origin,
    ResultObject,
    StudyId,
)

_FINDINGS = (Path(__file__).parent / "stub_brain" / "findings.json").read_text("utf-8")
_WORKER = "worker"


def digest_of(text: str) -> Digest:
    return Digest(hashlib.sha256(text.encode()).hexdigest())


def arrival(name: str) -> Arrival:
    number = int(digest_of(name)[:24], 16)
    return Arrival(
        sop_instance_uid=f"2.25.1{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid=f"2.25.2{number}",
        series_instance_uid=f"2.25.3{number}",
        digest=digest_of(f"film {name}"),
        size_bytes=8_000_000,
        origin=Origin("PACS1", "DICOMNODE", "127.0.0.1"),
    )


def report(name: str) -> Sequence[Outgoing]:
    number = int(digest_of(name)[:24], 16)
    written = ResultObject(
        f"sr:{name}", ObjectKind.REPORT, f"2.25.4{number}", "1.2.840.10008.5.1.4.1.1.88.33",
        f"2.25.5{number}", digest_of(f"report {name}"), 40_000,
    )  # fmt: skip
    return [Outgoing("PACS1", (written,))]


@dataclass
class Lives:
    """What films go through in one ledger, and how long each step took, wall and processor."""

    ledger: SqliteLedger
    rows: int
    taken: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        spent = time.perf_counter() - wall, time.process_time() - cpu
        self.taken[name].append((spent[0] * 1000, spent[1] * 1000))

    def live(self, name: str) -> None:
        """Take a film through the node, and ask what pages and roles ask meanwhile."""
        ledger = self.ledger
        self.think(name)
        with self.step("quieten"):
            ledger.quieten(0)
        with self.step("claim a study"):
            study = ledger.claim_quiet_study(_WORKER, 60)
        assert study is not None
        with self.step("report"):
            ledger.reported(study, _WORKER, report(name), keep_hours=1, signature="s")
        with self.step("claim a delivery"):
            (delivery,) = ledger.claim_deliveries(_WORKER, 60, 8, ["DEADPACS"])
        with self.step("sent"):
            ledger.sent(delivery.id, _WORKER, 0)

    def think(self, name: str) -> None:
        """Receive, admit and analyse a film."""
        ledger = self.ledger
        with self.step("receive"):
            ledger.received(arrival(name))
        with self.step("claim a film"):
            (film,) = ledger.claim_instances(InstanceState.RECEIVED, _WORKER, 60, 8)
        key = digest_of(f"patient {name}")
        with self.step("severity of earlier films"):
            ledger.earlier_severity(film.study_id, key)
        with self.step("admit"):
            ledger.admitted(film.id, _WORKER, "PA", key)
        with self.step("note header and patient"):
            ledger.keep_facts({film.digest: '{"Modality": "DX"}'})
            ledger.described([(film.study_id, {"patient_name": "NEW", "patient_id": name})])
        (film,) = ledger.claim_instances(InstanceState.ADMITTED, _WORKER, 60, 8)
        with self.step("conclude"):
            ledger.analysed(film.id, _WORKER, _FINDINGS, digest_of(f"maps {name}"))

    def ask(self) -> None:
        """Ask what pages, scripts and idle roles ask."""
        for name, question in self.questions().items():
            with self.step(name):
                question()

    def questions(self) -> dict[str, Callable[[], object]]:
        """Return questions by name; those of one study are of one in the middle."""
        ledger, middle = self.ledger, StudyId(self.rows // 4)
        patient = f"ID{middle // 4}"
        return {
            "case list": lambda: ledger.cases(CaseQuery()),
            "case list, severe first": lambda: ledger.cases(CaseQuery(order="severity")),
            "case list, few hits": lambda: ledger.cases(CaseQuery(words=patient)),
            "case list, very many hits": lambda: ledger.cases(CaseQuery(words="doe7")),
            "case page": lambda: (
                ledger.case(middle), ledger.instances(middle), ledger.events(study_id=middle),
                ledger.deliveries(study_id=middle),
            ),
            "QIDO-RS by patient": lambda: [
                ledger.facts(film.digest for film in ledger.instances(case.study_id))
                for case in ledger.cases(CaseQuery(patient_id=patient)).cases
            ],
            "course of a patient": lambda: ledger.earlier(middle, 50),
            "outbox, a page": lambda: ledger.outbox(OutboxQuery()),
            "outbox, what waits": lambda: ledger.outbox(OutboxQuery(state=DeliveryState.WAITING)),
            "counts (health, metrics)": ledger.counts,
            "peers": ledger.peers,
            "studies, a page": ledger.studies,
            "idle: films": lambda: ledger.claim_instances(InstanceState.ADMITTED, "w", 60, 8),
            "idle: studies": lambda: (ledger.quieten(0), ledger.claim_quiet_study("w", 60)),
            "idle: deliveries": lambda: ledger.claim_deliveries("w", 60, 8, ["DEADPACS"]),
            "idle: intake": lambda: (
                ledger.without_facts(32), ledger.undescribed(32), ledger.unkeyed(32)
            ),
            "idle: expiry, retention": lambda: (
                ledger.expire_deliveries(), ledger.removable(30, 1), ledger.parked(30, 1)
            ),
            "a worker stops, or died": lambda: (ledger.release("w"), ledger.orphaned("w")),
            "sweep, a 256th of all films": lambda: ledger.digests_of_shard("00"),
        }  # fmt: skip


def compare(every: Sequence[Lives]) -> None:
    """Print the median of each step in each ledger."""
    sizes = "".join(f"{each.rows:>18,}" for each in every)
    print(f"\n{'milliseconds, wall (CPU)':<28}{sizes}   CPU, last to first")
    for name in every[0].taken:
        medians = [
            tuple(map(statistics.median, zip(*each.taken[name], strict=True))) for each in every
        ]
        figures = "".join(f"{wall:>9.2f} ({cpu:6.2f})" for wall, cpu in medians)
        print(f"{name:<28}{figures}   {medians[-1][1] / medians[0][1]:.2f}")


def arrivals_a_second(path: Path, threads: int, seconds: float) -> float:
    """Return how many arrivals a second so many threads of one process get committed."""
    done = [0] * threads
    with closing(open_ledger(path, who="benchmark", busy_seconds=60)) as ledger:
        end = time.perf_counter() + seconds

        def work(place: int) -> None:
            while time.perf_counter() < end:
                ledger.received(arrival(f"{threads} {place} {done[place]} {os.getpid()}"))
                done[place] += 1

        workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(done) / (time.perf_counter() - started)


def race(path: Path, worker: str, films: int, begin: object, spent: object) -> None:
    """Bring films in, and work at whatever there is until nothing is left."""
    with closing(open_ledger(path, who=worker, busy_seconds=60)) as ledger:
        begin.wait()  # type: ignore[attr-defined]
        before = time.process_time()
        for number in range(films):
            ledger.received(arrival(f"{worker} {number} {films}"))
        while _some_work(ledger, worker):
            pass
        spent.put(time.process_time() - before)  # type: ignore[attr-defined]


def _some_work(ledger: SqliteLedger, worker: str) -> bool:
    received = ledger.claim_instances(InstanceState.RECEIVED, worker, 60, 8)
    for film in received:
        ledger.admitted(film.id, worker, "PA", digest_of(film.digest))
    admitted = ledger.claim_instances(InstanceState.ADMITTED, worker, 60, 8)
    for film in admitted:
        ledger.analysed(film.id, worker, _FINDINGS, digest_of(f"maps {film.digest}"))
    ledger.quieten(0)
    study = ledger.claim_quiet_study(worker, 60)
    if study is not None:
        outgoing = report(study.study_instance_uid)
        ledger.reported(study, worker, outgoing, keep_hours=1, signature="s")
    deliveries = ledger.claim_deliveries(worker, 60, 8, ["DEADPACS"])
    for delivery in deliveries:
        ledger.sent(delivery.id, worker, 0)
    return bool(received or admitted or study or deliveries)


def raced(path: Path, workers: int, films: int) -> tuple[float, float]:
    """Return the films/s of so many processes, from arrival to sent, and CPU-ms a film of all."""
    context = multiprocessing.get_context("spawn")
    begin, spent = context.Barrier(workers + 1), context.Queue()
    processes = [
        context.Process(target=race, args=(path, f"w{n} of {workers}", films // workers, begin,
                                           spent))
        for n in range(workers)
    ]  # fmt: skip
    for process in processes:
        process.start()
    begin.wait()
    started = time.perf_counter()
    cpu = sum(spent.get() for _ in processes)
    taken = time.perf_counter() - started
    for process in processes:
        process.join()
    return films / taken, cpu / films * 1000


def measured(path: Path, rows: int) -> Lives:
    """Return a new ledger at ``path`` that holds so many films, opened."""
    started = time.perf_counter()
    make(path, rows)
    taken = time.perf_counter() - started
    print(f"{rows:,} films: made in {taken:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)
    return Lives(open_ledger(path, who="benchmark"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where to put the ledgers")
    parser.add_argument("--lives", type=int, default=60, help="films that live in each ledger")
    parser.add_argument("--films", type=int, default=400, help="films that workers race for")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        every = [measured(folder / f"{rows}.sqlite", rows) for rows in options.rows]
        print(f"SQLite {every[0].ledger.sqlite_version}")
        for number in range(options.lives):
            for each in every:
                each.live(f"life {number}")
                if number % 3 == 0:
                    each.ask()
        compare(every)
        for each in every:
            each.ledger.close()
        print(f"\n{'workers':<28}" + "".join(f"{each.rows:>18,}" for each in every))
        paths = [folder / f"{each.rows}.sqlite" for each in every]
        for workers in (1, 2, 4):
            pairs = [raced(path, workers, options.films) for path in paths]
            told = "".join(f"{rate:>9.0f} ({cpu:6.2f})" for rate, cpu in pairs)
            print(f"{workers:<28}{told}   films/s (CPU-ms a film)")
        for threads in (1, 4, 16):
            rates = [arrivals_a_second(path, threads, 2) for path in paths]
            print(f"arrivals, {threads:2} threads" + "".join(f"{rate:>15.0f}/s" for rate in rates))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
