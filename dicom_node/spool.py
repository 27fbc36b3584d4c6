"""Durable bytes, named by their SHA-256: temporary file, fsync, rename, fsync of the folder.

What `Spool.write` has returned survives a kill and a power loss. Names come from digests alone,
never from anything that was received. Beside a file that came from outside lies where it came from
(`sidecar`): synced and named before the bytes are, in the same folder, whose sync makes both names
durable.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from dicom_node.errors import (
    DiskFull,
    SpooledFileDamaged,
    SpooledFileMissing,
    SpoolUnreadable,
    SpoolUnwritable,
    Unavailable,
)
from dicom_node.records import Digest
from dicom_node.sidecar import MOST_BYTES, SUFFIX, Coming, decoded, encoded, joined

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OF_THE_FILE = frozenset({errno.EIO, errno.ELOOP, errno.EISDIR, None})
_MISREADINGS = 6
"""So often in a row an input/output error may be the disk's: half a minute, by a role's pauses."""

_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})
"""Another file system, or one that gives a file no second name."""

_TEMPORARY = "incoming"
_ROOM_STEP = 1 << 23
"""So many bytes more may come before the free space is looked at again."""

_SHARDS = tuple(f"{number:02x}" for number in range(256))
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is durable: its digest and its size in bytes."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What `Spool.sweep` found: left-overs removed, what stays, and files that no row names.

    ``named_bytes``: the size of all files but the ``unknown``.
    """

    removed_files: int
    removed_bytes: int
    named_bytes: int
    unknown: tuple[Stored, ...]


