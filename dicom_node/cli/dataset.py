"""`dicom-node dataset`: one table of labelled films from folders of public sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    group = typer.Typer(no_args_is_help=True, help="Labelled films for training: build a table.")
    group.command("build")(build)
    group.command("sources")(sources)
    app.add_typer(group, name="dataset")


def build(
    out: Annotated[Path, typer.Option(help="New folder for cases.csv and images/.")],
    source: Annotated[
        list[str], typer.Option(metavar="KEY=DIR", help="A source and its folder; may be repeated.")
    ],
    seed: Annotated[int, typer.Option(help="Decides the splits.")] = 2020,
) -> None:
    """Make cases.csv and images/ from sources: duplicates merged, splits by patient."""
    from dicom_node.training.dataset import build as run
    from dicom_node.training.dataset import read_sources

    folders: defaultdict[str, list[Path]] = defaultdict(list)
    for text in source:
        key, _, folder = text.partition("=")
        if not folder:
            raise typer.BadParameter(f"{text!r} is not KEY=DIR, e.g. cohen=covid-chestxray-dataset")
        folders[key].append(Path(folder))
    records = read_sources(folders)
    with Progress(console=console) as progress:
        task = progress.add_task("films", total=len(records))
        built = run(
            records, out, seed=seed,
            on_film=lambda done, all_: progress.update(task, completed=done, total=all_),
        )  # fmt: skip
    for path, reason in built.unreadable.items():
        console.print(f"left out: {path}: {reason}", style="yellow", soft_wrap=True)
    _print(built.counts())
    console.print(
        f"{len(built.rows)} films, {built.duplicates} duplicates merged. "
        f"Now: dicom-node train covidnet-lite --data {out}", soft_wrap=True,
    )  # fmt: skip


def sources() -> None:
    """List the sources that are known: what their folders must hold, and their licences."""
    from dicom_node.training.dataset_sources import SOURCES

    table = Table("key", "source", "its folder holds", "licence")
    for known in SOURCES.values():
        table.add_row(known.key, known.origin, known.layout, known.licence)
    console.print(table)


def _print(counts: Mapping[tuple[str, str, str], int]) -> None:
    """Print the number of films by source and finding, over train, val and test."""
    table = Table("source", "finding", "train", "val", "test")
    for origin, finding in sorted({(origin, finding) for origin, finding, _ in counts}):
        numbers = (
            str(counts.get((origin, finding, split), 0)) for split in ("train", "val", "test")
        )
        table.add_row(origin, finding, *numbers)
    console.print(table)
