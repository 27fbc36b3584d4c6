"""The AE table, read again when files in ``remotes/`` change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from dicom_node.errors import SettingsError
from dicom_node.settings.faults import Fault, refusal
from dicom_node.settings.load import Configuration
from dicom_node.settings.model import Remote
from dicom_node.settings.remotes import RemoteTexts, build_table, read_remotes


class RemotesTable:
    """The AE table of a running role; safe to ask from many threads.

    ``current`` looks at the folder at most once in ``interval_seconds``. A new table is taken only
    whole and without a fault; otherwise the old one stays. Once for each change of the files, the
    first look included, ``on_load`` gets the number of remotes or ``on_reject`` the faults.
    """

    def __init__(
        self,
        configuration: Configuration,
        on_reject: Callable[[SettingsError], None],
        on_load: Callable[[int], None],
        *,
        interval_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configuration = configuration
        self._on_reject = on_reject
        self._on_load = on_load
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._table = configuration.remotes
        self._texts: RemoteTexts | None = None
        self._looked_at = float("-inf")

    def current(self) -> Mapping[str, Remote]:
        """Return the AE table by AE title, read again if its files have changed."""
        now = self._clock()
        if now - self._looked_at >= self._interval_seconds and self._lock.acquire(blocking=False):
            try:
                self._looked_at = now
                self._look()
            finally:
                self._lock.release()
        return self._table

    def _look(self) -> None:
        texts = read_remotes(self._configuration.remotes_path)
        if texts == self._texts:
            return
        self._texts = texts
        table, faults = build_table(texts, self._configuration.settings)
        if not texts and self._table and not self._configuration.remotes_path.is_dir():
            faults = [_folder_gone()]
        if faults:
            self._on_reject(refusal(faults))
        else:
            self._table = table
            self._on_load(len(table))


def _folder_gone() -> Fault:
    remedy = "put the folder back; to remove every AE, empty it"
    return Fault("remotes", "", "the folder is gone; the AE table in use stays", remedy)
