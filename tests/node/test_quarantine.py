"""A film that stops its worker twice is set aside; the others are answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.records import InstanceState
from tests.conftest import debian
from tests.node.peers import Storescp, free_port, make_node, storescu, wait_for

pytestmark = [pytest.mark.pacs("storescu", "storescp"), pytest.mark.slow, pytest.mark.timeout(300)]

DYING_WORKER = """
import os, signal, sys
from pathlib import Path
from dicom_node.ledger import open_ledger
from dicom_node.records import InstanceState

ledger = open_ledger(Path(sys.argv[1]), who="analyse")
taken = ledger.claim_instances(InstanceState.ADMITTED, "analyse@1", 300, 8)
print(len(taken), flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_film_that_crashes_its_worker_twice_is_set_aside_and_the_next_is_answered(
    tmp_path: Path,
) -> None:
    pacs = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    pacs.start()
    node = make_node(tmp_path / "node")
    node.add_remote("PACS", pacs.port)
    paths = []
    for seed in (1, 2):
        paths.append(tmp_path / f"{seed}.dcm")
        film = phantom_dataset(seed=seed, rows=256, columns=256)
        film.save_as(paths[-1], enforce_file_format=True)
    poison, healthy = (str(pydicom.dcmread(path).SOPInstanceUID) for path in paths)

    # As if a codec crashed on this film: the process dies with the film in its hands, twice.
    node.start("receive,intake")
    try:
        assert storescu(debian("storescu"), node, "PACS", paths[0]).returncode == 0

        def admitted() -> bool:
            with node.ledger() as ledger:
                (instance,) = ledger.find_instances(poison)
                return instance.state is InstanceState.ADMITTED

        wait_for(admitted, 30, "the film is admitted")
        for _ in range(2):
            command = [sys.executable, "-c", DYING_WORKER, str(node.data_dir / "ledger.sqlite")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == "1", done.stderr
            with node.ledger() as ledger:
                ledger.orphaned("analyse@1")
    finally:
        node.stop()

    node.start()
    try:
        assert storescu(debian("storescu"), node, "PACS", paths[1]).returncode == 0
        wait_for(node.finished, 180, "every film has come to an end")
        with node.ledger() as ledger:
            (set_aside,), (answered,) = (
                ledger.find_instances(poison),
                ledger.find_instances(healthy),
            )
        assert set_aside.state is InstanceState.FAILED
        assert "quarantined" in str(set_aside.reason)
        assert answered.state is InstanceState.ANALYSED
        assert pacs.modalities() == ["OT", "SR"]
    finally:
        node.stop()
        pacs.stop()
