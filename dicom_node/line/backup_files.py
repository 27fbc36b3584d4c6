"""What a backup is on disk: a folder with files, and a manifest that was written last.

::

    DIR/2026-11-27T190000Z/backup.json      what it is, and the digest of every other file
                           ledger.sqlite
                           configuration/   node.toml, remotes/, admission.toml, keys, certificates
                           templates/       the site's own, where it has any
                           models/          manifests of the networks in use, without weights
                           added-models/    bundles that were added to this node, whole
                           spool.txt        digests of the stored files that the ledger names
    DIR/spool/                              those files, of all backups together
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dicom_node.errors import BackupDamaged, BackupMissing, DiskFull, LedgerUnavailable

MANIFEST, LEDGER_COPY, SPOOL_LIST, POOL = "backup.json", "ledger.sqlite", "spool.txt", "spool"
UNFINISHED = ".unfinished"
FORMAT = 1
_CHUNK = 1 << 20
_SQLITE_FULL = "database or disk is full"

Told = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""


class _Part(BaseModel):
    # A later release may tell more.
    model_config = ConfigDict(extra="ignore", frozen=True)


class BackedUpFile(_Part):
    """A file of a backup: SHA-256 in hexadecimal, and size."""

    sha256: str
    bytes: int


class BackedUpNetwork(_Part):
    """A network that was in use: its version, and the digest of its weights where it tells one."""

    id: str
    version: str
    weights: str = ""


class BackedUpLedger(_Part):
    """What the ledger knew: the last change of its schema, its latest event, how much."""

    step: str
    at: str
    studies: int
    instances: int
    waiting: int


class BackupManifest(_Part):
    """What a backup is, and what must be in it. ``files`` by path, relative to the backup.

    ``stored``: how many files of the spool came along; None: none were asked for. ``elsewhere``:
    files that the configuration names and that are not in the backup.
    """

    format: int
    release: str
    taken_at: datetime
    ae_title: str
    data_dir: str
    ledger: BackedUpLedger
    files: Mapping[str, BackedUpFile]
    networks: tuple[BackedUpNetwork, ...] = ()
    stored: int | None = None
    elsewhere: tuple[str, ...] = ()


def digest_of_file(path: Path) -> BackedUpFile:
    """Return digest and size of a file. Raises `OSError`."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return BackedUpFile(sha256=digest.hexdigest(), bytes=size)


def files_under(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, sorted; links are not followed."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.is_file():
            yield path
        elif path.is_dir():
            yield from files_under(path)


def write_manifest(folder: Path, manifest: BackupManifest) -> None:
    """Write the manifest of a backup whose other files are all there, durably."""
    write_durably(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a new file and sync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file to a new one, whatever its size, for nobody but the owner, and sync it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with source.open("rb") as file, os.fdopen(os.open(target, flags, 0o600), "wb") as copy:
        shutil.copyfileobj(file, copy, _CHUNK)
        copy.flush()
        os.fsync(copy.fileno())


@contextmanager
def room_at(place: Path) -> Iterator[None]:
    """Raise `DiskFull` for the disk that a block writes to, where that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _full(place) from error
    except LedgerUnavailable as error:
        # Of a copy Python tells SQLite's words alone, not its code.
        if str(error.__cause__) != _SQLITE_FULL:
            raise
        raise _full(place) from error


def _full(place: Path) -> DiskFull:
    return DiskFull(
        f"The disk of {place} is full.", remedy=f"Free space where {place} is, then try again."
    )


def private_folders(folder: Path) -> None:
    """Make a folder and those above it that are not there, for nobody but the owner."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=0o700)


def free_name(path: Path) -> Path:
    """Return the path, with a number where there is something of that name."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def whole_backups(place: Path) -> Sequence[Path]:
    """Return the whole backups in a folder, earliest first: a half one has another name."""
    if not place.is_dir():
        return ()
    return sorted(
        path for path in place.iterdir()
        if not path.name.endswith(UNFINISHED) and (path / MANIFEST).is_file()
    )  # fmt: skip


def chosen_backup(place: Path, name: str = "") -> Path:
    """Return the latest whole backup of a folder, one by its name, or the folder itself if it is
    one. Raises `BackupMissing`.
    """
    if (place / MANIFEST).is_file() and not place.name.endswith(UNFINISHED):
        return place
    found = [path for path in whole_backups(place) if name in ("", path.name)]
    if not found:
        which = f"no whole backup called {name}" if name else "no whole backup"
        raise BackupMissing(f"There is {which} in {place}.")
    return found[-1]


def read_manifest(backup: Path) -> BackupManifest:
    """Return what a backup says of itself. Raises `BackupDamaged`."""
    try:
        manifest = BackupManifest.model_validate_json((backup / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupDamaged(f"{backup / MANIFEST} cannot be read.") from error
    if manifest.format != FORMAT:
        raise BackupDamaged(
            f"{backup} is of dicom-node {manifest.release}, in a form that is not known here.",
            remedy=f"Install dicom-node {manifest.release} or later.",
        )
    return manifest


def verify_backup(backup: Path, manifest: BackupManifest, told: Told) -> None:
    """Read every file of a backup and compare it with the manifest. Raises `BackupDamaged`."""
    for number, (name, expected) in enumerate(manifest.files.items()):
        told("verifying", number, len(manifest.files))
        path = backup / name
        if not path.resolve().is_relative_to(backup.resolve()):
            raise BackupDamaged(f"{backup / MANIFEST} names a file outside: {name}.")
        try:
            found = digest_of_file(path)
        except OSError as error:
            raise BackupDamaged(f"{path} cannot be read: {error.strerror}.") from error
        if found != expected:
            raise BackupDamaged(f"{path} is not what was backed up.")
    told("verifying", len(manifest.files), len(manifest.files))


def backup_json(backup: Path, manifest: BackupManifest) -> Mapping[str, object]:
    """Return what commands tell of a backup as JSON."""
    told = json.loads(manifest.model_dump_json(exclude={"files"}))
    return {"name": backup.name, **told}
