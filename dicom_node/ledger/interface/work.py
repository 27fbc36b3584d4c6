"""The ledger as intake and analysis see it: claims of films, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dicom_node.ledger.headlines import ListLine
from dicom_node.ledger.interface.films import KnownFilms
from dicom_node.records import Digest, Instance, InstanceId, InstanceState, StudyId


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What became of a film that was claimed.

    ``state``: `analysed`, with ``findings_json`` and the digest of the stored ``saliency`` maps; or
    `declined` or `failed`, with a ``reason``. ``headlines``: what the case list tells of its
    observations; ``severity``: what their manifests say of that which was found. ``beside``: what
    networks in shadow observed, as JSON by their names, kept apart from the findings.
    """

    instance: Instance
    state: InstanceState
    reason: str | None = None
    findings_json: str | None = None
    saliency: Digest | None = None
    headlines: tuple[ListLine, ...] = ()
    severity: float = 0.0
    beside: Mapping[str, str] = field(default_factory=dict)


class Work(KnownFilms, Protocol):
    """Films to be looked at."""

    def claim_instances(
        self,
        state: InstanceState,
        worker: str,
        lease_seconds: float,
        limit: int,
        *,
        suspects: bool = True,
    ) -> Sequence[Instance]:
        """Take up to ``limit`` instances in ``state`` that nobody holds, oldest first.

        Each claim counts an attempt; ``attempts`` of what is returned are the earlier ones. An
        instance whose first lease expired without an outcome is handed out alone; one whose second
        did is moved to `failed` (it stopped its worker twice) instead. A power cut may take back a
        claim, and the attempt with it, never that end. ``suspects``: whether one that is to be
        alone may come now; not while its worker has others under way.
        """

    def quarantined(self) -> Sequence[InstanceId]:
        """Return, once, which films `claim_instances` of this process has set aside."""

    def earlier_severity(self, study_id: StudyId, patient_key: str) -> float | None:
        """Return the severity of the most severe film of a patient's other studies, if any."""

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
        self,
        instance_id: InstanceId,
        worker: str,
        findings_json: str,
        saliency: Digest | None,
        headlines: Sequence[ListLine] = (),
        severity: float = 0.0,
    ) -> None:
        """Move to `analysed` with the findings, and the digest of the stored saliency maps.

        ``headlines``, ``severity``: see `Conclusion`.
        """

    def failed(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `failed`."""

    def concluded(self, worker: str, conclusions: Sequence[Conclusion]) -> frozenset[InstanceId]:
        """Move films to what became of them, in one transaction; return which.

        One whose lease ``worker`` has lost, or that is gone, is dropped alone: no `LeaseLost`.
        """
