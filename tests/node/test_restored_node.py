"""A drill with a real node and Orthanc: yesterday's ledger on today's spool doubles nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicom_node.imaging.phantom import phantom_dataset
from tests.conftest import debian
from tests.node.peers import Orthanc, RunningNode, free_port, make_node, storescu, wait_for

pytestmark = [pytest.mark.pacs, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    made = make_node(tmp_path / "node")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.fixture
def pacs(tmp_path: Path, node: RunningNode) -> Iterator[Orthanc]:
    peer = Orthanc("PACS", free_port(), free_port(), tmp_path / "pacs", debian("Orthanc"))
    node.add_remote("PACS", peer.dicom_port)
    node.start()
    peer.start(node.port)
    yield peer
    peer.stop()


def send(node: RunningNode, folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        path = folder / f"{number}.dcm"
        phantom_dataset(seed=number, rows=512, columns=512).save_as(path, enforce_file_format=True)
        done = storescu(debian("storescu"), node, "PACS", path)
        assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: answered(node) == len(list(folder.iterdir())), 240, "every film is answered")
    wait_for(node.finished, 240, "every result is sent")


def answered(node: RunningNode) -> int:
    with node.ledger() as ledger:
        return sum(bool(ledger.deliveries(study_id=study.id)) for study in ledger.studies())


def sent(node: RunningNode) -> dict[str, str]:
    """Return what left, by SOP Instance UID: the digest of its bytes."""
    with node.ledger() as ledger:
        return {
            item.sop_instance_uid: item.digest
            for delivery in ledger.deliveries()
            for item in delivery.alternatives
        }


def held(pacs: Orthanc) -> dict[str, str]:
    """Return what the PACS holds, by SOP Instance UID: the MD5 of its file."""
    found: dict[str, str] = {}
    for instance in pacs.call("/instances?expand"):
        uid = instance["MainDicomTags"]["SOPInstanceUID"]
        found[uid] = str(
            pacs.call(f"/instances/{instance['ID']}/attachments/dicom/info")["UncompressedMD5"]
        )
    return found


def told_by(node: RunningNode, *arguments: str) -> dict[str, Any]:
    done = node.command(*arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_yesterday_s_ledger_answers_today_s_films_again_and_the_pacs_has_nothing_twice(
    node: RunningNode, pacs: Orthanc, tmp_path: Path
) -> None:
    backups = str(tmp_path / "backups")
    send(node, tmp_path / "films", 1)
    told_by(node, "backup", backups)  # while it runs
    send(node, tmp_path / "films", 2, 3)
    left, stored = sent(node), held(pacs)
    assert set(left) == set(stored)
    busy = node.command("restore", backups, "--yes")
    assert busy.returncode == 1
    assert "already works" in busy.stderr
    node.stop()
    told = told_by(node, "restore", backups, "--yes")
    assert (told["adopted"], told["missing"], told["left"]) == (2, [], 0)
    node.start()
    wait_for(lambda: answered(node) == 3, 240, "the films are answered again")
    wait_for(node.finished, 240, "every result is sent again")
    assert sent(node) == left
    assert held(pacs) == stored


def test_a_lost_ledger_without_a_backup_is_made_of_the_films_and_answers_the_senders(
    node: RunningNode, pacs: Orthanc, tmp_path: Path
) -> None:
    send(node, tmp_path / "films", 4, 5)
    left, stored = sent(node), held(pacs)
    node.stop()
    for path in node.data_dir.glob("ledger.sqlite*"):
        path.unlink()
    refused = node.command("serve", "--data-dir", str(node.data_dir))
    assert refused.returncode == 1
    assert "restore --from-spool" in refused.stderr
    assert told_by(node, "restore", "--from-spool", "--yes")["adopted"] == 2
    node.start()
    wait_for(lambda: answered(node) == 2, 240, "the films are answered again")
    wait_for(node.finished, 240, "every result is sent again")
    assert sent(node) == left
    assert held(pacs) == stored


def test_a_drill_beside_the_running_node_shows_that_the_backup_is_good(
    node: RunningNode, pacs: Orthanc, tmp_path: Path
) -> None:
    assert pacs.process is not None
    send(node, tmp_path / "films", 6)
    backups = str(tmp_path / "backups")
    made = told_by(node, "backup", backups, "--spool")
    drill = RunningNode(tmp_path / "drill")
    drill.folder.mkdir()
    (drill.folder / "config").symlink_to(node.config)
    told = told_by(drill, "restore", backups, "--yes")
    assert (told["brought_back"], told["missing"]) == (made["stored"], [])
    film = pydicom.dcmread(tmp_path / "films" / "6.dcm", stop_before_pixels=True)
    assert film.StudyInstanceUID in drill.command("cases", "list", "--json").stdout
    assert node.finished()
