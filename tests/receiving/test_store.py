"""C-STORE over the wire: what is kept, what is refused, and with which answer."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dicom_node import __version__
from dicom_node.dimse.incoming import IN_MEMORY_BYTES
from tests.conftest import debian
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.store_kit import encoded, film, raw_store
from tests.receiving.wire import (
    COMPUTED_RADIOGRAPHY,
    CT,
    associate_rq,
    c_store_rq,
    connect,
    p_data,
    read_pdu,
    status_of,
)


def test_what_is_stored_is_the_data_set_as_it_was_sent(receiver: Receiver) -> None:
    sent = film(1)
    data = encoded(sent)
    assert raw_store(receiver, c_store_rq(sent.SOPInstanceUID.encode()), data) == 0x0000
    (instance,) = [
        item for item in receiver.instances() if item.sop_instance_uid == sent.SOPInstanceUID
    ]
    stored = (receiver.spool / instance.digest[:2] / instance.digest).read_bytes()
    assert stored[:128] == bytes(128)
    assert stored[128:132] == b"DICM"
    assert stored.endswith(data)
    assert pydicom.dcmread(io.BytesIO(stored)) == sent


def test_the_same_film_again_is_one_row(receiver: Receiver) -> None:
    sent = film(2)
    assert [receiver.store(sent) for _ in range(3)] == [0, 0, 0]
    rows = [item for item in receiver.instances() if item.sop_instance_uid == sent.SOPInstanceUID]
    assert [row.duplicate_count for row in rows] == [2]


def test_the_same_film_from_many_at_once_is_one_row(receiver: Receiver) -> None:
    sent, statuses = film(3), []
    threads = [
        threading.Thread(target=lambda: statuses.append(receiver.store(sent))) for _ in range(14)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 14
    rows = [item for item in receiver.instances() if item.sop_instance_uid == sent.SOPInstanceUID]
    assert [row.duplicate_count for row in rows] == [13]


def test_the_same_uid_with_other_bytes_keeps_both(receiver: Receiver) -> None:
    first, second = film(4), film(4)
    second.PatientComments = "changed"
    assert [receiver.store(first), receiver.store(second)] == [0, 0]
    rows = [item for item in receiver.instances() if item.sop_instance_uid == first.SOPInstanceUID]
    assert [row.conflict for row in rows] == [False, True]
    assert all((receiver.spool / row.digest[:2] / row.digest).exists() for row in rows)


@pytest.mark.parametrize(
    ("command", "data", "status"),
    [
        (c_store_rq(b"../../../tmp/evil"), b"x", 0x0117),
        (c_store_rq(b"1.2.03"), b"x", 0x0117),
        (c_store_rq(b"1.2." + b"3" * 70), b"x", 0x0117),
        (c_store_rq(b"1.2.3", with_data_set=False), None, 0xC000),
        (c_store_rq(b"1.2.3"), b"\xff" * 100, 0xC000),
        (c_store_rq(b"1.2.3"), encoded(film(5)), 0xA900),
        (c_store_rq(film(5).SOPInstanceUID.encode(), sop_class_uid=CT.encode()),
         encoded(film(5)), 0xA900),
    ],
)  # fmt: skip
def test_what_cannot_be_identified_safely_is_refused_and_leaves_nothing(
    receiver: Receiver, command: bytes, data: bytes | None, status: int
) -> None:
    before = {path for path in receiver.folder.rglob("*") if "ledger" not in path.name}
    with connect(receiver.port) as raw:
        raw.sendall(associate_rq())
        assert read_pdu(raw)[0] == 0x02
        raw.sendall(p_data(command, command=True))
        if data is not None:
            raw.sendall(p_data(data[:16000], command=False, last=True))
        kind, body = read_pdu(raw)
    # An over-long UID is refused by the library itself, which ends the association.
    assert kind in (0x00, 0x07) or status_of(body) in (status, 0xC000)
    if kind == 0x04 and len(data or b"") < 16000:
        assert status_of(body) == status
    after = {path for path in receiver.folder.rglob("*") if "ledger" not in path.name}
    assert after == before
    assert not Path("/tmp/evil").exists()


def test_nothing_of_a_refused_object_is_logged_but_a_proper_uid(receiver: Receiver) -> None:
    canary, sent = "CANARY^OLIVIA", film(11)
    sent.PatientName = sent.PatientID = canary
    data = encoded(sent).replace(sent.StudyInstanceUID.encode()[:12], canary[:12].encode())
    for uid in (sent.SOPInstanceUID, canary, f"1.2.3\n{canary}"):
        assert raw_store(receiver, c_store_rq(uid.encode()), data) in (0xC000, 0x0117)
    assert '"sop_instance_uid": "invalid"' in receiver.log
    assert "CANARY" not in receiver.log


def test_missing_study_uid_is_refused(receiver: Receiver) -> None:
    sent = film(6)
    del sent.StudyInstanceUID
    status = raw_store(receiver, c_store_rq(sent.SOPInstanceUID.encode()), encoded(sent))
    assert status == 0xC000


def test_a_sop_class_that_is_not_offered_is_not_accepted(receiver: Receiver) -> None:
    association = receiver.associate(CT, COMPUTED_RADIOGRAPHY)
    assert {cx.abstract_syntax for cx in association.accepted_contexts} == {COMPUTED_RADIOGRAPHY}
    assert [cx.result for cx in association.rejected_contexts] == [3]
    association.release()


def rejection(receiver: Receiver, request: bytes, address: str = "127.0.0.1") -> tuple[int, ...]:
    with connect(receiver.port, address) as raw:
        raw.sendall(request)
        kind, body = read_pdu(raw)
        if kind == 0x02:
            return ()
        return tuple(body[1:4])


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (associate_rq(b"MOD1"), ()),
        (associate_rq(b" MOD1"), ()),
        (associate_rq(b"MOD1", fill=b"\0"), ()),
        (associate_rq(b"loose"), ()),
        (associate_rq(b"mod1"), (1, 1, 3)),
        (associate_rq(b"STRANGER"), (1, 1, 3)),
        (associate_rq(b"MOD1\n"), (1, 1, 3)),
        (associate_rq(b"MOD1\\"), (1, 1, 3)),
        (associate_rq(b"M\xd6D1"), (1, 1, 3)),
        (associate_rq(b"$(reboot)"), (1, 1, 3)),
        (associate_rq(b"MOD1", b"WRONG"), (1, 1, 7)),
        (associate_rq(application_context="1.2.3"), (1, 1, 2)),
    ],
    ids=lambda value: None,
)
def test_titles_are_taken_as_the_standard_means_them(
    receiver: Receiver, request_bytes: bytes, answer: tuple[int, ...]
) -> None:
    assert rejection(receiver, request_bytes) == answer


def test_a_known_title_from_another_address_is_rejected(receiver: Receiver) -> None:
    assert rejection(receiver, associate_rq(b"FIXED")) == ()
    assert rejection(receiver, associate_rq(b"FIXED"), "127.0.0.2") == (1, 1, 3)

    def recorded() -> bool:
        with receiver.ledger() as ledger:
            return any("may not call from" in item.reason for item in ledger.refusals())

    wait_for(recorded, 30, "the rejection is in the ledger")


def test_a_sender_added_while_the_node_runs_is_accepted(receiver: Receiver) -> None:
    assert rejection(receiver, associate_rq(b"NEWCOMER")) == (1, 1, 3)
    path = receiver.folder / "config" / "remotes" / "newcomer.toml"
    path.write_text('ae_title = "NEWCOMER"\nhost = "127.0.0.1"\nport = 104\n')
    wait_for(lambda: rejection(receiver, associate_rq(b"NEWCOMER")) == (), 30, "the table is read")
    broken = receiver.folder / "config" / "remotes" / "broken.toml"
    broken.write_text("ae_title = \n")

    def said() -> bool:
        rejection(receiver, associate_rq(b"MOD1"))
        return "remotes.rejected" in receiver.log

    wait_for(said, 30, "the fault is in the log")
    assert rejection(receiver, associate_rq(b"NEWCOMER")) == ()
    broken.unlink()


def test_an_association_aborted_in_the_middle_of_an_object_leaves_nothing(
    receiver: Receiver,
) -> None:
    sent = film(7)
    with connect(receiver.port) as raw:
        raw.sendall(associate_rq())
        assert read_pdu(raw)[0] == 0x02
        raw.sendall(p_data(c_store_rq(sent.SOPInstanceUID.encode()), command=True))
        raw.sendall(p_data(encoded(sent)[:1000], command=False, last=False))
    assert receiver.echo() == 0
    assert receiver.left_overs() == []
    uids = [item.sop_instance_uid for item in receiver.instances()]
    assert sent.SOPInstanceUID not in uids


WITH_MANY_DESCRIPTORS = """\
import os, resource, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for _ in range(1100):
    os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_more_than_a_thousand_open_descriptors_are_no_obstacle(
    own_receiver: Callable[..., Receiver],
) -> None:
    receiver = own_receiver()
    receiver.start(sys.executable, "-c", WITH_MANY_DESCRIPTORS)
    assert len(list(Path(f"/proc/{receiver.pid}/fd").iterdir())) > 1100
    assert receiver.echo() == 0
    assert receiver.store(film(9)) == 0
    assert receiver.stop() == 0


