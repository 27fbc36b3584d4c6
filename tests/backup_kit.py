"""A node's folders, of which only the door works, to be backed up and put back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.backup import make_backup
from dicom_node.logs import Log
from dicom_node.records import Digest, Origin
from dicom_node.settings import Configuration, Settings, load_configuration
from dicom_node.spool import Spool
from tests.commands_kit import Run
from tests.ledger_kit import fresh_ledger


def untold(_what: str, _done: int, _of: int) -> None:
    return


def film_bytes(seed: int) -> bytes:
    buffer = io.BytesIO()
    film = phantom_dataset(seed=seed, rows=64, columns=64)
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class House:
    """A node's folders, of which only the door works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config, self.data, self.place = folder / "site", folder / "data", folder / "backups"

    @property
    def site(self) -> Configuration:
        return load_configuration(self.config, data_dir=self.data)

    @property
    def spool(self) -> Spool:
        return Spool(self.data / "spool")

    def ledger(self) -> SqliteLedger:
        return open_ledger(self.data / "ledger.sqlite", who="test")

    def receives(self, seed: int, *senders: str) -> Digest:
        ledger = self.ledger()
        door = FrontDoor.of(Settings(), self.spool, ledger, Log("receive"))
        for sender in senders or ("MOD1",):
            digest = door.take_file(film_bytes(seed), Origin(sender, "DICOMNODE", "10.0.0.7"))
        ledger.close()
        return digest.arrival.digest

    def known(self) -> dict[str, tuple[str, ...]]:
        """Return the films that the ledger knows, by digest, and from whom."""
        ledger = self.ledger()
        found = {
            film.digest: tuple(sorted(film.senders))
            for shard in range(256)
            for film in ledger.films_of_shard(f"{shard:02x}")
        }
        ledger.close()
        return found

    def backs_up(self, **how: Any) -> Path:
        return make_backup(self.site, self.place, untold, **how).folder


@pytest.fixture(name="house")
def a_house(site: Path) -> House:
    found = House(site.parent)
    found.data = site / "data"
    fresh_ledger(found.data / "ledger.sqlite", who="test").close()
    return found


def restored(run: Run, *arguments: str) -> dict[str, Any]:
    done = run("restore", *arguments, "--yes", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
