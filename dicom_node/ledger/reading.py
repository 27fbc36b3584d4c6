"""The ledger as people and scripts see it, and the roles' signs of life."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.errors import RowMissing
from dicom_node.ledger.delivering import with_alternatives
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import (
    DELIVERY,
    INSTANCE,
    event_of,
    instance_of,
    peer_of,
    study_of,
)
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


class Questions(Part):
    """Questions that change nothing (but for `beat`)."""

    def instance(self, instance_id: InstanceId) -> Instance:
        """Return one instance."""
        row = self._connection.one(f"{INSTANCE} where instances.id = :id", id=instance_id)
        if row is None:
            raise RowMissing(f"There is no instance {instance_id}.")
        return instance_of(row)

    def find_instances(self, sop_instance_uid: str) -> Sequence[Instance]:
        """Return the instances with this SOP Instance UID (several on conflict)."""
        rows = self._connection.all(
            f"{INSTANCE} where instances.sop_instance_uid = :uid order by instances.id",
            uid=sop_instance_uid,
        )
        return [instance_of(row) for row in rows]

    def instances(self, study_id: StudyId) -> Sequence[Instance]:
        """Return the instances of a study in the order of arrival."""
        rows = self._connection.all(
            f"{INSTANCE} where instances.study_id = :id order by instances.id", id=study_id
        )
        return [instance_of(row) for row in rows]

    def study(self, study_id: StudyId) -> Study:
        """Return one study."""
        return study_of(required(self._connection, STUDIES, study_id))

    def find_study(self, study_instance_uid: str) -> Study | None:
        """Return the study with this Study Instance UID, if any."""
        row = self._connection.one(
            "select * from studies where study_instance_uid = :uid", uid=study_instance_uid
        )
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
        row = self._connection.one(f"{DELIVERY} where deliveries.id = :id", id=delivery_id)
        if row is None:
            raise RowMissing(f"There is no delivery {delivery_id}.")
        return with_alternatives(self._connection, row)

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
            f"{DELIVERY} where deliveries.id in"  # noqa: S608
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
        rows = self._connection.all(
            """select peers.*, coalesce((select number from tallies where thing = 'deliveries'
               and destination = ae_title and state = 'waiting'), 0) as waiting
               from peers order by ae_title"""
        )
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
        rows = self._connection.all(
            """select state, sum(number) as number from tallies where thing = :thing
               group by state having sum(number) > 0""",
            thing=thing,
        )
        return {row["state"]: row["number"] for row in rows}

    def unfinished(self) -> int:
        """Return how many instances, studies and deliveries are not at their end."""
        row = self._connection.one(
            """select (select count(*) from instances where state in ('received', 'admitted'))
                    + (select count(*) from studies where state in ('open', 'quiet'))
                    + (select count(*) from deliveries where state = 'waiting' and held is null)
                    as number"""
        )
        assert row is not None
        return int(row["number"])


def _where(**equals: object) -> tuple[str, dict[str, object]]:
    # Only what is asked for: "(:x is null or column = :x)" would keep SQLite from its indices.
    values = {name: value for name, value in equals.items() if value is not None}
    conditions = " and ".join(f"{name} = :{name}" for name in values)
    return f"where {conditions}" if conditions else "", values
