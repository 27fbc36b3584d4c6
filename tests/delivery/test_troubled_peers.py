"""A PACS that freezes, crawls, vanishes or breaks off ends an attempt in time, and we say why."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification

from dicom_node.delivery.association import Peer, associate
from dicom_node.settings import Remote
from dicom_node.settings.model import TlsSection
from tests.conftest import debian
from tests.delivery import conftest
from tests.delivery.conftest import Outbox, object_bytes
from tests.delivery.pacs import ScriptedPacs, listening
from tests.delivery.relay import slow_line, steady, stops_after
from tests.node.peers import free_port, wait_for
from tests.receiving.wire import N_EVENT_REPORT_RQ, p_data

MakeRemote = Callable[..., Remote]
LARGE, SMALL = 20_000_000, 2_000_000
EVERY_REPORT = frozenset(conftest.REPORT_CLASSES)


def pad_first_objects(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    """Give the first object of every study that size."""

    def padded(sop_class: str, uid: str) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(object_bytes(sop_class, uid)))
        dataset.EncapsulatedDocument = bytes(size_bytes if uid.endswith("1") else 2)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    monkeypatch.setattr(conftest, "object_bytes", padded)


@pytest.fixture
def large_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first object of every study larger than the buffers between us and the PACS."""
    pad_first_objects(monkeypatch, LARGE)


