"""Parcels on their way: a thread for each destination, so that a dead one delays nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from dicom_node.delivery.sender import PARCEL_SIZE, Sender, lease_seconds
from dicom_node.errors import DeliveryError, Unavailable
from dicom_node.ledger import Outbox
from dicom_node.records import Delivery
from dicom_node.settings import RemotesTable

_MAX_DESTINATIONS = 16


class Porters:
    """The threads, one a destination that has something due."""

    def __init__(self, sender: Sender, ledger: Outbox, remotes: RemotesTable) -> None:
        self._sender, self._ledger, self._remotes = sender, ledger, remotes
        self._lease_seconds = lease_seconds(sender.settings.delivery)
        self._busy: dict[str, threading.Thread] = {}

    def send_one(self) -> bool:
        """Send off one parcel that is due; return whether there was one."""
        self._busy = {name: thread for name, thread in self._busy.items() if thread.is_alive()}
        if len(self._busy) >= _MAX_DESTINATIONS:
            return False
        parcel = self._ledger.claim_deliveries(
            self._sender.worker, self._lease_seconds, PARCEL_SIZE, tuple(self._busy)
        )
        if not parcel:
            return False
        thread = threading.Thread(target=self._carry, args=(parcel,), daemon=True)
        self._busy[parcel[0].destination] = thread
        thread.start()
        return True

    def drain(self, seconds: float) -> None:
        """Wait for the threads, at most so long."""
        _join(self._busy.values(), time.monotonic() + seconds)

    def _carry(self, parcel: Sequence[Delivery]) -> None:
        sender, patience = self._sender, self._sender.patience
        what = f"delivering to {parcel[0].destination}"
        if patience.attempt(what, lambda: self._deliver(parcel)):
            return
        # The thread stays: nothing else goes to this destination while it waits.
        if not sender.stop.wait(patience.pause(what)):
            owed = [item.id for item in parcel]
            back = lambda: self._ledger.returned(owed, sender.worker)  # noqa: E731
            patience.until(f"giving back to {parcel[0].destination}", back, sender.stop)

    def _deliver(self, parcel: Sequence[Delivery]) -> bool:
        try:
            self._sender.deliver(parcel, self._remotes.current())
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one bad parcel stops no other
            name = type(error).__name__
            self._sender.log.event("role.error", reason="a delivery failed", error=name)
            reason = f"The attempt failed within the node: {name}."
            self._sender.postpone(parcel, DeliveryError(reason))
        return True


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
