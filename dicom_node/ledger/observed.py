"""The ledger as lists, charts and readers see the headlines of declared bundles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from dicom_node.ledger.connection import Connection, Row
from dicom_node.ledger.headlines import (
    HeadlineKey,
    ListLine,
    ObservationWord,
    foremost,
    headlines_from,
)
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import STUDIES, required
from dicom_node.records import TRIAL_AE, StudyId

_SQL = statements("observations")


def list_observations(connection: Connection, study_id: int, received_at: object) -> None:
    """Let the list tell the headlines of a study's films; nothing is written where nothing moved.

    Runs in the transaction of the change, as the study's row in the list is written.
    """
    rows = connection.all(_SQL["headlines_of_films"], id=study_id)
    told = foremost(headlines_from(row["headlines"]) for row in rows)
    before = connection.all(_SQL["observations_of_study"], id=study_id)
    if {(_headline(row), row["received_at"]) for row in before} == {
        (each, received_at) for each in told
    }:
        return
    connection.run(_SQL["forget_observations_of_study"], id=study_id)
    for each in told:
        connection.run(
            _SQL["keep_observation"], id=study_id, received_at=received_at, network=each.network,
            key=each.key, number=each.number, text=each.text, found=int(each.found),
            unit=each.unit,
        )  # fmt: skip


def observations_of(
    connection: Connection, study_ids: Iterable[int]
) -> Mapping[int, tuple[ListLine, ...]]:
    """Return what the list tells of studies; those of which it tells nothing are left out."""
    found: dict[int, tuple[ListLine, ...]] = {}
    for row in connection.all(_SQL["observations_of_studies"], ids=json.dumps(list(study_ids))):
        found[row["study_id"]] = (*found.get(row["study_id"], ()), _headline(row))
    return found


class ObservedCases(Part):
    """Headlines of many cases, and readers' words on them."""

    def observations_since(self, headline: HeadlineKey, since: str) -> Sequence[Mapping[str, Any]]:
        """Return what one headline said of cases received since (ISO 8601), without identity."""
        rows = self._connection.all(
            _SQL["observations_since"], network=headline.network, key=headline.key, since=since,
            trial=TRIAL_AE,
        )  # fmt: skip
        return [dict(row) for row in rows]

    def said_of_observations(self, study_id: StudyId) -> Sequence[ObservationWord]:
        """Return what readers said of the headlines of a study's films."""
        rows = self._connection.all(_SQL["said_of_observations"], id=study_id)
        return [ObservationWord(**{each.name: row[each.name] for each in fields(ObservationWord)})
                for row in rows]  # fmt: skip

    def say_of_observation(self, study_id: StudyId, word: ObservationWord) -> None:
        """Keep what a reader says of a headline; the same reader's earlier word is replaced."""
        with self._connection.transaction() as connection:
            study = required(connection, STUDIES, study_id)
            answer = _answer(connection, study_id, word)
            connection.run(
                _SQL["keep_observation_feedback"],
                study=study_id, study_uid=study["study_instance_uid"], uid=word.sop_instance_uid,
                reader=word.reader, network=word.network, key=word.key, verdict=word.verdict,
                number=answer.number if answer else None, text=answer.text if answer else None,
                found=int(answer.found) if answer else None, now=connection.now(),
            )  # fmt: skip

    def all_observation_feedback(self) -> Sequence[Mapping[str, Any]]:
        """Return every word on a headline beside what the network had said; no patient in it."""
        return [dict(row) for row in self._connection.all(_SQL["all_observation_feedback"])]


def _answer(connection: Connection, study_id: int, word: ObservationWord) -> ListLine | None:
    row = connection.one(_SQL["headlines_of_film"], study=study_id, uid=word.sop_instance_uid)
    told = headlines_from(row["headlines"]) if row else ()
    return next((each for each in told if (each.network, each.key) == (word.network, word.key)),
                None)  # fmt: skip


def _headline(row: Row) -> ListLine:
    return ListLine(
        row["network"], row["key"], row["number"], row["text"], bool(row["found"]), row["unit"]
    )
