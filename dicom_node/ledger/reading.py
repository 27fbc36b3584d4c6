"""The ledger as people and scripts see it."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.errors import RowMissing
from dicom_node.ledger.delivering import joined, with_alternatives
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import event_of, instance_of, peer_of, study_of
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import STUDIES, required
from dicom_node.records import (
    Delivery,
    DeliveryId,
    DeliveryState,
    Event,
    Instance,
    InstanceId,
    PeerContact,
    Study,
    StudyId,
    StudyState,
)

_SQL = statements("questions")


class Questions(Part):
    """Questions that change nothing."""

    def instance(self, instance_id: InstanceId) -> Instance:
        """Return one instance."""
        row = self._connection.one(_SQL["instance"], id=instance_id)
        if row is None:
            raise RowMissing(f"There is no instance {instance_id}.")
        return instance_of(row)

    def find_instances(self, sop_instance_uid: str) -> Sequence[Instance]:
        """Return the instances with this SOP Instance UID (several on conflict)."""
        rows = self._connection.all(_SQL["instances_by_uid"], uid=sop_instance_uid)
        return [instance_of(row) for row in rows]

    def instances(self, study_id: StudyId) -> Sequence[Instance]:
        """Return the instances of a study in the order of arrival."""
        rows = self._connection.all(_SQL["instances_of_study"], id=study_id)
        return [instance_of(row) for row in rows]

    def study(self, study_id: StudyId) -> Study:
        """Return one study."""
        return study_of(required(self._connection, STUDIES, study_id))

    def find_study(self, study_instance_uid: str) -> Study | None:
        """Return the study with this Study Instance UID, if any."""
        row = self._connection.one(_SQL["study_by_uid"], uid=study_instance_uid)
        return None if row is None else study_of(row)

    def studies(
        self, *, state: StudyState | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Study]:
        """Return studies, the latest change first."""
        condition, values = _where(state=state)
        rows = self._connection.all(
            f"select * from studies {condition} order by changed_at desc, id desc"  # noqa: S608
            " limit :limit offset :offset",
            limit=limit,
            offset=offset,
            **values,
        )
        return [study_of(row) for row in rows]

    def study_count(self) -> int:
        """Return how many studies there are."""
        return sum(self._tallies("studies").values())

    def delivery(self, delivery_id: DeliveryId) -> Delivery:
        """Return one delivery."""
        return with_alternatives(self._connection, joined(self._connection, delivery_id))

    def deliveries(
        self,
        *,
        study_id: StudyId | None = None,
        state: DeliveryState | None = None,
        limit: int | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, newest first: all of them, unless there is a ``limit``."""
        condition, values = _where(study_id=study_id, state=state)
        rows = self._connection.all(
            "select deliveries.*, studies.study_instance_uid from deliveries"  # noqa: S608
            " join studies on studies.id = deliveries.study_id where deliveries.id in"
            f" (select id from deliveries {condition} order by id desc limit :limit)"
            " order by deliveries.id desc",
            limit=-1 if limit is None else limit,
            **values,
        )
        return [with_alternatives(self._connection, row) for row in rows]

    def events(
        self, *, study_id: StudyId | None = None, instance_id: InstanceId | None = None
    ) -> Sequence[Event]:
        """Return the story of a study or an instance, oldest first."""
        condition, values = _where(study_id=study_id, instance_id=instance_id)
        rows = self._connection.all(
            f"select * from events {condition} order by id",  # noqa: S608
            **values,
        )
        return [event_of(row) for row in rows]

    def peers(self) -> Sequence[PeerContact]:
        """Return what is known of each AE that ever sent or received."""
        rows = self._connection.all(_SQL["peers"])
        return [peer_of(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return how many rows are in each state, as ``instances.received`` and so on."""
        # What an AE has no use for is refused without being an error: told apart.
        return {
            f"{thing}.{state}": number
            for thing in ("instances", "studies", "deliveries")
            for state, number in self._tallies(thing).items()
        }

    def _tallies(self, thing: str) -> dict[str, int]:
        rows = self._connection.all(_SQL["tallies"], thing=thing)
        return {row["state"]: row["number"] for row in rows}

    def unfinished(self) -> int:
        """Return how many instances, studies and deliveries are not at their end."""
        row = self._connection.one(_SQL["unfinished"])
        assert row is not None
        return int(row["number"])


def _where(**equals: object) -> tuple[str, dict[str, object]]:
    # Only what is asked for: "(:x is null or column = :x)" would keep SQLite from its indices.
    values = {name: value for name, value in equals.items() if value is not None}
    conditions = " and ".join(f"{name} = :{name}" for name in values)
    return f"where {conditions}" if conditions else "", values
