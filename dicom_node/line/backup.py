"""A backup of a node at work: ledger, configuration, and the stored files where asked for."""

from __future__ import annotations

import fcntl
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dicom_node import __version__
from dicom_node.bundles import MANIFEST as BUNDLE_MANIFEST
from dicom_node.errors import BackupUnderWay, RowMissing
from dicom_node.ledger.copying import copy_ledger, named_files, what_it_knows
from dicom_node.line.backup_files import (
    FORMAT,
    LEDGER_COPY,
    POOL,
    SPOOL_LIST,
    UNFINISHED,
    BackedUpLedger,
    BackedUpNetwork,
    BackupManifest,
    Told,
    copy_durably,
    digest_of_file,
    files_under,
    free_name,
    private_folders,
    room_at,
    sync_folder,
    whole_backups,
    write_durably,
    write_manifest,
)
from dicom_node.line.carrying import Carried, carry_all
from dicom_node.records import Digest
from dicom_node.settings import Configuration, Settings
from dicom_node.settings.suites import model_folders
from dicom_node.spool import Spool

_NAME = "%Y-%m-%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Made:
    """A whole backup: where it is, what it says of itself, and what came of the stored files.

    ``removed``: names of older backups that went. ``same_disk``: it lies where the node's data do.
    """

    folder: Path
    manifest: BackupManifest
    carried: Carried = field(default_factory=Carried)
    removed: tuple[str, ...] = ()
    same_disk: bool = False


def make_backup(
    configuration: Configuration, place: Path, told: Told, *, spool: bool = False, keep: int = 0
) -> Made:
    """Make a backup in a folder of its own under ``place``, whether the node runs or not.

    It has its name, and is one, only when all of it is on the disk. ``spool``: with the stored
    files, of which those are carried that ``place`` does not have yet. ``keep``: so many backups
    stay, the latest; 0: all. Raises `RowMissing` where no node has run, `BackupUnderWay`,
    `LedgerUnavailable`, `DiskFull`, `SpoolUnwritable` and `OSError`.
    """
    if not configuration.ledger_path.exists():
        raise RowMissing(
            f"There is no ledger in {configuration.data_dir}.",
            remedy="Name the folder of the node that is meant: --config DIR or --data-dir DIR.",
        )
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(place), room_at(place):
        _remove_unfinished(place)
        taken_at = datetime.now(UTC)
        final = _new_name(place, taken_at)
        work = final.with_name(final.name + UNFINISHED)
        work.mkdir(mode=0o700)
        try:
            carried = Carried()
            copy_ledger(
                configuration.ledger_path,
                work / LEDGER_COPY,
                lambda done, of: told("copying the ledger", done, of),
            )
            elsewhere = _copy_files(configuration, place, work)
            if spool:
                carried = _carry_spool(configuration, place, work, told)
            manifest = _manifest(configuration, work, taken_at, elsewhere, carried, spool=spool)
            write_manifest(work, manifest)
            for folder in {path.parent for path in files_under(work)}:
                sync_folder(folder)
            work.rename(final)
            sync_folder(place)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        removed = _remove_older(place, keep) if keep else ()
    same_disk = place.stat().st_dev == configuration.data_dir.stat().st_dev
    return Made(final, manifest, carried, removed, same_disk)


