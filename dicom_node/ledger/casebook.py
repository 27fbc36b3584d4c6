"""The ledger as readers see it: the case list, searched and paged, and what readers said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from dicom_node.chest import APPEARANCES
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
    ObservationFilter,
    ReaderReport,
)
from dicom_node.ledger.connection import Connection
from dicom_node.ledger.headlines import HeadlineKey
from dicom_node.ledger.observed import observations_of
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

_OF_HEADLINE = "observations.network = :network and observations.key = :key"
_HAS_OBSERVATION = (
    "exists (select 1 from observations as held where held.study_id = cases.study_id"
    " and held.network = :asked_network and held.key = :asked_key{})"
)
_BY_OBSERVATION = (
    "cases.study_id in (select study_id from observations as held"
    " indexed by observations_by_number where held.network = :asked_network"
    " and held.key = :asked_key and held.found in (0, 1){})"
)
_FROM_CASES = "cases join studies on studies.id = cases.study_id"
# A cross join of SQLite is walked in the order in which it is written.
_FROM_OBSERVATIONS = (
    "observations indexed by {} cross join cases on cases.study_id = observations.study_id"
    " cross join studies on studies.id = cases.study_id"
)

FEW = 1_000
"""So many hits are looked up and put in order; where there are more, the list is walked through."""


class Casebook(Part):
    """Cases, readers' reports, feedback."""

    def cases(self, query: CaseQuery) -> CasePage:
        """Return one page of the case list."""
        conditions, values = _conditions(query)
        words = query.words.strip()
        hits, observed = self._hits(words), self._hits_of_observation(query.observation)
        few = any(each is not None and each <= FEW for each in (hits, observed))
        walk = _walk(query, few=few)
        conditions += walk.conditions
        if words:
            # What has a "+" is not looked for by an index.
            found = "" if hits is not None and hits <= FEW else "+"
            conditions.append(f"{found}{_BY_WORDS}")
            values |= _asked_by_words(words)
        if query.observation is not None:
            conditions.append(_observed(query, walk, few=(observed or 0) <= FEW))
        columns = (*walk.order, f"{walk.table}.study_id")
        if query.after is not None:
            places = [f":after_{number}" for number, _ in enumerate(walk.order)]
            conditions.append(f"({', '.join(columns)}) < ({', '.join(places)}, :after_id)")
            values |= _behind(query, query.after)
        where = f"where {' and '.join(conditions)}" if conditions else ""
        rows = self._connection.all(
            f"select cases.*, studies.study_instance_uid, {walk.standing}"  # noqa: S608
            f" from {walk.source} {where}"
            f" order by {', '.join(f'{each} desc' for each in columns)} limit :limit",
            limit=query.limit + 1,
            **values,
            **_keys(query),
        )
        cases = self._with_observations([_case(row) for row in rows[: query.limit]])
        more = len(rows) > query.limit
        after = (_standing(rows[query.limit - 1]), int(cases[-1].study_id)) if more else None
        return CasePage(cases, after, hits is not None and hits > MATCHES)

    def _with_observations(self, cases: Sequence[CaseRow]) -> tuple[CaseRow, ...]:
        said = observations_of(self._connection, (case.study_id for case in cases))
        if not said:
            return tuple(cases)
        return tuple(replace(case, observations=said.get(case.study_id, ())) for case in cases)

    def _hits_of_observation(self, asked: ObservationFilter | None) -> int | None:
        """Return how many cases an observation is of, up to one more than `FEW`."""
        if asked is None:
            return None
        row = self._connection.one(
            "select count(*) as hits from (select 1 from observations as held"  # noqa: S608
            " indexed by observations_by_number where held.network = :asked_network"
            " and held.key = :asked_key and held.found in (0, 1)"
            f"{_extra(asked)} limit :most)",
            most=FEW + 1,
            **_asked_of(asked),
        )
        assert row is not None
        return int(row["hits"])

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
        (case,) = self._with_observations([_case(row)])
        return case

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
                numbers=json.dumps(dict(feedback.numbers)), comment=feedback.comment,
                now=connection.now(),
            )  # fmt: skip

    def all_feedback(self) -> Sequence[Mapping[str, Any]]:
        """Return every feedback beside what the networks had said, for export; no patient in it."""
        rows = self._connection.all(_SQL["all_feedback"])
        return [dict(row) | json.loads(row["numbers"]) for row in rows]

    def scores_since(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Return findings of all cases received since a time (ISO 8601), without identity."""
        rows = self._connection.all(_SQL["scores_since"], since=since, trial=TRIAL_AE)
        return [dict(row) | json.loads(row["figures"]) for row in rows]

    def stages_since(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Return the moments of each study received since: received, analysed, reported, sent.

        Of the latest `MEASURED` studies.
        """
        rows = self._connection.all(_SQL["stages_since"], since=since, most=MEASURED)
        return [dict(row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Walk:
    """How the list is gone through: from which tables, in which order, and where a row stands.

    ``table``: the first of them; one row of it a case.
    """

    source: str
    order: tuple[str, ...]
    standing: str
    table: str = "cases"
    conditions: tuple[str, ...] = ()


def _walk(query: CaseQuery, *, few: bool) -> _Walk:
    """Return how a list is gone through; ``few``: its hits are looked up and put in order."""
    if isinstance(query.order, HeadlineKey):
        order = ("observations.found", "observations.number")
        standing = "observations.found as standing_found, observations.number as standing"
        if few:
            source = f"{_FROM_CASES} join observations on observations.study_id = cases.study_id"
            order = ("+observations.found", "+observations.number")
            return _Walk(source, order, standing, conditions=(_OF_HEADLINE,))
        source = _FROM_OBSERVATIONS.format("observations_by_number")
        return _Walk(source, order, standing, "observations", (_OF_HEADLINE,))
    column = _COLUMNS[query.order]
    standing = f"null as standing_found, cases.{column} as standing"
    if few:
        return _Walk(_FROM_CASES, (f"+cases.{column}",), standing)
    if query.observation is not None and column == "received_at":
        # Of those found few may be the latest: an index holds them alone.
        found = query.observation.observed == "found"
        source = _FROM_OBSERVATIONS.format("observations_" + ("found" if found else "by_time"))
        return _Walk(source, (f"observations.{column}",), standing, "observations", (_OF_HEADLINE,))
    return _Walk(_FROM_CASES, (f"cases.{column}",), standing)


def _standing(row: Mapping[str, Any]) -> str:
    """Return where a row stands, for `_behind`."""
    if row["standing_found"] is None:
        return str(row["standing"])
    return f"{row['standing_found']}/{row['standing']!r}"


def _behind(query: CaseQuery, after: tuple[str, int]) -> dict[str, Any]:
    """Return where a page begins; raises ValueError where ``after`` is of no such list."""
    last: list[Any] = [after[0]]
    if isinstance(query.order, HeadlineKey):
        found, _, number = after[0].partition("/")
        last = [int(found), float(number)]
    elif query.order == "severity":
        last = [float(after[0])]
    return {f"after_{number}": value for number, value in enumerate(last)} | {"after_id": after[1]}


def _keys(query: CaseQuery) -> dict[str, Any]:
    """Return by which headline a list is gone through, and of which it asks."""
    asked = query.observation
    by = query.order if isinstance(query.order, HeadlineKey) else asked and asked.headline
    values = {"network": by.network, "key": by.key} if by else {}
    return values | (_asked_of(asked) if asked else {})


def _asked_of(asked: ObservationFilter) -> dict[str, Any]:
    values = {"asked_network": asked.headline.network, "asked_key": asked.headline.key}
    return values | ({} if asked.at_least is None else {"at_least": asked.at_least})


def _extra(asked: ObservationFilter, table: str = "held") -> str:
    """Return what is asked of a headline beside its name."""
    said = {"found": f" and {table}.found = 1", "not-found": f" and {table}.found = 0"}
    number = "" if asked.at_least is None else f" and {table}.number >= :at_least"
    return f"{said.get(asked.observed, '')}{number}"


def _observed(query: CaseQuery, walk: _Walk, *, few: bool) -> str:
    asked = query.observation
    assert asked is not None
    if few:
        return _BY_OBSERVATION.format(_extra(asked))
    if walk.table == "observations" and query.order in ("received", asked.headline):
        # It is gone through by that very headline.
        return f"true{_extra(asked, walk.table)}"
    return _HAS_OBSERVATION.format(_extra(asked))


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
    values = {each.name: row[each.name] for each in fields(CaseRow) if each.name in row.keys()}  # noqa: SIM118
    for name in ("abstained", "in_doubt", "peak_in_lungs", "opacity"):
        values[name] = None if values[name] is None else bool(values[name])
    values["figures"] = json.loads(row["figures"])
    return CaseRow(**values)


def _feedback(row: Mapping[str, Any]) -> Feedback:
    values = {each.name: row[each.name] for each in fields(Feedback)}
    return Feedback(**values | {"numbers": json.loads(row["numbers"])})
