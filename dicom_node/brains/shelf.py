"""Exported functions that are kept, so that the next start neither traces nor loads TensorFlow.

A folder of the shelf is named by the digest of all that its functions follow from: networks and
their weights, questions, engine, versions and the code that traces. A folder that is not as it was
written is not taken. What cannot be kept is made again next time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dicom_node.brains.exported import Contents, read_contents
from dicom_node.brains.proof import Question
from dicom_node.bundles import MANIFEST, digest_of

_KEPT = 3
"""How many folders stay: those taken last. More are of weights or versions long gone."""

_LEFT_BEHIND_SECONDS = 3600.0
_NEW, _BEGUN = ".new-", "dicom-node-engine-"

_MADE_BY = ("dicom-node", "keras", "tensorflow", "openvino", "numpy")
_TRACES = ("brains", "bundles", "networks")
"""Rooms whose code decides what a function computes."""


class Shelf:
    """Folders of exported functions below ``folder``; None: nothing is kept.

    Nor is anything where what ``folder`` lies in is not there: a command without a node makes no
    data folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder if folder is not None and folder.parent.is_dir() else None

    @contextmanager
    def functions(self, name: str, make: Callable[[Path], None]) -> Iterator[tuple[Path, Contents]]:
        """Give the folder of this name, ``make`` it if there is none, and what it holds.

        It may be gone when the block ends. Raises as ``make``, and OSError.
        """
        if (kept := self._find(name)) is not None:
            yield kept
            return
        _tidy()
        with tempfile.TemporaryDirectory(prefix=_BEGUN, ignore_cleanup_errors=True) as made:
            folder = Path(made)
            make(folder)
            contents = read_contents(folder)
            if contents is None:
                raise OSError(f"What was written to {folder} is not there.")
            self._keep(folder, name)
            yield folder, contents

    def _find(self, name: str) -> tuple[Path, Contents] | None:
        if self._folder is None or (contents := read_contents(self._folder / name)) is None:
            return None
        with suppress(OSError):
            (self._folder / name).touch()
        return self._folder / name, contents

    def _keep(self, made: Path, name: str) -> None:
        """Keep a copy of a folder, and forget those that nobody took lately."""
        # What another worker has kept meanwhile stays: a third may be reading it.
        if self._folder is None or self._find(name) is not None:
            return
        with suppress(OSError):  # no room, no right, another worker was faster: nothing is kept
            self._folder.mkdir(mode=0o700, exist_ok=True)
            shutil.rmtree(self._folder / name, ignore_errors=True)
            with tempfile.TemporaryDirectory(
                dir=self._folder, prefix=_NEW, ignore_cleanup_errors=True
            ) as beside:
                copy = shutil.copytree(made, Path(beside) / name)
                copy.rename(self._folder / name)
            self._forget(self._folder)

    def _forget(self, folder: Path) -> None:
        ages = {path: time.time() - path.stat().st_mtime for path in folder.iterdir()}
        kept = [path for path in ages if not path.name.startswith(_NEW)]
        old = sorted(kept, key=lambda path: ages[path])[_KEPT:]
        lost = [path for path in ages if path not in kept and ages[path] > _LEFT_BEHIND_SECONDS]
        for path in (*old, *lost):
            shutil.rmtree(path, ignore_errors=True)


def _tidy() -> None:
    """Remove what processes that were killed meanwhile had begun to make."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{_BEGUN}*"):
            if time.time() - path.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def identity(asked: Sequence[Question]) -> str:
    """Return the digest of all that the functions of these questions follow from."""
    document = {
        "questions": [
            [one.name, one.films.shape, hashlib.sha256(one.films.tobytes()).hexdigest()]
            for one in asked
        ],
        "models": [
            [
                [bundle.id, bundle.manifest.weights.digest, digest_of(bundle.folder / MANIFEST)]
                for bundle in one.model.bundles
            ]
            + [[*one.model.asked], sorted(one.model.mapped.items())]
            for one in asked
        ],
        "made by": {name: _version(name) for name in _MADE_BY},
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _code() -> str:
    package = Path(__file__).parents[1]
    files = sorted(path for room in _TRACES for path in (package / room).rglob("*.py"))
    return hashlib.sha256("".join(map(digest_of, files)).encode()).hexdigest()
