"""A worker that analyses without networks: each film is answered after some milliseconds.

``python benchmarks/stub_brain.py --config DIR --data-dir DIR [--milliseconds 5]`` stands in place
of a node's ``analyse`` role (``serve --role`` with the others): what a GPU would leave to the rest
of the house. Its answer, findings and maps of the default suite on one phantom, lies in
``stub_brain/``. Everything else is the analysing role's own work: claims, decoding, leases, faults.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent.parent))

from dicom_node import logs
from dicom_node.analysis.engine import Answer
from dicom_node.findings import Explanation, FilmFindings, unpack_explanation
from dicom_node.line.analyse import Analyst
from dicom_node.line.pulse import Pulse
from dicom_node.records import Worker
from dicom_node.roles.process import new_worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration, load_configuration

_KEPT = Path(__file__).with_suffix("")


@dataclass(frozen=True)
class StubEngine:
    """Answers each film with the same findings, after ``seconds``; one after the other.

    ``at_once``: it counts as a GPU, so many films are in flight.
    """

    findings: FilmFindings
    explanation: Explanation
    seconds: float
    at_once: int = 16
    device: str = "stub"
    busy: threading.Lock = field(default_factory=threading.Lock)

    def warm(self) -> None:
        """Answer the test film, so to speak."""

    def analyse(self, _film: object, sop_instance_uid: str, _asked: object = None) -> Answer:
        """Answer a film."""
        with self.busy:
            time.sleep(self.seconds)
        return replace(self.findings, sop_instance_uid=sop_instance_uid), self.explanation


def stub_engine(milliseconds: float) -> StubEngine:
    """Return the engine whose answer is kept."""
    findings = FilmFindings.from_json(json.loads((_KEPT / "findings.json").read_text("utf-8")))
    explanation = unpack_explanation((_KEPT / "explanation.npz").read_bytes())
    return StubEngine(findings, explanation, milliseconds / 1000)


def run(
    configuration: Configuration, stop: threading.Event, worker: Worker, milliseconds: float
) -> None:
    """Do what `dicom_node.roles.analyse.run` does, without networks."""
    settings = configuration.settings
    own = shift(worker, configuration, stop, reserve_bytes=settings.node.min_free_bytes // 2)
    if own is None:
        return
    pulse = Pulse(own.ledger, own.worker, own.heart, own.patience, settings.analysis.lease_seconds)
    analyst = Analyst(
        cast(Any, stub_engine(milliseconds)), own.ledger, own.spool, settings, own.worker, own.log,
        pulse, lambda: not stop.is_set(),
    )  # fmt: skip
    own.work({"analysing films": analyst.work}, detail="stub")
    own.ledger.close()


def main() -> None:
    """Work until SIGTERM, or until who started it is gone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--milliseconds", type=float, default=5.0)
    arguments = parser.parse_args()
    logs.configure()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_stop_when_alone, args=(stop, os.getppid()), daemon=True).start()
    worker = new_worker("analyse")
    worker = replace(worker, token=arguments.token or worker.token)
    configuration = load_configuration(arguments.config, data_dir=arguments.data_dir, pages=False)
    run(configuration, stop, worker, arguments.milliseconds)


def _stop_when_alone(stop: threading.Event, parent: int) -> None:
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()


if __name__ == "__main__":
    main()
