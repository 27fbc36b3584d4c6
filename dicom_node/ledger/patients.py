"""The ledger as the course sees it: which films may be of one patient, by a digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import instance_of
from dicom_node.ledger.statements import statements
from dicom_node.records import BY_HAND, RETRACTED, Instance, InstanceId, StudyId

_SQL = statements("patients")


class Patients(Part):
    """Films of one patient: preselected by their key, decided by who reads their headers."""

    def earlier(self, study_id: StudyId, limit: int) -> Sequence[Instance]:
        """Return analysed films with a patient key of this study's, latest received first.

        Of other studies; the latest bytes alone of a film that was sent again; without those that
        came by hand alone, and without those whose results were taken back: reports that leave the
        node tell of what is returned.
        """
        rows = self._connection.all(
            _SQL["earlier_films"],
            study=study_id,
            retracted=f"{RETRACTED}%",
            by_hand=BY_HAND,
            limit=limit,
        )
        return [instance_of(row) for row in rows]

    def earlier_severity(self, study_id: StudyId, patient_key: str) -> float | None:
        """Return the severity of the most severe film of a patient's other studies, if any.

        By the key alone: it says in which order films are looked at, and nothing of them.
        """
        row = self._connection.one(
            _SQL["earlier_severity"],
            key=patient_key,
            study=study_id,
            retracted=f"{RETRACTED}%",
            by_hand=BY_HAND,
        )
        return None if row is None else row["worst"]

    def unkeyed(self, limit: int) -> Sequence[Instance]:
        """Return analysed films whose patient key is not known by today's rule, oldest first."""
        rows = self._connection.all(_SQL["unkeyed_films"], limit=limit)
        return [instance_of(row) for row in rows]

    def keyed(self, keys: Iterable[tuple[InstanceId, str]]) -> None:
        """Note the patient key of films; "" for one that names no patient."""
        with self._connection.transaction() as connection:
            for instance_id, key in keys:
                connection.run(_SQL["key_film"], key=key, id=instance_id)
