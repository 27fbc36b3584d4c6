"""TLS for DICOM: the BCP 195 profile (PS3.15 B.12), TLS 1.2 or newer."""

from __future__ import annotations

import ssl
from pathlib import Path

from dicom_node.errors import SettingsError
from dicom_node.settings.model import TlsSection


def _context(tls: TlsSection, purpose: ssl.Purpose) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(purpose, cafile=str(tls.ca))
        context.load_cert_chain(str(tls.certificate), str(tls.key))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The TLS files of [tls] cannot be used: {error}.",
            remedy="Check tls.certificate, tls.key and tls.ca in node.toml.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def acceptor_context(tls: TlsSection) -> ssl.SSLContext:
    """Return the context for associations that others request. Raises `SettingsError`."""
    context = _context(tls, ssl.Purpose.CLIENT_AUTH)
    required = tls.require_client_certificate
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_NONE
    return context


class AcceptorFiles:
    """The TLS files of a listening role, looked at again while it runs.

    ``context``: for the next handshake. Associations that stand keep what they began with.
    """

    def __init__(self, tls: TlsSection) -> None:
        self._tls, self._texts = tls, _texts(tls)
        self.context = acceptor_context(tls)

    def renew(self) -> bool:
        """Take new files where they have changed; return whether they had.

        Raises `SettingsError` once for files that do not fit: the ones before stay in use.
        """
        texts = _texts(self._tls)
        if texts == self._texts:
            return False
        self._texts = texts
        self.context = acceptor_context(self._tls)
        return True


def _texts(tls: TlsSection) -> tuple[bytes, ...]:
    return tuple(map(_bytes_of, (tls.certificate, tls.key, tls.ca)))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it is being put in its place, or gone: what is used stays


def requestor_context(tls: TlsSection) -> ssl.SSLContext:
    """Return the context for associations that we request. Raises `SettingsError`."""
    return _context(tls, ssl.Purpose.SERVER_AUTH)
