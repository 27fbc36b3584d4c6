"""What the pages work with, made of the configuration and an open ledger."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from dicom_node.bundles import list_bundles
from dicom_node.bundles.declared import Declared
from dicom_node.bundles.installed import broken_bundles, installed_bundles
from dicom_node.ledger import ReadingRoom
from dicom_node.line.wiring import menu_of, network_cards
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.settings import Configuration
from dicom_node.spool import Spool
from dicom_node.web.house import Doors, House, ModelOnShelf


def _declared(bundle: Declared, in_use: Container[str]) -> ModelOnShelf:
    said = bundle.manifest
    kinds = ", ".join(dict.fromkeys(str(one.kind) for one in said.says))
    return ModelOnShelf(
        bundle.id, said.title, said.version, kinds, said.weights_digest, 0, 0, said.intended_use,
        bundle.folder, in_use=bundle.id in in_use,
    )  # fmt: skip


def shelf_of(configuration: Configuration) -> tuple[ModelOnShelf, ...]:
    """Return every bundle that is installed, and those in use that are left out."""
    settings = configuration.settings
    in_use = set(settings.bundles)
    shelf = tuple(
        ModelOnShelf(
            id=bundle.id, title=bundle.manifest.title, version=bundle.manifest.version,
            task=bundle.manifest.task, digest=bundle.manifest.weights.digest,
            parameters=bundle.manifest.weights.parameters, macs=bundle.manifest.weights.macs,
            intended_use=bundle.manifest.intended_use, folder=bundle.folder,
            in_use=bundle.id in in_use,
        )
        for bundle in list_bundles(configuration.models_path)
    )  # fmt: skip
    shelf += tuple(_declared(bundle, in_use) for bundle in installed_bundles(settings))
    shelf += tuple(
        ModelOnShelf(name, name, "", "", "", 0, 0, str(fault), Path(), in_use=True, is_broken=True)
        for name, fault in broken_bundles(settings).items()
    )
    return shelf


def furnished(
    configuration: Configuration, ledger: ReadingRoom, spool: Spool, doors: Doors, log: Log
) -> House:
    """Return what the pages work with, over an open ledger."""
    settings = configuration.settings
    return House(
        configuration=configuration,
        ledger=ledger,
        spool=spool,
        menu=menu_of(configuration),
        cards=network_cards(settings),
        shelf=shelf_of(configuration),
        # Whoever has just changed the table sees the change on the next page.
        remotes=remotes_table(configuration, log, interval_seconds=0.0).current,
        doors=doors,
        log=log,
    )
