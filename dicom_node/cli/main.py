"""The command ``dicom-node``: every command group registers itself here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dicom_node import __version__
from dicom_node.cli import (
    ae,
    alarms,
    analyse,
    backup,
    brain,
    cases,
    config,
    conformance,
    dataset,
    demo,
    doctor,
    evaluate,
    health,
    models,
    outbox,
    report,
    restore,
    send,
    serve,
    templates,
    train,
    user,
)
from dicom_node.errors import NodeError, SettingsError

app = typer.Typer(
    name="dicom-node",
    help=(
        "The open DICOM node that gives a PACS AI on chest radiographs: it receives films by "
        "C-STORE, analyses them, and sends a Structured Report and an overlay back to the sending "
        "AE. FOR RESEARCH USE ONLY."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for group in (
    demo, serve, config, ae, send, cases, outbox, analyse, report, templates, models, brain,
    dataset, train, evaluate, conformance, health, alarms, user, backup, restore, doctor,
):  # fmt: skip
    group.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dicom-node {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Carry the options that stand before any command."""


def main() -> None:
    """Run the command line; an error of ours is printed with its remedy, exit status 1."""
    # TensorFlow's start-up notes are of no use to a person.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app()
    except OSError as error:
        if error.filename is None:
            raise
        # A path that was named, or follows from one: no reason for a trace.
        _say(f"{error.filename} cannot be used: {error.strerror}.", _CHECK_THE_PATH)
        sys.exit(1)
    except NodeError as error:
        faults = error.faults if isinstance(error, SettingsError) else ()
        # Its message is the first fault: several are listed instead.
        if len(faults) > 1:
            _say(f"{len(faults)} faults in the configuration:", error.remedy, faults)
        else:
            _say(error.message, error.remedy)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


_CHECK_THE_PATH = (
    "Check the path, its owner and permissions; a running node's data are its user's:"
    " run this as that user."
)


def _say(message: str, remedy: str, faults: Sequence[str] = ()) -> None:
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[red]Error:[/red] {escape(message)}")
    for fault in faults:
        console.print(f"  {escape(fault)}")
    console.print(f"[dim]{escape(remedy)}[/dim]")
