"""``dicom-node serve``."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dicom_node.ledger import Workers
    from dicom_node.settings import Configuration, Settings

_LOOK_SECONDS = 0.3


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("serve")(serve)


def serve(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="Run some roles only, comma separated: receive, intake, housekeep, analyse,"
            " report, deliver, web, monitor."
        ),
    ] = None,
) -> None:
    """Run the node: receive, analyse and answer until SIGTERM or Ctrl-C, which drains and stops.

    The log goes to standard error, one JSON object a line; on a terminal, one line for people says
    where the node listens.
    """
    from dicom_node import logs
    from dicom_node.cli.options import configuration
    from dicom_node.line.bundles import bundle_faults
    from dicom_node.records import ROLES
    from dicom_node.roles.supervisor import Supervisor

    roles = tuple(name.strip() for name in role.split(",")) if role else ROLES
    unknown = [name for name in roles if name not in ROLES]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(ROLES)}.")
    # The role web says itself what is wrong with the pages' own files: the node receives meanwhile.
    settings = configuration(
        config, data_dir, thorough=True, pages=set(roles) == {"web"}, bundles=False
    )
    for fault in bundle_faults(settings.settings):
        typer.echo(f"Left out: {fault}", err=True)
    logs.configure(settings.settings.node.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if sys.stdout.isatty():
        wanted = {"receive", "web"} & set(roles)
        threading.Thread(target=_announce, args=(settings, wanted, stop), daemon=True).start()
    Supervisor(settings, roles).run(stop)


def _announce(configuration: Configuration, doors: set[str], stop: threading.Event) -> None:
    """Say once where the node listens, as soon as it does."""
    from datetime import UTC, datetime

    from dicom_node.errors import NodeError
    from dicom_node.ledger import open_ledger

    begun, ledger = datetime.now(UTC), None
    while not stop.wait(_LOOK_SECONDS):
        with contextlib.suppress(NodeError):  # the roles tell, and go on
            if ledger is None and configuration.ledger_path.exists():
                ledger = open_ledger(configuration.ledger_path, who="serve")
            found = _ports(ledger, begun) if ledger else {}
            if doors <= found.keys():
                typer.echo(_sentence(configuration.settings, found))
                return


def _ports(ledger: Workers, begun: datetime) -> Mapping[str, int]:
    """Return the ports that roles have said since, by role."""
    told = {
        beat.role: beat.detail.removeprefix("port=")
        for beat in ledger.beats()
        if beat.beat_at >= begun and beat.detail and beat.state == "working"
    }
    return {role: int(port) for role, port in told.items() if port.isdecimal()}


def _sentence(settings: Settings, ports: Mapping[str, int]) -> str:
    from dicom_node.settings import host_and_port

    node, web, told = settings.node, settings.web, []
    if "receive" in ports:
        where = host_and_port(node.host, ports["receive"])
        told.append(f"{node.ae_title} listens for DICOM on {where}")
    if "web" in ports:
        everywhere = web.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        host = web.names[0] if everywhere and web.names else web.host
        scheme = "https" if web.certificate else "http"
        told.append(f"pages at {scheme}://{host_and_port(host, ports['web'])}")
    return f"{'; '.join([*told, 'films and results in ' + str(node.data_dir)])}. Ctrl-C stops."
