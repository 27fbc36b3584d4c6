"""Durable bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node.errors import (
    DiskFull,
    SpooledFileDamaged,
    SpooledFileMissing,
    SpoolUnreadable,
    SpoolUnwritable,
)
from dicom_node.records import Digest
from dicom_node.spool import Spool
from tests.conftest import CHECKOUT

WRITE = """
import sys
from pathlib import Path
from dicom_node.errors import NodeError
from dicom_node.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    try:
        print(spool.write(b"film %d " % number * 1000).digest, flush=True)
    except NodeError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(folder)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def write_under_strace(
    tmp_path: Path, folder: Path, times: int, *options: str
) -> tuple[list[str], list[str]]:
    """Return what the writer said, and the lines of the trace."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-o", str(trace), *options]
    command += [sys.executable, "-c", WRITE, str(folder), str(times)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=CHECKOUT, env=environment
    )
    return told.stdout.split(), trace.read_text("utf-8", "replace").splitlines()


def test_what_was_written_is_read_back(spool: Spool) -> None:
    stored = spool.write((b"head", b"", memoryview(b"body")))
    assert stored.size_bytes == 8
    assert stored.digest == digest_of(b"headbody")
    assert spool.read(stored.digest) == b"headbody"


def test_an_empty_object_is_an_object(spool: Spool) -> None:
    assert spool.read(spool.write(b"").digest) == b""


def test_the_same_bytes_are_one_file(spool: Spool, folder: Path) -> None:
    assert spool.write(b"film") == spool.write((b"fi", b"lm"))
    (path,) = files_in(folder)
    assert path.stat().st_size == 4


def test_names_come_from_the_digest_alone(spool: Spool, folder: Path) -> None:
    stored = spool.write(b"../../etc/passwd\0DOE^JANE")
    (path,) = files_in(folder)
    assert path == folder / stored.digest[:2] / stored.digest
    assert re.fullmatch(r"[0-9a-f]{64}", path.name)


def test_only_the_owner_may_look(folder: Path) -> None:
    mask = os.umask(0)
    try:
        spool = Spool(folder)
        path = spool.path(spool.write(b"film").digest)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o600
    for made in (folder, folder / "incoming", path.parent):
        assert made.stat().st_mode & 0o777 == 0o700


def test_a_planted_link_is_replaced_not_followed(spool: Spool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    path = spool.path(digest_of(b"film"))
    path.symlink_to(victim)
    with pytest.raises(SpooledFileDamaged):
        spool.read(digest_of(b"film"))
    spool.write(b"film")
    assert not path.is_symlink()
    assert victim.read_bytes() == b"untouched"


def test_removing_a_planted_link_removes_the_link(spool: Spool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    spool.path(digest_of(b"film")).symlink_to(victim)
    spool.remove(digest_of(b"film"))
    assert victim.exists()


def test_a_missing_file_says_so(spool: Spool) -> None:
    with pytest.raises(SpooledFileMissing):
        spool.read(digest_of(b"never"))


@pytest.mark.parametrize("damage", [b"fi1m", b"fil", b"films", b""])
def test_a_damaged_file_is_never_returned(spool: Spool, damage: bytes) -> None:
    digest = spool.write(b"film").digest
    spool.path(digest).write_bytes(damage)
    with pytest.raises(SpooledFileDamaged):
        spool.read(digest)


def test_a_film_is_not_charged_with_a_disk_that_fails_for_a_moment(spool: Spool) -> None:
    digest = spool.write(b"film").digest

    def misread() -> None:
        with spool.reading(digest):
            raise OSError(errno.EIO, "Input/output error")

    for _ in range(3):
        with pytest.raises(SpoolUnreadable):
            misread()
    assert spool.read(digest) == b"film"
    for _ in range(6):
        with pytest.raises(SpoolUnreadable):
            misread()
    with pytest.raises(SpooledFileDamaged):  # it stays so: a bad sector
        misread()


def test_a_damaged_file_is_healed_when_its_bytes_come_again(spool: Spool) -> None:
    digest = spool.write(b"film").digest
    spool.path(digest).write_bytes(b"fi1m")
    spool.write(b"film")
    assert spool.read(digest) == b"film"


def test_removing_tells_what_became_free(spool: Spool, folder: Path) -> None:
    digest = spool.write(b"film").digest
    assert spool.remove(digest) == 4
    assert spool.remove(digest) == 0
    assert files_in(folder) == []


def test_a_file_that_just_came_again_is_not_removed(spool: Spool) -> None:
    digest = spool.write(b"film").digest
    os.utime(spool.path(digest), (0, 0))
    spool.write(b"film")
    assert spool.remove(digest, min_age_seconds=60) == 0
    assert spool.read(digest) == b"film"


def test_writing_and_removing_at_the_same_time_never_loses_a_fresh_file(spool: Spool) -> None:
    digest, stop, lost = digest_of(b"film"), threading.Event(), []

    def remover() -> None:
        while not stop.is_set():
            spool.remove(digest, min_age_seconds=60)

    thread = threading.Thread(target=remover)
    thread.start()
    for _ in range(200):
        spool.write(b"film")
        if not spool.path(digest).exists():
            lost.append(digest)
        os.utime(spool.path(digest), (0, 0))
    stop.set()
    thread.join()
    assert not lost


def test_the_sweep_removes_old_left_overs_and_leaves_young_ones(spool: Spool, folder: Path) -> None:
    old, young = folder / "incoming" / "old", folder / "incoming" / "young"
    old.write_bytes(b"half")
    young.write_bytes(b"half a film")
    os.utime(old, (0, 0))
    swept = spool.sweep(lambda _: frozenset())
    assert (swept.removed_files, swept.removed_bytes) == (1, 4)
    assert not old.exists()
    assert young.exists()


def test_the_sweep_names_old_files_without_a_row_and_removes_none(spool: Spool) -> None:
    known, unknown, young = (spool.write(data) for data in (b"a", b"bb", b"ccc"))
    for stored in (known, unknown):
        os.utime(spool.path(stored.digest), (0, 0))
    swept = spool.sweep(lambda _: frozenset({known.digest}))
    assert (swept.unknown, swept.named_bytes) == ((unknown,), 1 + 3)
    swept = spool.sweep(lambda _: frozenset({known.digest}), min_age_seconds=0)
    assert (set(swept.unknown), swept.named_bytes) == ({unknown, young}, 1)
    assert spool.read(unknown.digest) == b"bb"


def test_the_sweep_leaves_alone_what_is_none_of_ours(spool: Spool, folder: Path) -> None:
    stranger = folder / "00" / "lost+found"
    stranger.write_bytes(b"?")
    os.utime(stranger, (0, 0))
    swept = spool.sweep(lambda _: frozenset())
    assert (swept.unknown, swept.named_bytes) == ((), 0)


def test_below_the_reserve_nothing_is_written(folder: Path) -> None:
    spool = Spool(folder, reserve_bytes=2**62)
    with pytest.raises(DiskFull, match="reserve"):
        spool.write(b"film")
    assert files_in(folder) == []


def test_a_full_disk_leaves_nothing_and_recovers_by_itself(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("6m")
    spool = Spool(disk / "spool")
    # Room seems to be there, and is gone while writing: another program fills the disk.
    spool._refuse_without_room = lambda size_bytes: None  # type: ignore[method-assign]
    free = spool.free_bytes()
    with pytest.raises(DiskFull):
        spool.write(bytes(10 << 20))
    assert files_in(disk) == []
    assert spool.free_bytes() == free
    assert spool.write(bytes(4 << 20)).size_bytes == 4 << 20


def test_a_file_larger_than_the_free_space_is_refused_before_a_byte_is_written(
    small_disk: Callable[[str], Path],
) -> None:
    spool = Spool(small_disk("6m") / "spool", reserve_bytes=1 << 20)
    with pytest.raises(DiskFull):
        spool.write(bytes(10 << 20))
    with pytest.raises(DiskFull):
        spool.write(bytes(5 << 20) + b"!")
    spool.write(bytes(4 << 20))


def test_a_spool_that_vanished_is_unwritable_not_a_stack_trace(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("2m")
    spool = Spool(disk / "spool")
    digest = spool.write(b"film").digest
    subprocess.run(["umount", "-l", str(disk)], check=True)
    with pytest.raises(SpoolUnwritable):
        spool.write(b"film")
    with pytest.raises(SpoolUnreadable):  # of the house: no film is told to be missing
        spool.read(digest)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)


def test_a_read_only_disk_is_refused_with_a_remedy(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("2m")
    spool = Spool(disk / "spool")
    digest = spool.write(b"film").digest
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(SpoolUnwritable) as refused:
        spool.write(b"other")
    assert "mount" in refused.value.remedy
    with pytest.raises(SpoolUnwritable):
        spool.remove(digest)
    with pytest.raises(SpoolUnwritable):
        Spool(disk / "another")
    assert spool.read(digest) == b"film"


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(SpoolUnwritable):
        Spool(tmp_path / "spool")


def test_many_threads_write_the_same_and_other_bytes(spool: Spool, folder: Path) -> None:
    def work(number: int) -> None:
        for each in range(20):
            spool.write(b"film %d" % (each % 5 if number % 2 else each))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files_in(folder)) == 20
    assert all(spool.read(Digest(path.name)) for path in files_in(folder))


@pytest.mark.pacs("strace")
def test_bytes_are_durable_in_the_order_that_survives_a_power_loss(
    tmp_path: Path, folder: Path
) -> None:
    Spool(folder)
    options = ["-e", "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2"]
    said, trace = write_under_strace(tmp_path, folder, 1, *options)
    (digest,) = said
    temporary, shard = f"{folder}/incoming/{digest}", f"{folder}/{digest[:2]}"
    told = re.escape(digest)
    steps = [
        rf"write\(\d+<{re.escape(temporary)}.* = \d+$",
        rf"fsync\(\d+<{re.escape(temporary)}.* = 0$",
        rf'rename\w*\(.*"{re.escape(temporary)}.*{re.escape(shard)}/{told}".* = 0$',
        rf"fsync\(\d+<{re.escape(shard)}>\).* = 0$",
        rf'write\(1<.*"{told[:16]}',
    ]
    places = [max(i for i, line in enumerate(trace) if re.search(step, line)) for step in steps]
    assert places == sorted(places)


# Making the spool synchronises two folders first; then the film's file, then its folder.
SYNC_OF_FILE, SYNC_OF_FOLDER = 3, 4


@pytest.mark.pacs("strace")
@pytest.mark.parametrize(
    ("call", "error", "expected"),
    [
        (f"fsync:when={SYNC_OF_FILE}", "EIO", "SpoolUnwritable"),
        (f"fsync:when={SYNC_OF_FILE}", "ENOSPC", "DiskFull"),
        ("write:when=1", "EIO", "SpoolUnwritable"),
        ("write:when=1", "ENOSPC", "DiskFull"),
        ("rename:when=1", "EDQUOT", "DiskFull"),
        ("rename:when=1", "EIO", "SpoolUnwritable"),
    ],
)
def test_a_call_that_fails_leaves_nothing_and_the_next_film_is_stored(
    tmp_path: Path, folder: Path, call: str, error: str, expected: str
) -> None:
    said, _ = write_under_strace(tmp_path, folder, 2, "-e", f"inject={call}:error={error}")
    assert said[0] == expected
    assert [path.name for path in files_in(folder)] == [said[1]]


@pytest.mark.pacs("strace")
def test_a_folder_that_cannot_be_synchronised_is_never_called_durable(
    tmp_path: Path, folder: Path
) -> None:
    call = f"fsync:when={SYNC_OF_FOLDER}:error=EIO"
    said, _ = write_under_strace(tmp_path, folder, 1, "-e", f"inject={call}")
    assert said == ["SpoolUnwritable"]
    # The file is whole, and perhaps another sender's: the sweep finds it, nothing removes it here.
    (path,) = files_in(folder)
    assert path.name == digest_of(path.read_bytes())


@pytest.mark.pacs("strace")
@pytest.mark.parametrize("call", ["rename", "fsync", "write"])
def test_a_kill_at_any_call_leaves_only_whole_files_under_their_names(
    tmp_path: Path, folder: Path, call: str
) -> None:
    for number in range(1, 8, 2):
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        said, _ = write_under_strace(tmp_path, folder, 3, "-e", inject)
        spool = Spool(folder)
        for digest in said:
            spool.read(Digest(digest))
        for path in files_in(folder):
            assert path.parent.name == "incoming" or path.name == digest_of(path.read_bytes())
        spool.sweep(lambda _: frozenset(), min_age_seconds=0)
        assert not list((folder / "incoming").iterdir())
