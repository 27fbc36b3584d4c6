"""What guards every answer: names, origins, sizes, headers (docs: OWASP ASVS, PS3.18 8.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from dicom_node.settings.model import WebSection
from dicom_node.web.security import SAFE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SMALL_BODY = 1_048_576
"""Bytes that any other request than an upload may have."""

UPLOADS = ("/by-hand", "/remotes/dry-run", "/dicom-web/studies")

_UPLOADS_AT_ONCE = 2
"""So many of the largest uploads may be on their way at one time, or more of smaller ones."""

_GO_BACK = "Nothing was kept; going back to the page, what was typed still stands there."

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'",
        "img-src 'self' data: blob:", "connect-src 'self'", "font-src 'self'",
        "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
    )
)  # fmt: skip

_HEADERS = {
    b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    # Not "no-referrer": browsers then send "Origin: null" with our own forms.
    b"referrer-policy": b"same-origin",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


def guards(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers that an answer carries unless it has its own."""
    headers = dict(_HEADERS)
    if not scope["path"].startswith("/static/"):
        headers[b"cache-control"] = b"no-store"
    if scope["scheme"] == "https":
        headers[b"strict-transport-security"] = b"max-age=31536000"
    return headers


class TooLarge(Exception):
    """The body is longer than its route takes."""


class Armour:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App, web: WebSection) -> None:
        self._app, self._web = app, web
        self._room = _UPLOADS_AT_ONCE * web.max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what should not come in; give every answer its headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        guarded = self._guarded(scope, send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(guarded, *refusal)
            return
        limit = self._limit(scope["path"])
        needed = self._needed(scope, headers)
        if needed > self._room:
            await _answer(guarded, 503, "Other uploads are on their way. Try again in a moment.")
            return
        self._room -= needed
        try:
            await self._app(scope, _limited(receive, limit), guarded)
        except TooLarge:
            await _answer(guarded, 413, f"More than {limit} bytes are not taken here. {_GO_BACK}")
        finally:
            self._room += needed

    def _needed(self, scope: Scope, headers: dict[bytes, str]) -> int:
        """Return the bytes that an upload may bring into memory; 0 for any other request."""
        if scope["method"] in SAFE or not scope["path"].startswith(UPLOADS):
            return 0
        # Without a length it may be as long as any.
        return int(headers.get(b"content-length", self._web.max_upload_bytes))

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        host = headers.get(b"host", "")
        if _name(host) not in self._web.names:
            return 400, "This name is not in web.names of node.toml."
        if scope["method"] not in SAFE:
            site = headers.get(b"sec-fetch-site", "same-origin")
            origin = headers.get(b"origin")
            foreign = origin is not None and urlsplit(origin).netloc != host
            if site not in ("same-origin", "none") or foreign:
                return 403, "The request comes from another site."
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self._limit(scope["path"]):
            limit = self._limit(scope["path"])
            return 413, f"More than {limit} bytes are not taken here. {_GO_BACK}"
        return None

    def _limit(self, path: str) -> int:
        return self._web.max_upload_bytes if path.startswith(UPLOADS) else SMALL_BODY

    def _guarded(self, scope: Scope, send: Send) -> Send:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = dict(message["headers"])
                extra = guards(scope).items()
                message["headers"] += [pair for pair in extra if pair[0] not in own]
            await send(message)

        return guarded


def _name(host: str) -> str:
    """Return the name of a Host header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _limited(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge
        return message

    return limited


async def _answer(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
