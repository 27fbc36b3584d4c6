"""The monitor's port: alive, ready, numbers; and nothing for whoever wants more."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from dicom_node.errors import LedgerUnavailable, PortUnavailable
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.lookout import Lookout
from dicom_node.line.metrics import METRICS, STAGES
from dicom_node.records import ROLES, AlarmKind, DeliveryState, InstanceState, Worker
from dicom_node.settings import Configuration
from dicom_node.web.monitor import MonitorApp
from dicom_node.web.server import Deadlines, listen
from tests.ledger_kit import arrival, delivery_in, fresh_ledger, instance_in
from tests.monitor_kit import Scrape, site
from tests.web.conftest import running

ME = Worker("monitor", "me")
SECONDS = 30.0
SHORT = Deadlines(header_seconds=0.3, body_seconds=0.3, answer_seconds=0.3, sweep_seconds=0.05)


class Watched:
    """A node's ledger with a monitor in front of it."""

    def __init__(self, folder: Path, text: str = "") -> None:
        text = text or "[node]\nmin_free_bytes = 0\n"
        self.configuration: Configuration = site(folder, text, "PACS", "CT1")
        self.ledger: SqliteLedger = fresh_ledger(self.configuration.ledger_path, who="test")
        self.lookout = Lookout(
            self.configuration, lambda: self.configuration.remotes, ME, os.getppid()
        )
        self.lookout.furnish(self.ledger)
        self.beat()

    def beat(self, *roles: str, state: str = "working") -> None:
        for role in roles or ROLES:
            worker = ME if role == "monitor" else Worker(role, role)
            detail = "openvino FP32, cpu" if role == "analyse" else None
            self.ledger.beat(worker, state, detail)
        self.ledger.beat(Worker("supervisor", "chief"), "working", f"roles={','.join(ROLES)}")

    @contextmanager
    def served(self, deadlines: Deadlines | None = None) -> Iterator[str]:
        app = MonitorApp(self.lookout, self.configuration.settings.monitor)
        with running(app, deadlines) as address:
            yield address

    def scrape(self) -> Scrape:
        return Scrape(self.lookout.metrics("").body.decode())


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.ledger.close()


def test_a_node_that_works_is_alive_and_ready(watched: Watched) -> None:
    with watched.served() as address:
        alive = httpx.get(f"{address}/healthz", timeout=SECONDS)
        ready = httpx.get(f"{address}/readyz", timeout=SECONDS)
    assert (alive.status_code, alive.json()) == (200, {"alive": True, "reasons": []})
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert ready.headers["cache-control"] == "no-store"


def test_networks_that_are_not_warm_yet_are_not_ready_and_alive(watched: Watched) -> None:
    watched.beat("analyse", state="starting")
    ready = watched.lookout.readyz()
    told = json.loads(ready.body)
    assert (ready.status, told["ready"], told["starting"]) == (503, False, True)
    assert [(each["what"], each["name"]) for each in told["reasons"]] == [("role", "analyse")]
    assert watched.lookout.healthz().status == 200


def test_a_role_that_is_not_run_here_is_not_missed(watched: Watched) -> None:
    watched.beat("analyse", state="stopped")
    assert watched.lookout.readyz().status == 503
    few = ",".join(role for role in ROLES if role != "analyse")
    watched.ledger.beat(Worker("supervisor", "chief"), "working", f"roles={few}")
    assert watched.lookout.readyz().status == 200


def test_a_disk_without_room_is_not_ready(tmp_path: Path) -> None:
    full = Watched(tmp_path, "[node]\nmin_free_bytes = 4_000_000_000_000_000_000\n")
    told = json.loads(full.lookout.readyz().body)
    assert [each["what"] for each in told["reasons"]] == ["disk"]
    assert full.scrape().value("well") == 0
    full.ledger.close()


