"""Large objects go to disk while they come: they take no memory, and slow ones no place."""

from __future__ import annotations

import gc
import hashlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.dimse.incoming import IN_MEMORY_BYTES, Incoming
from dicom_node.dimse.memory import Memory
from dicom_node.errors import DataSetMismatch, DiskFull
from dicom_node.intake.sources import Streamed
from dicom_node.records import Instance
from dicom_node.spool import Spool
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import LATEST_SECONDS, closed_within, established
from tests.receiving.store_kit import encoded, film, raw_store
from tests.receiving.wire import c_store_rq, element, p_data, read_pdu, resident_bytes, status_of

ROOM = 100_000_000
LARGE = 640
"""Rows and columns of a film of 800 kB: more than what is kept in memory."""


@pytest.fixture
def own(receiver: Receiver) -> Receiver:
    return receiver


def rows(receiver: Receiver, uid: str) -> list[Instance]:
    return [item for item in receiver.instances() if item.sop_instance_uid == uid]


def send_until_cut_off(raw: socket.socket, pdu: bytes, pause: float = 0.0) -> bool:
    """Whether the other side ends the connection while the same PDU comes again and again."""
    end = time.monotonic() + LATEST_SECONDS
    try:
        while time.monotonic() < end:
            raw.sendall(pdu)
            time.sleep(pause)
    except ConnectionError:
        return True
    return False


