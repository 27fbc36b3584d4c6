"""A PACS that does what a test tells it: statuses, delays, aborts, what it accepts."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import BaseServer
from typing import Any

from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

EVERYTHING = (
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
)


@dataclass
class ScriptedPacs:
    """Answers each C-STORE with the next of ``statuses``; the last one goes on for ever."""

    statuses: list[int] = field(default_factory=lambda: [0x0000])
    delay_seconds: float = 0.0
    abort_after: int | None = None
    abort_at_classes: frozenset[str] = frozenset()
    status_of_class: dict[str, int] = field(default_factory=dict)
    """What it answers to a class that it has accepted, whatever ``statuses`` say."""
    go_on: threading.Event | None = None
    """Nothing is stored before this is set."""
    asked: int = 0
    stored: list[tuple[str, str, str]] = field(default_factory=list)
    associations: int = 0
    port: int = 0

    def store(self, event: evt.Event) -> int:
        request: Any = event.request
        self.asked += 1
        time.sleep(self.delay_seconds)
        if self.go_on is not None:
            self.go_on.wait(60)
        data = request.DataSet.getvalue()
        uid = str(request.AffectedSOPInstanceUID)
        digest = hashlib.sha256(data).hexdigest()
        self.stored.append((str(request.AffectedSOPClassUID), uid, digest))
        many = self.abort_after is not None and len(self.stored) >= self.abort_after
        if many or request.AffectedSOPClassUID in self.abort_at_classes:
            event.assoc.abort()
        if (status := self.status_of_class.get(request.AffectedSOPClassUID)) is not None:
            return status
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def established(self, _event: evt.Event) -> None:
        self.associations += 1


class _Listener(ThreadedAssociationServer):
    """Ends when asked to; the one of `AE.start_server` looks twice a second whether it was."""

    def shutdown(self) -> None:
        BaseServer.shutdown(self)
        self.server_close()


@contextmanager
def listening(
    pacs: ScriptedPacs,
    *,
    accepts: Sequence[str] = EVERYTHING,
    require_calling: Sequence[str] = (),
    called: str = "PACS",
    check_called: bool = False,
    transfer_syntaxes: Sequence[str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[ScriptedPacs]:
    """Let ``pacs`` listen on a free port."""
    entity = AE(called)
    for uid in accepts:
        if transfer_syntaxes:
            entity.add_supported_context(uid, list(transfer_syntaxes))
        else:
            entity.add_supported_context(uid)
    entity.require_calling_aet = list(require_calling)
    entity.require_called_aet = check_called
    before = set(threading.enumerate())
    server: Any = entity.make_server(
        ("127.0.0.1", 0),
        server_class=_Listener,
        ssl_context=tls,
        evt_handlers=[(evt.EVT_C_STORE, pacs.store), (evt.EVT_ESTABLISHED, pacs.established)],
    )
    pacs.port = server.server_address[1]
    listener = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    listener.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        listener.join()
        entity.shutdown()
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("AcceptorThread"):
                thread.join(30)
