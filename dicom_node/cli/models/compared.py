"""``dicom-node models compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption

if TYPE_CHECKING:
    from dicom_node.analysis.agreement import Agreement

_Network = Annotated[str, typer.Argument(metavar="ID[@VERSION]", help="Reported, or in shadow.")]


def compare(
    first: _Network,
    second: _Network,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Films received from this day on (UTC)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the figure and the numbers into this folder.")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two networks, or two versions of one, on the films that both answered.

    By observation: on how many films they say the same, what each found, by how much their numbers
    differ, and on which films most (SOP Instance UIDs). No names of patients.
    """
    from dicom_node.cli.options import configuration, ledger_of
    from dicom_node.line.compare import compared

    ledger = ledger_of(configuration(config, data_dir))
    begin = since.replace(tzinfo=UTC) if since else datetime(1970, 1, 1, tzinfo=UTC)
    films, found = compared(ledger, first, second, begin)
    document = json.dumps(
        {
            "first": first, "second": second, "films": films,
            "observations": [one.to_json() for one in found],
        },
        indent=2,
    )  # fmt: skip
    if as_json:
        typer.echo(document)
    else:
        _print(found, first, second, films)
    if out is not None:
        from dicom_node.training.evaluation.agreement import draw_agreement

        out.mkdir(parents=True, exist_ok=True)
        (out / "compare.json").write_text(document + "\n", encoding="utf-8")
        figure = draw_agreement(found, (first, second), out / "compare.png")
        typer.echo(f"Wrote {out / 'compare.json'}{f' and {figure}' if figure else ''}.", err=True)
    raise typer.Exit(0 if found else 1)


def _print(found: Sequence[Agreement], first: str, second: str, films: int) -> None:
    from rich.table import Table

    from dicom_node.cli.options import cell, wide_console

    console = wide_console()
    if not found:
        told = f"{first} and {second} answered no film together."
        if films:
            told = f"{first} and {second} have no observation in common ({films} films)."
        console.print(cell(told), soft_wrap=True)
        return
    table = Table("observation", "films", "agree", "both", f"{first} alone", f"{second} alone",
                  "neither", "difference", "95 % of them", box=None)  # fmt: skip
    for one in found:
        counts = one.counts or ("", "", "", "")
        middle, spread = "", ""
        if (gap := one.differences) is not None:
            middle, spread = f"{gap[0]:+.3g}", f"{gap[1]:+.3g} to {gap[2]:+.3g}"
        agree = "" if one.agreement is None else f"{one.agreement:.0%}"
        table.add_row(*map(cell, (one.name, one.films, agree, *counts, middle, spread)))
    console.print(table)
    for one in found:
        if one.most:
            told = ", ".join(f"{uid} ({gap:+.3g})" for uid, gap in one.most)
            console.print(cell(f"{one.name} differs most on {told}"), soft_wrap=True)
