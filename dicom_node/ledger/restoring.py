"""A ledger that was put back to an earlier day, and what it does not know of today."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.ledger.interface.restored import FilmOnRecord
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import Digest, InstanceState

_SQL = statements("restoring")


class Restoring(Part):
    """What is asked of a ledger that was put back, and done to it, before a node works with it."""

    def wake_up(self) -> None:
        """End what lived when it was copied: nobody is signed in, nobody has work in hand."""
        with self._connection.transaction() as connection:
            for name in ("end_every_session", "give_films_back", "give_studies_back"):
                connection.run(_SQL[name])

    def films_of_shard(self, prefix: str) -> Sequence[FilmOnRecord]:
        """Return the films whose digests begin with ``prefix``, and from whom each came."""
        rows = self._connection.all(
            _SQL["films_of_shard"],
            first=prefix,
            last=f"{prefix}g",  # after every hexadecimal digit
        )
        return [
            FilmOnRecord(
                Digest(row["digest"]),
                row["sop_instance_uid"],
                row["study_instance_uid"],
                InstanceState(row["state"]),
                frozenset(() if row["senders"] is None else row["senders"].split("\n")),
            )
            for row in rows
        ]
