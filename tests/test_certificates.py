"""No certificate of the node ends unseen: check, health and log say so in time."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from dicom_node import logs
from dicom_node.cli.main import app
from dicom_node.ledger import open_ledger
from dicom_node.line import upkeep
from dicom_node.line.health import health_of
from dicom_node.logs import Log
from dicom_node.records import ROLES, Worker
from dicom_node.settings import load_configuration

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(begins: float, ends: float) -> bytes:
    """Return a certificate in PEM that is good from and to so many days from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


GOOD = (-1.0, 300.5)


def site(
    tmp_path: Path, section: str, *dates: tuple[float, float], ca: bytes | None = None
) -> Path:
    """Return a folder whose ``section`` names a chain of certificates with these dates."""
    chain = b"".join(certificate(*each) for each in dates)
    (tmp_path / "node.pem").write_bytes(chain)
    (tmp_path / "ca.pem").write_bytes(ca or certificate(*GOOD))
    private = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "node.key").write_bytes(private)
    (tmp_path / "node.key").chmod(0o600)
    more = 'ca = "ca.pem"\n' if section == "tls" else ""
    text = f'[node]\nport = 1104\n[{section}]\ncertificate = "node.pem"\nkey = "node.key"\n{more}'
    (tmp_path / "node.toml").write_text(text, "utf-8")
    return tmp_path


def checked(folder: Path) -> tuple[int, dict[str, list[str]]]:
    done = CliRunner().invoke(app, ["config", "check", "--json", "--config", str(folder)])
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.parametrize("section", ["tls", "web"])
@pytest.mark.parametrize(
    ("dates", "said"),
    [((-400, -1), "expired on"), ((-400, -0.001), "expired on"), ((1, 300), "not valid before")],
)
def test_a_certificate_that_is_no_good_today_is_a_fault_with_line_and_key(
    tmp_path: Path, section: str, dates: tuple[float, float], said: str
) -> None:
    status, answer = checked(site(tmp_path, section, dates))
    assert status == 1
    (fault,) = answer["faults"]
    assert fault.startswith(f"node.toml:4: {section}.certificate: ")
    assert said in fault
    assert " — " in fault


def test_an_expired_link_of_the_chain_and_an_expired_authority_are_faults(tmp_path: Path) -> None:
    _, answer = checked(site(tmp_path, "tls", GOOD, (-400, -1)))
    assert [fault.split()[1] for fault in answer["faults"]] == ["tls.certificate:"]
    _, answer = checked(site(tmp_path, "tls", GOOD, ca=certificate(-400, -1)))
    assert [fault.split()[1] for fault in answer["faults"]] == ["tls.ca:"]


def test_an_old_authority_beside_its_successor_is_no_fault(tmp_path: Path) -> None:
    ca = certificate(-400, -1) + certificate(*GOOD) + certificate(30, 700)
    assert checked(site(tmp_path, "tls", GOOD, ca=ca)) == (
        0,
        {"folder": str(tmp_path), "faults": [], "warnings": []},
    )


@pytest.mark.parametrize(("days", "warned"), [(3.5, True), (29.5, True), (30.5, False)])
def test_a_certificate_that_ends_within_thirty_days_is_a_warning(
    tmp_path: Path, days: float, warned: bool
) -> None:
    status, answer = checked(site(tmp_path, "web", (-1, days)))
    assert status == 0
    assert [f"ends in {int(days)} days" in line for line in answer["warnings"]] == [True] * warned
    said = CliRunner().invoke(app, ["config", "check", "--config", str(tmp_path)]).stdout
    assert ("Warning: web.certificate" in said) == warned


def test_health_tells_the_days_and_is_not_well_once_they_are_over(tmp_path: Path) -> None:
    for dates, well in ((GOOD, True), ((-400.0, -0.5), False)):
        configuration = load_configuration(site(tmp_path, "tls", dates))
        ledger = open_ledger(configuration.ledger_path, who="test")
        for role in ROLES:
            ledger.beat(Worker(role, role), "working", None)
        report = health_of(ledger, configuration)
        assert report.well == well, "a node with an expired certificate starts, and says so"
        told = report.to_json()["certificates"]["tls.certificate"]
        assert told["well"] == well
        assert told["days"] == (300 if well else -1)
        assert datetime.fromisoformat(told["ends_at"]).utcoffset() == timedelta(0)
        ledger.close()
    done = CliRunner().invoke(app, ["health", "--config", str(tmp_path)])
    assert done.exit_code == 1
    assert re.search(r"tls\.certificate +expired on \d{4}-\d\d-\d\d", done.stdout)


def test_the_log_says_once_in_a_day_s_look_which_certificates_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(strict=True)
    configuration = load_configuration(site(tmp_path, "tls", (-1, 12.5)))
    upkeep.watch_certificates(configuration.settings, Log("housekeep"))
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["key"], told["days"]) == (
        "certificate.expires", "tls.certificate", 12
    )  # fmt: skip
    assert told["remedy"]


def test_a_role_that_starts_is_starting_and_not_ill(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("", "utf-8")
    configuration = load_configuration(tmp_path)
    ledger = open_ledger(configuration.ledger_path, who="test")
    for role in ROLES:
        ledger.beat(Worker(role, role), "starting" if role == "analyse" else "working", None)
    report = health_of(ledger, configuration)
    assert (report.well, report.starting) == (False, True)
    assert report.to_json()["roles"]["analyse"]["starting"]
    done = CliRunner().invoke(app, ["health", "--config", str(tmp_path)])
    assert done.exit_code == 1
    assert re.search(r"analyse +starting", done.stdout)
    assert "not well" not in done.stdout
    ledger.beat(Worker("deliver", "deliver"), "stopped", None)
    assert not health_of(ledger, configuration).starting
    ledger.close()