@contextmanager
def _only_one(place: Path) -> Iterator[None]:
    with (place / "backup.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupUnderWay(f"Another backup is being made in {place}.") from error
        yield


def _new_name(place: Path, moment: datetime) -> Path:
    return free_name(place / moment.strftime(_NAME))


def _remove_unfinished(place: Path) -> None:
    # The lock is ours: whoever began them is gone.
    for path in place.glob(f"*{UNFINISHED}"):
        shutil.rmtree(path)


def _copy_files(configuration: Configuration, place: Path, work: Path) -> tuple[str, ...]:
    """Copy what people wrote; return which named files are not among them."""
    settings, folder = configuration.settings, configuration.folder
    apart = [configuration.data_dir, place, *model_folders(settings)]
    _copy_tree(folder, work / "configuration", apart)
    own = settings.results.templates_dir
    if own is not None and not own.resolve().is_relative_to(folder.resolve()):
        _copy_tree(own, work / "templates", [])
    added, _ = model_folders(settings)
    if added.is_dir():
        _copy_tree(added, work / "added-models", [])
    for name, path in _manifests(settings):
        target = work / "models" / name / BUNDLE_MANIFEST
        private_folders(target.parent)
        copy_durably(path, target)
    return tuple(str(path) for path in _named_by(settings) if not path.is_relative_to(folder))


def _copy_tree(source: Path, target: Path, apart: Sequence[Path]) -> None:
    left = {path.resolve() for path in apart}
    private_folders(target)
    for path in sorted(source.iterdir()):
        if path.resolve() in left or path.name.startswith(".."):
            continue
        if path.is_file():
            copy_durably(path, target / path.name)
        elif path.is_dir() and not path.is_symlink():
            _copy_tree(path, target / path.name, apart)


def _manifests(settings: Settings) -> Iterator[tuple[str, Path]]:
    for name in (*settings.bundles, *settings.analysis.shadow):
        for folder in model_folders(settings):
            if (path := folder / name / BUNDLE_MANIFEST).is_file():
                yield name, path
                break


def _named_by(settings: Settings) -> Iterator[Path]:
    """Yield the files beside the settings that they name: certificates, keys, secrets."""
    for name in Settings.model_fields:
        section = getattr(settings, name)
        for each in section if isinstance(section, tuple) else (section,):
            values = (getattr(each, key) for key in type(each).model_fields) if each else ()
            yield from (value for value in values if isinstance(value, Path) and value.is_file())


def networks_in_use(settings: Settings) -> tuple[BackedUpNetwork, ...]:
    """Return the networks that the settings name, as their manifests tell of them."""
    found = []
    for name, path in _manifests(settings):
        told = tomllib.loads(path.read_text("utf-8"))
        weights = told.get("weights", {})
        digest = weights.get("digest", "") if isinstance(weights, dict) else ""
        found.append(BackedUpNetwork(id=name, version=str(told.get("version", "")), weights=digest))
    return tuple(found)


def _carry_spool(configuration: Configuration, place: Path, work: Path, told: Told) -> Carried:
    digests = sorted(named_files(work / LEDGER_COPY))
    source, pool = Spool(configuration.spool_path), Spool(place / POOL)
    carried = carry_all(digests, source, pool, told, "backing up stored files", len(digests))
    gone = {*carried.missing, *carried.damaged}
    listed = "".join(f"{each}\n" for each in digests if each not in gone)
    write_durably(work / SPOOL_LIST, listed.encode())
    return carried


def _manifest(
    configuration: Configuration,
    work: Path,
    taken_at: datetime,
    elsewhere: tuple[str, ...],
    carried: Carried,
    *,
    spool: bool,
) -> BackupManifest:
    return BackupManifest(
        format=FORMAT,
        release=__version__,
        taken_at=taken_at,
        ae_title=configuration.settings.node.ae_title,
        data_dir=str(configuration.data_dir),
        ledger=BackedUpLedger(**asdict(what_it_knows(work / LEDGER_COPY))),
        files={
            path.relative_to(work).as_posix(): digest_of_file(path) for path in files_under(work)
        },
        networks=networks_in_use(configuration.settings),
        stored=carried.new + carried.known if spool else None,
        elsewhere=elsewhere,
    )


def _remove_older(place: Path, keep: int) -> tuple[str, ...]:
    """Remove all but the latest backups, and stored files that none of them names."""
    older = whole_backups(place)[:-keep]
    for path in older:
        # First its name, so that one that is half gone is none.
        going = path.with_name(path.name + UNFINISHED)
        path.rename(going)
        shutil.rmtree(going)
    if older and (place / POOL).is_dir():
        _remove_unnamed(place)
    return tuple(path.name for path in older)


def _remove_unnamed(place: Path) -> None:
    named: dict[str, set[Digest]] = {}
    for backup in whole_backups(place):
        listed = backup / SPOOL_LIST
        for digest in listed.read_text("ascii").split() if listed.is_file() else ():
            named.setdefault(digest[:2], set()).add(Digest(digest))
    pool = Spool(place / POOL)

    def known(shard: str) -> frozenset[Digest]:
        return frozenset(named.get(shard, ()))

    for each in pool.sweep(known, min_age_seconds=0.0).unknown:
        pool.remove(each.digest)
