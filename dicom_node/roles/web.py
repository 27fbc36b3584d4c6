"""The web role: the reading room and DICOMweb, by uvicorn."""

from __future__ import annotations

import os
import socket
import threading

from dicom_node.bundles import list_bundles
from dicom_node.errors import PortUnavailable, RoleError, listening_remedy
from dicom_node.intake.rules import load_rules
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.heart import Heart
from dicom_node.line.wiring import network_cards
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.roles.web_doors import RoleDoors
from dicom_node.settings import Configuration, host_and_port
from dicom_node.settings.load import is_loopback
from dicom_node.spool import Spool
from dicom_node.web.app import create_app
from dicom_node.web.house import House, ModelOnShelf
from dicom_node.web.server import Server

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
    listener = _listener(web.host, web.port)
    port = listener.getsockname()[1]
    server = Server.of(
        create_app(_house(configuration, ledger, log)), certificate=web.certificate, key=web.key
    )
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


def _house(configuration: Configuration, ledger: SqliteLedger, log: Log) -> House:
    settings = configuration.settings
    spool = Spool(configuration.spool_path, reserve_bytes=settings.node.min_free_bytes)
    in_use = set(settings.analysis.bundles)
    shelf = tuple(
        ModelOnShelf(
            id=bundle.id, title=bundle.manifest.title, version=bundle.manifest.version,
            task=bundle.manifest.task, digest=bundle.manifest.weights.digest,
            parameters=bundle.manifest.weights.parameters, macs=bundle.manifest.weights.macs,
            intended_use=bundle.manifest.intended_use, folder=bundle.folder,
            in_use=bundle.id in in_use,
        )
        for bundle in list_bundles(configuration.models_path)
    )  # fmt: skip
    return House(
        configuration=configuration,
        ledger=ledger,
        spool=spool,
        rules=load_rules(configuration.admission_path, settings.admission),
        cards=network_cards(settings),
        shelf=shelf,
        # Whoever has just changed the table sees the change on the next page.
        remotes=remotes_table(configuration, log, interval_seconds=0.0).current,
        doors=RoleDoors(configuration, ledger, spool),
        log=log,
    )


def _refuse_open_door(configuration: Configuration, ledger: SqliteLedger) -> None:
    if not is_loopback(configuration.settings.web.host) and not ledger.users():
        raise RoleError(
            "The pages would be open to the network, and no user can sign in.",
            remedy="Add one first: `dicom-node user add NAME --role admin`.",
        )


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortUnavailable(
            f"The pages cannot listen on {host_and_port(host, port)}: {error.strerror}.",
            remedy=f"{listening_remedy(error, 'web.port', 'web.host')} Or serve without the pages:"
            " --role receive,intake,housekeep,analyse,report,deliver.",
        ) from error
    return listener
