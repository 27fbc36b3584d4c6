"""Where the node keeps its data: disk, permissions, ledger, spool, backups."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.errors import NodeError
from dicom_node.ledger import Symptoms
from dicom_node.ledger.copying import check_ledger, what_it_knows
from dicom_node.line.alone import refuse_empty_start
from dicom_node.line.backup_files import read_manifest, whole_backups
from dicom_node.line.doctor.checked import Checked, fault, warning, well
from dicom_node.settings import Configuration

_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"})
_SPARE = 3
"""Free space below so many times the reserve is told before receiving stops."""

_INODES = 10_000
_WAL_BYTES = 1_000_000_000
_BACKUP_DAYS = 8
"""Weekly, and a day for whoever forgot it."""


def disk(site: Configuration) -> Iterator[Checked]:
    """Tell how much room there is, and whether the disk can be trusted with a ledger."""
    folder = _nearest(site.data_dir)
    space, reserve = os.statvfs(folder), site.settings.node.min_free_bytes
    free = space.f_bavail * space.f_frsize
    told = f"{free / 1e9:.1f} GB free where {site.data_dir} is"
    facts = {"free_bytes": free, "reserve_bytes": reserve, "free_files": space.f_favail}
    if free < reserve:
        remedy = "Free space, or lower `[retention]`; receiving is answered 0xA700 until then."
        yield fault(
            "disk", f"{told}: less than the reserve of {reserve / 1e9:.1f} GB", remedy, **facts
        )
    elif free < _SPARE * reserve:
        remedy = "Make room, or lower `[retention]`: at the reserve receiving stops."
        yield warning("disk", f"{told}; the reserve is {reserve / 1e9:.1f} GB", remedy, **facts)
    else:
        yield well("disk", told, **facts)
    if space.f_files > 0 and space.f_favail < _INODES:
        remedy = "Make room for more files: each film needs two, each result one."
        yield fault("disk", f"{space.f_favail} more files fit on it", remedy)
    kind = _file_system(folder)
    if kind in _REMOTE:
        remedy = "Put data_dir on a disk of this machine: SQLite's log needs shared memory there."
        yield fault("disk", f"{site.data_dir} is on {kind}, over the network", remedy, kind=kind)
    elif kind:
        yield well("disk", f"{site.data_dir} is on {kind}", kind=kind)


def _nearest(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _file_system(folder: Path) -> str:
    """Return the kind of the file system that a folder is on, "" where it cannot be told."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1]
    return ""


def permissions(site: Configuration) -> Iterator[Checked]:
    """Tell whose the data are, who else may look at them, and whether they can be written."""
    if not site.data_dir.is_dir():
        remedy = "Start the node; it makes the folder."
        yield warning("permissions", f"{site.data_dir} is not there yet", remedy)
        return
    status = site.data_dir.stat()
    owner = _user(status.st_uid)
    if status.st_uid != os.geteuid():
        remedy = f"Run this as {owner}: what follows may not be seen by you, and is not as it sees."
        yield warning("permissions", f"{site.data_dir} belongs to {owner}", remedy)
    open_to = [path for path in (site.data_dir, *_data_files(site)) if path.stat().st_mode & 0o077]
    for path in open_to:
        mode = stat.S_IMODE(path.stat().st_mode)
        keep = "700" if path.is_dir() else "600"
        yield warning("permissions", f"Others may use {path} ({mode:o})", f"chmod {keep} {path}")
    lacking = [path for path in _data_files(site) if not os.access(path, os.R_OK | os.W_OK)]
    for path in lacking:
        yield fault("permissions", f"{path} cannot be read and written", f"chown {owner} {path}")
    if not (open_to or lacking):
        yield well("permissions", f"{site.data_dir} is {owner}'s alone")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def _data_files(site: Configuration) -> Iterator[Path]:
    ledger = site.ledger_path
    beside = (ledger, *(ledger.with_name(f"{ledger.name}{end}") for end in ("-wal", "-shm")))
    yield from (path for path in (*beside, site.spool_path) if path.exists())


def ledger_file(site: Configuration) -> Iterator[Checked]:
    """Read the ledger through, and tell how much it knows; it is not changed."""
    path = site.ledger_path
    refuse_empty_start(site)
    if not path.exists():
        yield warning("ledger", "No node has run here yet", "Start it: `dicom-node serve`.")
        return
    check_ledger(path)
    known = what_it_knows(path)
    size, log = path.stat().st_size, path.with_name(f"{path.name}-wal")
    waiting = log.stat().st_size if log.exists() else 0
    yield well(
        "ledger",
        f"Whole: {known.studies} studies, {known.instances} films, {size / 1e6:.0f} MB, as of"
        f" {known.step}",
        bytes=size, wal_bytes=waiting, studies=known.studies, films=known.instances,
        step=known.step,
    )  # fmt: skip
    if waiting > _WAL_BYTES:
        remedy = "End whatever reads the ledger for hours (a backup, a shell), then look again."
        yield warning("ledger", f"Its log has {waiting / 1e9:.1f} GB", remedy)


def spool_files(site: Configuration) -> Iterator[Checked]:
    """Tell what lies in the spool that is not where it should be."""
    if not site.spool_path.is_dir():
        return
    waiting = list((site.spool_path / "incoming").glob("*"))
    old = [path for path in waiting if _age(path) > timedelta(hours=3)]
    if old:
        remedy = "The role housekeep removes them; see whether it works."
        yield warning("spool", f"{len(old)} interrupted writes are hours old", remedy)
    else:
        yield well("spool", f"{len(waiting)} objects are being written", writing=len(waiting))


def _age(path: Path) -> timedelta:
    try:
        return timedelta(seconds=datetime.now(UTC).timestamp() - path.lstat().st_mtime)
    except FileNotFoundError:
        return timedelta(0)


def backups(ledger: Symptoms | None, place: Path | None) -> Iterator[Checked]:
    """Tell when the last backup was made."""
    at = None if ledger is None else ledger.last_noted("backup.made")
    if place is not None:
        found = whole_backups(place)
        if found:
            at = read_manifest(found[-1]).taken_at
            yield well("backups", f"{len(found)} whole backups in {place}", number=len(found))
    remedy = "Make one: `dicom-node backup DIR --spool`, daily, to another disk (docs/operate.md)."
    if at is None:
        yield warning("backups", "No backup was ever made, as far as is known here", remedy)
        return
    age = datetime.now(UTC) - at
    told = f"The last backup was made on {at:%Y-%m-%d %H:%M} UTC"
    if age > timedelta(days=_BACKUP_DAYS):
        yield warning("backups", f"{told}, {age.days} days ago", remedy, at=at.isoformat())
    else:
        yield well("backups", told, at=at.isoformat())


def unreadable(area: str, error: Exception) -> Checked:
    """Return the line about what could not be looked at."""
    if isinstance(error, NodeError):
        return fault(area, error.message, error.remedy)
    # An OSError's text may quote a path, nothing else.
    return fault(
        area,
        f"It could not be looked at: {error}.",
        "Check the path, its owner and permissions; run this as the node's user.",
    )