def test_a_ledger_that_cannot_be_read_is_told_and_the_rest_as_well(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ill(_: SqliteLedger) -> None:
        raise LedgerUnavailable("The ledger could not be read: disk I/O error.")

    for name in ("beats", "totals"):
        monkeypatch.setattr(SqliteLedger, name, ill)
    ready = watched.lookout.readyz()
    assert ready.status == 503
    assert "disk I/O error" in ready.body.decode()
    assert watched.lookout.healthz().status == 200, "a new process would not mend it"
    scrape = watched.scrape()
    assert scrape.value("ledger_up") == 0
    assert scrape.value("disk_free_bytes", of="ledger") > 0


def test_before_the_ledger_is_open_it_answers_all_the_same(tmp_path: Path) -> None:
    configuration = site(tmp_path)
    early = Lookout(configuration, dict, ME, os.getppid())
    assert early.healthz().status == 200
    assert early.readyz().status == 503
    assert Scrape(early.metrics("").body.decode()).value("ledger_up") == 0


def test_without_its_supervisor_nobody_is_alive(watched: Watched) -> None:
    orphan = Lookout(watched.configuration, dict, ME, os.getppid() + 1)
    told = orphan.healthz()
    assert told.status == 503
    assert json.loads(told.body)["reasons"][0]["name"] == "supervisor"


def test_a_supervisor_that_hangs_is_told_by_its_silence_while_others_beat(
    watched: Watched,
) -> None:
    sql = watched.ledger._connection
    late = "2020-01-01T00:00:00.000000+00:00"
    sql.run("update workers set beat_at = :late where role = 'supervisor'", late=late)
    assert watched.lookout.healthz().status == 503
    sql.run("update workers set beat_at = :late", late=late)
    assert watched.lookout.healthz().status == 200, "it is the ledger that takes none"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/..", 404), ("POST", "/metrics", 405),
     ("DELETE", "/healthz", 405), ("OPTIONS", "/readyz", 405), ("HEAD", "/healthz", 200)],
)  # fmt: skip
def test_three_addresses_are_read_and_nothing_else(
    watched: Watched, method: str, path: str, status: int
) -> None:
    with watched.served() as address:
        answer = httpx.request(method, f"{address}{path}", timeout=SECONDS)
    assert answer.status_code == status
    assert (method == "HEAD") == (answer.content == b"")


def test_a_body_is_refused_unread(watched: Watched) -> None:
    with watched.served() as address:
        length = {"content-length": "1000000"}
        for more in (length, {"transfer-encoding": "chunked"}):
            host, _, port = address.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), SECONDS) as peer:
                head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                peer.sendall(f"GET /metrics HTTP/1.1\r\nhost: localhost\r\n{head}\r\n".encode())
                answer = peer.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 413")


def test_a_stranger_s_page_in_a_browser_here_reads_nothing(watched: Watched) -> None:
    with watched.served() as address:
        for host, status in (("evil.example", 400), ("localhost:1", 200), ("[::1]:80", 200)):
            answer = httpx.get(f"{address}/metrics", headers={"host": host}, timeout=SECONDS)
            assert answer.status_code == status, host


def test_only_networks_that_are_named_may_ask(tmp_path: Path) -> None:
    for network, status in (("10.0.9.0/24", 403), ("127.0.0.0/8", 200)):
        text = f'[node]\nmin_free_bytes = 0\n[monitor]\naddresses = ["{network}"]\n'
        made = Watched(tmp_path / network.replace("/", "-"), text)
        with made.served() as address:
            assert httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == status
        made.ledger.close()


def test_peers_that_say_nothing_keep_nobody_waiting(watched: Watched) -> None:
    few = Deadlines(header_seconds=0.5, connections=8, sweep_seconds=0.05)
    with watched.served(few) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        silent = [socket.create_connection((host, int(port)), SECONDS) for _ in range(50)]
        assert httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == 200
        for peer in silent:
            peer.close()


