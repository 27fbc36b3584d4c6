"""`dicom-node evaluate`: what a bundle can do on films it has not learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from dicom_node.cli.options import FilmsOption, ModelsOption, need_training

if TYPE_CHECKING:
    from dicom_node.training.evaluation.hospitals import Measured


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("evaluate")(evaluate)


def evaluate(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="Model bundle, e.g. covidnet.")],
    data: FilmsOption,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    models: ModelsOption = None,
    repeat: Annotated[
        int,
        typer.Option(
            min=0,
            help="Severity only: first teach and check on so many patient splits (hours), those "
            "that are stored left out; 0 takes the stored ones.",
        ),
    ] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --repeat: throw the stored splits away first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    every: Annotated[
        int,
        typer.Option(
            min=1, help="Networks of a course only: look at one film in so many of large sources."
        ),
    ] = 6,
    answers: Annotated[
        Path,
        typer.Option(
            help="Networks of a course only: where answers to films are kept, so that each film "
            "is analysed once.",
        ),
    ] = Path("runs/answers"),
    write: Annotated[
        bool, typer.Option("--write", help="Write evaluation.json, figures and the card's tables.")
    ] = False,
) -> None:
    """Measure a bundle: figures with intervals, beside controls for short cuts."""
    need_training()
    from rich.markdown import Markdown

    from dicom_node import resources
    from dicom_node.training.evaluation.card import tables
    from dicom_node.training.evaluation.evaluate import course_of, write_evaluation
    from dicom_node.training.evaluation.evaluate import evaluate as measure

    console, folder = Console(), models or resources.model_bundles()
    if suite := course_of(bundle_id, folder):
        from dicom_node.training.evaluation.hospitals import Measured

        documents = _suite(suite, folder, Measured(data, split, every, answers))
        for found in documents.values() if write else ():
            write_evaluation(found, folder)
        if as_json:
            typer.echo(json.dumps(documents, indent=1))
            return
        for name, found in documents.items():
            console.print(Markdown(f"## {name}\n\n{tables(found)}"))
        return
    if repeat:
        _repeat(bundle_id, data, folder, repeat, fresh=fresh)
    document = measure(bundle_id, data, folder, split)
    if write:
        write_evaluation(document, folder)
    if as_json:
        typer.echo(json.dumps(document, indent=1))
    else:
        console.print(Markdown(tables(document)))


def _suite(suite: Sequence[str], folder: Path, films: Measured) -> dict[str, dict[str, Any]]:
    """Return the figures of all bundles of a course, as the engine answers, with progress."""
    from dicom_node.settings.model import AnalysisSection
    from dicom_node.training.evaluation.hospitals import evaluate_suite

    gate = AnalysisSection().gate
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("films are analysed", total=None)
        return evaluate_suite(
            suite, folder, films,
            lambda what, done, of: progress.update(
                task, description=what, completed=done, total=of
            ),
            gate=gate if (folder / gate).is_dir() else "",
        )  # fmt: skip


def _repeat(
    bundle_id: str, data: Sequence[Path], folder: Path, splits: int, *, fresh: bool
) -> None:
    """Run the repeated splits of this bundle, or of the one it begins with, with progress."""
    from dicom_node.bundles import open_bundle
    from dicom_node.training.teaching.repeated import REPEATED_RECIPE
    from dicom_node.training.teaching.repeated import repeat as run

    if not (folder / bundle_id / REPEATED_RECIPE).is_file():
        bundle_id = open_bundle(folder, bundle_id).manifest.trunk
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("features are made", total=None)
        run(
            bundle_id, data, folder, splits=splits, fresh=fresh,
            on_split=lambda kind, done, all_: progress.update(
                task, description=kind, total=all_, completed=done
            ),
        )  # fmt: skip
