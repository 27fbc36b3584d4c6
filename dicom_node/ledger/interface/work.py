"""The ledger as intake and analysis see it: claims of films, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicom_node.ledger.interface.films import KnownFilms
from dicom_node.records import Digest, Instance, InstanceId, InstanceState


class Work(KnownFilms, Protocol):
    """Films to be looked at."""

    def claim_instances(
        self, state: InstanceState, worker: str, lease_seconds: float, limit: int
    ) -> Sequence[Instance]:
        """Take up to ``limit`` instances in ``state`` that nobody holds, oldest first.

        Each claim counts an attempt; ``attempts`` of what is returned are the earlier ones. An
        instance whose first lease expired without an outcome is handed out alone; one whose second
        did is moved to `failed` (it stopped its worker twice) instead.
        """

    def quarantined(self) -> Sequence[InstanceId]:
        """Return, once, which films `claim_instances` of this process has set aside."""

    def declined(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `declined`."""

    def admitted(
        self,
        instance_id: InstanceId,
        worker: str,
        view: str | None,
        patient_key: str | None = None,
        priority: int = 0,
    ) -> None:
        """Move to `admitted`; ``patient_key``: of films that may be of one patient.

        ``priority``: the highest is analysed first, and its study written first.
        """

    def analysed(
        self, instance_id: InstanceId, worker: str, findings_json: str, saliency: Digest | None
    ) -> None:
        """Move to `analysed` with the findings, and the digest of the stored saliency maps."""

    def failed(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `failed`."""
