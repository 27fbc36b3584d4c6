"""What every ledger promises; each method is one transaction and writes its own event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from dicom_node.records import (
    Arrival,
    Delivery,
    DeliveryId,
    DeliveryState,
    Digest,
    Event,
    Instance,
    InstanceId,
    InstanceState,
    PeerContact,
    Refusal,
    ResultObject,
    Study,
    StudyId,
    StudyState,
    Worker,
    WorkerBeat,
)


@dataclass(frozen=True, slots=True)
class Received:
    """What `Ledger.received` did: a new row, the same bytes again, or a conflict.

    ``conflict``: the SOP Instance UID was known with other bytes. Both are kept.
    """

    instance_id: InstanceId
    duplicate: bool
    conflict: bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Which alternatives of one group go to one destination, in its order of preference.

    ``held``: they wait for a person (``approve``), or are kept for comparison and leave only when
    they are posted anew without it (``shadow``); None: they leave at once.
    """

    destination: str
    objects: tuple[ResultObject, ...]
    held: Literal["approve", "shadow"] | None = None


class Ledger(Protocol):
    """Durable memory of the node. Times are UTC with microseconds.

    Every change is committed with ``synchronous=FULL`` before the method returns, together with its
    event. Methods raise `LedgerUnavailable` where the database cannot commit in time (locked, disk
    full), `RowMissing` for an unknown id, `TransitionRefused` for a transition that `records.py`
    does not have, and `LeaseLost` where the lease named by ``worker`` is no longer held.
    """

    sqlite_version: str

    # receiving
    def received(self, arrival: Arrival) -> Received:
        """Add the instance (or count a duplicate, note its sender) and open its study again."""

    def refused(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        peer_address: str,
        reason: str,
        remedy: str = "",
    ) -> None:
        """Count an association that was rejected."""

    def dismiss_refusals(
        self,
        calling_ae_title: str | None = None,
        called_ae_title: str | None = None,
        peer_address: str | None = None,
        reason: str | None = None,
    ) -> int:
        """Forget refusals that have been seen, all that match; return how many there were."""

    def refusals(self) -> Sequence[Refusal]:
        """Return who was rejected, latest first."""

    def refused_all(self, refusals: Sequence[Refusal]) -> None:
        """Count associations that were rejected, in one transaction.

        The latest callers are kept, the others are counted in one row.
        """

    def digests_of_shard(self, prefix: str) -> frozenset[Digest]:
        """Return the digests of spooled files that rows name and that begin with ``prefix``."""

    # intake and analysis
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
        """Move to `admitted`; ``patient_key``: see `Patients`.

        ``priority``: the highest is analysed first, and its study written first.
        """

    def analysed(
        self, instance_id: InstanceId, worker: str, findings_json: str, saliency: Digest | None
    ) -> None:
        """Move to `analysed` with the findings, and the digest of the stored saliency maps."""

    def failed(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `failed`."""

    def asked_again(self, instance_id: InstanceId, who: str) -> None:
        """Move a finished instance back to `received`: a person wants it analysed once more."""

    # studies
    def quieten(self, quiet_seconds: float) -> Sequence[Study]:
        """Move to `quiet` every open study without news for so long and without work left."""

    def claim_quiet_study(self, worker: str, lease_seconds: float) -> Study | None:
        """Take one quiet study to write its results."""

    def origins(self, study_id: StudyId) -> Sequence[str]:
        """Return the calling AE titles that sent instances of the study, first sender first."""

    def results(self, study_id: StudyId) -> Sequence[ResultObject]:
        """Return all result objects ever written for the study, oldest first."""

    def reported(
        self,
        study: Study,
        worker: str,
        outgoing: Sequence[Outgoing],
        *,
        keep_hours: float,
        signature: str,
        reason: str | None = None,
        recipes: Mapping[str, bytes] | None = None,
    ) -> int:
        """Freeze the objects, fill the outbox, move to `reported`; return new deliveries.

        ``signature`` tells what the objects were made from: if it is the study's already, the
        revision stays, and only deliveries that are missing are added. Objects that exist (same
        SOP Instance UID) and deliveries that exist (same group and destination) are left alone:
        asking twice sends nothing twice. Only what waits in shadow takes the hold that its
        destination has by now. ``recipes``: by group, how a report is made in another SOP class.
        """

    def earlier(self, study_id: StudyId, limit: int) -> Sequence[Instance]:
        """Return analysed films with a patient key of this study's, latest received first.

        Of other studies; the latest bytes alone of a film that was sent again; without those that
        came by hand alone, and without those whose results were taken back: reports that leave the
        node tell of what is returned.
        """

    def retracted(
        self, study_id: StudyId, outgoing: Sequence[Outgoing], who: str, *, keep_hours: float
    ) -> int:
        """Take the study's results back: drop what still waits, send the rejection notes.

        Returns how many rejection notes are new.
        """

    def recipe(self, group: str) -> bytes | None:
        """Return the recipe of a report; None for what is sent in one SOP class only."""

    def frozen_again(self, item: ResultObject) -> None:
        """Freeze a report in one more SOP class, beside the one that it was made from."""

    def facts(self, digests: Iterable[Digest]) -> Mapping[Digest, str]:
        """Return what is known of the headers of stored objects, as JSON."""

    def without_facts(self, limit: int) -> Sequence[Digest]:
        """Return objects whose header nobody has read yet."""

    def keep_facts(self, told: Mapping[Digest, str]) -> None:
        """Keep what headers say; of objects that are gone meanwhile nothing."""

    def study_failed(self, study: Study, worker: str, reason: str) -> None:
        """Note why no result could be written and move to `reported` with that reason."""

    # deliveries
    def claim_deliveries(
        self, worker: str, lease_seconds: float, limit: int, busy: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take due deliveries of *one* destination and study (not in ``busy``), oldest first."""

    def pin(self, delivery_id: DeliveryId, worker: str, sop_instance_uid: str) -> None:
        """Note which alternative is being sent, before its first byte leaves."""

    def returned(self, delivery_ids: Sequence[DeliveryId], worker: str) -> None:
        """Give back what ``worker`` still holds of these, as if it had not been claimed."""

    def sent(self, delivery_id: DeliveryId, worker: str, status: int) -> None:
        """Move to `sent`; ``status`` is the C-STORE status (0x0000 or a warning)."""

    def postponed(
        self,
        delivery_id: DeliveryId,
        worker: str,
        next_attempt_at: datetime,
        reason: str,
        status: int | None = None,
    ) -> None:
        """Keep `waiting` with a later attempt."""

    def delivery_refused(
        self, delivery_id: DeliveryId, worker: str, reason: str, status: int | None = None
    ) -> None:
        """Move to `refused`: trying again by itself would not help."""

    def delivery_not_accepted(self, delivery_id: DeliveryId, worker: str, reason: str) -> None:
        """Move to `refused` an object whose SOP class the AE does not accept: no error."""

    def negotiated(
        self, ae_title: str, accepted: Sequence[str], not_accepted: Sequence[str]
    ) -> None:
        """Remember of each SOP class of results whether an AE accepted it when last asked."""

    def expire_deliveries(self) -> Sequence[Delivery]:
        """Move to `expired` what was not delivered in time."""

    def resend(self, delivery_id: DeliveryId, who: str, keep_hours: float) -> None:
        """Move a refused, expired or sent delivery back to `waiting`, due now.

        Raises `TransitionRefused` for what is kept in shadow.
        """

    def approve(self, study_id: StudyId, who: str, keep_hours: float) -> int:
        """Make due everything of a study that waits for approval; return how many."""

    def drop(self, delivery_id: DeliveryId, who: str) -> None:
        """Give a waiting delivery up (it becomes `expired`, with who did it)."""

    def release(self, worker: str) -> None:
        """Give back every lease of ``worker`` without counting the attempt: an orderly stop."""

    def renewed(self, worker: str, lease_seconds: float) -> None:
        """Let every lease of ``worker`` last so long from now: it lives and is at work."""

    def orphaned(self, worker: str) -> int:
        """End the leases of a worker that is known to be dead; their attempts stay counted."""

    def begun(self, workers: Sequence[Worker]) -> int:
        """Note who starts now, and end the leases of all whom nobody knows; return how many.

        Whoever had these roles before is dead: the caller holds their locks.
        """

    # reading
    def instance(self, instance_id: InstanceId) -> Instance:
        """Return one instance."""

    def find_instances(self, sop_instance_uid: str) -> Sequence[Instance]:
        """Return the instances with this SOP Instance UID (several on conflict)."""

    def instances(self, study_id: StudyId) -> Sequence[Instance]:
        """Return the instances of a study in the order of arrival."""

    def study(self, study_id: StudyId) -> Study:
        """Return one study."""

    def find_study(self, study_instance_uid: str) -> Study | None:
        """Return the study with this Study Instance UID, if any."""

    def studies(
        self, *, state: StudyState | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Study]:
        """Return studies, the latest change first."""

    def study_count(self) -> int:
        """Return how many studies there are."""

    def delivery(self, delivery_id: DeliveryId) -> Delivery:
        """Return one delivery."""

    def deliveries(
        self,
        *,
        study_id: StudyId | None = None,
        state: DeliveryState | None = None,
        limit: int | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, newest first, ``limit`` at most."""

    def events(
        self, *, study_id: StudyId | None = None, instance_id: InstanceId | None = None
    ) -> Sequence[Event]:
        """Return the story of a study or an instance, oldest first."""

    def peers(self) -> Sequence[PeerContact]:
        """Return what is known of each AE that ever sent or received."""

    def counts(self) -> dict[str, int]:
        """Return how many rows are in each state, as ``instances.received`` and so on."""

    def unfinished(self) -> int:
        """Return how many instances, studies and deliveries are not at their end."""

    # roles and upkeep
    def beat(self, worker: Worker, state: str, detail: str | None = None) -> None:
        """Note that this process is ``worker``."""

    def beats(self) -> Sequence[WorkerBeat]:
        """Return the last sign of life of each worker."""

    def removable(self, keep_days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that whose deliveries are all sent, oldest first."""

    def parked(self, days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that of which nothing goes by itself any more."""

    def forget(self, study_id: StudyId, *, parked: bool = False) -> Sequence[Digest]:
        """Remove a study's rows and return the digests that no other row names.

        A study that is not, or no longer, `removable` (or `parked`, where told so) is left alone.
        """

    def moment(self) -> datetime:
        """Return the present time, with which the ledger's own times agree."""

    def close(self) -> None:
        """Close the connection."""
