"""A role that is asked to stop while it holds nothing yet does not finish loading first."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.node.peers import make_node

LOADS_FOR_MINUTES = """
import sys, time
from pathlib import Path
from dicom_node.roles import analyse, process
from dicom_node.settings import load_configuration

class Engine:
    def warm(self):
        print("loading", flush=True)
        time.sleep(300)

analyse.engine_of = lambda settings, shadow: Engine()
configuration = load_configuration(Path(sys.argv[1]), data_dir=Path(sys.argv[2]))
sys.exit(process.run_role(process.new_worker("analyse"), configuration))
"""

STOPPED_BEFORE = """
import threading
from dicom_node.roles.process import stopped_at_once

stop = threading.Event()
stop.set()
with stopped_at_once(stop):
    print("loading", flush=True)
"""


def test_a_stop_does_not_wait_for_networks_that_are_being_loaded(tmp_path: Path) -> None:
    node = make_node(tmp_path / "node")
    command = [sys.executable, "-c", LOADS_FOR_MINUTES, str(node.config), str(node.data_dir)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as role:
        assert role.stdout is not None
        first = role.stdout.readline()
        role.send_signal(signal.SIGTERM)
        _, log = role.communicate(timeout=30)
    assert first == "loading\n", log
    assert role.returncode == -signal.SIGTERM
    assert "role.started" not in log


def test_a_stop_that_came_before_the_loading_is_heeded_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_BEFORE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
