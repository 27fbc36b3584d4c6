"""``dicom-node health``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("health")(health)


def health(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell whether every role works; exit status 0 only if all do."""
    from rich.console import Console

    from dicom_node.cli.options import configuration, ledger_of
    from dicom_node.roles.health import health_of

    settings = configuration(config, data_dir)
    ledger = ledger_of(settings)
    report = health_of(ledger, settings)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        console = Console()
        for role in report.roles:
            mark = "[green]well[/green]" if role.well else "[red]not well[/red]"
            console.print(f"{role.name:<10} {mark}  {role.sentence}")
        console.print(f"disk       {report.disk_sentence}")
        console.print(f"work       {report.work_sentence}")
    raise typer.Exit(0 if report.well else 1)
