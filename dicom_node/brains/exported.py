"""A folder of exported functions: what it holds, and whether that is still what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from dicom_node.brains import Answers
from dicom_node.bundles import digest_of

CONTENTS, ANSWERS = "contents.json", "answers.npz"


class _Document(BaseModel):
    """The file `CONTENTS`: outputs by function, digests by file."""

    outputs: dict[str, tuple[str, ...]]
    files: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What a folder of functions holds.

    ``outputs``: by function, its outputs by `models.key`, in their order. ``expected``: by
    function, what Keras answers to its question (`dicom_node.brains.proof`).
    """

    outputs: Mapping[str, tuple[str, ...]]
    expected: Mapping[str, Answers]


def write_contents(folder: Path, contents: Contents) -> None:
    """Write what the folder holds beside its functions, with every file's digest."""
    arrays = {
        f"{function}:{place}": contents.expected[function][name]
        for function, names in contents.outputs.items()
        for place, name in enumerate(names)
    }
    np.savez(folder / ANSWERS, **arrays)  # type: ignore[arg-type]
    paths = sorted(path for path in folder.iterdir() if path.name != CONTENTS)
    files = {path.name: digest_of(path) for path in paths}
    document = {"outputs": contents.outputs, "files": files}
    (folder / CONTENTS).write_text(json.dumps(document, indent=1), encoding="utf8")


def read_contents(folder: Path) -> Contents | None:
    """Return what a folder holds; None if it is not there, or not as it was written."""
    try:
        document = _Document.model_validate_json((folder / CONTENTS).read_bytes())
        if any(digest_of(folder / name) != digest for name, digest in document.files.items()):
            return None
        outputs = document.outputs
        with np.load(folder / ANSWERS, allow_pickle=False) as arrays:
            expected = {
                function: {key: arrays[f"{function}:{place}"] for place, key in enumerate(keys)}
                for function, keys in outputs.items()
            }
    except (OSError, ValueError, KeyError):
        return None
    return Contents(outputs, expected)


def digest(folder: Path, contents: Contents) -> str:
    """Return the digest of all functions of a folder: of every file, and what it is to answer.

    Answers that are kept beside them are no part of it: those follow from the processor, too.
    """
    files = {path.name: digest_of(path) for path in sorted(function_files(folder))}
    document = {"outputs": contents.outputs, "files": files}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def function_files(folder: Path) -> Iterator[Path]:
    """Yield the files that functions are made of."""
    return (path for path in folder.iterdir() if path.suffix in (".xml", ".bin"))
