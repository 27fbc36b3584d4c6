"""The ledger as housekeeping sees it: an end for everything that only grows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta

from dicom_node.ledger.connection import text_of
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import Digest

_SQL = statements("ageing")
_AT_ONCE = 2000
"""Rows that one transaction removes: receiving waits for it no longer than for another film."""


class Ageing(Part):
    """What the node no longer needs to know."""

    def digests_of_shard(self, prefix: str) -> frozenset[Digest]:
        """Return the digests of spooled files that some row names and that begin with ``prefix``.

        All of them at once would be gigabytes on a node of millions of films.
        """
        rows = self._connection.all(
            _SQL["digests_of_shard"],
            first=prefix,
            last=f"{prefix}g",  # after every hexadecimal digit
        )
        return frozenset(Digest(row["digest"]) for row in rows)

    def stored_bytes(self) -> int:
        """Return the sizes of all received films and of all results together, a sum kept so far."""
        row = self._connection.one(_SQL["stored_bytes"])
        assert row is not None
        return int(row["bytes"])

    def forget_refusals(self, days: float) -> int:
        """Forget refused callers who have not called for so long; return how many there were."""
        return self._forget(
            "any_silent_refusals", "forget_silent_refusals", old=self._before(days=days)
        )

    def forget_sessions(self, idle: timedelta, longest: timedelta) -> int:
        """Forget sessions that have run out and whose browser never came back."""
        return self._forget(
            "any_old_sessions",
            "forget_old_sessions",
            idle=text_of(self._connection.moment() - idle),
            longest=text_of(self._connection.moment() - longest),
        )

    def forget_events(self, days: float) -> int:
        """Forget events older than that of studies that are forgotten; return how many."""
        removed, old = 0, self._before(days=days)
        for first, last in self._orphaned_events(old):
            with self._connection.transaction() as connection:
                removed += connection.run(
                    _SQL["forget_orphaned_events"],
                    first=first, last=last, old=old,
                )  # fmt: skip
        return removed

    def audit_lines_older(self, days: float, most: int) -> int:
        """Count lines of the audit trail that are older than that, up to ``most``."""
        row = self._connection.one(
            _SQL["old_audit_lines"],
            most=most, old=self._before(days=days),
        )  # fmt: skip
        assert row is not None
        return int(row["lines"])

    def forget_audit(self, days: float) -> int:
        """Forget lines of the audit trail older than that, in small steps; return how many.

        The trail says itself how many went.
        """
        removed = 0
        # Looked for without a lock, and by number: they stand in the order in which they came.
        while self.audit_lines_older(days, _AT_ONCE):
            with self._connection.transaction() as connection:
                removed += connection.run(
                    _SQL["forget_audit_lines"],
                    old=self._before(days=days), most=_AT_ONCE,
                )  # fmt: skip
        if removed:
            with self._connection.transaction() as connection:
                connection.insert(
                    "audit", at=connection.now(), who=connection.who, what="audit.aged",
                    detail=f"{removed} lines older than {days:g} days",
                )  # fmt: skip
        return removed

    def forget_peers(self, days: float, known: Iterable[str]) -> int:
        """Forget AEs that the site does not know and that were silent for so long.

        A node that takes films from everybody is told titles by strangers.
        """
        return self._forget(
            "any_silent_peers",
            "forget_silent_peers",
            old=self._before(days=days),
            known=json.dumps(list(known)),
        )

    def _orphaned_events(self, old: str) -> Iterator[tuple[int, int]]:
        """Yield ranges of ids that hold some, found without a lock."""
        last = 0
        while True:
            rows = self._connection.all(
                _SQL["orphaned_events"],
                last=last, old=old, most=_AT_ONCE,
            )  # fmt: skip
            if not rows:
                return
            first, last = rows[0]["id"], rows[-1]["id"]
            yield first, last

    def _forget(self, look: str, forget: str, **values: object) -> int:
        if self._connection.one(_SQL[look], **values) is None:
            return 0
        with self._connection.transaction() as connection:
            return connection.run(_SQL[forget], **values)

    def _before(self, *, days: float) -> str:
        return text_of(self._connection.moment() - timedelta(days=days))
