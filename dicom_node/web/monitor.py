"""The monitor's port: three addresses that are read, and nothing else.

No sign-in, no cookie, no body, no word of a patient. Deadlines and the number of connections are
the server's (`server`); a question that the house does not answer in time is answered 503.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import anyio
from anyio import CapacityLimiter, to_thread

from dicom_node.line.lookout import Lookout, MonitorAnswer
from dicom_node.settings.model import MonitorSection
from dicom_node.settings.values import is_loopback
from dicom_node.web.armour import Receive, Scope, Send
from dicom_node.web.server import Deadlines

MONITOR_DEADLINES = Deadlines(
    header_seconds=10.0, body_seconds=1.0, answer_seconds=15.0, connections=32
)
_READ = frozenset({"GET", "HEAD"})
_QUESTIONS_AT_ONCE = 4
_PLAIN = "text/plain; charset=utf-8"
_GUARDS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class MonitorApp:
    """`/healthz`, `/readyz` and `/metrics` as an ASGI application.

    ``seconds``: how long an answer may take to gather, a place to gather it in included.
    """

    def __init__(self, lookout: Lookout, section: MonitorSection, *, seconds: float = 10.0) -> None:
        self._lookout, self._section, self._seconds = lookout, section, seconds
        self._networks = [ipaddress.ip_network(each) for each in section.addresses]
        self._limiter: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request; what it sends beside its header is not read."""
        if scope["type"] != "http":
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        told = self._refusal(scope, headers) or await self._answer(scope["path"], headers)
        await _send(send, told, with_body=scope["method"] != "HEAD")

    def _refusal(self, scope: Scope, headers: Mapping[bytes, str]) -> MonitorAnswer | None:
        if not self._may_ask(scope):
            return _plain(403, "This address is not in monitor.addresses of node.toml.")
        if not self._may_be_called(headers.get(b"host", "")):
            return _plain(400, "On this machine's own address: call it localhost or 127.0.0.1.")
        if scope["method"] not in _READ:
            return _plain(405, "This port is read by GET and HEAD.")
        if headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers:
            return _plain(413, "No body is taken here.")
        return None

    def _may_ask(self, scope: Scope) -> bool:
        client: Any = scope.get("client")
        if not self._networks:
            return True
        address = ipaddress.ip_address(client[0]) if client else None
        address = getattr(address, "ipv4_mapped", None) or address
        return address is not None and any(address in network for network in self._networks)

    def _may_be_called(self, host: str) -> bool:
        # A page of a stranger, in a browser on this machine, may have any name mean 127.0.0.1.
        if not is_loopback(self._section.host):
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name)

    async def _answer(self, path: str, headers: Mapping[bytes, str]) -> MonitorAnswer:
        ask = self._question(path, headers)
        if ask is None:
            return _plain(404, "There are /healthz, /readyz and /metrics.")
        if self._limiter is None:
            self._limiter = CapacityLimiter(_QUESTIONS_AT_ONCE)
        try:
            with anyio.fail_after(self._seconds):
                return await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)
        except TimeoutError:
            return _plain(503, f"The disk or the ledger has not answered in {self._seconds:g} s.")

    def _question(
        self, path: str, headers: Mapping[bytes, str]
    ) -> Callable[[], MonitorAnswer] | None:
        questions: Mapping[str, Callable[[], MonitorAnswer]] = {
            "/healthz": self._lookout.healthz,
            "/readyz": self._lookout.readyz,
            "/metrics": lambda: self._lookout.metrics(headers.get(b"accept", "")),
        }
        return questions.get(path)


def _plain(status: int, sentence: str) -> MonitorAnswer:
    return MonitorAnswer(status, _PLAIN, f"{sentence}\n".encode())


async def _send(send: Send, told: MonitorAnswer, *, with_body: bool) -> None:
    headers = [
        (b"content-type", told.media_type.encode("latin-1")),
        (b"content-length", str(len(told.body)).encode()),
        *_GUARDS,
        *([(b"allow", b"GET, HEAD")] if told.status == 405 else []),
        # What was sent with a request that is refused is not read: the next would begin in it.
        *([(b"connection", b"close")] if 400 <= told.status < 500 else []),
    ]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": told.body if with_body else b""})
