"""A served node as a monitor sees it: real processes, real associations, real HTTP."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.line.health import port_of
from tests.conftest import debian
from tests.monitor_kit import Scrape, webhook
from tests.node.peers import RunningNode, make_node, wait_for

SECONDS = 30.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    made = make_node(tmp_path / "node")
    made.add_remote("PACS", 104)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


def monitor_of(node: RunningNode) -> str:
    """Return the address of a node's monitor, once it answers."""

    def port() -> int:
        with node.ledger() as ledger:
            alive = any(
                beat.role == "monitor" and beat.state == "working" for beat in ledger.beats()
            )
            return (port_of(ledger, "monitor") or 0) if alive else 0

    return f"http://127.0.0.1:{wait_for(port, 60, 'the monitor listens')}"


def scrape(address: str) -> Scrape:
    return Scrape(httpx.get(f"{address}/metrics", timeout=SECONDS).text)


def send(node: RunningNode, film: Path, calling: str) -> int:
    command = [str(debian("storescu")), "-aet", calling, "-aec", "DICOMNODE"]
    done = subprocess.run([*command, "127.0.0.1", str(node.port), str(film)], capture_output=True)
    return done.returncode


@pytest.mark.pacs("storescu")
def test_what_a_monitor_is_told_outlives_every_process_that_counted_it(
    node: RunningNode, tmp_path: Path
) -> None:
    phantom_dataset(rows=64, columns=64).save_as(tmp_path / "film.dcm", enforce_file_format=True)
    node.start("receive,intake,monitor")
    address = monitor_of(node)
    wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 200, 60, "it is ready")
    assert send(node, tmp_path / "film.dcm", "PACS") == 0
    assert send(node, tmp_path / "film.dcm", "EVIL") != 0

    def is_counted(address: str) -> bool:
        told = scrape(address)
        return (
            told.samples.get(
                ("dicom_node_received_total", (("calling_ae_title", "PACS"),)), 0
            ) == 1
            and told.value("associations_total", outcome="accepted") == 1
            and told.value("rejections_total", reason="calling-ae-title") == 1
            and told.value("stage_seconds_count", stage="admit") == 1
        )  # fmt: skip

    wait_for(lambda: is_counted(address), 60, "it is counted")
    assert node.stop() == 0
    node.start("receive,intake,monitor")
    assert is_counted(monitor_of(node)), "nothing began anew, nothing was counted twice"


def test_a_role_that_dies_over_and_over_is_told_by_the_webhook(node: RunningNode) -> None:
    with webhook() as hook:
        text = (node.config / "node.toml").read_text("utf-8")
        more = f'[alarms]\nwebhook = "{hook.address}"\nrestarts = 2\n'
        (node.config / "node.toml").write_text(f"{text}\n{more}", "utf-8")
        node.start("receive,housekeep,monitor")
        address = monitor_of(node)
        for deaths in (1, 2):
            pid = wait_for(lambda: node.pid_of("housekeep"), 60, "it works")
            subprocess.run(["kill", "-9", str(pid)], check=True)
            wait_for(
                lambda n=deaths: scrape(address).value("role_deaths_total", role="housekeep") == n,
                60, "its death is counted",
            )  # fmt: skip
            wait_for(lambda pid=pid: node.pid_of("housekeep") not in (0, pid), 60, "another works")
        wait_for(lambda: hook.documents, 60, "it is told")
        assert (hook.documents[0]["alarm"], hook.documents[0]["subject"]) == (
            "role-restarts", "housekeep"
        )  # fmt: skip
        assert "alarm.raised" in node.log


def test_a_supervisor_that_stands_still_is_told(node: RunningNode) -> None:
    node.start("receive,monitor")
    address = monitor_of(node)
    assert httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == 200
    assert node.process is not None
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()
    # The roles notice within a second and stop; until then they say what is wrong.

    def noticed() -> bool:
        try:
            return httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == 503
        except httpx.HTTPError:
            return True

    wait_for(noticed, SECONDS, "it is noticed")
