"""``dicom-node report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("report")(report)


def report(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A Structured Report of ours.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Print a report as a radiologist would read it; --json gives the findings."""
    from dicom_node.imaging.header import read_dataset
    from dicom_node.results.narrative import report_text
    from dicom_node.results.reading import findings_from_report

    document = read_dataset(file)
    if as_json:
        found = [{"file": str(file), **item.to_json()} for item in findings_from_report(document)]
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(report_text(document))
