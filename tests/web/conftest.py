"""The pages over a ledger and a spool with films that were analysed with invented findings."""

from __future__ import annotations

import io
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag

from dicom_node import logs
from dicom_node.errors import PeerUnreachable
from dicom_node.imaging.header import header_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.received import AsItCame
from dicom_node.imaging.wrap import Identity
from dicom_node.ledger.people import ROLES as PERSONS_ROLES
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.admit import describe_studies
from dicom_node.line.health import ToldAlarm
from dicom_node.line.report import Reporter
from dicom_node.line.trial_step import TrialStep
from dicom_node.line.wiring import menu_of
from dicom_node.logs import Log
from dicom_node.records import (
    ROLES,
    Arrival,
    InstanceId,
    InstanceState,
    Origin,
    RoleHealth,
    Study,
)
from dicom_node.resources import default_configuration, model_bundles, report_templates
from dicom_node.results.cards import NetworkCard
from dicom_node.results.preview import preview_context
from dicom_node.results.templates import load_template
from dicom_node.settings import Configuration, Remote, RemotesTable, load_configuration
from dicom_node.spool import Spool
from dicom_node.web.app import create_app
from dicom_node.web.arrivals import file_bytes_of
from dicom_node.web.house import House, ModelOnShelf, NodeState
from dicom_node.web.server import Asgi, Deadlines, Server
from tests.ledger_kit import fresh_ledger
from tests.node.peers import wait_for
from tests.reporting_kit import WORKER, Node

PASSWORD = "a long enough one"
HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
"""Cheap, as these tests sign in some hundred times; `hashed` takes a tenth of a second."""
CSRF = re.compile(r'name="csrf" value="([^"]+)"')

REMOTE = """\
# The archive of the house.
ae_title = "PACS"   # as it calls
host = "127.0.0.1"
port = 11113
"""


@dataclass
class FakeDoors:
    """The roles' side of the pages, without roles."""

    well: bool = True
    sick: str = "analyse"
    answers: bool = True
    retracted: list[tuple[int, str, str]] = field(default_factory=list)
    alarms: tuple[ToldAlarm, ...] = ()

    def state(self, *, counted: bool = False) -> NodeState:
        sick = () if self.well else (self.sick,)
        roles = tuple(
            RoleHealth(name, name not in sick, "no sign of life" if name in sick else "working")
            for name in ROLES
        )
        disk, work = "10.0 GB free", "0 films to analyse"
        return NodeState(self.well, roles, disk, work, alarms=self.alarms)

    def echo(self, ae_title: str, remote: Remote) -> str:
        if not self.answers:
            raise PeerUnreachable(f"{ae_title} cannot be reached.")
        return f"{ae_title} answers."

    def retract(self, study: Study, reason: str, who: str) -> Sequence[str]:
        self.retracted.append((int(study.id), reason, who))
        return ["PACS"]

    def try_whole_way(self) -> Sequence[TrialStep]:
        return [TrialStep("C-STORE in", well=True, sentence="stored", seconds=0.1)]

    def verify(self, bundle_id: str) -> str | None:
        return None if self.well else f"{bundle_id}: the weights are damaged"


