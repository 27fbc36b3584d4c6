"""Which bundles of the settings declare what they say, and which films they eat; loads no network.

Cheap: of each bundle that is named the manifest is read, nothing else.
"""

from __future__ import annotations

from pathlib import Path

from dicom_node.bundles.declared import Declared, is_declared, open_declared
from dicom_node.errors import BundleError
from dicom_node.settings import Settings
from dicom_node.settings.suites import model_folders


def declaring_folder(settings: Settings, name: str) -> Path | None:
    """Return the folder that holds a bundle that declares what it says; None: it is our own."""
    return next((each for each in model_folders(settings) if is_declared(each, name)), None)


def declared_bundles(settings: Settings) -> tuple[Declared, ...]:
    """Return the bundles of all suites that declare what they say, in the order of the settings.

    Raises `BundleContractBroken` for a manifest with faults.
    """
    found = ((name, declaring_folder(settings, name)) for name in settings.networks)
    return tuple(open_declared(folder, name) for name, folder in found if folder is not None)


def eaten_sop_classes(settings: Settings) -> frozenset[str]:
    """Return the SOP Class UIDs of the films that declared bundles in use eat.

    A manifest with faults eats nothing: the doors open all the same.
    """
    found: set[str] = set()
    for name in settings.networks:
        folder = declaring_folder(settings, name)
        try:
            bundle = open_declared(folder, name) if folder is not None else None
        except BundleError:
            continue
        found |= bundle.manifest.eats.sop_class_uids if bundle else set()
    return frozenset(found)
