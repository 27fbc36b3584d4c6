"""``dicom-node conformance``."""

from __future__ import annotations

import typer

from dicom_node.cli.options import ConfigOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("conformance")(conformance)


def conformance(config: ConfigOption = None) -> None:
    """Print the DICOM Conformance Statement of this configuration, as Markdown."""
    from dicom_node.cli.options import configuration
    from dicom_node.conformance import statement
    from dicom_node.line.wiring import template_of

    loaded = configuration(config, None)
    typer.echo(statement(loaded.settings, loaded.remotes, template_of(loaded.settings)))