class Spool:
    """A folder of content-addressed files. Safe for several processes and threads.

    ``reserve_bytes`` of free space are left untouched: below them `write` raises `DiskFull`, so
    that the ledger and the results, which free space again, keep working.
    """

    def __init__(self, folder: Path, *, reserve_bytes: int = 0) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._temporary = folder / _TEMPORARY
        self._misread: dict[Digest, int] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (_TEMPORARY, *_SHARDS):
                (folder / name).mkdir(mode=0o700, exist_ok=True)
            for made in (folder, folder.parent):
                with _opened_folder(made) as descriptor:
                    os.fsync(descriptor)
        except OSError as error:
            raise SpoolUnwritable(
                f"The spool {folder} cannot be used: {error.strerror}."
            ) from error

    def path(self, digest: Digest) -> Path:
        """Return where the file of this digest is (or would be). Nothing is checked."""
        return self._folder / digest[:2] / digest

    def write(self, parts: bytes | Iterable[bytes], coming: Coming | None = None) -> Stored:
        """Store ``parts`` one after the other and return once they are durable.

        ``coming``: where they came from, durable with them. Raises `DiskFull` and
        `SpoolUnwritable`; no half-written file is left behind.
        """
        chunks = (parts,) if isinstance(parts, bytes) else tuple(parts)
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        with self.begin(sum(map(len, chunks)), Digest(digest.hexdigest())) as writing:
            for chunk in chunks:
                writing.write(chunk)
            return writing.finish(coming)

    def comings(self, digest: Digest) -> tuple[Coming, ...]:
        """Return where the bytes of ``digest`` came from, earliest first, as far as is known."""
        try:
            with _opened_folder(self.path(digest).parent) as descriptor:
                return _comings(descriptor, digest)
        except OSError:
            return ()

    def note(self, digest: Digest, comings: Iterable[Coming]) -> None:
        """Note beside a stored file where it came from too. Raises `DiskFull`, `SpoolUnwritable`.

        The note is durable once the folder of the file is synced.
        """
        temporary = self._temporary / f"{digest}.{os.getpid()}.{os.urandom(8).hex()}"
        with _translated(), _opened_folder(self.path(digest).parent) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _note(descriptor, self.path(digest), tuple(comings), temporary)

    def adopt(self, digest: Digest, file: Path) -> bool:
        """Give a file of the same file system, that holds the bytes of ``digest``, its name here.

        Returns False where it lies on another. Raises `SpoolUnwritable`.
        """
        try:
            with _translated(), _opened_folder(self.path(digest).parent) as descriptor:
                os.link(file, digest, dst_dir_fd=descriptor, follow_symlinks=False)
                os.fsync(descriptor)
        except SpoolUnwritable as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_LINK:
                return False
            raise
        return True

    def came_since(self, moment: float) -> Iterator[Digest]:
        """Name the files whose sidecar was written since then, in seconds of the epoch."""
        for shard in _SHARDS:
            for path, status in _listed(self._folder / shard):
                if path.suffix == SUFFIX and status.st_mtime >= moment:
                    yield Digest(path.stem)

    def begin(self, expected_bytes: int = 0, digest: Digest | None = None) -> Writing:
        """Begin a file whose bytes come piece by piece, hashed as they come unless that is done.

        Raises `DiskFull` and `SpoolUnwritable`.
        """
        temporary = f"{digest or 'streamed'}.{os.getpid()}.{os.urandom(8).hex()}"
        with _translated():
            self._refuse_without_room(expected_bytes)
            return Writing(self, self._temporary / temporary, expected_bytes, digest)

    @contextmanager
    def reading(self, digest: Digest) -> Iterator[Path]:
        """Give the path to who reads the file in the block; faults are told as `read` does."""
        path = self.path(digest)
        try:
            # Asked here: a parser's own complaint would not tell whose fault it is.
            os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
            yield path
            self._misread.pop(digest, None)
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise SpoolUnreadable("The spool folder is not there.") from error
            raise SpooledFileMissing(f"The stored file {digest} is missing.") from error
        except OSError as error:
            told = f"The stored file {digest} cannot be read: {error.strerror}."
            is_file = error.errno in _OF_THE_FILE and not self._may_pass(digest, error)
            raise (SpooledFileDamaged if is_file else SpoolUnreadable)(told) from error

    def _may_pass(self, digest: Digest, error: OSError) -> bool:
        """Whether an error may be the disk's of a moment; one that stays is a bad sector's."""
        self._misread[digest] = self._misread.get(digest, 0) + 1
        return error.errno == errno.EIO and self._misread[digest] <= _MISREADINGS

    def read(self, digest: Digest) -> bytes:
        """Return the bytes of ``digest``, checked against it.

        Raises `SpooledFileMissing`, `SpooledFileDamaged` and `SpoolUnreadable`.
        """
        with self.reading(digest) as path:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                data = file.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise SpooledFileDamaged(f"The stored file {digest} is not what was received.")
        return data

    def remove(self, digest: Digest, *, min_age_seconds: float = 0.0) -> int:
        """Remove the file of ``digest`` if it is there and return the bytes that became free.

        A file written less than ``min_age_seconds`` ago stays: the same bytes have just come again
        and their row may be about to follow. Raises `SpoolUnwritable`.
        """
        path = self.path(digest)
        try:
            with _opened_folder(path.parent) as descriptor:
                # No writer renames between the look at the age and the removal.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                status = path.lstat()
                if status.st_mtime > time.time() - min_age_seconds:
                    return 0
                path.unlink()
                with suppress(FileNotFoundError):
                    os.unlink(digest + SUFFIX, dir_fd=descriptor)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise SpoolUnwritable(
                f"The stored file {digest} cannot be removed: {error.strerror}."
            ) from error
        return status.st_size

    def holds_files(self) -> bool:
        """Whether anything is stored."""
        return any(True for _ in self._files())

    def free_bytes(self) -> int:
        """Return the free space of the file system that an unprivileged user may fill."""
        return shutil.disk_usage(self._folder).free

    def sweep(
        self, known: Callable[[str], frozenset[Digest]], *, min_age_seconds: float = 3600.0
    ) -> Swept:
        """Remove interrupted writes and name the files that ``known`` does not have.

        It is asked for each shard: digests that begin with the same two digits.

        Files younger than ``min_age_seconds`` are left alone: their row may be about to follow.
        """
        oldest = time.time() - min_age_seconds
        removed_files = removed_bytes = 0
        for path, status in _listed(self._temporary):
            if status.st_mtime <= oldest:
                # What the spool did not write (a folder, say) stays, and stops nothing.
                with suppress(OSError):
                    path.unlink()
                    removed_files += 1
                    removed_bytes += status.st_size
        unknown: list[Stored] = []
        named_bytes = 0
        for shard in _SHARDS:
            named = known(shard)
            listed = list(_listed(self._folder / shard))
            self._remove_lonely(listed, oldest)
            for path, status in _stored(listed):
                if path.name not in named and status.st_mtime <= oldest:
                    unknown.append(Stored(Digest(path.name), status.st_size))
                else:
                    named_bytes += status.st_size
        return Swept(removed_files, removed_bytes, named_bytes, tuple(unknown))

    def _files(self, *shards: str) -> Iterator[tuple[Path, os.stat_result]]:
        for name in shards or _SHARDS:
            yield from _stored(_listed(self._folder / name))

    def _remove_lonely(self, listed: Sequence[tuple[Path, os.stat_result]], oldest: float) -> None:
        """Remove sidecars whose bytes never came, or are gone."""
        names = {path.name for path, _ in listed}
        for path, status in listed:
            lonely = path.suffix == SUFFIX and path.stem not in names
            if lonely and status.st_mtime <= oldest:
                with suppress(OSError), _opened_folder(path.parent) as descriptor:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    # Its bytes may have come since, and have found it there.
                    if not path.with_suffix("").exists():
                        path.unlink()

    def scratch(self) -> BinaryIO:
        """Return a file without a name where the spool is: gone once it is closed.

        Raises `DiskFull` and `SpoolUnwritable`.
        """
        with _translated():
            self._refuse_without_room(0)
            return TemporaryFile(dir=self._temporary)

    def _refuse_without_room(self, size_bytes: int) -> None:
        free = self.free_bytes()
        if free - size_bytes < self._reserve_bytes:
            raise DiskFull(
                f"{free} bytes are free where the spool is; {size_bytes} and a reserve of "
                f"{self._reserve_bytes} are needed."
            )


