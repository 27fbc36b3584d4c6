"""The machine that the node is on: versions, memory, limits, confinement, clock."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # pysqlite3 if it is there

from dicom_node import __version__
from dicom_node.brains.confined import landlock_version
from dicom_node.errors import SqliteAffected
from dicom_node.ledger.opening import refuse_affected
from dicom_node.line.doctor.checked import Checked, fault, warning, well
from dicom_node.settings import Settings

_PACKAGES = (
    "pydicom", "pynetdicom", "highdicom", "tensorflow", "keras", "openvino", "onnxruntime", "numpy",
    "imagecodecs", "pillow", "sqlite-utils", "uvicorn", "starlette", "fastapi", "pydantic",
)  # fmt: skip
_FILES = 4096
"""Open files that a role should be allowed: two a connection, and what the ledger needs."""

_MEMORY_GB = 4.0
_FIRST_YEAR = 2026
"""This program is not older: a clock that says so was never set."""

_ASK_SECONDS = 5.0


def versions() -> Iterator[Checked]:
    """Tell which program this is, and of what it is made."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    told = f"dicom-node {__version__}, Python {platform.python_version()}"
    yield well("versions", f"{told}, SQLite {sqlite3.sqlite_version}", **{
        "dicom-node": __version__, "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version, "packages": found,
    })  # fmt: skip
    try:
        refuse_affected(sqlite3.sqlite_version_info)
    except SqliteAffected as error:
        yield fault("versions", error.message, error.remedy)


def machine() -> Iterator[Checked]:
    """Tell what machine it is, and whether it lets the node have what it needs."""
    kernel, cores = platform.release(), len(os.sched_getaffinity(0))
    memory = _memory_gb()
    told = f"{platform.system()} {kernel} on {platform.machine()}, {cores} cores, {memory:.1f} GB"
    facts = {"kernel": kernel, "cores": cores, "memory_gb": round(memory, 1)}
    if memory < _MEMORY_GB:
        remedy = f"Give the machine {_MEMORY_GB:.0f} GB or more; networks need two a worker."
        yield warning("machine", f"{told}: little memory", remedy, **facts)
    else:
        yield well("machine", told, **facts)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        remedy = "Raise it: LimitNOFILE=65536 in the service's unit, or `ulimit -n`."
        yield warning("machine", f"A process may open {hard} files at most", remedy, files=hard)
    else:
        yield well("machine", f"A process may open {soft} files, {hard} if it asks", files=hard)


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def confinement() -> Iterator[Checked]:
    """Tell whether the kernel can keep networks that others made from the node's files."""
    version, seccomp = landlock_version(), Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    if version >= 1 and seccomp:
        yield well("confinement", f"Landlock {version} and seccomp", landlock=version)
        return
    lacking = " and ".join(
        name for name, there in (("Landlock", version >= 1), ("seccomp", seccomp)) if not there
    )
    remedy = (
        "Use Linux 5.13 or later with both in the kernel; until then run only networks that you"
        " trust: they are kept apart by limits of memory and time alone."
    )
    yield warning("confinement", f"This kernel has no {lacking}", remedy, landlock=version)


def clock(settings: Settings | None) -> Iterator[Checked]:
    """Tell what time it is here, whether anybody sets the clock, and in which zone times are."""
    now = datetime.now(UTC)
    local = datetime.now(None if settings is None else settings.node.zone).astimezone()
    told = f"{now:%Y-%m-%d %H:%M:%S} UTC, zone {local.tzname()}"
    facts = {"now": now.isoformat(), "zone": str(local.tzname())}
    if now.year < _FIRST_YEAR:
        remedy = "Set the clock, and let NTP keep it: certificates and dates of results need it."
        yield fault("clock", f"{told}: it was never set", remedy, **facts)
        return
    kept = _is_kept()
    if kept is False:
        remedy = "Let NTP keep it: `timedatectl set-ntp true`, or chrony; logs are compared by it."
        yield warning("clock", f"{told}: nobody keeps it", remedy, **facts, ntp=False)
    else:
        how = "kept by NTP" if kept else "who keeps it cannot be told here"
        yield well("clock", f"{told}, {how}", **facts, ntp=kept)
    if local.utcoffset() != now.astimezone().utcoffset():
        yield well("clock", "The site's zone (node.timezone) is another than the machine's")


def _is_kept() -> bool | None:
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True, text=True, check=True, timeout=_ASK_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def installation() -> Iterator[Checked]:
    """Tell where the program lies, and who runs this."""
    yield well("versions", f"Runs by {sys.executable} as user {os.geteuid()}", uid=os.geteuid())
    if os.geteuid() == 0:
        remedy = "Run the node as a user of its own (docs/install.md), and commands as that user."
        yield warning("permissions", "This was run as root", remedy)
