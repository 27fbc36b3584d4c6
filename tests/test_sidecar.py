"""Beside every film in the spool lies who sent it, and a ledger that knows nothing learns it."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.upkeep import sweep
from dicom_node.logs import Log
from dicom_node.records import Digest, Origin
from dicom_node.settings import Settings
from dicom_node.sidecar import SUFFIX, Coming, decoded, encoded
from dicom_node.spool import Spool
from tests.ledger_kit import Clock, fresh_ledger

SYNTAX = "1.2.840.10008.1.2.1"
MODALITY = Origin("MOD1", "DICOMNODE", "10.0.0.7", results_to=("MAINPACS", "READER"))
PACS = Origin("MAINPACS", "DICOMNODE", "10.0.0.5")
AT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def came(origin: Origin = MODALITY, minute: int = 6) -> Coming:
    return Coming(origin, SYNTAX, AT.replace(minute=minute))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = fresh_ledger(tmp_path / "ledger.sqlite", who="test", clock=Clock())
    yield opened
    opened.close()


def beside(spool: Spool, digest: Digest) -> Path:
    return spool.path(digest).with_suffix(SUFFIX)


def test_what_was_noted_is_read_back(spool: Spool) -> None:
    digest = spool.write(b"film", came()).digest
    assert spool.comings(digest) == (came(),)
    assert beside(spool, digest).stat().st_mode & 0o777 == 0o600


def test_what_the_node_wrote_itself_has_nothing_beside_it(spool: Spool) -> None:
    digest = spool.write(b"result").digest
    assert not beside(spool, digest).exists()
    assert spool.comings(digest) == ()


def test_the_same_bytes_from_several_are_one_file_that_names_them_all(spool: Spool) -> None:
    for each in (came(), came(PACS), came(minute=9), came(PACS, minute=9)):
        digest = spool.write(b"film", each).digest
    assert spool.comings(digest) == (came(), came(PACS))


def test_the_same_bytes_from_the_same_again_write_nothing_beside_them(spool: Spool) -> None:
    digest = spool.write(b"film", came()).digest
    os.utime(beside(spool, digest), (0, 0))
    spool.write(b"film", came(minute=9))
    assert beside(spool, digest).stat().st_mtime == 0


def test_of_many_who_send_the_same_at_once_none_is_forgotten(spool: Spool) -> None:
    senders = [Origin(f"MOD{number}", "DICOMNODE", "10.0.0.7") for number in range(12)]

    def send(origin: Origin) -> None:
        spool.write(b"film", came(origin))

    threads = [threading.Thread(target=send, args=(origin,)) for origin in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digest = spool.write(b"film").digest
    assert {each.origin for each in spool.comings(digest)} == set(senders)


def test_what_lies_beside_a_film_goes_with_it(spool: Spool) -> None:
    digest = spool.write(b"film", came()).digest
    assert spool.remove(digest) == 4
    assert not beside(spool, digest).exists()


def test_what_lies_beside_no_film_is_swept(spool: Spool) -> None:
    kept, lonely = (spool.write(data, came()).digest for data in (b"film", b"other"))
    spool.path(lonely).unlink()
    for digest in (kept, lonely):
        os.utime(beside(spool, digest), (0, 0))
    spool.sweep(lambda _: frozenset({kept}))
    assert beside(spool, kept).exists()
    assert not beside(spool, lonely).exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"came":[{}]}',
        b'{"came":7}',
        encoded((came(),))[:-9],
        encoded((came(),)).replace(b"+00:00", b""),
        b"[" * 5000,
        b"\xff\xfe\0",
    ],
)
def test_what_is_no_note_of_ours_tells_nothing_and_is_written_anew(
    spool: Spool, damage: bytes
) -> None:
    digest = spool.write(b"film", came()).digest
    beside(spool, digest).write_bytes(damage)
    assert spool.comings(digest) == ()
    spool.write(b"film", came(PACS))
    assert spool.comings(digest) == (came(PACS),)


def test_a_note_of_a_later_release_is_read_as_far_as_it_is_known() -> None:
    later = encoded((came(),)).replace(b'"door":"C-STORE"', b'"door":"pull","more":1')
    (read,) = decoded(later)
    assert read.origin.door == "pull"


def test_a_planted_link_beside_a_film_is_replaced_not_followed(
    spool: Spool, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(encoded((came(PACS),)))
    digest = spool.write(b"film").digest
    beside(spool, digest).symlink_to(victim)
    assert spool.comings(digest) == ()
    spool.write(b"film", came())
    assert spool.comings(digest) == (came(),)
    assert decoded(victim.read_bytes()) == (came(PACS),)


def film_bytes(seed: int) -> bytes:
    buffer = io.BytesIO()
    film = phantom_dataset(seed=seed, rows=64, columns=64)
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def taken(spool: Spool, ledger: SqliteLedger, *origins: Origin) -> Digest:
    """Take a film in from each, as doors do, into a ledger that is not kept."""
    door = FrontDoor.of(Settings(), spool, ledger, Log("receive"))
    digests = {door.take_file(film_bytes(7), origin).arrival.digest for origin in origins}
    (digest,) = digests
    os.utime(spool.path(digest), (0, 0))
    return digest


def test_a_ledger_that_knows_nothing_takes_a_film_in_as_from_everybody_who_had_sent_it(
    spool: Spool, ledger: SqliteLedger, tmp_path: Path
) -> None:
    digest = taken(spool, ledger, MODALITY, PACS, MODALITY)
    empty = fresh_ledger(tmp_path / "empty.sqlite", who="test")
    noted = spool.comings(digest)
    sweep(empty, spool, Log("housekeep"))
    (study,) = empty.studies()
    assert empty.origins(study.id) == ["MOD1", "MAINPACS"]
    (instance,) = empty.instances(study.id)
    assert instance.received_at == noted[0].at
    assert spool.comings(instance.digest) == noted
    empty.close()


def test_a_film_of_an_earlier_release_is_taken_in_as_from_nobody(
    spool: Spool, ledger: SqliteLedger
) -> None:
    digest = spool.write(film_bytes(7)).digest
    os.utime(spool.path(digest), (0, 0))
    sweep(ledger, spool, Log("housekeep"))
    (study,) = ledger.studies()
    assert ledger.origins(study.id) == [""]
    (instance,) = ledger.instances(study.id)
    assert spool.comings(instance.digest) == ()
