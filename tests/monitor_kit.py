"""Who listens to alarms in tests (a webhook, a mail server), and what a scrape says."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_string, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dicom_node.settings import Configuration, load_configuration


@dataclass
class Webhook:
    """A server that takes JSON, or answers with ``status``."""

    port: int
    status: int = 200
    documents: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/alarms"


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run a webhook; what it took is in `Webhook.documents`."""
    hook = Webhook(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if hook.status == 200:
                hook.documents.append(json.loads(body))
                hook.tokens.append(self.headers["authorization"])
            self.send_response(hook.status)
            self.send_header("location", hook.address)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """A mail server as far as `smtplib` asks it. ``answers``: other answers, by the command."""

    port: int
    tls: ssl.SSLContext | None
    answers: dict[str, str] = field(default_factory=dict)
    mails: list[EmailMessage] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Every command, with "(TLS)" before those that were not in the clear."""


@contextmanager
def mailbox(keys: Path | None = None) -> Iterator[Mailbox]:
    """Run a mail server on loopback, with STARTTLS where there are ``keys``."""
    context = None
    if keys is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys / "node.pem", keys / "node.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        box = Mailbox(listener.getsockname()[1], context)
        thread = threading.Thread(target=_serve, args=(listener, box), daemon=True)
        thread.start()
        yield box
        # A thread in accept is not woken by a close.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _serve(listener: socket.socket, box: Mailbox) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with suppress(OSError, ssl.SSLError):
            _talk(peer, box)
        peer.close()


def _talk(peer: socket.socket, box: Mailbox) -> None:
    stream, is_secret = peer.makefile("rw", newline="\r\n"), False

    def answer(line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    answer("220 test")
    while line := stream.readline():
        command = line.split()[0].upper() if line.split() else ""
        box.said.append(("(TLS) " if is_secret else "") + line.strip())
        if command in box.answers:
            answer(box.answers[command])
        elif command == "EHLO":
            offered = ["STARTTLS"] if box.tls and not is_secret else ["AUTH PLAIN"]
            answer("\n".join(f"250-{each}" for each in ["test", *offered]) + "\n250 8BITMIME")
        elif command == "STARTTLS" and box.tls:
            answer("220 go on")
            peer = box.tls.wrap_socket(peer, server_side=True)
            stream, is_secret = peer.makefile("rw", newline="\r\n"), True
        elif command == "AUTH":
            answer("235 welcome")
        elif command == "DATA":
            answer("354 go on")
            lines = []
            while (text := stream.readline().rstrip("\r\n")) != ".":
                lines.append(text)
            box.mails.append(message_from_string("\n".join(lines), policy=policy.default))
            answer("250 taken")
        elif command == "QUIT":
            answer("221 bye")
            return
        else:
            answer("250 well")


def site(folder: Path, text: str = "", *remotes: str) -> Configuration:
    """Return a site with ``text`` as node.toml, and a file for each remote; data beside it."""
    (folder / "remotes").mkdir(parents=True, exist_ok=True)
    (folder / "node.toml").write_text(text, "utf-8")
    for name in remotes:
        said = f'ae_title = "{name}"\nhost = "127.0.0.1"\nport = 104\n'
        (folder / "remotes" / f"{name.lower()}.toml").write_text(said, "utf-8")
    return load_configuration(folder, data_dir=folder / "data")


Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True)
class Scrape:
    """What Prometheus' own parser reads in an answer of `/metrics`."""

    text: str

    @property
    def samples(self) -> Samples:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    @property
    def names(self) -> set[str]:
        """Every name that an expression may use, also where nothing is told of it yet."""
        found = set()
        for family in text_string_to_metric_families(self.text):
            endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            found |= {family.name + end for end in endings.get(family.type, ("",))}
        return found

    def value(self, name: str, **labels: str) -> float:
        """Return one number. Raises `KeyError` where it is not told."""
        return self.samples[f"dicom_node_{name}", tuple(sorted(labels.items()))]
