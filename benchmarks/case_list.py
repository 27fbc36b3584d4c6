"""How fast the case list answers: ``python benchmarks/case_list.py [--cases 100000]``.

Server time of whole pages, signed in, as FastAPI's test client measures them (no network, no
browser), median and worst of several. The aim: under 200 ms with 100,000 cases.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlite_utils.utils import sqlite3

sys.path.insert(0, str(Path(__file__).parent.parent))
warnings.simplefilter("ignore")

ROUNDS = 9
PAGES = {
    "latest first": "/cases",
    "severe first": "/cases?order=severity",
    "one finding": "/cases?finding=covid19",
    "failed films": "/cases?outcome=failed",
    "refused deliveries": "/cases?delivery=refused",
    "a name": "/cases?words=doe77",
    "the beginning of many names": "/cases?words=doe",
    "dates": "/cases?since=2020-02-01&until=2020-02-03",
    "by the API": "/api/cases?limit=50",
}


def fill(path: Path, number: int) -> None:
    """Write so many studies with one film each, straight into the tables."""
    chance, begun = random.Random(0), datetime(2020, 1, 1, tzinfo=UTC)
    database = sqlite3.connect(path)
    rows = []
    for k in range(1, number + 1):
        at = (begun + timedelta(seconds=30 * k)).isoformat(timespec="microseconds")
        finding = chance.choice(["normal", "normal", "pneumonia", "covid19"])
        outcome = "failed" if k % 997 == 0 else "analysed"
        delivery = "refused" if k % 501 == 0 else "sent"
        date, severity = at[:10].replace("-", ""), chance.uniform(0, 18)
        rows.append((k, f"DOE{k % 1000}^JANE", f"ID{k}", f"A{k}", date, at, outcome, finding,
                     chance.random(), severity, delivery))  # fmt: skip
    database.executemany(
        "insert into studies (id, study_instance_uid, state, opened_at, changed_at)"
        " values (?, ?, 'reported', ?, ?)",
        [(row[0], f"1.2.{row[0]}", row[5], row[5]) for row in rows],
    )
    database.executemany(
        "insert into cases (study_id, described, patient_name, patient_id, accession_number,"
        " study_date, received_at, state, films, outcome, finding, probability, severity, delivery)"
        " values (?, 1, ?, ?, ?, ?, ?, 'reported', 1, ?, ?, ?, ?, ?)",
        rows,
    )
    database.executemany(
        "insert into case_words (rowid, words) values (?, ?)",
        [(row[0], f"{row[1]} {row[2]} {row[3]}") for row in rows],
    )
    database.commit()
    database.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    number = parser.parse_args().cases
    from fastapi.testclient import TestClient

    from dicom_node.ledger import open_ledger
    from dicom_node.resources import default_configuration
    from dicom_node.settings import load_configuration
    from dicom_node.spool import Spool
    from dicom_node.web.app import create_app
    from dicom_node.web.passwords import hashed
    from tests.web.conftest import FakeDoors, house_over

    with tempfile.TemporaryDirectory() as name:
        configuration = load_configuration(default_configuration(), data_dir=Path(name))
        ledger = open_ledger(configuration.ledger_path, who="benchmark")
        ledger.keep_user("reader", "reader", hashed("a long enough one"))
        fill(configuration.ledger_path, number)
        house = house_over(configuration, ledger, Spool(configuration.spool_path), FakeDoors())
        client = TestClient(create_app(house), base_url="http://localhost")
        client.post("/sign-in", data={"name": "reader", "password": "a long enough one"})
        client.auth = ("reader", "a long enough one")
        deep = client.get("/api/cases?limit=1").json()
        at = deep["cases"][0]["received_at"][:4]
        middle = f"/cases?after={at}-01-10T00:00:00&after_id=1"
        print(f"{number} cases: median / worst of {ROUNDS}, milliseconds")
        for what, address in {**PAGES, "deep in the list": middle}.items():
            client.get(address)
            spent = []
            for _ in range(ROUNDS):
                begun = time.perf_counter()
                answer = client.get(address)
                spent.append((time.perf_counter() - begun) * 1000)
                assert answer.status_code == 200, (address, answer.status_code)
            print(f"{what:<30} {statistics.median(spent):6.0f} {max(spent):6.0f}")
        ledger.close()


if __name__ == "__main__":
    main()
