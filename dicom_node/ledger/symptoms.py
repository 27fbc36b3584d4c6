"""The ledger as somebody sees it who looks for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from dicom_node.ledger.connection import text_of
from dicom_node.ledger.interface.symptoms import Happened, Waiting
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements

_SQL = statements("doctor")
_MOST = 200_000
"""So many latest rows are looked at: a node of years has millions, and no index by time."""


class Symptomatic(Part):
    """Numbers and ages of what waits and what happened; nobody's name is asked for."""

    def waiting(self) -> Sequence[Waiting]:
        """Return the films, studies and deliveries (by destination) that have waited longest."""
        return list(self._oldest())

    def _oldest(self) -> Iterator[Waiting]:
        for where, name in (("analysis", "oldest_film"), ("report", "waiting_study")):
            row = self._connection.one(_SQL[name])
            if row is not None and row["at"] is not None:
                yield Waiting(where, datetime.fromisoformat(row["at"]))
        for row in self._connection.all(_SQL["waiting_deliveries"]):
            yield Waiting(row["destination"], datetime.fromisoformat(row["at"]), row["number"])

    def lately(self, days: float) -> Sequence[Happened]:
        """Return what the events of the last days tell, by their name."""
        since = text_of(self._connection.moment() - timedelta(days=days))
        rows = self._connection.all(_SQL["lately"], since=since, most=_MOST)
        return [
            Happened(row["what"], row["number"], datetime.fromisoformat(row["at"])) for row in rows
        ]

    def last_noted(self, what: str) -> datetime | None:
        """Return when the audit trail had such a line last; None: not that anybody remembers."""
        row = self._connection.one(_SQL["last_noted"], what=what, most=_MOST)
        return None if row is None or row["at"] is None else datetime.fromisoformat(row["at"])

    def people_by_role(self) -> Mapping[str, int]:
        """Return how many may sign in, by role."""
        rows = self._connection.all(_SQL["people_by_role"])
        return {row["role"]: row["number"] for row in rows}

    def rejected(self) -> tuple[int, datetime | None]:
        """Return how many calls were rejected, and when the last."""
        row = self._connection.one(_SQL["kinds_of_refusals"])
        assert row is not None
        return int(row["number"]), datetime.fromisoformat(row["at"]) if row["at"] else None
