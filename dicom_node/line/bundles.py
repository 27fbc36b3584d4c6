"""Which bundles are installed here, and which of them declare what they say; loads no network."""

from __future__ import annotations

from pathlib import Path

from dicom_node.bundles.declared import Declared, is_declared, open_declared
from dicom_node.resources import model_bundles
from dicom_node.settings import Settings


def model_folders(settings: Settings) -> tuple[Path, ...]:
    """Return where bundles are looked for, in this order: those added here, then the others."""
    return settings.node.data_dir / "models", settings.analysis.models_dir or model_bundles()


def declared_bundles(settings: Settings) -> tuple[Declared, ...]:
    """Return the bundles of the suite that declare what they say, in the order of the suite.

    Raises `BundleContractBroken` for a manifest with faults.
    """
    folders = model_folders(settings)
    found = []
    for name in settings.analysis.suite:
        folder = next((each for each in folders if is_declared(each, name)), None)
        if folder is not None:
            found.append(open_declared(folder, name))
    return tuple(found)
