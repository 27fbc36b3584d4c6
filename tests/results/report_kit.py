"""Reports as others read them: content items, groups, and what the validator of Debian says."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom import Dataset

from dicom_node.results.write import WrittenObject
from tests.conftest import debian


def parsed(item: WrittenObject) -> Dataset:
    return pydicom.dcmread(io.BytesIO(item.data))


def items(node: Dataset) -> Iterator[Dataset]:
    for child in node.get("ContentSequence") or ():
        yield child
        yield from items(child)


def groups(document: Dataset) -> list[Dataset]:
    return [item for item in items(document) if name_of(item) == "125007"]


def name_of(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue") or names[0].get("LongCodeValue")) if names else ""


def errors_of(data: bytes, tmp_path: Path) -> list[str]:
    path = tmp_path / "object.dcm"
    path.write_bytes(data)
    done = subprocess.run([debian("dciodvfy"), str(path)], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    return [line for line in lines if line.startswith("Error")]
