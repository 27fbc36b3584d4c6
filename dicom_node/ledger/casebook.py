"""The ledger as readers see it: the case list, searched and paged, and what readers said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from dicom_node.findings import APPEARANCES
from dicom_node.ledger.cases import (
    IN_DOUBT,
    MATCHES,
    MEASURED,
    NO_OPACITY,
    OPACITY,
    UNDETERMINED,
    CasePage,
    CaseQuery,
    CaseRow,
    Feedback,
    ReaderReport,
)
from dicom_node.ledger.connection import Connection
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import STUDIES, required
from dicom_node.records import TRIAL_AE, StudyId

_SQL = statements("cases")
_COLUMNS: Mapping[str, str] = {
    "received": "received_at",
    "severity": "severity",
    "study_date": "study_date",
}
_FINDINGS: Mapping[str, str] = {
    IN_DOUBT: "cases.in_doubt",
    UNDETERMINED: "cases.abstained",
    OPACITY: "cases.opacity = 1",
    NO_OPACITY: "cases.opacity = 0",
    **{name: f"cases.appearance = '{name}'" for name in APPEARANCES},
}
_EQUAL = (
    "outcome", "delivery", "sender", "state", "reading", "patient_id",
    "accession_number",
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+")
_BY_WORDS = (
    "cases.study_id in (select * from (select rowid from case_words where words match :words"
    " order by rowid desc limit :matches)"
    " union all select id from studies where study_instance_uid = :uid)"
)

FEW = 1_000
"""So many hits are looked up and put in order; where there are more, the list is walked through."""


class Casebook(Part):
    """Cases, readers' reports, feedback."""

    def cases(self, query: CaseQuery) -> CasePage:
        """Return one page of the case list."""
        conditions, values = _conditions(query)
        column, hits = _COLUMNS[query.order], self._hits(query.words.strip())
        # What has a "+" is not looked for by an index.
        listed, found = ("+", "") if hits is not None and hits <= FEW else ("", "+")
        if hits is not None:
            conditions.append(f"{found}{_BY_WORDS}")
            values |= _asked_by_words(query.words.strip())
        if query.after is not None:
            conditions.append(f"({listed}cases.{column}, cases.study_id) < (:after, :after_id)")
            last: Any = query.after[0]
            values["after"] = float(last) if query.order == "severity" else last
            values["after_id"] = query.after[1]
        where = f"where {' and '.join(conditions)}" if conditions else ""
        rows = self._connection.all(
            "select cases.*, studies.study_instance_uid from cases"  # noqa: S608
            f" join studies on studies.id = cases.study_id {where}"
            f" order by {listed}cases.{column} desc, cases.study_id desc limit :limit",
            limit=query.limit + 1,
            **values,
        )
        cases = tuple(_case(row) for row in rows[: query.limit])
        more = len(rows) > query.limit
        after = (str(rows[query.limit - 1][column]), int(cases[-1].study_id)) if more else None
        return CasePage(cases, after, hits is not None and hits > MATCHES)

    def _hits(self, words: str) -> int | None:
        """Return how many hits a search has, up to one more than `MATCHES`; None for none asked."""
        if not words:
            return None
        row = self._connection.one(_SQL["hits"], words=prefixes(words), most=MATCHES + 1)
        assert row is not None
        return int(row["hits"])

    def case(self, study_id: StudyId) -> CaseRow:
        """Return the row of one study. Raises `RowMissing`."""
        required(self._connection, STUDIES, study_id)
        row = self._connection.one(_SQL["case"], id=study_id)
        assert row is not None
        return _case(row)

    def senders(self) -> Sequence[str]:
        """Return every AE title that a case came from."""
        rows = self._connection.all(_SQL["senders"])
        return [row["ae_title"] for row in rows]

    def undescribed(self, limit: int) -> Sequence[StudyId]:
        """Return studies whose list entry names no patient yet, oldest first."""
        rows = self._connection.all(_SQL["undescribed"], limit=limit)
        return [StudyId(row["study_id"]) for row in rows]

    def described(self, descriptions: Iterable[tuple[StudyId, Mapping[str, str]]]) -> None:
        """Note whose studies they are: columns of ``cases`` by name, decoded text."""
        with self._connection.transaction() as connection:
            for study_id, texts in descriptions:
                _describe(connection, study_id, texts)

    def reading(self, study_id: StudyId) -> ReaderReport | None:
        """Return the reader's lines under a study's report, if anyone wrote some."""
        row = self._connection.one(_SQL["reading"], id=study_id)
        if row is None:
            return None
        return ReaderReport(
            row["state"], row["comment"], row["reader"], row["revision"], row["at"],
            bool(row["is_outdated"]),
        )  # fmt: skip

    def read(self, study_id: StudyId, report: ReaderReport, *, seen: str | None = None) -> bool:
        """Keep a reader's lines, as said now; the ledger tells whether they are outdated.

        ``seen``: `ReaderReport.at` of the lines that the reader had before him, "" where there were
        none, None where that is not known. Returns False, and keeps nothing, where somebody has
        written since: two readers never overwrite each other unseen.
        """
        with self._connection.transaction() as connection:
            study = required(connection, STUDIES, study_id)
            present = connection.one(_SQL["present_reading"], id=study_id)
            if present is not None and _would_hide(present, report, seen):
                return False
            connection.run(
                _SQL["keep_reading"],
                # Nobody has read a report that is still to come, whatever a form says.
                id=study_id, revision=min(report.revision, study["revision"]), state=report.state,
                comment=report.comment, reader=report.reader, now=connection.now(),
            )  # fmt: skip
            connection.touch(study_id)
        return True

    def said(self, study_id: StudyId) -> Sequence[Feedback]:
        """Return what readers said of the answers on a study's films."""
        rows = self._connection.all(_SQL["feedback_of_study"], id=study_id)
        return [_feedback(row) for row in rows]

    def say(self, study_id: StudyId, feedback: Feedback) -> None:
        """Keep what a reader says of a film; the same reader's earlier word is replaced."""
        with self._connection.transaction() as connection:
            study = required(connection, STUDIES, study_id)
            answer = connection.one(
                _SQL["answer_on_film"], study=study_id, uid=feedback.sop_instance_uid
            )
            connection.run(
                _SQL["keep_feedback"],
                study_uid=study["study_instance_uid"],
                answer=answer["findings_json"] if answer else None,
                study=study_id, uid=feedback.sop_instance_uid, reader=feedback.reader,
                verdict=feedback.verdict, finding=feedback.finding,
                geographic=feedback.geographic_extent, opacity=feedback.opacity_extent,
                level=feedback.airspace_level, comment=feedback.comment, now=connection.now(),
            )  # fmt: skip

    def all_feedback(self) -> Sequence[Mapping[str, Any]]:
        """Return every feedback beside what the networks had said, for export; no patient in it."""
        rows = self._connection.all(_SQL["all_feedback"])
        return [dict(row) for row in rows]

    def scores_since(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Return findings of all cases received since a time (ISO 8601), without identity."""
        rows = self._connection.all(_SQL["scores_since"], since=since, trial=TRIAL_AE)
        return [dict(row) for row in rows]

    def stages_since(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Return the moments of each study received since: received, analysed, reported, sent.

        Of the latest `MEASURED` studies.
        """
        rows = self._connection.all(_SQL["stages_since"], since=since, most=MEASURED)
        return [dict(row) for row in rows]


def _would_hide(present: Mapping[str, Any], report: ReaderReport, seen: str | None) -> bool:
    """Whether lines, or that the report was read, would go that their writer never saw."""
    said = present["comment"] and present["comment"] != report.comment
    if not said and not (present["state"] == "read" and report.state == "draft"):
        return False
    if seen is None:
        return bool(present["reader"] != report.reader)
    return bool(present["at"] != seen)


def _conditions(query: CaseQuery) -> tuple[list[str], dict[str, Any]]:
    conditions, values = [], {}
    if query.reading == "unread":
        conditions.append("cases.reading <> 'read'")
        query = replace(query, reading="")
    for name in _EQUAL:
        if value := getattr(query, name):
            conditions.append(f"cases.{name} = :{name}")
            values[name] = value
    if query.finding in _FINDINGS:
        conditions.append(_FINDINGS[query.finding])
    elif query.finding:
        conditions.append("cases.finding = :finding")
        values["finding"] = query.finding
    asked = (query.sender, query.study_instance_uid, query.patient_id, query.accession_number)
    if not any((*asked, query.words.strip())):
        conditions.append("cases.sender <> :trial")
        values["trial"] = TRIAL_AE
    if query.study_instance_uid:
        conditions.append("studies.study_instance_uid = :study_uid")
        values["study_uid"] = query.study_instance_uid
    if query.since:
        conditions.append("cases.study_date >= :since")
        values["since"] = query.since
    if query.until:
        conditions.append("cases.study_date <= :until")
        values["until"] = query.until
    return conditions, values


def _asked_by_words(words: str) -> dict[str, Any]:
    return {"words": prefixes(words), "matches": MATCHES, "uid": words}


def prefixes(words: str) -> str:
    """Return what FTS5 is asked: every word, quoted, as the beginning of one."""
    return " ".join(f'"{word}"*' for word in _WORD.findall(words)) or '""'


def _describe(connection: Connection, study_id: StudyId, texts: Mapping[str, str]) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in texts)
    connection.run(
        f"update cases set described = 1{', ' * bool(changes)}{changes} where study_id = :id",  # noqa: S608
        id=study_id,
        **texts,
    )
    connection.run(_SQL["forget_words_of_case"], id=study_id)
    names = ("patient_name", "patient_id", "accession_number", "study_description")
    words = " ".join(texts.get(name, "") for name in names)
    connection.run(_SQL["keep_words_of_case"], id=study_id, words=words)


def _case(row: Mapping[str, Any]) -> CaseRow:
    values = {each.name: row[each.name] for each in fields(CaseRow)}
    for name in ("abstained", "in_doubt", "peak_in_lungs", "opacity"):
        values[name] = None if values[name] is None else bool(values[name])
    return CaseRow(**values)


def _feedback(row: Mapping[str, Any]) -> Feedback:
    return Feedback(**{each.name: row[each.name] for each in fields(Feedback)})
