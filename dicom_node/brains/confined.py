"""What a process that computes somebody's network may reach: files to read that it was given.

Landlock (Linux 5.13; its rules for TCP 6.7, for signals 6.12) and seccomp. Neither needs a
privilege, and what was given up does not come back. A kernel without them gives up nothing: then
the limits of memory and time are what there is, and what engines themselves refuse.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, the same on every architecture; `linux/landlock.h`."""
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_DEVICE_CONTROL = 1 << 15
_FILE_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16))
"""From which version of Landlock on how many rights of files there are."""
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2

_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_SYSTEM = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/sys")
_PROCESS = ("self", "cpuinfo", "meminfo", "stat", "sys", "version", "filesystems", "driver")
"""In /proc; other processes have their secrets there."""


_KEPT = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "LANG", "TZ", "PYTHONHOME", "VIRTUAL_ENV",
         "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")  # fmt: skip
_KEPT_BEGINS = ("LC_", "CUDA_", "NVIDIA_", "TF_", "OMP_", "MKL_")
_HOMELESS = {"HOME": "/nonexistent", "KERAS_HOME": "/nonexistent", "KERAS_BACKEND": "tensorflow"}


def bare_environment() -> dict[str, str]:
    """Return what a process is told of ours: where its code is, and none of the node's secrets."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_BEGINS)
    }
    places = [str(Path(each).absolute()) for each in sys.path if each]
    places.append(str(Path(__file__).absolute().parents[2]))
    return {
        **kept,
        **_HOMELESS,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(places),
    }


def landlock_version() -> int:
    """Return which version of Landlock this kernel has; below 1: none."""
    library = ctypes.CDLL(None, use_errno=True)
    return int(library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def confine(files: Iterable[Path], *, device: str = "cpu") -> bool:
    """Give up everything but reading ``files`` (and what is in folders) and the libraries.

    For this thread and those that it starts. Nothing can be written or made, no program started
    and, with Linux 6.12, no signal sent. ``device``: another than ``cpu`` keeps what is in /dev.
    False: this kernel cannot do it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    version = landlock_version()
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if version < 1:
        return False
    rights = (1 << max(count for since, count in _FILE_RIGHTS if since <= version)) - 1
    rules = struct.pack("=QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    known = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = library.syscall(_CREATE_RULESET, rules[:known], ctypes.c_size_t(known), 0)
    if ruleset < 0:
        return False
    try:
        reading, using = _READ_FILE | _READ_DIR, _READ_FILE | _READ_DIR | _WRITE_FILE
        for path in (*map(Path, _SYSTEM), *_libraries(), *files):
            _allow(library, ruleset, path, reading)
        devices = _DEVICES if device == "cpu" else ("/dev",)
        for name in devices:
            _allow(library, ruleset, Path(name), (using | _DEVICE_CONTROL) & rights)
        return bool(library.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(library: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= ~_READ_DIR
        library.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, handle), 0)
    finally:
        os.close(handle)


def _libraries() -> Iterable[Path]:
    """Yield this process, Python and its packages; of a folder of sources this package alone.

    Beside sources, or in a home, there may be data.
    """
    yield Path(__file__).resolve().parent.parent
    yield from (Path("/proc", name) for name in _PROCESS)
    yield from map(Path, {sys.prefix, sys.base_prefix})
    for name in (*sys.path, *os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        path = Path(name)
        if name and (any(path.glob("*.dist-info")) or any(path.glob("*.so*"))):
            yield path


def give_up_sockets() -> None:
    """Refuse this thread, and those that it starts, every socket and what makes them unseen."""
    machine = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}.get(platform.machine())
    if machine is None:
        return
    architecture, socket = machine
    load, equal, at_least, told = 0x20, 0x15, 0x35, 0x06
    other_numbers, io_uring_setup = 0x40000000, 425
    lines = (
        (load, 0, 0, 4),
        (equal, 0, 4, architecture),
        (load, 0, 0, 0),
        (at_least, 2, 0, other_numbers),
        (equal, 1, 0, socket),
        (equal, 0, 1, io_uring_setup),
        (told, 0, 0, 0x00050001),  # EPERM
        (told, 0, 0, 0x7FFF0000),  # allowed
    )
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(held))
    library.prctl(_SECCOMP, _FILTER, program, 0, 0)
