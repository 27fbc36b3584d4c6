"""``dicom-node analyse``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption

if TYPE_CHECKING:
    from dicom_node.line.by_hand import ByHand, FileAnswer
    from dicom_node.records import ObjectKind
    from dicom_node.results.write import Refused


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("analyse")(analyse)


def analyse(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, help="DICOM, PNG or JPEG films, or folders of them."),
    ],
    config: ConfigOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write report, overlay and picture of each film here.")
    ] = None,
    objects: Annotated[
        str,
        typer.Option(
            help="Which results to write, with commas: sr, capture, overlays, presentation,"
            " segmentation, document, key-objects; or all."
        ),
    ] = "sr,capture",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Analyse films from files, without any network service; nothing is sent anywhere.

    Exit status 1 if any film could not be analysed, or any of its results written; the others are
    done all the same. Declined films are no failure.
    """
    from rich.progress import track

    from dicom_node import logs
    from dicom_node.cli.options import configuration
    from dicom_node.findings import Outcome
    from dicom_node.line.by_hand import ByHand

    kinds = _kinds(objects)
    logs.configure("error")
    by_hand = ByHand(configuration(config, None))
    paths = list(films_of(files))
    answers, written = [], True
    for answer in track(
        by_hand.answers(paths), "Analysing", len(paths), transient=True, disable=as_json
    ):
        answers.append(answer)
        if not as_json:
            typer.echo(_sentence(answer))
        if out is not None and answer.film is not None:
            written = write_results(by_hand, answer, out, kinds) and written
    if as_json:
        typer.echo(json.dumps([answer.to_json() for answer in answers], indent=2))
    failed = any(answer.findings.outcome is Outcome.FAILED for answer in answers)
    raise typer.Exit(1 if failed or not written else 0)


def films_of(given: Iterable[Path]) -> Iterator[Path]:
    """Yield files as they are given, and those in folders."""
    for path in given:
        if path.is_dir():
            yield from sorted(item for item in path.rglob("*") if item.is_file())
        else:
            yield path


def _kinds(names: str) -> set[ObjectKind]:
    from dicom_node.records import ObjectKind

    if names == "all":
        return set(ObjectKind)
    try:
        return {ObjectKind(name.strip()) for name in names.split(",")}
    except ValueError as error:
        known = ", ".join(ObjectKind)
        raise typer.BadParameter(f"{error}; there are: {known}", param_hint="--objects") from error


def write_results(
    by_hand: ByHand, answer: FileAnswer, out: Path, kinds: Collection[ObjectKind]
) -> bool:
    """Write a film's results; return whether all of them could be written."""
    from dicom_node.line.by_hand import write_folder
    from dicom_node.results.capture import save_picture

    refused: list[Refused] = []
    objects = by_hand.results(answer, kinds, refused.append)
    for path in write_folder(objects, out, answer.file.stem):
        if "-overlay" in path.name:
            save_picture(path, path.with_suffix(".png"))
        typer.echo(f"  wrote {path}", err=True)
    for one in refused:
        typer.echo(f"  {answer.file}: {one.kind} was not written: {one.reason}", err=True)
    return not refused


def _sentence(answer: FileAnswer) -> str:
    from dicom_node.cli.one_line import sentence

    findings = answer.findings
    return f"{answer.file}: {sentence(findings) or f'{findings.outcome}: {findings.reason}'}"
