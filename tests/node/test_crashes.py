"""Any process may be killed at any time: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from dicom_node.imaging.phantom import phantom_dataset
from tests.conftest import debian
from tests.node.peers import (
    Orthanc,
    RunningNode,
    Storescp,
    free_port,
    make_node,
    storescu,
    wait_for,
)

pytestmark = [pytest.mark.pacs, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Storescp]:
    peer = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    yield peer
    peer.stop()


@pytest.fixture
def node(tmp_path: Path, pacs: Storescp) -> Iterator[RunningNode]:
    running = make_node(tmp_path / "node")
    running.add_remote("PACS", pacs.port)
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


def films(folder: Path, count: int, first: int = 0) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(first, first + count):
        path = folder / f"{number}.dcm"
        phantom_dataset(seed=number, rows=512, columns=512).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def test_each_role_killed_at_work_comes_back_and_each_film_is_answered_once(
    node: RunningNode, pacs: Storescp, tmp_path: Path
) -> None:
    pacs.start()
    wait_for(lambda: node.pid_of("analyse"), 120, "networks are loaded")
    paths = films(tmp_path / "films", 12)
    killed = []
    for number, path in enumerate(paths):
        done = storescu(debian("storescu"), node, "PACS", path)
        if done.returncode != 0:
            node.port = wait_for(node._listening_port, 30, "the receiver is back")
            again = storescu(debian("storescu"), node, "PACS", path)
            assert again.returncode == 0, again.stdout + again.stderr
        if number % 2 == 1:
            role = ("analyse", "deliver", "intake", "receive", "report", "housekeep")[number // 2]
            pid = node.pid_of(role)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            wait_for(lambda pid=pid, role=role: node.pid_of(role) != pid, 60, f"{role} is back")
            node.port = wait_for(node._listening_port, 120, "the receiver listens")
    wait_for(node.finished, 240, "every film is answered")
    results = pacs.received()
    for path in paths:
        uid = pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID
        own = [item for item in results if item.StudyInstanceUID == uid]
        kinds = sorted((str(item.Modality), str(item.SOPInstanceUID)) for item in own)
        assert [modality for modality, _ in kinds] == ["OT", "SR"], uid


def test_results_of_a_night_without_pacs_arrive_once_it_is_back(
    node: RunningNode, pacs: Storescp, tmp_path: Path
) -> None:
    for path in films(tmp_path / "films", 3, first=100):
        done = storescu(debian("storescu"), node, "PACS", path)
        assert done.returncode == 0, done.stdout + done.stderr

    def tried() -> bool:
        with node.ledger() as ledger:
            deliveries = ledger.deliveries()
            return len(deliveries) == 6 and all(item.attempts > 0 for item in deliveries)

    wait_for(tried, 180, "each delivery was tried in vain")
    pacs.start()
    wait_for(node.finished, 60, "the outbox is empty")
    assert pacs.modalities() == ["OT"] * 3 + ["SR"] * 3


def test_sigterm_drains_and_a_new_start_goes_on(
    node: RunningNode, pacs: Storescp, tmp_path: Path
) -> None:
    pacs.start()
    for path in films(tmp_path / "films", 4, first=200):
        assert storescu(debian("storescu"), node, "PACS", path).returncode == 0
    assert node.stop() == 0
    node.start()
    wait_for(node.finished, 240, "every film is answered")
    assert pacs.modalities() == ["OT"] * 4 + ["SR"] * 4


def test_the_supervisor_killed_takes_its_roles_with_it_and_a_new_one_goes_on(
    node: RunningNode, pacs: Storescp, tmp_path: Path
) -> None:
    pacs.start()
    for path in films(tmp_path / "films", 2, first=300):
        assert storescu(debian("storescu"), node, "PACS", path).returncode == 0
    roles = [node.pid_of(role) for role in ("receive", "intake", "housekeep", "report", "deliver")]
    node.stop(signal.SIGKILL)
    wait_for(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in roles if pid), 60, "roles end"
    )
    node.start()
    wait_for(node.finished, 240, "every film is answered")
    assert pacs.modalities() == ["OT"] * 2 + ["SR"] * 2


def test_a_second_node_on_the_same_data_is_refused(node: RunningNode) -> None:
    done = node.command("serve", "--data-dir", str(node.data_dir))
    assert done.returncode == 1
    assert "already works on" in done.stderr


def test_orthanc_as_the_sending_pacs_files_the_results_in_the_same_study(tmp_path: Path) -> None:
    orthanc = Orthanc("ORTHANC", free_port(), free_port(), tmp_path / "orthanc", debian("Orthanc"))
    node = make_node(tmp_path / "node")
    node.add_remote("ORTHANC", orthanc.dicom_port)
    node.start()
    orthanc.start(node.port)
    try:
        (film,) = films(tmp_path / "films", 1, first=400)
        stored = orthanc.call("/instances", film.read_bytes())
        for _ in range(3):
            orthanc.call("/modalities/node/store", stored["ID"].encode())
        wait_for(lambda: orthanc.call("/statistics")["CountInstances"] == 3, 180, "results arrive")
        wait_for(node.finished, 60, "nothing is left to do")
        (study,) = orthanc.call("/studies")
        series = [
            orthanc.call(f"/series/{name}") for name in orthanc.call(f"/studies/{study}")["Series"]
        ]
        counts = {item["MainDicomTags"]["Modality"]: len(item["Instances"]) for item in series}
        assert counts == {"DX": 1, "SR": 1, "OT": 1}
    finally:
        orthanc.stop()
        node.stop()
