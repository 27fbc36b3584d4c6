"""TLS: mutual authentication, and handshakes that stall delay nobody."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.conftest import debian
from tests.receiving.conftest import Receiver
from tests.receiving.wire import associate_rq, connect, read_pdu

pytestmark = pytest.mark.pacs("openssl")


def openssl(*arguments: str) -> None:
    subprocess.run([str(debian("openssl")), *arguments], check=True, capture_output=True)


def make_ca(folder: Path, name: str) -> None:
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"),
    )  # fmt: skip


def sign(folder: Path, name: str, ca: str) -> None:
    request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
    extra.write_text("subjectAltName = IP:127.0.0.1\n")
    openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", str(folder / f"{name}.key"), "-out", str(request),
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", str(request), "-CA", str(folder / f"{ca}.pem"),
        "-CAkey", str(folder / f"{ca}.key"), "-CAcreateserial", "-days", "2",
        "-extfile", str(extra), "-out", str(folder / f"{name}.pem"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_ca(folder, "hospital")
    make_ca(folder, "elsewhere")
    sign(folder, "node", "hospital")
    sign(folder, "modality", "hospital")
    sign(folder, "intruder", "elsewhere")
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    return folder


@pytest.fixture
def receiver(own_receiver: Callable[..., Receiver], keys: Path) -> Receiver:
    tls = f'\n[tls]\ncertificate = "{keys}/node.pem"\nkey = "{keys}/node.key"\n'
    made = own_receiver(extra=tls + f'ca = "{keys}/hospital.pem"\n')
    made.start()
    return made


def echo(receiver: Receiver, keys: Path, who: str | None) -> bool:
    """Whether a C-ECHO over TLS by ``who`` is answered."""
    context = ssl.create_default_context(cafile=str(keys / "hospital.pem"))
    if who is not None:
        context.load_cert_chain(str(keys / f"{who}.pem"), str(keys / f"{who}.key"))
    entity = AE("MOD1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
    entity.add_requested_context(Verification)
    association = entity.associate(
        "127.0.0.1", receiver.port, ae_title="DICOMNODE", tls_args=(context, "127.0.0.1")
    )
    if not association.is_established:
        return False
    status = int(association.send_c_echo().Status)
    association.release()
    return status == 0


def test_only_a_peer_with_a_certificate_of_our_ca_is_heard(receiver: Receiver, keys: Path) -> None:
    assert echo(receiver, keys, "modality")
    assert not echo(receiver, keys, None)
    assert not echo(receiver, keys, "intruder")
    assert "tls.handshake_failed" in receiver.log


def test_peers_that_connect_and_say_nothing_do_not_hold_the_listener(
    receiver: Receiver, keys: Path
) -> None:
    idle = [connect(receiver.port) for _ in range(5)]
    started = time.monotonic()
    assert echo(receiver, keys, "modality")
    assert time.monotonic() - started < 2
    for raw in idle:
        raw.close()


def test_plain_dicom_on_the_tls_port_is_dropped(receiver: Receiver) -> None:
    with connect(receiver.port) as raw:
        raw.sendall(associate_rq())
        assert read_pdu(raw)[0] not in (0x02, 0x03)


def test_an_old_tls_version_is_refused(receiver: Receiver, keys: Path) -> None:
    done = subprocess.run(
        [
            str(debian("openssl")), "s_client", "-tls1_1", "-connect",
            f"127.0.0.1:{receiver.port}", "-CAfile", str(keys / "hospital.pem"),
        ],
        input=b"", capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode != 0