def unfinished(port: int, uid: str, size: int) -> socket.socket:
    """Begin to send an object of which ``size`` bytes come and no more."""
    raw = established(port)
    raw.settimeout(LATEST_SECONDS)
    raw.sendall(p_data(c_store_rq(uid.encode()), command=True))
    chunk = p_data(bytes(16_000), command=False, last=False)
    for _ in range(size // 16_000):
        raw.sendall(chunk)
    return raw


def test_unfinished_objects_of_many_take_no_memory_and_a_large_film_passes(
    own_receiver: Callable[..., Receiver],
) -> None:
    own = own_receiver(pdu_seconds=LATEST_SECONDS)
    own.start()
    assert own.echo() == 0
    before = resident_bytes(own.pid)
    peers = [unfinished(own.port, f"1.2.{number}", 12_000_000) for number in range(12)]
    wait_for(lambda: len(own.left_overs()) == 12, LATEST_SECONDS, "all are on disk")
    large = film(1, size=LARGE)
    assert own.store(large) == 0x0000
    assert resident_bytes(own.pid) - before < 70_000_000
    for raw in peers:
        raw.close()
    wait_for(lambda: own.left_overs() == [], LATEST_SECONDS, "nothing of them is left")
    assert [row.sop_instance_uid for row in own.instances()] == [large.SOPInstanceUID]
    assert own.stop() == 0


def test_a_large_film_is_the_same_file_as_by_any_door_and_counted_when_it_comes_again(
    own: Receiver,
) -> None:
    large = film(2, size=LARGE)
    data = encoded(large)
    assert len(data) > IN_MEMORY_BYTES
    command = c_store_rq(large.SOPInstanceUID.encode())
    assert [raw_store(own, command, data) for _ in range(3)] == [0, 0, 0]
    (row,) = rows(own, large.SOPInstanceUID)
    assert row.duplicate_count == 2
    stored = (own.spool / row.digest[:2] / row.digest).read_bytes()
    assert hashlib.sha256(stored).hexdigest() == row.digest
    assert stored.endswith(data)
    assert stored[:132] == bytes(128) + b"DICM"
    assert own.left_overs() == []


@pytest.mark.parametrize(
    ("uid", "status"), [(b"1.2.3", 0xA900), (b"CANARY^OLIVIA", 0x0117), (b"1.2.03", 0x0117)]
)
def test_a_large_object_that_is_not_what_was_announced_leaves_nothing(
    own: Receiver, uid: bytes, status: int
) -> None:
    sent = film(3, size=LARGE)
    assert raw_store(own, c_store_rq(uid), encoded(sent)) == status
    assert own.left_overs() == []
    assert rows(own, sent.SOPInstanceUID) == []
    assert "CANARY" not in own.log


def test_what_is_no_c_store_has_no_large_data_set(own: Receiver) -> None:
    with established(own.port) as raw:
        body = element(0, 0x0100, b"\x20\0") + element(0, 0x0800, b"\1\0")
        raw.sendall(p_data(element(0, 0, b"\x14\0\0\0") + body, command=True))
        assert send_until_cut_off(raw, p_data(bytes(16_000), command=False, last=False))
    assert own.left_overs() == []
    assert own.echo() == 0


def test_an_object_that_drips_in_whole_pdus_is_cut_off(own: Receiver) -> None:
    with established(own.port) as raw:
        raw.sendall(p_data(c_store_rq(b"1.2.3"), command=True))
        assert send_until_cut_off(raw, p_data(b"ab", command=False, last=False), pause=0.05)
        assert "less than 1024 bytes a second" in own.log


def test_a_slow_sender_gets_its_film_through(own: Receiver) -> None:
    sent = film(4, size=96)
    data = encoded(sent)
    with established(own.port) as raw:
        raw.sendall(p_data(c_store_rq(sent.SOPInstanceUID.encode()), command=True))
        # Several windows of 1.5 s at some 5 kB a second.
        for start in range(0, len(data), 1024):
            part = data[start : start + 1024]
            raw.sendall(p_data(part, command=False, last=start + 1024 >= len(data)))
            time.sleep(0.2)
        kind, body = read_pdu(raw)
    assert (kind, status_of(body)) == (0x04, 0x0000)


def test_a_connection_reset_at_any_byte_of_an_object_leaves_nothing(own: Receiver) -> None:
    sent = film(5, size=LARGE)
    data = encoded(sent)
    command = p_data(c_store_rq(sent.SOPInstanceUID.encode()), command=True)
    whole = command + b"".join(
        p_data(data[start : start + 16_000], command=False, last=False)
        for start in range(0, len(data), 16_000)
    )
    for at in range(1, len(whole), len(whole) // 40):
        raw = established(own.port)
        raw.sendall(whole[:at])
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
    wait_for(lambda: own.left_overs() == [], LATEST_SECONDS, "nothing of them is left")
    assert rows(own, sent.SOPInstanceUID) == []
    assert own.echo() == 0


def test_a_film_without_a_patient_id_is_stored(own: Receiver) -> None:
    sent = film(6)
    sent.PatientID = ""
    assert own.store(sent) == 0x0000


def test_who_speaks_another_language_is_named_so_once_and_cut_off(own: Receiver) -> None:
    for hello in (b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + bytes(99)):
        with socket.create_connection(("127.0.0.1", own.port)) as raw:
            raw.sendall(hello)
            assert closed_within(raw)
    wait_for(lambda: own.log.count("not a DICOM PDU") >= 2, LATEST_SECONDS, "the log says so")
    # An echo after them: whatever was still to be said of either has been said by then.
    assert own.echo() == 0
    assert own.log.count("not a DICOM PDU") == 2, "once a connection"


# without a receiver


class Message:
    """What `Incoming` asks of a message of pynetdicom."""

    context_id = 1

    def __init__(self, **command: str) -> None:
        self.command_set = Dataset()
        for keyword, value in command.items():
            setattr(self.command_set, keyword, value)


def incoming(spool: Spool, head: bytes | None = b"head", memory: Memory | None = None) -> Incoming:
    message = Message(AffectedSOPClassUID="1.2", AffectedSOPInstanceUID="1.2.3")
    syntax = UID("1.2.840.10008.1.2")
    return Incoming(
        message, lambda _: syntax, lambda *_: Streamed(spool, head), memory or Memory(ROOM)
    )


def test_a_small_data_set_stays_in_memory_and_a_large_one_leaves_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    data_set = incoming(spool)
    data_set.write(b"a" * IN_MEMORY_BYTES)
    assert data_set.stream is None
    data_set.write(b"b")
    assert isinstance(data_set.stream, Streamed)
    assert (data_set.tell(), data_set.getvalue()) == (IN_MEMORY_BYTES + 1, b"")
    with data_set.stream.opened() as file:
        assert file.read() == b"a" * IN_MEMORY_BYTES + b"b"
    stored = data_set.stream.keep(spool, b"head", None)
    assert spool.read(stored.digest) == b"head" + b"a" * IN_MEMORY_BYTES + b"b"
    data_set.close()
    assert spool.read(stored.digest)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_small_data_set_goes_to_disk_while_there_is_no_room_and_gives_back_what_it_had(
    tmp_path: Path,
) -> None:
    memory = Memory(90_000)
    first, second = (incoming(Spool(tmp_path), memory=memory) for _ in range(2))
    first.write(b"a" * 20_000)
    assert (first.stream, memory.held_bytes) == (None, 40_000)
    second.write(b"b" * 10_001)
    assert isinstance(second.stream, Streamed)
    assert memory.held_bytes == 40_000
    first.write(b"a" * 20_000)
    assert isinstance(first.stream, Streamed)
    assert (first.tell(), memory.held_bytes) == (40_000, 0)
    first.close()
    second.close()
    assert memory.held_bytes == 0


def test_what_nobody_has_any_more_is_gone_from_the_disk(tmp_path: Path) -> None:
    data_set = incoming(Spool(tmp_path))
    data_set.write(bytes(IN_MEMORY_BYTES + 1))
    assert len(list((tmp_path / "incoming").iterdir())) == 1
    del data_set
    gc.collect()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_full_disk_is_told_when_the_object_is_whole(tmp_path: Path) -> None:
    data_set = incoming(Spool(tmp_path, reserve_bytes=1 << 60))
    data_set.write(bytes(IN_MEMORY_BYTES + 1))
    data_set.write(b"more")
    assert data_set.tell() == IN_MEMORY_BYTES + 5
    assert isinstance(data_set.stream, Streamed)
    with pytest.raises(DiskFull):
        data_set.stream.opened()


def test_what_cannot_be_what_was_announced_is_not_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    data_set = incoming(spool, head=None)
    data_set.write(bytes(IN_MEMORY_BYTES + 1))
    assert list((tmp_path / "incoming").iterdir()) == []
    assert isinstance(data_set.stream, Streamed)
    with pytest.raises(DataSetMismatch):
        data_set.stream.opened()
