"""Certificates of a hospital's own authority and of another one, made by OpenSSL."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import debian


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


def make_keys(folder: Path) -> Path:
    """Make the keys and certificates of two authorities in ``folder``; return it."""
    make_ca(folder, "hospital")
    make_ca(folder, "elsewhere")
    sign(folder, "node", "hospital")
    sign(folder, "modality", "hospital")
    sign(folder, "intruder", "elsewhere")
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    return folder
