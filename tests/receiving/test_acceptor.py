"""The acceptor in this process: what it does when something of ours fails."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_node import logs
from dicom_node.association.acceptor import Acceptor
from dicom_node.errors import PortUnavailable
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.logs import Log
from dicom_node.settings import Remote, Settings
from dicom_node.settings.model import NodeSection
from dicom_node.spool import Spool
from tests.node.peers import wait_for
from tests.receiving.store_kit import film
from tests.receiving.wire import COMPUTED_RADIOGRAPHY, EXPLICIT

NODE = NodeSection(host="127.0.0.1", port=0, min_free_bytes=0, max_associations_per_address=2)
REMOTES = {"MOD1": Remote(ae_title="MOD1", host="h", port=104)}

Remotes = Callable[[], Mapping[str, Remote]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = open_ledger(tmp_path / "ledger.sqlite", who="test")
    yield opened
    opened.close()


@pytest.fixture
def start(tmp_path: Path, ledger: SqliteLedger) -> Iterator[Callable[[Remotes], Acceptor]]:
    """Return a function that starts an acceptor over the given AE table."""
    started: list[Acceptor] = []

    def make(remotes: Remotes) -> Acceptor:
        spool = Spool(tmp_path / "spool")
        started.append(Acceptor(Settings(node=NODE), remotes, spool, ledger, Log("receive")))
        return started[-1]

    yield make
    for acceptor in started:
        acceptor.stop(0.0)


def associate(acceptor: Acceptor, calling: str = "MOD1") -> Association:
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    entity.add_requested_context(COMPUTED_RADIOGRAPHY, EXPLICIT)
    return entity.associate("127.0.0.1", acceptor.port, ae_title="DICOMNODE")


@pytest.fixture
def said() -> io.StringIO:
    """What is logged."""
    stream = io.StringIO()
    logs.configure(strict=True, stream=stream)
    return stream


def test_where_no_decision_can_be_made_nobody_is_let_in(
    start: Callable[[Remotes], Acceptor], said: io.StringIO
) -> None:
    def broken() -> Mapping[str, Remote]:
        raise RuntimeError("the AE table is gone")

    association = associate(start(broken))
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert answer is not None
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 2, 1)
    wait_for(lambda: "RuntimeError" in said.getvalue(), 30, "the log says why")


def test_beyond_the_limit_of_an_address_the_log_says_so_and_nobody_is_noted_as_a_stranger(
    start: Callable[[Remotes], Acceptor], ledger: SqliteLedger, said: io.StringIO
) -> None:
    acceptor = start(lambda: REMOTES)
    held = [associate(acceptor) for _ in range(2)]
    assert all(association.is_established for association in held)
    assert associate(acceptor).is_rejected
    for association in held:
        association.release()
    wait_for(lambda: "association.limit" in said.getvalue(), 30, "the log says why")
    assert ledger.refusals() == []


class FullDisk(io.StringIO):
    """A log file on a disk without room."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_never_loses_a_film_for_good(
    start: Callable[[Remotes], Acceptor], ledger: SqliteLedger
) -> None:
    # 0xC211, which pynetdicom would answer, makes many senders give the film up.
    logs.configure(strict=True, stream=FullDisk())
    association = associate(start(lambda: REMOTES))
    assert association.is_established
    status = association.send_c_store(film(1)).Status
    association.release()
    assert status in (0x0000, 0x0110)
    assert len(ledger.find_instances(film(1).SOPInstanceUID)) == 1


def test_a_port_in_use_is_named(
    start: Callable[[Remotes], Acceptor], tmp_path: Path, ledger: SqliteLedger
) -> None:
    port = start(lambda: REMOTES).port
    settings = Settings(node=NODE.model_copy(update={"port": port}))
    with pytest.raises(PortUnavailable, match=str(port)):
        Acceptor(settings, lambda: REMOTES, Spool(tmp_path / "spool"), ledger, Log("receive"))
