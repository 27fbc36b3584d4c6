"""Results over TLS: to the PACS that shows a certificate of our CA, and to nobody else."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dicom_node.settings import Remote
from dicom_node.settings.model import TlsSection
from tests.delivery import conftest
from tests.delivery.conftest import Outbox, object_bytes
from tests.delivery.pacs import ScriptedPacs, listening
from tests.delivery.relay import slow_line, stops_after

pytestmark = pytest.mark.pacs("openssl")
MakeRemote = Callable[..., Remote]


def context_of(keys: Path, name: str) -> ssl.SSLContext:
    """Return the context of a PACS with the certificate ``name`` that wants one of our CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{keys}/hospital.pem")
    context.load_cert_chain(f"{keys}/{name}.pem", f"{keys}/{name}.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def tls_outbox(outbox: Outbox, keys: Path) -> Outbox:
    files = {"certificate": "node.pem", "key": "node.key", "ca": "hospital.pem"}
    tls = TlsSection(**{key: keys / name for key, name in files.items()})
    outbox.settings = outbox.settings.model_copy(update={"tls": tls})
    return outbox


def test_both_show_their_certificates_and_the_results_arrive(
    tls_outbox: Outbox, remote: MakeRemote, keys: Path
) -> None:
    tls_outbox.post("PACS")
    with listening(ScriptedPacs(), tls=context_of(keys, "modality")) as pacs:
        deliveries = tls_outbox.attempt(remote(pacs.port, tls=True))
    assert {item.state for item in deliveries} == {"sent"}
    assert len(pacs.stored) == 2


def test_a_pacs_with_a_certificate_of_another_ca_gets_nothing(
    tls_outbox: Outbox, remote: MakeRemote, keys: Path
) -> None:
    tls_outbox.post("PACS")
    with listening(ScriptedPacs(), tls=context_of(keys, "intruder")) as pacs:
        deliveries = tls_outbox.attempt(remote(pacs.port, tls=True))
    assert {item.state for item in deliveries} == {"waiting"}
    assert pacs.associations == 0


def test_a_pacs_that_never_answers_the_handshake_ends_the_attempt(
    tls_outbox: Outbox, remote: MakeRemote
) -> None:
    tls_outbox.hasty()
    tls_outbox.post("PACS")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # For ever, without the limit.
        deliveries = tls_outbox.attempt(remote(silent.getsockname()[1], tls=True))
    assert {item.state for item in deliveries} == {"waiting"}


def test_a_line_that_freezes_within_encrypted_data_ends_the_attempt(
    tls_outbox: Outbox, remote: MakeRemote, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(sop_class: str, uid: str) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(object_bytes(sop_class, uid)))
        dataset.EncapsulatedDocument = bytes(20_000_000 if uid.endswith("1") else 2)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    monkeypatch.setattr(conftest, "object_bytes", large)
    tls_outbox.hasty()
    tls_outbox.post("PACS")
    with (
        listening(ScriptedPacs(), tls=context_of(keys, "modality")) as pacs,
        slow_line(pacs.port, stops_after(500_000)) as port,
    ):
        # For ever, without the limit.
        report, _ = tls_outbox.attempt(remote(port, tls=True))
    # The small capture may have left on an association of its own.
    assert report.state == "waiting"
    assert {uid for _, uid, _ in pacs.stored} <= {"2.25.19"}
