"""The ledger as the course sees it: which films may be of one patient, by a digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import by_index, instance_of
from dicom_node.records import BY_HAND, RETRACTED, Instance, InstanceId, StudyId

_COUNTED = (
    f"coalesce(studies.reason, '') not like '{RETRACTED}%'"  # noqa: S608
    " and exists (select 1 from origins where origins.instance_id = instances.id"
    " and calling_ae_title <> :by_hand)"
)
"""Whose results stand, and that did not come by hand alone."""


class Patients(Part):
    """Films of one patient: preselected by their key, decided by who reads their headers."""

    def earlier(self, study_id: StudyId, limit: int) -> Sequence[Instance]:
        """Return analysed films with a patient key of this study's, latest received first.

        Of other studies; the latest bytes alone of a film that was sent again; without those that
        came by hand alone, and without those whose results were taken back: reports that leave the
        node tell of what is returned.
        """
        rows = self._connection.all(
            f"{by_index('instances_by_patient')} where instances.patient_key in"  # noqa: S608
            " (select patient_key from instances where study_id = :study"
            " and patient_key <> '')"
            " and instances.study_id <> :study and instances.state = 'analysed'"
            " and not exists (select 1 from instances as later"
            " where later.sop_instance_uid = instances.sop_instance_uid"
            " and later.study_id = instances.study_id and later.id > instances.id)"
            f" and {_COUNTED} order by instances.received_at desc limit :limit",
            study=study_id,
            by_hand=BY_HAND,
            limit=limit,
        )
        return [instance_of(row) for row in rows]

    def earlier_severity(self, study_id: StudyId, patient_key: str) -> float | None:
        """Return the severity of the most severe film of a patient's other studies, if any.

        By the key alone: it says in which order films are looked at, and nothing of them.
        """
        row = self._connection.one(
            "select max(severity) as worst from instances"  # noqa: S608
            " join studies on studies.id = instances.study_id"
            " where patient_key = :key and instances.study_id <> :study"
            f" and instances.state = 'analysed' and {_COUNTED}",
            key=patient_key,
            study=study_id,
            by_hand=BY_HAND,
        )
        return None if row is None else row["worst"]

    def unkeyed(self, limit: int) -> Sequence[Instance]:
        """Return analysed films whose patient key is not known by today's rule, oldest first."""
        rows = self._connection.all(
            f"{by_index('instances_unkeyed')} where instances.state = 'analysed'"
            " and instances.patient_key is null"
            " order by instances.id limit :limit",
            limit=limit,
        )
        return [instance_of(row) for row in rows]

    def keyed(self, keys: Iterable[tuple[InstanceId, str]]) -> None:
        """Note the patient key of films; "" for one that names no patient."""
        with self._connection.transaction() as connection:
            for instance_id, key in keys:
                connection.run(
                    "update instances set patient_key = :key where id = :id",
                    key=key,
                    id=instance_id,
                )