class Writing(AbstractContextManager["Writing"]):
    """A file of the spool that is being written, durable under its name once it is finished.

    Left without `finish`, or after an error, it is gone. One thread at a time.
    """

    def __init__(
        self, spool: Spool, temporary: Path, expected_bytes: int, digest: Digest | None
    ) -> None:
        self.size_bytes, self._room_until = 0, expected_bytes
        self._spool, self._temporary, self._finished = spool, temporary, False
        self._digest, self._hash = digest, hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor: int | None = os.open(temporary, flags, 0o600)

    def write(self, chunk: bytes | memoryview) -> None:
        """Add a piece. Raises `DiskFull` and `SpoolUnwritable`."""
        assert self._descriptor is not None
        with self._giving_up():
            self.size_bytes += len(chunk)
            if self.size_bytes > self._room_until:
                self._spool._refuse_without_room(len(chunk))
                self._room_until = self.size_bytes + _ROOM_STEP
            if self._digest is None:
                self._hash.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def digest(self) -> Digest:
        """Return the digest of what was written so far."""
        return self._digest or Digest(self._hash.hexdigest())

    def opened(self) -> BinaryIO:
        """Open for reading what was written so far. Raises `SpoolUnwritable`."""
        with self._giving_up():
            return self._temporary.open("rb")

    def finish(self, coming: Coming | None = None) -> Stored:
        """Make the file durable under its name, and with it where it came from.

        Raises `DiskFull` and `SpoolUnwritable`.
        """
        assert self._descriptor is not None
        stored = Stored(self.digest(), self.size_bytes)
        final = self._spool.path(stored.digest)
        with self._giving_up():
            os.fsync(self._descriptor)
            self._close()
            with _opened_folder(final.parent) as descriptor:
                # Shared with other writers, against `remove`: see there. Who notes where bytes came
                # from may have to add to what another has noted.
                fcntl.flock(descriptor, fcntl.LOCK_SH if coming is None else fcntl.LOCK_EX)
                if coming is not None:
                    _note(descriptor, final, (coming,), self._temporary)
                self._temporary.rename(final)
                os.fsync(descriptor)
        self._finished = True
        return stored

    def discard(self) -> None:
        """Remove what was written, unless it is finished."""
        if not self._finished:
            self._close()
            with suppress(OSError):
                self._temporary.unlink()

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        # After a failed fsync the kernel may have dropped the dirty pages: the file is given up,
        # never synced again (fault 55).
        try:
            with _translated():
                yield
        except Unavailable:
            self.discard()
            raise


def _comings(folder: int, name: str) -> tuple[Coming, ...]:
    """Read the sidecar of a file in an opened folder; what is none of ours tells nothing."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name + SUFFIX, flags, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return decoded(file.read(MOST_BYTES))
    except OSError:
        return ()


def _note(folder: int, final: Path, comings: Sequence[Coming], temporary: Path) -> None:
    """Write beside a file of an opened folder where it came from, unless that is known."""
    known = _comings(folder, final.name)
    every = joined(known, comings)
    if every == known:
        return
    beside = temporary.with_suffix(SUFFIX)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600)
        try:
            view = memoryview(encoded(every))
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.rename(final.with_suffix(SUFFIX))
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def _stored(
    listed: Iterable[tuple[Path, os.stat_result]],
) -> Iterator[tuple[Path, os.stat_result]]:
    # Whatever else a person or a file system put there is none of ours.
    for path, status in listed:
        if _DIGEST.fullmatch(path.name) and stat.S_ISREG(status.st_mode):
            yield path, status


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may have moved or removed it since.
            with suppress(FileNotFoundError):
                yield Path(entry.path), entry.stat(follow_symlinks=False)


@contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull("The disk of the spool is full.") from error
        raise SpoolUnwritable(f"The spool cannot be written: {error.strerror}.") from error
