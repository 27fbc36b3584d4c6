"""``dicom-node send``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MAX_PORT = 65535


def _ae_title(value: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from dicom_node.settings.values import AETitle

    try:
        return str(TypeAdapter(AETitle).validate_python(value))
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["ctx"]["error"])) from error


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("send")(send)


def send(
    files: Annotated[
        list[Path], typer.Argument(exists=True, help="DICOM files, or folders of them.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="Where to send them.")],
    aec: Annotated[
        str,
        typer.Option(callback=_ae_title, help="Called AE title: the node or PACS that is called."),
    ],
    aet: Annotated[
        str, typer.Option(callback=_ae_title, help="Calling AE title: as whom.")
    ] = "DICOMNODE",
) -> None:
    """Send DICOM files by C-STORE, each in the transfer syntax it has.

    Exit status 1 if any of them was not stored.
    """
    from rich.progress import track

    from dicom_node.delivery.association import Peer
    from dicom_node.delivery.files import send_files

    host, port = _host_and_port(to)
    paths = [item for path in files for item in _within(path)]
    if not paths:
        raise typer.BadParameter("There is no file in this folder.")
    sent = []
    peer = Peer(host, port, aec, aet)
    for item in track(send_files(paths, peer), "Sending", len(paths), transient=True):
        sent.append(item)
        typer.echo(f"{item.file}: {item.sentence}")
    stored = sum(1 for item in sent if item.stored)
    typer.echo(f"{stored} of {len(paths)} stored by {aec}.")
    raise typer.Exit(0 if stored == len(paths) else 1)


def _host_and_port(text: str) -> tuple[str, int]:
    from pydantic import TypeAdapter, ValidationError

    from dicom_node.settings.values import Host

    host, _, port = text.rpartition(":")
    try:
        if host and port.isdecimal() and 1 <= int(port) <= _MAX_PORT:
            return str(TypeAdapter(Host).validate_python(host)), int(port)
    except ValidationError:
        pass
    raise typer.BadParameter(
        f"{text!r} is not HOST:PORT, for example 127.0.0.1:11112 or [::1]:11112"
    )


def _within(path: Path) -> list[Path]:
    return sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
