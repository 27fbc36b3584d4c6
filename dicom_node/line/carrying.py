"""Stored files from one spool to another: into a backup, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dicom_node.errors import SpooledFileDamaged, SpooledFileMissing
from dicom_node.line.backup_files import Told
from dicom_node.records import Digest
from dicom_node.spool import Spool

_CHUNK = 1 << 20
_TELL_EVERY = 100


@dataclass(slots=True)
class Carried:
    """What became of stored files: new here, here before, not there, not what they were."""

    new: int = 0
    known: int = 0
    missing: list[Digest] = field(default_factory=list)
    damaged: list[Digest] = field(default_factory=list)


def carry_all(
    digests: Iterable[Digest], source: Spool, target: Spool, told: Told, what: str, many: int
) -> Carried:
    """Carry files from ``source`` to ``target`` that are not there yet, durably, and their notes.

    On one file system a file gets a second name; else it is copied, and compared with its digest.
    Raises `DiskFull`, `SpoolUnwritable` and `SpoolUnreadable`.
    """
    found = Carried()
    for number, digest in enumerate(digests):
        if number % _TELL_EVERY == 0:
            told(what, number, many)
        try:
            if _carry(digest, source, target):
                found.new += 1
            else:
                found.known += 1
        except SpooledFileMissing:
            found.missing.append(digest)
        except SpooledFileDamaged:
            found.damaged.append(digest)
    told(what, many, many)
    return found


def _carry(digest: Digest, source: Spool, target: Spool) -> bool:
    """Carry one file; return whether it was new. Raises `SpooledFileMissing` and ...`Damaged`."""
    if target.path(digest).exists():
        _carry_note(digest, source, target)
        return False
    with source.reading(digest) as path:
        _carry_note(digest, source, target)
        if not target.adopt(digest, path):
            with target.begin(path.stat().st_size) as writing, path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    writing.write(chunk)
                if writing.digest() != digest:
                    raise SpooledFileDamaged(f"The stored file {digest} is not what was received.")
                writing.finish()
    return True


def _carry_note(digest: Digest, source: Spool, target: Spool) -> None:
    if comings := source.comings(digest):
        target.note(digest, comings)
