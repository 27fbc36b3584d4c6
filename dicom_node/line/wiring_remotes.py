"""The AE table of a running role: reloaded when its files change; faults go to the log."""

from __future__ import annotations

from dicom_node.errors import SettingsError
from dicom_node.logs import Log
from dicom_node.settings import Configuration, RemotesTable


def remotes_table(
    configuration: Configuration, log: Log, *, interval_seconds: float = 1.0
) -> RemotesTable:
    """Return the table that says in ``log`` when it was read anew or a change was rejected."""

    def rejected(error: SettingsError) -> None:
        reason = "; ".join(error.faults) or error.message
        log.event("remotes.rejected", reason=reason, remedy=error.remedy)

    def loaded(count: int) -> None:
        log.event("remotes.loaded", count=count)

    return RemotesTable(
        configuration, on_reject=rejected, on_load=loaded, interval_seconds=interval_seconds
    )
