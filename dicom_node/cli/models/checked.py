"""``dicom-node models check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import JsonOption

if TYPE_CHECKING:
    from dicom_node.line.check_bundle import CheckedBundle


def check(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of bundles, installed or not.")
    ],
    renew: Annotated[
        bool,
        typer.Option("--renew", help="First write self_test.json by what the network says now."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Name everything that is missing or wrong in bundles that say what they eat and say.

    Each with its file, line and key, and what to do. The network is asked about a built-in film.
    Exit status 1 if anything is wrong; warnings alone are no fault.
    """
    from dicom_node.line.check_bundle import check_bundle, renew_self_test

    if renew:
        for folder in folders:
            typer.echo(f"Wrote {renew_self_test(folder)}.", err=True)
    found = [check_bundle(folder) for folder in folders]
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], indent=2))
    else:
        for one in found:
            print_checked(one)
    raise typer.Exit(1 if any(one.faults for one in found) else 0)


def print_checked(found: CheckedBundle) -> None:
    """Print what is wrong with a bundle, and what one may want to look at."""
    from dicom_node.cli.options import cell, wide_console

    console = wide_console()
    for colour, word, lines in (("red", "wrong", found.faults), ("yellow", "note", found.warnings)):
        for line in lines:
            console.print(f"[{colour}]{word}[/{colour}]", cell(line), soft_wrap=True)
    notes = f", {len(found.warnings)} to look at" if found.warnings else ""
    told = f"{len(found.faults)} wrong" if found.faults else "well"
    console.print(cell(f"{found.id}: {told}{notes}"), soft_wrap=True)
