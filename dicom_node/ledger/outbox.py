"""The outbox as people ask it: what was sent where and when, of whom, and what was not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicom_node.ledger.casebook import prefixes
from dicom_node.ledger.connection import text_of
from dicom_node.ledger.delivering import with_alternatives
from dicom_node.ledger.part import Part
from dicom_node.records import Delivery, DeliveryState

_JOINED = (
    "select deliveries.*, studies.study_instance_uid,"
    " cases.patient_name, cases.patient_id, cases.accession_number from deliveries"
    " join studies on studies.id = deliveries.study_id"
    " left join cases on cases.study_id = deliveries.study_id"
)
_TOLD_APART: Mapping[DeliveryState, Sequence[str]] = {
    DeliveryState.WAITING: ("held",),
    DeliveryState.REFUSED: ("not_accepted",),
}
"""What tallies tell apart of a state."""

_WHEN = "coalesce(deliveries.sent_at, deliveries.created_at)"


@dataclass(frozen=True, slots=True)
class OutboxQuery:
    """Which deliveries. Empty and None ask for nothing.

    ``since`` and ``until``: of the moment when it was sent, or else written; ``until`` itself is
    left out. ``words``: beginnings of words of a patient's name, ID, accession number or study
    description, or a whole Study Instance UID. ``before``: only those with a smaller number.
    """

    state: DeliveryState | None = None
    destination: str = ""
    since: datetime | None = None
    until: datetime | None = None
    words: str = ""
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A delivery and whose it is."""

    delivery: Delivery
    patient_name: str
    patient_id: str
    accession_number: str


class SearchedOutbox(Part):
    """The deliveries, searched."""

    def outbox(self, query: OutboxQuery) -> tuple[tuple[OutboxRow, ...], int]:
        """Return what is asked for, newest first, and how many there are without the limit."""
        where, values = _conditions(query)
        count = self._count(query, where, values)
        if query.before is not None:
            where = (
                f"{where} and deliveries.id < :before" if where else "where deliveries.id < :before"
            )
            values["before"] = query.before
        rows = self._connection.all(
            f"{_JOINED} {where} order by deliveries.id desc limit :limit",
            limit=query.limit,
            **values,
        )
        return tuple(self._row(row) for row in rows), count

    def _count(self, query: OutboxQuery, where: str, values: Mapping[str, Any]) -> int:
        if query.words.strip() or query.since or query.until:
            sql = f"select count(*) as number from deliveries {where}"  # noqa: S608
        else:
            where, values = _tallied(query)
            sql = f"select coalesce(sum(number), 0) as number from tallies {where}"  # noqa: S608
        row = self._connection.one(sql, **values)
        assert row is not None
        return int(row["number"])

    def _row(self, row: Mapping[str, Any]) -> OutboxRow:
        return OutboxRow(
            with_alternatives(self._connection, row),
            row["patient_name"] or "",
            row["patient_id"] or "",
            row["accession_number"] or "",
        )


def _conditions(query: OutboxQuery) -> tuple[str, dict[str, Any]]:
    conditions, values = [], dict[str, Any]()
    for name in ("state", "destination"):
        if value := getattr(query, name):
            conditions.append(f"deliveries.{name} = :{name}")
            values[name] = value
    for name, sign in (("since", ">="), ("until", "<")):
        if (moment := getattr(query, name)) is not None:
            conditions.append(f"{_WHEN} {sign} :{name}")
            values[name] = text_of(moment)
    if words := query.words.strip():
        conditions.append(
            "deliveries.study_id in (select rowid from case_words where words match :words"
            " union all select id from studies where study_instance_uid = :uid)"
        )
        values |= {"words": prefixes(words), "uid": words}
    return f"where {' and '.join(conditions)}" if conditions else "", values


def _tallied(query: OutboxQuery) -> tuple[str, dict[str, Any]]:
    """Return the condition of which tallies count deliveries of a state, a destination or all."""
    conditions, values = ["thing = 'deliveries'"], dict[str, Any]()
    if query.destination:
        conditions.append("destination = :destination")
        values["destination"] = query.destination
    if query.state:
        told_as = [query.state, *_TOLD_APART.get(query.state, ())]
        conditions.append("state in (select value from json_each(:told_as))")
        values["told_as"] = json.dumps(told_as)
    return f"where {' and '.join(conditions)}", values
