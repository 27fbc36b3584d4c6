"""What the pages work with, made of the configuration and an open ledger."""

from __future__ import annotations

from dicom_node.bundles import list_bundles
from dicom_node.ledger import ReadingRoom
from dicom_node.line.wiring import menu_of, network_cards
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.settings import Configuration
from dicom_node.spool import Spool
from dicom_node.web.house import Doors, House, ModelOnShelf


def furnished(
    configuration: Configuration, ledger: ReadingRoom, spool: Spool, doors: Doors, log: Log
) -> House:
    """Return what the pages work with, over an open ledger."""
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
    return House(
        configuration=configuration,
        ledger=ledger,
        spool=spool,
        menu=menu_of(configuration),
        cards=network_cards(settings),
        shelf=shelf,
        # Whoever has just changed the table sees the change on the next page.
        remotes=remotes_table(configuration, log, interval_seconds=0.0).current,
        doors=doors,
        log=log,
    )
