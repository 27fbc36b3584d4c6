"""What is sent to support: one archive, without patients, people, file names or secrets."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicom_node.line.doctor.examination import Examined
from dicom_node.settings import Configuration
from dicom_node.settings.reference import effective

_LEFT_OUT = (
    "In this archive: what `dicom-node doctor --json` says, the settings and the AE table with"
    " secrets masked. Not in it: films, results, the ledger, the log, names and comments of people,"
    " AE titles of rejected callers, reasons that peers gave.\n"
)
_TEXTS_OF_PEOPLE = ("identity",)
"""Sections whose values may quote what stands in headers."""

_USERINFO = re.compile(r"://[^/@\s]*@")

_OF_A_REMOTE = re.compile(r"remotes/[^:\"\\]*\.toml")
"""How a person called the file of a remote is nobody else's concern."""

_WORDS = frozenset({"words", "stations"})
_SECRET = re.compile("webhook|mail|user|secret|password|token")
"""Keys whose values are of people, or let somebody in; whether they are set is no secret."""


def write_bundle(path: Path, examined: Examined) -> None:
    """Write the archive (.tar.gz), readable for nobody else. Raises `OSError`, never replaces."""
    said = json.dumps(examined.to_json(), default=str)
    parts: dict[str, Any] = {"doctor.json": json.loads(_OF_A_REMOTE.sub("remotes/(a file)", said))}
    if examined.site is not None:
        parts["settings.json"] = _settings(examined.site)
        parts["ae_table.json"] = [
            remote.model_dump(mode="json") for remote in examined.site.remotes.values()
        ]
    with path.open("xb") as file:
        path.chmod(0o600)
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            _add(archive, "README.txt", _LEFT_OUT.encode())
            for name, part in parts.items():
                _add(archive, name, json.dumps(part, indent=2, default=str).encode())


def _settings(site: Configuration) -> Mapping[str, Any]:
    """Return the settings without secrets, and without words that a site took from its headers."""
    shown = effective(site.settings)
    return {
        section: "(left out)" if section in _TEXTS_OF_PEOPLE else _without_words(table)
        for section, table in shown.items()
    }


def _without_words(table: Any) -> Any:
    if isinstance(table, list):
        return [_without_words(each) for each in table]
    return {
        key: "(left out)" if value and _is_left_out(key) else _masked(value)
        for key, value in table.items()
    }


def _is_left_out(key: str) -> bool:
    return key in _WORDS or _SECRET.search(key) is not None


def _masked(value: Any) -> Any:
    """Return a value; an address in it without the name and password that stand before the @."""
    return _USERINFO.sub("://(masked)@", value) if isinstance(value, str) else value


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(f"dicom-node-doctor/{name}")
    entry.size, entry.mode = len(data), 0o600
    entry.mtime = int(datetime.now(UTC).timestamp())
    archive.addfile(entry, io.BytesIO(data))
