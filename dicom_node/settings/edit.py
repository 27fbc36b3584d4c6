"""Change the file of a remote AE in place: its comments and the order of its keys stay.

The change is checked together with all other files before a byte is written, and replaces the file
at once, so that a running node never reads half of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from dicom_node.errors import SettingsError
from dicom_node.records import Refusal
from dicom_node.settings.faults import refusal
from dicom_node.settings.load import Configuration, is_shipped
from dicom_node.settings.model import Remote
from dicom_node.settings.remotes import build_table, find_remote, read_remotes
from dicom_node.settings.values import is_ae_title


def keep_remote(configuration: Configuration, wanted: Mapping[str, object]) -> Path:
    """Write what is ``wanted`` of the AE ``wanted["ae_title"]`` into its file, or a new one.

    Keys that are not in ``wanted`` stay as they are. Raises `SettingsError` with every fault of the
    table as it would be; then nothing has changed.
    """
    refuse_shipped(configuration)
    folder = configuration.remotes_path
    path = file_of(configuration, str(wanted["ae_title"]))
    if path is None:
        path = _free(folder, str(wanted["ae_title"]))
        text = _new(wanted)
    else:
        text = _changed(path, wanted)
    _check(configuration, path, text)
    replace_text(path, text)
    return path


def drop_remote(configuration: Configuration, ae_title: str) -> Path:
    """Remove the file of an AE. Raises `SettingsError` where others send their results to it."""
    refuse_shipped(configuration)
    path = file_of(configuration, ae_title)
    if path is None:
        raise SettingsError(f"No file in remotes/ has the AE title {ae_title!r}.")
    _check(configuration, path, None)
    path.unlink()
    return path


def can_be_added(refusal: Refusal, remotes: Mapping[str, Remote]) -> bool:
    """Whether an AE that was refused would be let in with a file of its own in the AE table."""
    title = refusal.calling_ae_title
    return refusal.is_unknown_caller and is_ae_title(title) and find_remote(remotes, title) is None


def file_of(configuration: Configuration, ae_title: str) -> Path | None:
    """Return the file in ``remotes/`` of an AE, if it has one."""
    for name, text in read_remotes(configuration.remotes_path).items():
        if not isinstance(text, str):
            continue
        with contextlib.suppress(TOMLKitError):
            if tomlkit.parse(text).get("ae_title") == ae_title:
                return configuration.remotes_path / name
    return None


def _free(folder: Path, ae_title: str) -> Path:
    """Return where the file of a new AE goes: titles may differ in case or in signs alone."""
    name = re.sub(r"[^a-z0-9]+", "-", ae_title.lower()).strip("-") or "remote"
    others = (folder / f"{name}-{number}.toml" for number in count(2))
    return next(path for path in chain([folder / f"{name}.toml"], others) if not path.exists())


def _new(wanted: Mapping[str, object]) -> str:
    """Return a commented file with what is ``wanted``; everything else as a comment."""
    lines = []
    for key, field in Remote.model_fields.items():
        value = wanted.get(key)
        given = value is not None and value != []
        shown = value if given else field.get_default()
        comment = "" if given else "# "
        if shown is None:
            continue
        lines.append(f"{f'{comment}{key} = {json.dumps(shown)}':<34} # {field.description}")
    return "\n".join(lines) + "\n"


def _changed(path: Path, wanted: Mapping[str, object]) -> str:
    document = tomlkit.parse(path.read_text("utf-8"))
    for key, value in wanted.items():
        default = Remote.model_fields[key].get_default()
        plain = list(default) if isinstance(default, tuple) else default
        if value is None:
            document.pop(key, None)
        elif key in document or value != plain:
            document[key] = value
    return tomlkit.dumps(document)


def refuse_shipped(configuration: Configuration) -> None:
    """Raise `SettingsError` where the configuration is that which came with the program."""
    if is_shipped(configuration.folder):
        raise SettingsError(
            f"{configuration.folder} holds the defaults that came with dicom-node: nothing is"
            " written into them.",
            remedy="Make a folder of your own with `dicom-node config init DIR`, and name it with"
            " --config DIR or the environment variable DICOM_NODE_CONFIG.",
        )


def _check(configuration: Configuration, path: Path, text: str | None) -> None:
    """Refuse a change with which the table would have a fault; nothing has been written yet."""
    texts = dict(read_remotes(configuration.remotes_path))
    texts.pop(path.name, None)
    if text is not None:
        texts[path.name] = text
    _, faults = build_table(texts, configuration.settings)
    if not faults:
        return
    own = [fault for fault in faults if fault.file == f"remotes/{path.name}"]
    if own and not path.exists():
        # There is no such file, and no line: what is wrong is what was asked for.
        raise refusal([replace(fault, file="the new AE", line=None) for fault in own], _ASK_AGAIN)
    raise refusal(faults, _ASK_AGAIN if len(own) == len(faults) else None)


_ASK_AGAIN = "Nothing was written: correct what is named and ask again."


def _readable_as_the_folder(path: Path) -> None:
    """Let whom the folder is open to read a file in it: the node, where root has written it."""
    folder = path.parent.stat()
    path.chmod(folder.st_mode & 0o666)
    with contextlib.suppress(PermissionError):
        os.chown(path, -1, folder.st_gid)


def replace_text(path: Path, text: str) -> None:
    """Replace a file of the configuration at once, durably. Raises `SettingsError`."""
    # A leading dot: half-written files are no part of the AE table.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            _readable_as_the_folder(temporary)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Serve a folder of your own with --config; `dicom-node config init` makes one.",
        ) from error
