"""`dicom-node evaluate`: what a bundle can do on films it has not learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("evaluate")(evaluate)


def evaluate(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="Model bundle, e.g. covidnet.")],
    data: Annotated[Path, typer.Option(help="Folder with cases.csv and images/.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    models: Annotated[
        Path | None, typer.Option(help="Folder of the bundles; default: the installed ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write evaluation.json, figures and the card's tables.")
    ] = False,
) -> None:
    """Measure a bundle: accuracy, sensitivity, PPV, confusion matrix, controls for short cuts."""
    from dicom_node import resources
    from dicom_node.training.card import tables
    from dicom_node.training.evaluate import evaluate as measure
    from dicom_node.training.evaluate import write_evaluation

    console, folder = Console(), models or resources.model_bundles()
    evaluation = measure(bundle_id, data, folder, split)
    if write:
        write_evaluation(evaluation, folder)
    document = evaluation.to_json()
    if as_json:
        typer.echo(json.dumps(document, indent=1))
    else:
        console.print(Markdown(tables(document)))
