"""The ledger as lists and courses see it: what the headers of stored objects say, by digest.

A row comes with the row that names its object (by a trigger), goes with its study, and is empty
until the header was read: by who admits a film, or soon after by the intake role.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import Digest

_SQL = statements("headers")


class HeaderFacts(Part):
    """Facts of headers as JSON texts; the same bytes say the same for ever."""

    def facts(self, digests: Iterable[Digest]) -> Mapping[Digest, str]:
        """Return what is known of the objects of ``digests``."""
        rows = self._connection.all(
            _SQL["facts"],
            digests=json.dumps(list(digests)),
        )
        return {Digest(row["digest"]): row["told"] for row in rows}

    def without_facts(self, limit: int) -> Sequence[Digest]:
        """Return objects whose header nobody has read yet."""
        rows = self._connection.all(_SQL["without_facts"], limit=limit)
        return [Digest(row["digest"]) for row in rows]

    def keep_facts(self, told: Mapping[Digest, str]) -> None:
        """Keep what headers say; of objects that are gone meanwhile nothing."""
        with self._connection.transaction() as connection:
            for digest, text in told.items():
                connection.run(_SQL["keep_facts"], told=text, digest=digest)
