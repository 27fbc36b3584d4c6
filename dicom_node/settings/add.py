"""A new remote AE as a file of its own, checked together with all the others before it is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dicom_node.errors import SettingsError
from dicom_node.settings.edit import file_of, keep_remote
from dicom_node.settings.load import Configuration


def add_remote(configuration: Configuration, wanted: Mapping[str, object]) -> Path:
    """Write ``remotes/<ae title>.toml`` with what is ``wanted`` and return its path.

    Raises `SettingsError` where the AE has a file, or where the table would have a fault with it;
    then nothing stays behind.
    """
    known = file_of(configuration, str(wanted["ae_title"]))
    if known is not None:
        raise SettingsError(f"{known} exists already.", remedy="Edit that file.")
    return keep_remote(configuration, wanted)