def test_a_house_that_does_not_answer_is_told_in_time(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(watched.lookout, "metrics", lambda _: hangs.wait(60))
    app = MonitorApp(watched.lookout, watched.configuration.settings.monitor, seconds=0.2)
    with running(app) as address:
        assert httpx.get(f"{address}/metrics", timeout=SECONDS).status_code == 503
        hangs.set()
        assert httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == 200


def test_every_metric_of_the_catalogue_is_in_a_scrape_and_nothing_else(watched: Watched) -> None:
    found = watched.scrape().names
    wanted = set()
    for each in METRICS:
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        wanted |= {each.name + end for end in endings.get(each.kind, ("",))}
    assert found == wanted


def test_prometheus_own_parser_reads_what_the_node_is(watched: Watched) -> None:
    delivery_in(watched.ledger, DeliveryState.REFUSED, 2)
    instance_in(watched.ledger, InstanceState.ADMITTED, 1)
    watched.ledger.found(AlarmKind.SELF_TEST, "chest-gate", None)
    watched.ledger.found(AlarmKind.SELF_TEST, "lung-unet", "off by 0.5")
    watched.ledger.raise_alarm(AlarmKind.PARKED, "PACS", {"deliveries": "1"}, ["mail"])
    watched.ledger.count_events({"PACS", "CT1"})
    scrape = watched.scrape()
    assert scrape.value("ledger_up") == scrape.value("well") == 1
    assert scrape.value("instances", state="admitted") == 1
    assert scrape.value("queue_length", role="analyse") == 1
    assert scrape.value("deliveries", destination="PACS", state="refused") == 1
    assert scrape.value("parked", destination="PACS") == 1
    assert scrape.value("received_total", calling_ae_title="PACS") == 2
    assert scrape.value("delivery_outcomes_total", destination="PACS", outcome="refused") == 1
    assert scrape.value("self_test_passed", network="lung-unet") == 0
    assert scrape.value("brain_workers", engine="openvino FP32", device="cpu") == 1
    assert scrape.value("alarms", alarm="parked") == 1
    assert scrape.value("alarm_notices_waiting", channel="mail") == 1
    assert scrape.value("uncounted_events") == 0
    assert scrape.value("role_deaths_total", role="deliver") == 0


def test_a_histogram_counts_those_below_too(watched: Watched) -> None:
    instance_in(watched.ledger, InstanceState.ANALYSED)
    watched.ledger.count_events(set())
    scrape = watched.scrape()
    for stage in STAGES:
        steps = [
            value for (name, labels), value in scrape.samples.items()
            if name == "dicom_node_stage_seconds_bucket" and ("stage", stage) in labels
        ]  # fmt: skip
        assert steps == sorted(steps)
        assert scrape.value("stage_seconds_count", stage=stage) == max(steps)
    assert scrape.value("stage_seconds_bucket", stage="admit", le="+Inf") == 1


def test_strangers_make_no_series(watched: Watched) -> None:
    for number in range(1, 40):
        watched.ledger.received(arrival(number, sender=f"STRANGER{number}"))
    watched.ledger.add_totals({("delivery.sent", f"GONE{n}"): 1 for n in range(9)}, {})
    watched.ledger.count_events({"PACS"})
    text = watched.scrape().text
    assert "STRANGER" not in text
    assert "GONE" not in text
    scrape = Scrape(text)
    assert scrape.value("received_total", calling_ae_title="other") == 39
    assert scrape.value("delivery_outcomes_total", destination="other", outcome="sent") == 9


def test_openmetrics_is_spoken_to_who_asks_for_it(watched: Watched) -> None:
    told = watched.lookout.metrics("application/openmetrics-text; version=1.0.0")
    assert told.media_type.startswith("application/openmetrics-text")
    assert told.body.endswith(b"# EOF\n")


def test_no_word_of_a_patient_is_told(watched: Watched) -> None:
    film = instance_in(watched.ledger, InstanceState.FAILED, 7)
    for told in (watched.lookout.readyz(), watched.lookout.healthz(), watched.lookout.metrics("")):
        assert film.sop_instance_uid not in told.body.decode()
        assert film.study_instance_uid not in told.body.decode()


def test_a_port_that_is_taken_is_told_with_the_key_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortUnavailable) as told:
        listen("127.0.0.1", taken.getsockname()[1], "monitor")
    assert "The monitor cannot listen on" in told.value.message
    assert "monitor.port" in told.value.remedy
    assert "web,monitor" not in told.value.remedy
