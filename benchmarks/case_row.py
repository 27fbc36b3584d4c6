"""What a film costs the ledger in studies of many: ``python benchmarks/case_row.py``.

Each film arrives, is admitted and analysed; its study's line in the case list is written anew each
time. Prints milliseconds a film for all of a study, for its first ten films and for its last ten.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dicom_node.ledger import open_ledger
from dicom_node.records import Arrival, Digest, InstanceState, Origin

_FINDINGS = json.dumps({"finding": {"class": "normal", "probabilities": {"normal": 0.9}}})
_WORKER = "worker:1"
_ENDS = 10


def arrival(number: int) -> Arrival:
    return Arrival(
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid="1.3.1",
        series_instance_uid=f"1.4.{number}",
        digest=Digest(f"{number:064x}"),
        size_bytes=8_000_000,
        origin=Origin("PACS", "DICOMNODE", "127.0.0.1"),
    )


def milliseconds_a_film(path: Path, films: int) -> Sequence[float]:
    """Return what each film of one study took, from its arrival to its findings."""
    ledger, taken = open_ledger(path, who="benchmark"), []
    for number in range(films):
        started = time.perf_counter()
        ledger.received(arrival(number))
        for film in ledger.claim_instances(InstanceState.RECEIVED, _WORKER, 60, 1):
            ledger.admitted(film.id, _WORKER, "PA", "")
        for film in ledger.claim_instances(InstanceState.ADMITTED, _WORKER, 60, 1):
            ledger.analysed(film.id, _WORKER, _FINDINGS, None)
        taken.append((time.perf_counter() - started) * 1000)
    ledger.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, nargs="+", default=[30, 300], help="sizes of studies")
    for films in parser.parse_args().films:
        with tempfile.TemporaryDirectory() as folder:
            taken = milliseconds_a_film(Path(folder) / "ledger.sqlite", films)
        first, last = sorted(taken[:_ENDS])[_ENDS // 2], sorted(taken[-_ENDS:])[_ENDS // 2]
        print(
            f"{films:4} films: {sum(taken) / films:7.2f} ms a film;"
            f" median of the first ten {first:7.2f}, of the last ten {last:7.2f}"
        )


if __name__ == "__main__":
    main()
