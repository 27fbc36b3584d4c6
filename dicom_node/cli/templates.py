"""``dicom-node templates``: the report templates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FolderOption = Annotated[
    Path | None,
    typer.Option("--dir", exists=True, file_okay=False, help="Templates; default: the shipped."),
]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="Report templates: words and codes as data.", no_args_is_help=True)
    group.command("check")(check)
    group.command("preview")(preview)
    group.command("schema")(schema)
    app.add_typer(group, name="templates")


def check(folder: FolderOption = None) -> None:
    """Check every template; names file, line and key of each fault. Exit status 1 if any."""
    from dicom_node.errors import TemplateInvalid
    from dicom_node.resources import report_templates
    from dicom_node.results.templates import load_template

    paths = sorted((folder or report_templates()).glob("*.toml"))
    faults = 0
    for path in paths:
        try:
            load_template(path)
            typer.echo(f"{path.name}: well")
        except TemplateInvalid as error:
            faults += 1
            typer.echo(error.message, err=True)
    if not paths:
        typer.echo("There is no template in this folder.", err=True)
    raise typer.Exit(1 if faults or not paths else 0)


def preview(
    name: Annotated[str, typer.Argument(help="Template, by the name of its file.")] = (
        "chest-radiograph-measurement-report"
    ),
    folder: FolderOption = None,
) -> None:
    """Print a report on made-up findings of a phantom, in the words of a template."""
    from dicom_node.resources import report_templates
    from dicom_node.results.preview import preview_text
    from dicom_node.results.templates import load_template

    typer.echo(preview_text(load_template((folder or report_templates()) / f"{name}.toml")))


def schema() -> None:
    """Print the JSON Schema of a template, for editors that check TOML while it is written."""
    import json

    from dicom_node.results.templates import template_schema

    typer.echo(json.dumps(template_schema(), indent=2, ensure_ascii=False))
