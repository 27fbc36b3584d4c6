"""``dicom-node doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption

if TYPE_CHECKING:
    from dicom_node.line.doctor import AskedLedger, Checked, Examined
    from dicom_node.settings import Configuration

_COLOURS = {"well": "green", "warning": "yellow", "fault": "red"}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("doctor")(doctor)


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tar.gz", help="Write what support needs, without patients."),
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Ask every peer for a C-ECHO.")] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Let the networks prove themselves: minutes.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="A file with the node's log; - reads standard input.")
    ] = None,
    backups: Annotated[Path | None, typer.Option(help="The folder of the backups.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at everything that support asks for: each line well, warning or fault, and what to do.

    Nothing is changed, whether the node runs or not. Exit status 1 if there is a fault.
    """
    from dicom_node import logs
    from dicom_node.cli.progress import progress_bar
    from dicom_node.line.doctor import MoreChecks, examine, write_bundle

    logs.configure("error")
    wanted = MoreChecks(echo=echo, self_test=self_test, log=log, backups=backups)
    with progress_bar() as told:
        found = examine(config, data_dir, wanted, _opened, told)
    if bundle is not None:
        write_bundle(bundle, found)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2, default=str))
    else:
        _print(found, bundle)
    raise typer.Exit(0 if found.well else 1)


def _opened(site: Configuration) -> AskedLedger | None:
    """Open the ledger where that does not change it."""
    from dicom_node.cli.options import ledger_of
    from dicom_node.ledger.copying import is_of_this_release

    return ledger_of(site) if is_of_this_release(site.ledger_path) else None


def _print(found: Examined, bundle: Path | None) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    for each in found.checked:
        console.print(_line(each))
    worst = [each.condition for each in found.checked]
    console.print(f"{worst.count('fault')} faults, {worst.count('warning')} warnings.")
    if bundle is not None:
        console.print(f"Wrote {bundle}: look through it before you send it.", markup=False)


def _line(each: Checked) -> object:
    from rich.text import Text

    from dicom_node.cli.options import cell

    line = Text(f"{each.condition:<8}", style=_COLOURS[each.condition])
    line.append(f"{each.area:<13}", style="default")
    line.append(cell(each.sentence))
    if each.remedy:
        line.append("\n" + " " * 21)
        line.append(
            cell(each.remedy),
        )
    return line
