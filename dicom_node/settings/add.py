"""A new remote AE as a file of its own, checked together with all the others before it stays."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from dicom_node.errors import SettingsError
from dicom_node.settings.load import Configuration, load_configuration
from dicom_node.settings.model import Remote


def add_remote(configuration: Configuration, wanted: Mapping[str, object]) -> Path:
    """Write ``remotes/<ae title>.toml`` with what is ``wanted`` and return its path.

    Raises `SettingsError` where the file exists, or where the table would have a fault with it;
    then nothing stays behind.
    """
    folder = configuration.remotes_path
    name = re.sub(r"[^a-z0-9]+", "-", str(wanted["ae_title"]).lower()).strip("-") or "remote"
    path = folder / f"{name}.toml"
    text = _text(wanted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SettingsError(f"{path} exists already.", remedy="Edit that file.") from error
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Name a folder of your own with --config; `dicom-node config init` makes one.",
        ) from error
    try:
        load_configuration(configuration.folder)
    except SettingsError:
        path.unlink()
        raise
    return path


def _text(wanted: Mapping[str, object]) -> str:
    lines = []
    for key, field in Remote.model_fields.items():
        value = wanted.get(key)
        given = value is not None and value != []
        shown = value if given else field.get_default()
        comment = "" if given else "# "
        if shown is None:
            continue
        lines.append(f"{comment}{key} = {json.dumps(shown):<30} # {field.description}")
    return "\n".join(lines) + "\n"
