"""``dicom-node restore``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicom_node.ledger import FilmOnRecord
    from dicom_node.line.backup_files import BackupManifest
    from dicom_node.settings import Configuration

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("restore")(restore)


def restore(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The folder given to `dicom-node backup`.")
    ] = None,
    at: Annotated[str, typer.Option(help="Name of a backup in DIR; default: the latest.")] = "",
    only_list: Annotated[bool, typer.Option("--list", help="List the backups in DIR.")] = False,
    from_spool: Annotated[
        bool,
        typer.Option("--from-spool", help="Without a backup: a new ledger, of the stored films."),
    ] = False,
    with_configuration: Annotated[
        bool,
        typer.Option("--configuration", help="Also the configuration, to the folder of --config."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back: the ledger, stored files that are gone, with --configuration that too.

    The node must be stopped. What is replaced is kept aside. Then the ledger learns what the spool
    holds beyond it: films that came since are taken in as from who had sent them, analysed and
    answered again, by the same objects, which the PACS has already. Users, passwords, comments and
    approvals are those of the backup.
    """
    from dicom_node import logs
    from dicom_node.cli.progress import progress_bar
    from dicom_node.line.backup_files import chosen_backup, read_manifest, verify_backup

    if (folder is None) != from_spool or (from_spool and (at or only_list or with_configuration)):
        raise typer.BadParameter("name the folder of a backup, or --from-spool alone.")
    logs.configure("error")
    if only_list:
        assert folder is not None
        _list(folder, as_json=as_json)
        return
    backup = manifest = None
    if folder is not None:
        backup = chosen_backup(folder, at)
        manifest = read_manifest(backup)
        with progress_bar() as told:
            verify_backup(backup, manifest, told)
    told_of = _restored(backup, manifest, config, data_dir, with_configuration, yes)
    if as_json:
        typer.echo(json.dumps(told_of, indent=2))
        return
    for sentence in _sentences(told_of):
        typer.echo(sentence)


def _restored(
    backup: Path | None,
    manifest: BackupManifest | None,
    config: Path | None,
    data_dir: Path | None,
    with_configuration: bool,
    yes: bool,
) -> Mapping[str, Any]:
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.cli.progress import progress_bar
    from dicom_node.line import restore as put_back
    from dicom_node.line.alone import alone
    from dicom_node.logs import Log
    from dicom_node.records import ROLES

    told_of: dict[str, Any] = {"backup": None if backup is None else backup.name}
    if with_configuration:
        assert backup is not None
        told_of["configuration_aside"] = _put_configuration(backup, config, data_dir, yes)
    site = configuration(config, data_dir, pages=False)
    _refuse_another_user(site)
    with alone(site.data_dir, ROLES):
        if not yes:
            _ask(_question(site, manifest))
        with progress_bar() as told:
            aside = put_back.restore_ledger(site, backup, person())
            told_of["aside"] = str(aside) if aside.is_dir() else None
            if backup is not None and manifest is not None:
                put_back.restore_beside(site, backup)
                told_of["networks"] = put_back.other_networks(site, manifest)
                if manifest.stored is not None:
                    carried = put_back.restore_spool(site, backup.parent, backup, told)
                    told_of |= {"brought_back": carried.new, "not_there": len(carried.missing)}
            ledger = ledger_of(site)
            since = None if manifest is None else manifest.taken_at
            found = put_back.reconcile(site, ledger, since, Log("restore"), told)
            ledger.close()
    return told_of | {
        "adopted": found.adopted,
        "removed": found.removed,
        "left": found.left,
        "senders": found.senders,
        "missing": [_missing(film) for film in found.missing],
    }


