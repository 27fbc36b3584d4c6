"""The web role: the reading room and DICOMweb, by uvicorn."""

from __future__ import annotations

import threading

from dicom_node.errors import RoleError
from dicom_node.ledger import Accounts
from dicom_node.line.chores import Chores
from dicom_node.line.tallied import TalliedLog
from dicom_node.line.web_doors import NodeDoors
from dicom_node.records import Worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration
from dicom_node.settings.values import is_loopback
from dicom_node.web.app import create_app
from dicom_node.web.server import Server, listen
from dicom_node.web.wiring import furnished

_BEAT_SECONDS, _TALLY_SECONDS = 0.5, 1.0
_GRACE_SECONDS = 5


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Serve the pages until ``stop`` is set. Raises `RoleError` where it may not or cannot."""
    settings = configuration.settings
    own = shift(worker, configuration, stop, reserve_bytes=settings.node.min_free_bytes)
    if own is None:
        return
    _refuse_open_door(configuration, own.ledger)
    listener = listen(settings.web.host, settings.web.port)
    port = listener.getsockname()[1]
    doors = NodeDoors(configuration, own.ledger, own.spool)
    log, chores = TalliedLog(own.role), Chores(stop, own.patience)
    chores.every(_TALLY_SECONDS, "tallies", lambda: log.write(own.ledger, {}))
    app = create_app(furnished(configuration, own.ledger, own.spool, doors, log))
    server = Server.of(app, certificate=settings.web.certificate, key=settings.web.key)
    serving = threading.Thread(target=server.run, args=(listener,), daemon=True)
    serving.start()

    def end() -> None:
        server.stop()
        serving.join(_GRACE_SECONDS + 1)
        listener.close()
        chores.end()

    own.work(
        {},
        idle_seconds=_BEAT_SECONDS,
        detail=f"port={port}",
        going_on=serving.is_alive,
        drain=end,
        port=port,
    )
    own.ledger.close()


def _refuse_open_door(configuration: Configuration, ledger: Accounts) -> None:
    if not is_loopback(configuration.settings.web.host) and not ledger.users():
        raise RoleError(
            "The pages would be open to the network, and no user can sign in.",
            remedy="Add one first: `dicom-node user add NAME --role admin`.",
        )
