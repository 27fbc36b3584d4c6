"""``dicom-node backup``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicom_node.line.backup import Made


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("backup")(backup)


def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where backups lie, one folder each.")
    ],
    spool: Annotated[
        bool,
        typer.Option("--spool", help="Also the stored films and results; those that are new."),
    ] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="Keep so many backups, the latest; 0: all of them.")
    ] = 0,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the node while it runs: ledger, configuration, templates, manifests of networks.

    The backup gets its name when all of it is on the disk. It holds patient data and, where the
    configuration does, private keys: nobody but this user may read it; keep it so.
    """
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.cli.progress import progress_bar
    from dicom_node.ledger.copying import is_of_this_release
    from dicom_node.line.backup import make_backup
    from dicom_node.line.backup_files import backup_json

    settings = configuration(config, data_dir, pages=False)
    with progress_bar() as told:
        made = make_backup(settings, folder, told, spool=spool, keep=keep)
    # Opening one of another release would change it, under a node that still runs with that.
    if is_of_this_release(settings.ledger_path):
        ledger = ledger_of(settings)
        ledger.note(person(), "backup.made", made.folder.name)
        ledger.close()
    if as_json:
        told_too = {
            "folder": str(made.folder),
            "new_files": made.carried.new,
            "missing_files": len(made.carried.missing),
            "damaged_files": len(made.carried.damaged),
            "removed": made.removed,
            "same_disk": made.same_disk,
        }
        typer.echo(json.dumps({**backup_json(made.folder, made.manifest), **told_too}, indent=2))
        return
    for sentence in _sentences(made):
        typer.echo(sentence)


def _sentences(made: Made) -> Iterator[str]:
    ledger, carried = made.manifest.ledger, made.carried
    yield (
        f"{made.folder}: {ledger.studies} studies, {ledger.instances} films,"
        f" {ledger.waiting} results that wait to be sent."
    )
    if made.manifest.stored is None:
        yield "Without the stored films and results: --spool takes them along."
    else:
        yield f"{made.manifest.stored} stored files, {carried.new} of them new."
    if carried.missing:
        yield f"{len(carried.missing)} stored files were not there: retention removed them since."
    if carried.damaged:
        yield (
            f"{len(carried.damaged)} stored files are not what was received: check the disk of"
            " data_dir, and `dicom-node doctor`."
        )
    for path in made.manifest.elsewhere:
        yield f"Not in it, but named by the configuration: {path}. Keep a copy of it too."
    for name in made.removed:
        yield f"Removed: {name}."
    if made.same_disk:
        yield "It lies on the disk of data_dir: what ends that disk ends both. Copy it elsewhere."
