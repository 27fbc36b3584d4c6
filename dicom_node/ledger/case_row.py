"""A study's row of the case list, made anew from what the ledger knows of it.

Runs in the transaction of the change, so that the list never tells another story than the rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from dicom_node.ledger.connection import Connection, Row
from dicom_node.ledger.observed import list_observations
from dicom_node.ledger.statements import statements
from dicom_node.ledger.told import columns_of

_SQL = statements("case_row")

_OUTCOMES = ("failed", "analysed", "received", "admitted", "declined")
"""Which film's state speaks for a study of several: what went wrong before all."""

_DELIVERIES = ("refused", "expired", "waiting", "held", "sent", "committed")
"""Which delivery speaks for a study: what needs a person first."""


def refresh_case(connection: Connection, study_id: int) -> None:
    """Write the row of ``study_id`` in the case list; nothing for a study that is gone."""
    study = connection.one(_SQL["study_to_list"], id=study_id)
    if study is None:
        return
    films = connection.all(_SQL["films_to_list"], id=study_id)
    values = (
        _facts(study, films)
        | _worst(connection, films)
        | {
            "sender": _sender(connection, study_id),
            "delivery": _delivery(connection, study_id),
            **_reading(connection, study_id, study["revision"]),
        }
    )
    connection.run(_SQL["list_case"], study_id=study_id, **values)
    list_observations(connection, study_id, values["received_at"])


def _facts(study: Row, films: Sequence[Row]) -> dict[str, object]:
    states = [film["state"] for film in films]
    outcome = next((each for each in _OUTCOMES if each in states), "waiting")
    reasons = [*(film["reason"] for film in films), study["reason"]]
    return {
        "received_at": max((film["received_at"] for film in films), default=study["opened_at"]),
        "state": study["state"],
        "films": len(films),
        "outcome": "waiting" if outcome in ("received", "admitted") else outcome,
        "reason": "; ".join(dict.fromkeys(filter(None, reasons))) or None,
        "view": next((film["view"] for film in films if film["view"]), None),
    }


def _worst(connection: Connection, films: Sequence[Row]) -> dict[str, object]:
    """Return what the list shows of the film with the most severe findings.

    In doubt is the study of which any film's answers contradict each other. Only the findings of
    that one film are read: a study of hundreds is listed anew with each film that is done.
    """
    analysed = [film for film in films if film["severity"] is not None]
    worst = max(analysed, key=lambda film: film["severity"], default=None)
    row = None if worst is None else connection.one(_SQL["findings_to_list"], id=worst["id"])
    found = {} if row is None else json.loads(row["findings_json"])
    in_doubt = any(film["in_doubt"] for film in analysed)
    severity = -1.0 if worst is None else worst["severity"]
    return {**columns_of(found), "severity": severity, "in_doubt": int(in_doubt)}


def _sender(connection: Connection, study_id: int) -> str:
    row = connection.one(_SQL["sender_to_list"], id=study_id)
    return str(row["calling_ae_title"]) if row else ""


def _reading(connection: Connection, study_id: int, revision: int) -> dict[str, object]:
    """Return how far the present report was read, and who read an earlier one.

    What was said of an earlier report is a draft for this one.
    """
    row = connection.one(_SQL["reading_to_list"], id=study_id)
    if row is None:
        return {"reading": "", "earlier_reader": ""}
    if row["revision"] >= revision or row["state"] != "read":
        return {"reading": row["state"], "earlier_reader": ""}
    return {"reading": "draft", "earlier_reader": row["reader"]}


def _delivery(connection: Connection, study_id: int) -> str:
    rows = connection.all(_SQL["deliveries_to_list"], id=study_id)
    states = {row["state"] for row in rows}
    return next((each for each in _DELIVERIES if each in states), "none")