def test_what_is_stored_does_not_depend_on_the_version_of_the_node(receiver: Receiver) -> None:
    # Else a film that comes again after an upgrade would be a conflict, with a second result.
    sent = film(10)
    assert receiver.store(sent) == 0
    (row,) = [item for item in receiver.instances() if item.sop_instance_uid == sent.SOPInstanceUID]
    stored = pydicom.dcmread(receiver.spool / row.digest[:2] / row.digest)
    assert stored.file_meta.ImplementationVersionName == "DICOMNODE"
    for version in (__version__, pydicom.__version__):
        assert version not in str(stored.file_meta.ImplementationVersionName)


@pytest.mark.pacs
@pytest.mark.parametrize(
    ("encoder", "option"),
    [
        ([], "-xe"),
        (["dcmconv", "+ti"], "-xi"),
        (["dcmconv", "+tb"], "-xb"),
        (["dcmcrle"], "-xr"),
        (["dcmcjpeg", "+e1"], "-xs"),
        (["dcmcjpls"], "-xt"),
    ],
)
def test_dcmtk_sends_in_each_transfer_syntax_that_it_has(
    receiver: Receiver, tmp_path: Path, encoder: list[str], option: str
) -> None:
    # Each option its own film; hash() differs from run to run, and two might share a UID.
    sent = film(50 + int.from_bytes(option.encode()) % 1000)
    sent.save_as(tmp_path / "film.dcm")
    path = tmp_path / "film.dcm"
    if encoder:
        path = tmp_path / "encoded.dcm"
        command = [str(debian(encoder[0])), *encoder[1:], str(tmp_path / "film.dcm"), str(path)]
        subprocess.run(command, check=True)
    command = [str(debian("storescu")), "-R", option, "-aet", "MOD1", "-aec", "DICOMNODE"]
    done = subprocess.run(
        [*command, "127.0.0.1", str(receiver.port), str(path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
    (row,) = [item for item in receiver.instances() if item.sop_instance_uid == uid]
    assert row.transfer_syntax_uid == pydicom.dcmread(path).file_meta.TransferSyntaxUID


def test_a_second_receiver_on_the_same_port_says_so(
    receiver: Receiver, own_receiver: Callable[..., Receiver]
) -> None:
    other = own_receiver()
    node = other.folder / "config" / "node.toml"
    node.write_text(node.read_text().replace("port = 0", f"port = {receiver.port}"))
    with pytest.raises(AssertionError, match="cannot be listened on"):
        other.start()


def test_sigterm_lets_the_object_in_flight_finish(own_receiver: Callable[..., Receiver]) -> None:
    receiver, sent = own_receiver(), film(8, size=512)
    receiver.start()
    data = encoded(sent)
    *parts, last = (data[start : start + 16000] for start in range(0, len(data), 16000))
    # What is this large goes into the spool while it arrives: there it is seen.
    enough = IN_MEMORY_BYTES // 16000 + 1
    with connect(receiver.port) as raw:
        raw.sendall(associate_rq())
        assert read_pdu(raw)[0] == 0x02
        raw.sendall(p_data(c_store_rq(sent.SOPInstanceUID.encode()), command=True))
        for part in parts[:enough]:
            raw.sendall(p_data(part, command=False, last=False))
        incoming = receiver.spool / "incoming"
        wait_for(lambda: any(incoming.iterdir()), 30, "the object is in flight")
        assert receiver.process is not None
        receiver.process.terminate()
        wait_for(lambda: not _listens(receiver.port), 30, "the listener closes first")
        for part in parts[enough:]:
            raw.sendall(p_data(part, command=False, last=False))
        raw.sendall(p_data(last, command=False))
        kind, body = read_pdu(raw)
    assert kind == 0x04
    assert status_of(body) == 0
    assert receiver.process.wait(20) == 0
    assert [item.sop_instance_uid for item in receiver.instances()] == [sent.SOPInstanceUID]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