def _put_configuration(
    backup: Path, config: Path | None, data_dir: Path | None, yes: bool
) -> str | None:
    from contextlib import suppress

    from dicom_node.errors import SettingsError
    from dicom_node.line.alone import alone
    from dicom_node.line.restore import restore_configuration
    from dicom_node.records import ROLES
    from dicom_node.settings.load import configuration_folder, is_shipped, load_configuration

    folder = configuration_folder(config)
    if is_shipped(folder):
        raise SettingsError(
            "The configuration would replace the shipped defaults.",
            remedy="Name the folder that it is for: --config DIR.",
        )
    if folder.is_dir() and any(folder.iterdir()):
        if not yes:
            _ask(f"{folder} is there. Keep it aside and put that of the backup in its place?")
        # A node that works by it must be stopped before it is taken away; none starts by faults.
        with suppress(SettingsError):
            where = load_configuration(folder, data_dir=data_dir, pages=False).data_dir
            with alone(where, ROLES):
                pass
    aside = restore_configuration(backup, folder)
    return None if aside is None else str(aside)


def _refuse_another_user(site: Configuration) -> None:
    """Raise where the files would belong to somebody else than the node's user."""
    import pwd

    from dicom_node.errors import SettingsError

    if not site.data_dir.is_dir():
        return
    owner = site.data_dir.stat().st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        raise SettingsError(
            f"{site.data_dir} belongs to {name}; what is restored must, too.",
            remedy=f"Run it as that user: sudo -u {name} dicom-node restore …",
        )


def _question(site: Configuration, manifest: BackupManifest | None) -> str:
    there = site.ledger_path.exists()
    now = f"The ledger in {site.data_dir} is kept aside. " if there else ""
    if manifest is None:
        return (
            f"{now}Begin a new ledger in {site.data_dir}, of the stored films? Users, comments,"
            " approvals and what was delivered are not known any more."
        )
    known = manifest.ledger
    return (
        f"{now}Put that of {manifest.taken_at:%Y-%m-%d %H:%M} UTC in its place"
        f" ({manifest.ae_title}, {known.studies} studies, {known.instances} films)?"
    )


def _ask(question: str) -> None:
    if not typer.confirm(question):
        typer.echo("Nothing was changed.")
        raise typer.Exit(1)


def _missing(film: FilmOnRecord) -> Mapping[str, str]:
    return {
        "study_instance_uid": film.study_instance_uid,
        "sop_instance_uid": film.sop_instance_uid,
        "state": str(film.state),
        "digest": film.digest,
    }


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"Restored: {told['backup'] or 'a new ledger'}."
    for key, what in (("aside", "ledger"), ("configuration_aside", "configuration")):
        if told.get(key):
            yield f"The {what} before is in {told[key]}: remove it when nothing needs it any more."
    if "brought_back" in told:
        yield f"{told['brought_back']} stored files were brought back."
    yield (
        f"{told['adopted']} films that the ledger did not know were taken in, and will be answered;"
        f" {told['senders']} times a known film had come from somebody more."
    )
    if told["left"]:
        yield f"{told['left']} stored files could not be taken in: `spool.left` in the log."
    for sentence in told.get("networks", ()):
        yield f"Another network than then: {sentence}."
    missing = told["missing"]
    if missing:
        yield (
            f"{len(missing)} films that the ledger knows are not stored: removed since, or lost."
            " Have those sent again that are wanted:"
        )
    for film in missing[:_SHOWN]:
        yield f"  {film['sop_instance_uid']} of study {film['study_instance_uid']}, {film['state']}"
    if len(missing) > _SHOWN:
        yield f"  and {len(missing) - _SHOWN} more: --json lists all."
    yield "Start the node: `dicom-node serve`, or `systemctl start dicom-node`."


def _list(folder: Path, *, as_json: bool) -> None:
    from dicom_node.errors import BackupMissing
    from dicom_node.line.backup_files import backup_json, read_manifest, whole_backups

    found = [(path, read_manifest(path)) for path in whole_backups(folder)]
    if not found:
        raise BackupMissing(f"There is no whole backup in {folder}.")
    if as_json:
        typer.echo(json.dumps([backup_json(*each) for each in found], indent=2))
        return
    for path, manifest in found:
        stored = "no stored files" if manifest.stored is None else f"{manifest.stored} stored files"
        typer.echo(
            f"{path.name}  {manifest.ae_title}  dicom-node {manifest.release}"
            f"  {manifest.ledger.studies} studies, {manifest.ledger.instances} films, {stored}"
        )
