"""``dicom-node models try``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from dicom_node.line.by_hand import FileAnswer
    from dicom_node.observations import Observation


def try_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The bundle's folder.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILM...", exists=True, help="DICOM, PNG or JPEG films, or folders of them."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write report, overlay and picture of each film here.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--every-film", help="Also films that it does not eat by its manifest.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one bundle about films from files, without a node; it need not be installed.

    Films that it does not eat are declined with the reason. Exit status 1 if it could not answer
    one of the others.
    """
    from dicom_node import logs
    from dicom_node.bundles.declared import open_declared
    from dicom_node.cli.analyse import films_of, write_results
    from dicom_node.cli.options import configuration
    from dicom_node.findings import Outcome
    from dicom_node.line.by_hand import ByHand
    from dicom_node.records import ObjectKind

    logs.configure("error")
    folder = folder.absolute()
    bundle = open_declared(folder.parent, folder.name)
    by_hand = ByHand(configuration(config, None), bundle, eats_all=every)
    answers, written = [], True
    try:
        for answer in by_hand.answers(list(films_of(files))):
            answers.append(answer)
            if out is not None and answer.film is not None:
                kinds = {ObjectKind.REPORT, ObjectKind.CAPTURE}
                written = write_results(by_hand, answer, out, kinds) and written
    finally:
        by_hand.close()
    if as_json:
        typer.echo(json.dumps([answer.to_json() for answer in answers], indent=2))
    else:
        _print(answers)
    failed = any(answer.findings.outcome is Outcome.FAILED for answer in answers)
    raise typer.Exit(1 if failed or not written else 0)


def _print(answers: list[FileAnswer]) -> None:
    from rich.table import Table

    from dicom_node.cli.options import cell, wide_console
    from dicom_node.findings import Outcome

    table = Table("film", "observation", "kind", "what", "number", "threshold", "found", box=None)
    silent = []
    for answer in answers:
        findings = answer.findings
        if findings.outcome is not Outcome.ANALYSED:
            silent.append(f"{answer.file}: {findings.outcome}: {findings.reason}")
        for observation in findings.observed:
            for row in _rows(observation):
                table.add_row(*map(cell, (answer.file.name, observation.key, *row)))
    console = wide_console()
    if table.row_count:
        console.print(table)
    for line in silent:
        console.print(cell(line), soft_wrap=True)


def _rows(one: Observation) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield what is said under one key: kind, what, number, threshold, found or not."""
    kind = one.kind.value
    if one.labels:
        believed = one.believed
        for label in one.labels:
            found = "yes" if label in believed else "no"
            number = f"{label.probability:.4g}"
            yield kind, label.key, number, f"{label.threshold:.4g}", found
    elif one.kind.value == "region":
        for place in one.places:
            corners = ", ".join(f"({column:.0f}, {row:.0f})" for column, row in place.points)
            number = "" if place.probability is None else f"{place.probability:.4g}"
            yield kind, f"{place.label} {corners}".strip(), number, _number(one.threshold), "yes"
        if not one.places:
            yield kind, "no place", "", _number(one.threshold), "no"
    else:
        value = one.absent or f"{_number(one.value)} {one.unit}".strip()
        found = "yes" if one.reached else "no" if one.threshold is not None else ""
        yield kind, "", value, _number(one.threshold), found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
