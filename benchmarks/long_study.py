"""What one long study costs its reporter: ``python benchmarks/long_study.py [--films 300]``.

Films of ten megapixels, analysed with invented findings, then a reporter in a process of its own
that writes the report and a capture of each (``--objects`` for others). Prints the most memory that
it had resident, how often it showed that it lives, and the seconds; the aim: below 1 GB.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from dicom_node.findings import (
    Explanation,
    LungMask,
    Region,
    pack_explanation,
)
from dicom_node.imaging.decode import little_endian
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.line.report import Reporter
from dicom_node.logs import Log
from dicom_node.records import Arrival, InstanceState, Origin
from dicom_node.resources import report_templates
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import load_template
from dicom_node.settings import Remote, Settings
from dicom_node.spool import Spool

SIDE = 3200
"""Rows and columns of a film of ten megapixels."""

_STUDY, _WORKER = "1.2.4", "bench"


def make_study(folder: Path, films: int, side: int = SIDE) -> None:
    """Put a study of analysed films into a ledger and a spool in ``folder``."""
    ledger, spool = open_ledger(folder / "ledger.sqlite", who="bench"), Spool(folder / "spool")
    invented, whole = preview_film(), Region(0, 0, side, side)
    maps = tuple(replace(heat, region=whole) for heat in invented.explanation.maps)
    mask = np.zeros((256, 256), bool)
    mask[40:208, 40:112] = mask[40:208, 144:216] = True
    explanation = spool.write(pack_explanation(Explanation(maps, LungMask("lung-unet", mask))))
    dataset = phantom_dataset(rows=256, columns=256)
    dataset.Rows = dataset.Columns = side
    grey = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint16) // 2
    dataset.PixelData = little_endian(grey)
    dataset.StudyInstanceUID, dataset.PatientID = _STUDY, "4711"
    for number in range(films):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        dataset.InstanceNumber = number + 1
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        stored = spool.write(buffer.getvalue())
        ledger.received(
            Arrival(dataset.SOPInstanceUID, dataset.SOPClassUID, "1.2.840.10008.1.2.1", _STUDY,
                    dataset.SeriesInstanceUID, stored.digest, stored.size_bytes,
                    Origin("PACS", "NODE", "127.0.0.1"))
        )  # fmt: skip
        (instance,) = ledger.claim_instances(InstanceState.RECEIVED, _WORKER, 600, 1)
        ledger.admitted(instance.id, _WORKER, "PA", "patient")
        (instance,) = ledger.claim_instances(InstanceState.ADMITTED, _WORKER, 600, 1)
        findings = replace(invented.findings, sop_instance_uid=dataset.SOPInstanceUID)
        ledger.analysed(instance.id, _WORKER, findings.to_json_text(), explanation.digest)
    ledger.quieten(0)
    ledger.close()


def write_study(folder: Path, objects: str) -> dict[str, float]:
    """Write the study's results and return what that took."""
    began, beats = time.monotonic(), [time.monotonic()]
    ledger, spool = open_ledger(folder / "ledger.sqlite", who="bench"), Spool(folder / "spool")
    template = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
    reporter = Reporter(
        ledger, spool, Settings(), template, preview_context(template).networks, _WORKER,
        Log("report"), lambda: beats.append(time.monotonic()),
    )  # fmt: skip
    told = {"ae_title": "PACS", "host": "h", "port": 104, "objects": objects.split(",")}
    assert reporter.work({"PACS": Remote.model_validate(told)})
    (study,) = ledger.studies()
    deliveries = ledger.deliveries(study_id=study.id)
    ledger.close()
    ended = time.monotonic()
    gaps = np.diff([*beats, ended])
    return {
        "peak_mb": round(_peak_kb() / 1024),
        "deliveries": len(deliveries),
        "failed": len(study.reason or ""),
        "beats": len(beats) - 1,
        "longest_silence_seconds": round(float(gaps.max()), 1),
        "seconds": round(ended - began, 1),
    }


def _peak_kb() -> int:
    # Not getrusage: that begins with what the parent had, which the new program never has.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found
    return int(found[1])


def measured(films: int, objects: str = "sr,capture", side: int = SIDE) -> dict[str, float]:
    """Return what a reporter in a process of its own took for one study."""
    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder), films, side)
        done = subprocess.run(
            [sys.executable, __file__, "--write", folder, "--objects", objects],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=300)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--objects", default="sr,capture")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    if given.write:
        print(json.dumps(write_study(given.write, given.objects)))
    else:
        print(
            json.dumps({"films": given.films, **measured(given.films, given.objects, given.side)})
        )


if __name__ == "__main__":
    main()
