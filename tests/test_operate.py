"""The commands of docs/operate.md run as they are written, on a real node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from tests.certificates import make_keys
from tests.conftest import CHECKOUT, debian
from tests.node.peers import ENGINES, Storescp, free_port, wait_for

PAGE = CHECKOUT / "docs" / "operate.md"
NOT_RUN = re.compile(r"/opt/dicom-node/bin/pip install ")
"""It would ask a package index; which release runs is no matter of these commands."""

NODE = """\
[node]
ae_title = "DICOMNODE"
host = "127.0.0.1"
port = {port}
data_dir = "/var/lib/dicom-node"
min_free_bytes = 0

[results]
quiet_seconds = 0.5

[web]
port = 0

[monitor]
port = 0

[tls]
certificate = "node.pem"
key = "node.key"
ca = "hospital.pem"
require_client_certificate = false
"""

SYSTEMCTL = """\
#!/bin/bash
# systemctl VERB dicom-node
set -eu
pid={folder}/pid
[[ $2 = dicom-node ]]
if [[ $1 = stop || $1 = restart ]] && [[ -e $pid ]]; then
  kill -TERM "$(cat $pid)"
  while kill -0 "$(cat $pid)" 2>/dev/null; do sleep 0.1; done
  rm $pid
fi
if [[ $1 = start || $1 = restart ]]; then
  setsid {python} -m dicom_node serve --config "$DICOM_NODE_CONFIG" 2>>{folder}/log >/dev/null &
  echo $! > $pid
fi
"""


def chapters() -> dict[str, list[str]]:
    """Return the commands of each chapter that has any."""
    found: dict[str, list[str]] = {}
    for chapter in re.split(r"^#+ ", PAGE.read_text("utf-8"), flags=re.MULTILINE):
        # Every second part lies between fences; those of commands name no language.
        blocks = re.split(r"^```", chapter, flags=re.MULTILINE)[1::2]
        lines = [line for block in blocks if block.startswith("\n") for line in block.splitlines()]
        if commands := [line for line in lines if line]:
            found[chapter.splitlines()[0]] = commands
    return found


class Machine:
    """A machine on which the page's commands are given; its folders lie in one of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config, self.data = folder / "etc/dicom-node", folder / "var/lib/dicom-node"
        self.backups = folder / "mnt/backup"
        self.tools, self.home = folder / "bin", folder / "home"
        for each in (self.config / "remotes", self.data, self.backups, self.tools, self.home):
            each.mkdir(parents=True)
        self.data.chmod(0o700)
        (self.data / "engines").symlink_to(ENGINES)
        ENGINES.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        (self.config / "node.toml").write_text(self.at_home(NODE.format(port=self.port)))
        keys = make_keys(self.home)
        for name in ("node.pem", "node.key", "hospital.pem"):
            shutil.copy(keys / name, self.config)
        (self.config / "node.key").chmod(0o600)
        self.tool("dicom-node", f'#!/bin/bash\nexec {sys.executable} -m dicom_node "$@"\n')
        self.tool("journalctl", f"#!/bin/bash\ncat {folder}/log\n")
        self.tool("systemctl", SYSTEMCTL.format(folder=folder, python=sys.executable))
        self.environment = {
            **os.environ,
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "DICOM_NODE_CONFIG": str(self.config),
        }

    def tool(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def at_home(self, command: str) -> str:
        """Return a command with the page's folders in the machine's own."""
        return re.sub(
            r"(/etc/dicom-node|/var/lib/dicom-node|/mnt/backup)", rf"{self.folder}\1", command
        )

    def give(self, command: str) -> str:
        """Give a command to a shell; return what it says."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", self.at_home(command)],
            cwd=self.home, env=self.environment, capture_output=True, text=True, check=False,
            timeout=300, input="y\nanother password\nanother password\n"
            if "user add" not in command else "a password of some length\n",
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def chapter(self, name: str, change: Callable[[str], str] = str) -> str:
        """Give the commands of a chapter; return what they said together."""
        commands = [change(each) for each in chapters()[name] if not NOT_RUN.match(each)]
        return "".join(self.give(each) for each in commands)

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        opened = open_ledger(self.data / "ledger.sqlite", who="test")
        yield opened
        opened.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.give("systemctl stop dicom-node")


RUN = {
    "Operate", "Each day", "Ask for help", "Stop and start", "Back up", "Try the backup", "Restore",
    "The ledger is damaged, or gone", "Upgrade", "Go back to the release before",
    "Renew what ends", "Move to another machine",
}  # fmt: skip


def test_every_chapter_with_commands_is_run() -> None:
    assert set(chapters()) == RUN


def test_of_the_commands_only_installing_is_not_run() -> None:
    left = [each for lines in chapters().values() for each in lines if NOT_RUN.match(each)]
    assert len(left) == 2


@pytest.mark.slow
@pytest.mark.pacs
@pytest.mark.timeout(900)
def test_the_commands_run_as_they_are_written(machine: Machine, tmp_path: Path) -> None:
    pacs = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    pacs.start()
    (machine.config / "remotes" / "pacs.toml").write_text(
        f'ae_title = "PACS"\nhost = "127.0.0.1"\nport = {pacs.port}\n'
    )
    try:
        _year(machine, tmp_path / "films", pacs)
    finally:
        pacs.stop()


def _year(machine: Machine, films: Path, pacs: Storescp) -> None:
    """A year with a node, in some minutes."""
    films.mkdir()
    machine.give(chapters()["Operate"][0])
    machine.chapter("Stop and start")
    _send(machine, films, 1)
    machine.chapter("Back up")
    assert "\n0 faults, " in machine.chapter("Each day", lambda each: each.replace(" || true", ""))
    machine.chapter("Ask for help")
    assert (machine.backups / "support.tar.gz").is_file()
    assert "Restored" in machine.chapter("Try the backup")
    _send(machine, films, 2)
    assert "1 films that the ledger did not know" in machine.chapter("Restore")
    _answered(machine, 2)
    machine.chapter("Upgrade")
    machine.chapter("Renew what ends")
    (*_, name) = sorted(path.name for path in machine.backups.glob("20*"))
    machine.chapter("Go back to the release before", lambda each: each.replace("NAME", name))
    machine.give("systemctl stop dicom-node")
    for path in machine.data.glob("ledger.sqlite*"):
        path.unlink()
    said = machine.chapter("The ledger is damaged, or gone")
    assert "2 films that the ledger did not know" in said
    _answered(machine, 2)
    stop, *_ = moving = chapters()["Move to another machine"]
    there = next(number for number, each in enumerate(moving) if "--configuration" in each)
    assert stop.startswith("systemctl stop")
    for command in moving[:there]:
        machine.give(command)
    for folder in (machine.config, machine.data):
        shutil.rmtree(folder)
    for command in moving[there:]:
        machine.give(command)
    _answered(machine, 2)
    uids = [str(item.SOPInstanceUID) for item in pacs.received()]
    assert len(uids) == len(set(uids))


def _send(machine: Machine, films: Path, number: int) -> None:
    path = films / f"{number}.dcm"
    phantom_dataset(seed=number, rows=512, columns=512).save_as(path, enforce_file_format=True)
    machine.give(
        f"{debian('storescu')} +tla -ic -R -xe -aet PACS -aec DICOMNODE"
        f" 127.0.0.1 {machine.port} {path}"
    )
    _answered(machine, number)


def _answered(machine: Machine, films: int) -> None:
    def all_answered() -> bool:
        with machine.ledger() as ledger:
            return ledger.unfinished() == 0 and len(ledger.deliveries()) >= 2 * films

    wait_for(all_answered, 240, "every film is answered")
