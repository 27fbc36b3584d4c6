"""``dicom-node health``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption

if TYPE_CHECKING:
    from dicom_node.records import RoleHealth


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("health")(health)


def health(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell whether every role works; exit status 0 only if all do and no certificate has expired.

    While roles are starting (networks take half a minute) the status is 1, and JSON has "starting".
    """
    from rich.console import Console
    from rich.markup import escape

    from dicom_node.cli.options import configuration, ledger_of
    from dicom_node.line.health import health_of

    settings = configuration(config, data_dir)
    ledger = ledger_of(settings)
    report = health_of(ledger, settings)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for role in report.roles:
            console.print(f"{role.name:<10} {_mark(role)}  {escape(role.sentence)}")
        console.print(f"disk       {report.disk_sentence}")
        console.print(f"work       {report.work_sentence}")
        for key, sentence in report.certificate_sentences.items():
            console.print(f"{key}  {sentence}")
        for alarm in report.alarms:
            console.print(f"[red]alarm[/red]      {escape(alarm.title)}. {escape(alarm.sentence)}")
    raise typer.Exit(0 if report.well else 1)


def _mark(role: RoleHealth) -> str:
    if role.well:
        return "[green]well[/green]"
    return "[yellow]starting[/yellow]" if role.starting else "[red]not well[/red]"
