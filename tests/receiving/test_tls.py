"""TLS: mutual authentication, and handshakes that stall delay nobody."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.dimse.tls import AcceptorFiles, acceptor_context
from dicom_node.errors import SettingsError
from dicom_node.settings.model import TlsSection
from tests.certificates import sign
from tests.conftest import debian
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver, make_receiver
from tests.receiving.hostile import LATEST_SECONDS, patient_server, still_open
from tests.receiving.wire import associate_rq, connect, read_pdu

pytestmark = pytest.mark.pacs("openssl")


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Receiver]:
    tls = f'\n[tls]\ncertificate = "{keys}/node.pem"\nkey = "{keys}/node.key"\n'
    extra = tls + f'ca = "{keys}/hospital.pem"\n'
    made = make_receiver(tmp_path_factory.mktemp("receiver"), extra=extra)
    made.start()
    yield made
    assert made.stop() == 0


def echo(port: int, keys: Path, who: str | None) -> bool:
    """Whether a C-ECHO over TLS by ``who`` is answered."""
    context = ssl.create_default_context(cafile=str(keys / "hospital.pem"))
    if who is not None:
        context.load_cert_chain(str(keys / f"{who}.pem"), str(keys / f"{who}.key"))
    entity = AE("MOD1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.add_requested_context(Verification)
    association = entity.associate(
        "127.0.0.1", port, ae_title="DICOMNODE", tls_args=(context, "127.0.0.1")
    )
    if not association.is_established:
        return False
    status = int(association.send_c_echo().Status)
    association.release()
    return status == 0


def test_only_a_peer_with_a_certificate_of_our_ca_is_heard(receiver: Receiver, keys: Path) -> None:
    assert echo(receiver.port, keys, "modality")
    assert not echo(receiver.port, keys, None)
    assert not echo(receiver.port, keys, "intruder")
    assert "tls.handshake_failed" in receiver.log


def test_peers_that_connect_and_say_nothing_do_not_hold_the_listener(keys: Path) -> None:
    files = {"certificate": "node.pem", "key": "node.key", "ca": "hospital.pem"}
    tls = TlsSection(**{key: keys / name for key, name in files.items()})
    with patient_server(acceptor_context(tls)) as port, ExitStack() as opened:
        idle = [opened.enter_context(connect(port)) for _ in range(5)]
        assert echo(port, keys, "modality")
        # Their handshakes are still being waited for.
        assert all(still_open(raw) for raw in idle)


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
        input=b"", capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0


def shown(port: int, keys: Path) -> bytes:
    """Return the certificate that the receiver shows (DER)."""
    context = ssl.create_default_context(cafile=str(keys / "hospital.pem"))
    context.load_cert_chain(str(keys / "modality.pem"), str(keys / "modality.key"))
    with (
        socket.create_connection(("127.0.0.1", port), LATEST_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_shown_without_a_restart_and_a_broken_one_never(
    tmp_path: Path, keys: Path
) -> None:
    own = Path(shutil.copytree(keys, tmp_path / "keys"))
    tls = f'\n[tls]\ncertificate = "{own}/node.pem"\nkey = "{own}/node.key"\n'
    receiver = make_receiver(tmp_path / "receiver", extra=tls + f'ca = "{own}/hospital.pem"\n')
    receiver.start()
    try:
        before = shown(receiver.port, own)
        context = ssl.create_default_context(cafile=str(own / "hospital.pem"))
        context.load_cert_chain(str(own / "modality.pem"), str(own / "modality.key"))
        entity = AE("MOD1")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        entity.add_requested_context(Verification)
        stands = entity.associate(
            "127.0.0.1", receiver.port, ae_title="DICOMNODE", tls_args=(context, "127.0.0.1")
        )
        assert stands.is_established
        # Half a file: what is in use stays.
        (own / "node.pem").write_text("-----BEGIN CERTIFICATE-----\nhalf")
        wait_for(lambda: '"tls.rejected"' in receiver.log, LATEST_SECONDS, "it is told")
        assert shown(receiver.port, own) == before
        sign(own, "node", "hospital")
        (own / "node.key").chmod(0o600)
        wait_for(
            lambda: shown(receiver.port, own) != before, LATEST_SECONDS, "the new one is shown"
        )
        assert '"tls.renewed"' in receiver.log
        # Whoever was connected meanwhile was not dropped.
        assert stands.send_c_echo().Status == 0
        stands.release()
        assert echo(receiver.port, own, "modality")
    finally:
        receiver.stop()


def test_a_key_that_does_not_fit_is_told_once_and_the_old_pair_stays(
    tmp_path: Path, keys: Path
) -> None:
    own = Path(shutil.copytree(keys, tmp_path / "keys"))
    section = TlsSection(
        certificate=own / "node.pem", key=own / "node.key", ca=own / "hospital.pem"
    )
    files = AcceptorFiles(section)
    before = files.context
    assert not files.renew()
    shutil.copy(own / "intruder.key", own / "node.key")
    with pytest.raises(SettingsError):
        files.renew()
    assert not files.renew()
    assert files.context is before
    shutil.copy(keys / "node.key", own / "node.key")
    assert files.renew()


def test_an_ae_is_heard_with_its_own_certificate_alone(tmp_path: Path, keys: Path) -> None:
    own = Path(shutil.copytree(keys, tmp_path / "keys"))
    sign(own, "other", "hospital")
    tls = f'\n[tls]\ncertificate = "{own}/node.pem"\nkey = "{own}/node.key"\n'
    receiver = make_receiver(tmp_path / "receiver", extra=tls + f'ca = "{own}/hospital.pem"\n')
    printed = subprocess.run(
        [str(debian("openssl")), "x509", "-noout", "-fingerprint", "-sha256", "-in",
         str(own / "modality.pem")], check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (remote,) = (tmp_path / "receiver" / "config" / "remotes").glob("mod1.toml")
    with remote.open("a", encoding="utf-8") as file:
        file.write(f'certificates = ["{printed.partition("=")[2].strip()}"]\n')
    receiver.start()
    try:
        assert echo(receiver.port, own, "modality")
        assert not echo(receiver.port, own, "other")
        said = "may not call with this certificate"
        wait_for(lambda: said in receiver.log, LATEST_SECONDS, "the log says why")
    finally:
        receiver.stop()
