"""Cases and their headline observations as a table: one row an observation, for programs.

Rows, not columns: the table has the same columns whatever bundles are installed. Keys are those of
the manifests, names are for people. It holds no name, ID or birth date of a patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dicom_node.ledger import Cases
from dicom_node.ledger.cases import CaseQuery, CaseRow
from dicom_node.results.headline_words import Cards, SpokenHeadline, spoken
from dicom_node.results.templates import Template

COLUMNS = (
    "case", "study_instance_uid", "accession_number", "study_date", "received_at", "outcome",
    "sender", "severity", "network", "key", "number", "unit", "classes", "found",
    "name", "answer",
)  # fmt: skip
"""``number``, ``unit`` (UCUM) and ``classes``: see `ListLine`; ``found``: 1 or 0; ``answer``: in
words."""

_PAGE = 500


def case_table(
    ledger: Cases, query: CaseQuery, cards: Cards, template: Template
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of every case of a list, of all its pages, in its order; see `COLUMNS`.

    A case of which no headline is told has one row without any.
    """
    query = replace(query, limit=_PAGE, after=None)
    while True:
        page = ledger.cases(query)
        for case in page.cases:
            told = spoken(case.observations, cards, template)
            for each in told or (None,):
                yield _row(case, each)
        if page.after is None:
            return
        query = replace(query, after=page.after)


def _row(case: CaseRow, told: SpokenHeadline | None) -> dict[str, Any]:
    row = {
        "case": case.study_id, "study_instance_uid": case.study_instance_uid,
        "accession_number": case.accession_number, "study_date": case.study_date,
        "received_at": case.received_at, "outcome": case.outcome, "sender": case.sender,
        "severity": case.severity,
    }  # fmt: skip
    if told is None:
        return row
    said = told.line
    return row | {
        "network": said.network, "key": said.key, "number": said.number, "unit": said.unit,
        "classes": said.text,
        "found": int(said.found), "name": told.name, "answer": told.answer,
    }  # fmt: skip