@dataclass
class Site:
    """The pages, with their ledger and spool; ``node`` brings films to any state."""

    house: House
    node: Node
    doors: FakeDoors
    made: tuple[House, FastAPI] | None = None

    @property
    def app(self) -> FastAPI:
        """The application, one for all who look at the pages of a house."""
        if self.made is None or self.made[0] is not self.house:
            self.made = self.house, create_app(self.house)
        return self.made[1]

    def client(
        self, role: str | None = "admin", base: str = "http://localhost", *, raises: bool = True
    ) -> TestClient:
        """Return a browser without JavaScript, signed in as a user of ``role``.

        ``raises``: what the pages did not foresee comes up in the test, not as 500.
        """
        client = TestClient(self.app, base_url=base, raise_server_exceptions=raises)
        if role is not None:
            answer = client.post("/sign-in", data={"name": role, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
        return client

    def receive(
        self, number: int = 1, state: str = "analysed", *, reason: str = "", report: bool = False,
        **changes: str,
    ) -> int:  # fmt: skip
        """Bring a film to ``state``, its results to the outbox; return its case's number."""
        film = self.node.receive(number, InstanceState(state), reason, **changes)
        if report:
            self.node.report(*self.house.remotes().values())
        describe_studies(self.house.ledger, self.house.spool)
        study = self.house.ledger.find_study(str(film.StudyInstanceUID))
        assert study is not None
        return int(study.id)

    def receive_odd(self, number: int = 1, **values: bytes) -> tuple[str, int]:
        """Store a film with values as their bytes; return its address in DICOMweb, its number."""
        identity = Identity(patient_name="CANARY^YELLOW", study_instance_uid=f"1.2.5.{number}")
        film = phantom_dataset(number, rows=64, columns=64, identity=identity)
        header = header_of(film)
        for keyword, value in values.items():
            tag = Tag(keyword)
            film[tag] = AsItCame(tag, dictionary_VR(tag)[:2], value)
        stored = self.house.spool.write(file_bytes_of(film))
        received = self.house.ledger.received(
            Arrival(header.sop_instance_uid, header.sop_class_uid, "1.2.840.10008.1.2.1",
                    header.study_instance_uid, header.series_instance_uid, stored.digest,
                    stored.size_bytes, Origin("PACS", "NODE", "127.0.0.1"))
        )  # fmt: skip
        describe_studies(self.house.ledger, self.house.spool)
        study = f"/dicom-web/studies/{film.StudyInstanceUID}"
        series = f"{study}/series/{film.SeriesInstanceUID}"
        return f"{series}/instances/{film.SOPInstanceUID}", int(received.instance_id)

    def lose(self, instance_id: int) -> None:
        """Take the file of an instance away."""
        instance = self.house.ledger.instance(InstanceId(instance_id))
        self.house.spool.path(instance.digest).unlink()


def csrf_of(client: TestClient, path: str = "/cases") -> str:
    """Return the token of the forms of a page."""
    found = CSRF.search(client.get(path).text)
    assert found is not None
    return found[1]


def post(client: TestClient, path: str, **data: str) -> object:
    """Send a form as the page does."""
    return client.post(path, data=data | {"csrf": csrf_of(client)})


@pytest.fixture(autouse=True)
def _phantoms(phantoms_drawn_once: None) -> None:
    """Films of these tests differ in what is said of them."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the node logs in this test."""
    stream = io.StringIO()
    logs.configure(stream=stream, strict=True)
    yield stream
    logs.configure(strict=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as made:
        yield made


@contextmanager
def site_in(path: Path) -> Iterator[Site]:
    """Yield pages over a ledger, a spool and an AE table of their own below ``path``."""
    folder = path / "config"
    shutil.copytree(default_configuration(), folder)
    (folder / "remotes" / "pacs.toml").write_text(REMOTE, "utf-8")
    configuration = load_configuration(folder, data_dir=path / "var")
    ledger = fresh_ledger(configuration.ledger_path, who="web")
    spool = Spool(configuration.spool_path)
    for role in PERSONS_ROLES:
        ledger.keep_user(role, role, HASH)
    doors = FakeDoors()
    house = house_over(configuration, ledger, spool, doors)
    reporter = Reporter(
        ledger, spool, configuration.settings, house.template(), house.cards, WORKER, Log("analyse")
    )
    yield Site(house, Node(ledger, spool, reporter), doors)
    ledger.close()


def house_over(
    configuration: Configuration, ledger: SqliteLedger, spool: Spool, doors: FakeDoors
) -> House:
    """Return what the pages stand on, over a ledger and a spool."""
    table = RemotesTable(configuration, lambda _: None, lambda _: None, interval_seconds=0)
    return House(
        configuration=configuration,
        ledger=ledger,
        spool=spool,
        menu=menu_of(configuration),
        cards=preview_context_cards(),
        shelf=(shelf_of("covidnet-lite"),),
        remotes=table.current,
        doors=doors,
    )


def preview_context_cards() -> Mapping[str, NetworkCard]:
    path = report_templates() / "chest-radiograph-measurement-report.toml"
    return preview_context(load_template(path)).networks


def shelf_of(bundle_id: str) -> ModelOnShelf:
    folder = model_bundles() / bundle_id
    return ModelOnShelf(
        id=bundle_id, title="COVID-Net Lite", version="1.0.0", task="detection",
        digest="sha256:" + "0" * 64, parameters=1, macs=1, intended_use="Research only.",
        folder=folder, in_use=True,
    )  # fmt: skip


@contextmanager
def running(app: Asgi, deadlines: Deadlines | None = None) -> Iterator[str]:
    """Serve an application on a real port, as the role does; yield its address."""
    server = Server.of(app, deadlines=deadlines)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=(listener,), daemon=True)
    thread.start()
    wait_for(lambda: server.uvicorn.started, 30, "the pages are served")
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.stop()
    thread.join(10)
    listener.close()


@pytest.fixture
def served(site: Site) -> Iterator[Callable[[], str]]:
    """Start the pages on a real port; return their address."""
    with running(create_app(site.house)) as address:
        yield lambda: address


__all__ = ["PASSWORD", "Site", "csrf_of", "post", "running", "site_in"]