@pytest.mark.usefixtures("large_reports")
def test_a_line_that_freezes_within_the_data_ends_the_attempt(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.hasty()
    outbox.post("PACS")
    with listening(ScriptedPacs()) as pacs, slow_line(pacs.port, stops_after(500_000)) as port:
        # For ever, without the limit.
        report, capture = outbox.attempt(remote(port))
        # The small capture may have left on an association of its own before the time was up.
        assert report.state == "waiting"
        assert capture.state in ("waiting", "sent")
        # By which of the two it ends is a race on a busy machine.
        assert any(told in str(report.reason) for told in ("in time", "without an answer"))
        outbox.patient()
        outbox.hurry()
        assert {item.state for item in outbox.attempt(remote(pacs.port))} == {"sent"}
    assert sorted(uid for _, uid, _ in pacs.stored) == ["2.25.11", "2.25.19"]


@pytest.mark.slow
@pytest.mark.usefixtures("large_reports")
def test_a_slow_line_may_take_longer_than_an_answer_as_long_as_it_moves(
    outbox: Outbox, remote: MakeRemote
) -> None:
    # What moves the bytes may itself be held up for a second or two.
    outbox.hasty(answer_seconds=4.0)
    outbox.post("PACS")
    with listening(ScriptedPacs()) as pacs, slow_line(pacs.port, steady(LARGE / 9)) as port:
        started = time.monotonic()
        deliveries = outbox.attempt(remote(port))
    assert time.monotonic() - started > 2 * outbox.settings.delivery.answer_timeout_seconds
    assert [item.state for item in deliveries] == ["sent", "sent"]


@pytest.mark.slow
def test_what_the_kernel_still_holds_may_take_longer_than_an_answer_too(
    outbox: Outbox, remote: MakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad_first_objects(monkeypatch, SMALL)
    outbox.hasty(answer_seconds=4.0)
    outbox.post("PACS")
    with listening(ScriptedPacs()) as pacs, slow_line(pacs.port, steady(SMALL / 9)) as port:
        started = time.monotonic()
        deliveries = outbox.attempt(remote(port))
    assert time.monotonic() - started > 2 * outbox.settings.delivery.answer_timeout_seconds
    assert [item.state for item in deliveries] == ["sent", "sent"]


@pytest.mark.usefixtures("large_reports")
def test_a_line_that_trickles_is_not_waited_for(
    outbox: Outbox, remote: MakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.delivery.deadline.SLOWEST_BYTES_PER_SECOND", LARGE)
    outbox.hasty()
    outbox.post("PACS")
    with listening(ScriptedPacs()) as pacs, slow_line(pacs.port, steady(LARGE / 8)) as port:
        report, _ = outbox.attempt(remote(port))
        # It would have arrived, had it been waited for.
        assert report.state == "waiting"
    assert "2.25.11" not in [uid for _, uid, _ in pacs.stored]


def test_an_object_that_makes_the_pacs_break_off_does_not_hold_back_the_others(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(abort_at_classes=EVERY_REPORT)) as pacs:
        report, capture = outbox.attempt(remote(pacs.port))
    assert report.state == "waiting"
    assert "ended the association without an answer" in str(report.reason)
    assert capture.state == "sent"
    assert pacs.associations == 2


def test_a_pacs_that_takes_none_of_our_classes_gets_no_further_calls(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs(), accepts=(CTImageStorage,)) as pacs:
        deliveries = outbox.attempt(remote(pacs.port))
    assert {item.state for item in deliveries} == {"refused"}
    assert "not accepted by PACS" in str(deliveries[0].reason)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70])
def test_a_host_name_that_is_not_known_is_told_and_tried_again(outbox: Outbox, host: str) -> None:
    outbox.post("PACS")
    deliveries = outbox.attempt(Remote(ae_title="PACS", host=host, port=104))
    assert {item.state for item in deliveries} == {"waiting"}
    assert f"the name {host} is not known" in str(deliveries[0].reason)


def test_what_is_meant_for_tls_never_goes_out_in_the_clear(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    with listening(ScriptedPacs()) as pacs:
        report, _ = outbox.attempt(remote(pacs.port, tls=True))
    assert report.state == "waiting"
    assert "wants TLS" in str(report.reason)
    assert pacs.associations == 0


def test_unusable_tls_files_are_told(outbox: Outbox, remote: MakeRemote, tmp_path: Path) -> None:
    gone = TlsSection(certificate=tmp_path / "a", key=tmp_path / "b", ca=tmp_path / "c")
    outbox.settings = outbox.settings.model_copy(update={"tls": gone})
    outbox.post("PACS")
    report, _ = outbox.attempt(remote(free_port(), tls=True))
    assert report.state == "waiting"
    assert "TLS files" in str(report.reason)


def test_a_delivery_dropped_while_it_is_sent_stays_dropped_and_the_others_go_on(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    dropped = outbox.deliveries()[0].id

    class Interrupted(ScriptedPacs):
        def store(self, event: object) -> int:
            if not self.stored:
                outbox.ledger.drop(dropped, "person:test")
            return super().store(event)  # type: ignore[arg-type]

    with listening(Interrupted()) as pacs:
        report, capture = outbox.attempt(remote(pacs.port))
    assert (report.state, report.reason) == ("expired", "dropped by person:test")
    assert capture.state == "sent"


def test_the_first_refusal_after_a_night_without_pacs_is_not_the_last_word(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.post("PACS")
    for _ in range(4):
        outbox.attempt(remote(free_port()))
        outbox.hurry()
    with listening(ScriptedPacs(statuses=[0xA900])) as pacs:
        assert {item.state for item in outbox.attempt(remote(pacs.port))} == {"waiting"}
        outbox.hurry()
        assert {item.state for item in outbox.attempt(remote(pacs.port))} == {"refused"}


def test_half_an_answer_to_the_association_request_ends_the_attempt(
    outbox: Outbox, remote: MakeRemote
) -> None:
    outbox.hasty()
    outbox.post("PACS")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(b"\x02\x00\x00\x00\x01\x00abc")
                ended.wait(600)  # longer than this test may take: the attempt ends first

        thread = threading.Thread(target=serve)
        thread.start()
        report, _ = outbox.attempt(remote(listener.getsockname()[1]))
        ended.set()
        thread.join()
    assert report.state == "waiting"


@pytest.mark.pacs("storescp")
@pytest.mark.parametrize(
    ("options", "states"),
    [
        (["--refuse"], ("waiting", "waiting")),
        (["--ignore"], ("sent", "sent")),
        (["--abort-during"], ("waiting", "waiting")),
        (["--abort-after"], ("waiting", "waiting")),
        (["--sleep-during", "4"], ("waiting", "waiting")),
        (["--sleep-after", "4"], ("sent", "waiting")),
    ],
    ids=lambda value: " ".join(value),
)
def test_whatever_storescp_is_told_to_do_the_attempt_ends(
    outbox: Outbox,
    remote: MakeRemote,
    tmp_path: Path,
    options: list[str],
    states: tuple[str, str],
) -> None:
    outbox.hasty()
    outbox.post("PACS")
    with storescp(tmp_path, *options) as (_, port):
        deliveries = outbox.attempt(remote(port))
    assert tuple(item.state for item in deliveries) == states


@pytest.mark.pacs("storescp")
@pytest.mark.usefixtures("large_reports")
def test_a_pacs_stopped_within_the_data_gets_the_same_bytes_when_it_goes_on(
    outbox: Outbox, remote: MakeRemote, tmp_path: Path
) -> None:
    outbox.hasty()
    outbox.post("PACS")
    with storescp(tmp_path, "--sleep-during", "1") as (process, port):
        stopper = threading.Timer(0.5, os.kill, (process.pid, signal.SIGSTOP))
        stopper.start()
        deliveries = outbox.attempt(remote(port))
        stopper.join()
        assert {item.state for item in deliveries} == {"waiting"}
        os.kill(process.pid, signal.SIGKILL)
    outbox.patient()
    with storescp(tmp_path) as (_, port):
        outbox.hurry()
        assert {item.state for item in outbox.attempt(remote(port))} == {"sent"}


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run DCMTK's storescp as the AE ``PACS`` with ``options``."""
    port = free_port()
    command = [str(debian("storescp")), "-aet", "PACS", "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connects() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(connects, 30, "storescp listens")
        yield process, port
    finally:
        process.kill()
        process.wait()


def test_a_pacs_that_pours_reports_on_our_association_gets_one_thread_and_an_end() -> None:
    begun, let_go = threading.Semaphore(0), threading.Event()

    def slowly(*_: object) -> None:
        begun.release()
        let_go.wait()

    entity = AE("PACS")
    entity.add_supported_context(Verification)
    server: Any = entity.start_server(("127.0.0.1", 0), block=False)
    peer = Peer("127.0.0.1", server.server_address[1], "PACS", "NODE")
    association = associate(peer, [build_context(Verification)])
    association._serve_request = slowly  # type: ignore[method-assign]
    (theirs,) = wait_for(lambda: entity.active_associations, 30, "the PACS took it")
    before = threading.active_count()
    theirs.dul.socket.socket.sendall(p_data(N_EVENT_REPORT_RQ, command=True) * 200)
    assert begun.acquire(timeout=30)
    wait_for(lambda: not association.is_established, 30, "it is ended")
    assert threading.active_count() <= before + 1
    assert not begun.acquire(blocking=False)
    let_go.set()
    server.shutdown()
