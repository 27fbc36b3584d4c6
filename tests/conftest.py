"""What all tests share: where the films are, the Debian peers, small disks, strict logging."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # noqa: F401 - see below

from dicom_node import logs
from dicom_node.imaging.phantom import Phantom, phantom

# TensorFlow brings a SQLite of its own, and whichever is loaded first serves the whole process. The
# roles open their ledger before they load a network; so must tests, in whatever order they run.

CHECKOUT = Path(__file__).parents[1]
IN_CI = bool(os.environ.get("CI"))

# No clock and no luck in the default suite: the same examples every time.
hypothesis.settings.register_profile("default-suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("default-suite")


MEMORY = Path("/dev/shm")
ROOM_BYTES = 4_000_000_000
"""What the folders of a run may hold, the disk space that a node wants among it."""


def pytest_configure() -> None:
    """Let ``tmp_path`` lie in memory where there is room: nothing here outlives the machine.

    On a disk each of some ten thousand commits and syncs takes milliseconds. That they are made,
    and in which order, is shown by their system calls.
    """
    # ONNX Runtime would tell its maker that tests use it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


LONGEST_FIRST = (
    "node/test_crashes.py", "node/test_house_ill.py", "node/test_shared_films.py",
    "viewers/test_viewers.py", "test_training.py", "test_network_backends.py",
    "receiving/test_durability.py", "node/test_answer.py", "test_by_hand.py",
    "node/test_serving.py", "test_transfer.py", "test_networks.py", "test_gate.py",
    "test_analysis.py", "test_bundles.py", "receiving/test_stalls.py",
    "receiving/test_large_objects.py", "test_packaging.py", "test_ledger_processes.py",
)  # fmt: skip
"""Files that keep one worker busy for long: one begun last would leave the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, then those of many tests; files stay whole."""
    files = [str(item.path.relative_to(CHECKOUT / "tests")) for item in items]
    many, first = Counter(files), {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    ranks = [(first.get(name, len(first)), -many[name]) for name in files]
    order = sorted(range(len(items)), key=lambda index: ranks[index])
    items[:] = [items[index] for index in order]


def debian(name: str) -> Path:
    """Return the program ``name`` of a Debian package: skip without it, but fail in CI."""
    folders = [Path(folder) for folder in ("/usr/bin", "/usr/sbin", "/bin")]
    found = next((folder / name for folder in folders if (folder / name).exists()), None)
    if found is None:
        missing(f"{name} is not installed (Debian packages dcmtk, orthanc, dicom3tools, strace)")
    return found


def orthanc_plugin(package: str) -> str:
    """Return the path of the plugin of a Debian package: skip without it, but fail in CI."""
    names = {"orthanc-dicomweb": "OrthancDicomWeb", "orthanc-webviewer": "OrthancWebViewer"}
    plugin = Path(f"/usr/share/orthanc/plugins/lib{names[package]}.so")
    if not plugin.exists():
        missing(f"A plugin of Orthanc is not installed (Debian package {package})")
    return str(plugin)


def missing(what: str) -> NoReturn:
    """Skip the test that needs what is missing; in CI nothing may be missing."""
    if IN_CI:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(autouse=True)
def _peers(request: pytest.FixtureRequest) -> None:
    """``@pytest.mark.pacs("storescu", "strace")`` names the programs that a test runs."""
    for marker in request.node.iter_markers("pacs"):
        for name in marker.args:
            debian(name)


@pytest.fixture(autouse=True)
def _strict_logging() -> None:
    """An event or field that the catalogue does not have fails the test that logs it."""
    logs.configure(strict=True)


@functools.lru_cache(maxsize=64)
def _drawn(seed: int, opacities: tuple[tuple[str, float], ...], **size: int) -> Phantom:
    return phantom(seed, opacities=dict(opacities), **size)


@pytest.fixture
def phantoms_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms of the same arguments share a picture, for tests of what is made from films."""

    def shared(
        seed: int = 0, *, opacities: Mapping[str, float] | None = None, **size: int
    ) -> Phantom:
        return _drawn(seed, tuple((opacities or {}).items()), **size)

    monkeypatch.setattr("dicom_node.imaging.phantom.phantom", shared)


def data_folder() -> Path | None:
    """Return the folder of the shared data, or None without it."""
    folder = Path(os.environ.get("DICOM_NODE_DATA") or CHECKOUT.parent / "shared" / "data")
    return folder if (folder / "dicom").is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds ``cxr/`` and ``dicom/``: for what only real films show."""
    folder = data_folder()
    if folder is None:
        pytest.skip("needs real films: set DICOM_NODE_DATA to the folder with cxr/ and dicom/")
    return folder


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds ``dicom/``: the real films, or phantoms that stand in for them."""
    from tests.standins import write_standins

    return data_folder() or write_standins(tmp_path_factory.mktemp("standins"))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the keys and certificates of `tests.certificates`."""
    from tests.certificates import make_keys

    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: for tests of logic, whose fsync need not be real."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system of so many bytes (``"2m"``) and gives its folder.

    Needs the right to mount: skipped without.
    """
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("this user may not mount a small file system")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def remount() -> Callable[[Path, str], None]:
    """Return a function that changes how a small disk is mounted (``"ro"``)."""

    def change(folder: Path, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)

    return change
