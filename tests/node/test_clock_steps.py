"""The clock of a running node is set by a day: no role ends, no try is lost, all is answered."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.records import ROLES
from tests.conftest import CHECKOUT, debian
from tests.node.peers import RunningNode, Storescp, free_port, make_node, storescu, wait_for

pytestmark = [pytest.mark.pacs, pytest.mark.slow, pytest.mark.timeout(900)]

DAY = 86_400


class Wall:
    """The clock on the wall as the node's processes see it."""

    def __init__(self, folder: Path) -> None:
        self.library, self.step = folder / "clock_step.so", folder / "step"
        source = CHECKOUT / "tests" / "clock_step.c"
        command = [str(debian("cc")), "-shared", "-fPIC", "-O1", "-o", str(self.library)]
        subprocess.run([*command, str(source), "-ldl"], check=True, capture_output=True)
        self.set_by(0)

    def set_by(self, seconds: int) -> None:
        """Set it so far ahead of the true time, at once for all processes."""
        told = self.step.with_suffix(".new")
        told.write_text(f"{seconds}\n")
        told.rename(self.step)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Storescp]:
    peer = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    yield peer
    peer.stop()


@pytest.fixture
def node(tmp_path: Path, pacs: Storescp, wall: Wall) -> Iterator[RunningNode]:
    running = make_node(tmp_path / "node")
    running.environment = {"LD_PRELOAD": str(wall.library), "CLOCK_STEP": str(wall.step)}
    running.add_remote("PACS", pacs.port)
    running.start()
    wait_for(lambda: all(running.pid_of(role) for role in ROLES), 180, "every role works")
    yield running
    assert running.stop() == 0


def send(node: RunningNode, folder: Path, number: int) -> str:
    """Send a film; return its study."""
    path = folder / f"{number}.dcm"
    film = phantom_dataset(seed=number, rows=512, columns=512)
    film.save_as(path, enforce_file_format=True)
    done = storescu(debian("storescu"), node, "PACS", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(film.StudyInstanceUID)


def answered(pacs: Storescp) -> set[str]:
    return {str(item.StudyInstanceUID) for item in pacs.received()}


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_step_of_a_day_while_films_are_under_way(
    node: RunningNode, pacs: Storescp, wall: Wall, tmp_path: Path, step: int
) -> None:
    pids = {role: node.pid_of(role) for role in ROLES}
    pacs.start()
    studies = set()
    for number in range(6):
        studies.add(send(node, tmp_path, number))
        if number in (1, 3):
            # There, and back again, while films wait, are analysed, are answered.
            wall.set_by(step if number == 1 else 0)
    wait_for(lambda: answered(pacs) == studies, 240, "every film is answered")
    assert {role: node.pid_of(role) for role in ROLES} == pids
    assert "role.died" not in node.log
    uids = [str(item.SOPInstanceUID) for item in pacs.received()]
    assert len(uids) == len(set(uids))
    with node.ledger() as ledger:
        steps = ledger._connection.all("select detail from events where what = 'clock.set'")
    assert len(steps) >= 2


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_what_waits_for_another_try_is_neither_lost_nor_late_after_a_step(
    node: RunningNode, pacs: Storescp, wall: Wall, tmp_path: Path, step: int
) -> None:
    study = send(node, tmp_path, 1)

    def waits() -> bool:
        with node.ledger() as ledger:
            return any(each.attempts for each in ledger.deliveries())

    wait_for(waits, 240, "a try has failed: the PACS is down")
    wall.set_by(step)
    pacs.start()
    wait_for(lambda: answered(pacs) == {study}, 120, "the result is sent")
    wait_for(node.finished, 120, "all of it")
    assert "delivery.expired" not in node.log
    assert "role.died" not in node.log
