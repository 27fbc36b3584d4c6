"""Is the case list fast by any headline: ``python benchmarks/headlines.py [--cases 100000 …]``.

Makes a ledger of so many cases with three headlines each: one found in a third of them, one in a
thousandth, one only in the oldest hundredth. Prints milliseconds of a page of 50, of the first and
of one behind 10,000 cases (or the last).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from full_ledger import make
from sqlite_utils.utils import sqlite3

from dicom_node.ledger import open_ledger
from dicom_node.ledger.cases import CaseQuery, ObservationFilter
from dicom_node.ledger.headlines import HeadlineKey
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import StudyId

_COMMON, _RARE, _OLD = (HeadlineKey("net", name) for name in ("common", "rare", "old"))
_FOUND = {
    _COMMON: "study_id % 3 = 0", _RARE: "study_id * 2654435761 % 1000 = 0",
    _OLD: "study_id * 100 <= (select max(study_id) from cases)",
}  # fmt: skip
_OBSERVATIONS = """
insert into observations (study_id, network, key, number, text, found, received_at)
select study_id, :network, :key, {found} + abs(random() % 1000) / 1000.0, '', {found}, received_at
from cases order by study_id
"""
_TIMES = 9


def fill(path: Path, cases: int) -> None:
    """Make a ledger with so many cases, of two films each, and their headlines."""
    make(path, cases * 2)
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous=off", "cache_size=-400000"):
        database.execute(f"pragma {pragma}")
    database.execute("begin")
    for key, found in _FOUND.items():
        database.execute(
            _OBSERVATIONS.format(found=f"({found})"), {"network": key.network, "key": key.key}
        )
    database.execute("commit")
    database.close()


def questions() -> Iterator[tuple[str, CaseQuery]]:
    """Yield pages of the list by name."""
    yield "no headline asked for", CaseQuery()
    for key in (_COMMON, _RARE, _OLD):
        found = ObservationFilter(key)
        yield f"sorted by the {key.key} one", CaseQuery(order=key)
        yield f"the {key.key} one found", CaseQuery(observation=found)
        yield (
            f"the {key.key} one found, severe first",
            CaseQuery(observation=found, order="severity"),
        )
        lacking = replace(found, observed="not-found")
        yield f"the {key.key} one not found", CaseQuery(observation=lacking)
        high = ObservationFilter(key, "answered", 1.9)
        yield f"the {key.key} one at least 1.9", CaseQuery(observation=high)
    yield (
        "the common one found, sorted by the rare one",
        CaseQuery(observation=ObservationFilter(_COMMON), order=_RARE),
    )


def milliseconds(ask: Callable[[], object]) -> float:
    """Return the median of a question, wall."""
    taken = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def deep(ledger: SqliteLedger, query: CaseQuery, pages: int) -> CaseQuery:
    """Return the query of a page further on."""
    for _ in range(pages):
        after = ledger.cases(replace(query, limit=500)).after
        if after is None:
            break
        query = replace(query, after=after)
    return query


def measure(ledger: SqliteLedger, cases: int) -> None:
    """Print what each question takes."""
    for name, query in questions():
        further = deep(ledger, query, 20)
        first = milliseconds(partial(ledger.cases, query))
        later = milliseconds(partial(ledger.cases, further))
        print(f"{name:<48}{first:9.2f}{later:9.2f} ms", flush=True)
    one = milliseconds(partial(ledger.case, StudyId(cases // 2)))
    print(f"{'a case':<48}{one:9.2f} ms")
    since = ledger.cases(CaseQuery(limit=500)).cases[-1].received_at
    chart = milliseconds(partial(ledger.observations_since, _COMMON, since))
    print(f"{'a chart of the latest 500 cases':<48}{chart:9.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[100_000])
    parser.add_argument("--folder", type=Path, help="where to put the ledgers")
    options = parser.parse_args()
    for cases in options.cases:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "ledger.sqlite"
            started = time.perf_counter()
            fill(path, cases)
            seconds, size = time.perf_counter() - started, path.stat().st_size / 1e6
            print(f"{cases:,} cases, three headlines each: made in {seconds:.0f} s, {size:.0f} MB")
            with closing(open_ledger(path, who="benchmark")) as ledger:
                measure(ledger, cases)


if __name__ == "__main__":
    main()
