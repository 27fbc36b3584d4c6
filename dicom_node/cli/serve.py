"""``dicom-node serve``."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("serve")(serve)


def serve(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="Run some roles only, comma separated: receive, housekeep, analyse, deliver, web."
        ),
    ] = None,
) -> None:
    """Run the node: receive, analyse and answer until SIGTERM, which drains and stops."""
    from dicom_node import logs
    from dicom_node.cli.options import configuration
    from dicom_node.roles.process import ROLES
    from dicom_node.roles.supervisor import Supervisor

    roles = tuple(name.strip() for name in role.split(",")) if role else ROLES
    unknown = [name for name in roles if name not in ROLES]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(ROLES)}.")
    settings = configuration(config, data_dir, thorough=True)
    logs.configure(settings.settings.node.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Supervisor(settings, roles).run(stop)
