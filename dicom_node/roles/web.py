"""The web role: the reading room and DICOMweb, by uvicorn."""

from __future__ import annotations

import os
import threading

from dicom_node.errors import RoleError
from dicom_node.ledger import Accounts
from dicom_node.line.heart import Heart
from dicom_node.line.web_doors import NodeDoors
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration
from dicom_node.settings.load import is_loopback
from dicom_node.spool import Spool
from dicom_node.web.app import create_app
from dicom_node.web.server import Server, listen
from dicom_node.web.wiring import furnished

_BEAT_SECONDS = 0.5
_GRACE_SECONDS = 5


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Serve the pages until ``stop`` is set. Raises `RoleError` where it may not or cannot."""
    log, web = Log("web"), configuration.settings.web
    patience = Patience(log)
    ledger = opened(configuration, "web", stop, patience)
    if ledger is None:
        return
    _refuse_open_door(configuration, ledger)
    listener = listen(web.host, web.port)
    port = listener.getsockname()[1]
    spool = Spool(
        configuration.spool_path, reserve_bytes=configuration.settings.node.min_free_bytes
    )
    doors = NodeDoors(configuration, ledger, spool)
    house = furnished(configuration, ledger, spool, doors, log)
    server = Server.of(create_app(house), certificate=web.certificate, key=web.key)
    serving = threading.Thread(target=server.run, args=(listener,), daemon=True)
    serving.start()
    log.event("role.started", pid=os.getpid(), port=port, sqlite=ledger.sqlite_version)
    heart = Heart(ledger, worker, patience)
    while not stop.wait(_BEAT_SECONDS) and serving.is_alive():
        heart.beat("working", f"port={port}")
    server.stop()
    serving.join(_GRACE_SECONDS + 1)
    listener.close()
    heart.beat("stopped")
    ledger.close()


def _refuse_open_door(configuration: Configuration, ledger: Accounts) -> None:
    if not is_loopback(configuration.settings.web.host) and not ledger.users():
        raise RoleError(
            "The pages would be open to the network, and no user can sign in.",
            remedy="Add one first: `dicom-node user add NAME --role admin`.",
        )
