"""Which bundles of the settings declare what they say, and which films they eat; loads no network.

Cheap: of each bundle that is named the manifest is read, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dicom_node.bundles import MANIFEST, declares
from dicom_node.bundles.declared import Declared, is_declared, open_declared
from dicom_node.errors import BundleError
from dicom_node.settings import Settings
from dicom_node.settings.suites import model_folders


def declaring_folder(settings: Settings, name: str) -> Path | None:
    """Return the folder that holds a bundle that declares what it says; None: it is our own.

    What was added here is none of our own, also where its manifest cannot be read. What has the id
    of one of our own is passed over: ours answers, see `in_our_place`.
    """
    added, others = model_folders(settings)
    if in_our_place(settings, name):
        return None
    if (added / name / MANIFEST).is_file():
        return added
    return others if is_declared(others, name) else None


def in_our_place(settings: Settings, name: str) -> bool:
    """Whether a bundle was added here with the id of one of our own networks."""
    added, others = model_folders(settings)
    is_ours = declares(others / name / MANIFEST) is False
    return is_ours and (added / name / MANIFEST).is_file()


def declared_bundles(settings: Settings) -> tuple[Declared, ...]:
    """Return the bundles of all suites that declare what they say, in the order of the settings.

    Without `broken_bundles`: what is wrong with one of them stops none of the others.
    """
    opened, _ = _opened(settings)
    return tuple(opened.values())


def broken_bundles(settings: Settings) -> Mapping[str, BundleError]:
    """Return the bundles of all suites that cannot be used, by id, and what is wrong with each."""
    _, broken = _opened(settings)
    return broken


def installed_bundles(settings: Settings) -> tuple[Declared, ...]:
    """Return every bundle that is installed and declares what it says, in use or not, by id.

    Without those that cannot be opened.
    """
    found: dict[str, Declared] = {}
    for folder in model_folders(settings):
        for name in (path.parent.name for path in folder.glob(f"*/{MANIFEST}")):
            if name not in found and declaring_folder(settings, name) == folder:
                with suppress(BundleError):
                    found[name] = open_declared(folder, name)
    return tuple(found[name] for name in sorted(found))


def _opened(settings: Settings) -> tuple[dict[str, Declared], dict[str, BundleError]]:
    opened: dict[str, Declared] = {}
    broken: dict[str, BundleError] = {}
    for name in settings.networks:
        folder = declaring_folder(settings, name)
        if folder is None:
            continue
        try:
            opened[name] = open_declared(folder, name)
        except BundleError as error:
            broken[name] = error
    return opened, broken


def eaten_sop_classes(settings: Settings) -> frozenset[str]:
    """Return the SOP Class UIDs of the films that declared bundles in use eat.

    A manifest with faults eats nothing: the doors open all the same.
    """
    found = (bundle.manifest.eats.sop_class_uids for bundle in declared_bundles(settings))
    return frozenset[str]().union(*found)
