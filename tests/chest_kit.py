"""Findings with answers of our own networks, which tests name as the JSON contract does."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from dicom_node.chest import ChestAnswers
from dicom_node.findings import FilmFindings, Outcome

_NAMES = {each.name for each in fields(ChestAnswers)}


def answering(findings: FilmFindings, **changes: Any) -> FilmFindings:
    """Return the findings with other answers (names of `ChestAnswers`, observed) and fields."""
    named = {name: changes.pop(name) for name in _NAMES & changes.keys()}
    observed = changes.pop("observed", findings.observed)
    chest = replace(findings.chest, **named)
    return replace(findings.with_chest(chest).with_observed(observed), **changes)


def with_answers(uid: str = "2.25.1", **answers: Any) -> FilmFindings:
    """Return findings of a film that was analysed, with these answers and fields."""
    return answering(FilmFindings(uid, Outcome.ANALYSED), **answers)
