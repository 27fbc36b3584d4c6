"""`dicom-node dataset`: one table of labelled films from folders of public sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from dicom_node.training.datasets.build import Built
    from dicom_node.training.datasets.records import LeftOut

console = Console()

SPLITS = ("train", "val", "test")
_NAMED = 10


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
    """Make cases.csv and images/ from sources: copies merged, splits by patient."""
    from dicom_node.training.datasets.build import build as run
    from dicom_node.training.datasets.sources import read_sources

    found = read_sources(_folders(source))
    with Progress(console=console) as progress:
        task = progress.add_task("films are read", total=len(found.records))

        def on_step(what: str, done: int, steps: int) -> None:
            progress.update(task, description=what, completed=done, total=steps)

        built = run(found.records, out, seed=seed, on_step=on_step)
    _print_left_out(found.left_out, built.unreadable)
    _print_counts(built.counts())
    _print_end(built, out)


def sources() -> None:
    """List the sources that are known: what their folders must hold, and their licences."""
    from dicom_node.training.datasets.sources import SOURCES

    table = Table("key", show_lines=True)
    for column in ("source", "its folder holds", "licence"):
        table.add_column(column, overflow="fold")
    for known in SOURCES.values():
        table.add_row(
            known.key, *map(escape, (f"{known.origin}\n{known.repository}".strip(),
                                     known.layout, known.licence))
        )  # fmt: skip
    console.print(table)


def _folders(texts: Sequence[str]) -> Mapping[str, Sequence[Path]]:
    folders: defaultdict[str, list[Path]] = defaultdict(list)
    for text in texts:
        key, _, folder = text.partition("=")
        if not folder:
            raise typer.BadParameter(
                f"{text!r} is not KEY=DIR, e.g. cohen=covid-chestxray-dataset",
                param_hint="--source",
            )
        folders[key].append(Path(folder))
    return folders


def _print_left_out(left_out: Mapping[LeftOut, int], unreadable: Mapping[Path, str]) -> None:
    """Print why rows of the sources' tables gave no film, and the first files nobody can read."""
    if left_out:
        table = Table("source", "left out because", "rows")
        for each, number in sorted(left_out.items(), key=lambda item: (item[0].origin, -item[1])):
            table.add_row(escape(each.origin), escape(each.reason), str(number))
        console.print(table)
    for path, reason in list(unreadable.items())[:_NAMED]:
        console.print(f"unreadable: {escape(f'{path}: {reason}')}", style="yellow", soft_wrap=True)
    if len(unreadable) > _NAMED:
        console.print(f"and {len(unreadable) - _NAMED} more unreadable files", style="yellow")


def _print_counts(counts: Mapping[tuple[str, str, str], int]) -> None:
    """Print the number of films by source and finding, over train, val and test."""
    table = Table("source", "finding", *SPLITS, "all")
    for origin, finding in sorted({(origin, finding) for origin, finding, _ in counts}):
        numbers = [counts.get((origin, finding, split), 0) for split in SPLITS]
        table.add_row(escape(origin), finding, *map(str, numbers), str(sum(numbers)))
    totals = [sum(n for (*_, split), n in counts.items() if split == name) for name in SPLITS]
    table.add_section()
    table.add_row("all", "", *map(str, totals), str(sum(totals)))
    console.print(table)


def _print_end(built: Built, out: Path) -> None:
    unsure = sum(row["recommended"] == "0" for row in built.rows)
    patients = len({row["patient_id"] for row in built.rows})
    console.print(
        f"{len(built.rows)} films of {patients} patients, copies merged: {built.copies}"
        + (f", films whose copies differ in finding (recommended = 0): {unsure}" if unsure else "")
    )
    console.print(f"Now: dicom-node train covidnet-lite --data {escape(str(out))}", soft_wrap=True)
