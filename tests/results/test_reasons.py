"""Why something was not said, in the language of the report."""

from __future__ import annotations

import re

import pytest

from dicom_node.analysis import observing
from dicom_node.results.observed_words import reason
from tests.results.told_kit import ENGLISH, GERMAN


@pytest.mark.parametrize(
    ("said", "german"),
    [
        ("the film states no pixel spacing", "die Aufnahme nennt keinen Pixelabstand"),
        ("it was stopped after 30 s.", "es wurde nach 30 s angehalten."),
        ("it wants more than 512 MB of memory (memory_mb).",
         "es braucht mehr als 512 MB Speicher (memory_mb)."),
        ("its process ended by signal 11 (SIGSEGV).",
         "es ist abgebrochen (technische Störung, siehe Protokoll)."),
        ("its process ended by itself; after 3 such failures it is tried again in 16 s.",
         "es ist 3-mal gescheitert und wird in 16 s wieder versucht."),
        ("Bundle a, observation 'b': its output is not a number.",
         "seine Antwort ist nicht, was sein Manifest sagt ('b')."),
        ("something that nobody foresaw {x}", "something that nobody foresaw {x}"),
    ],
)  # fmt: skip
def test_a_reason_is_told_in_the_language_of_the_report(said: str, german: str) -> None:
    assert reason(said, GERMAN) == german
    assert reason(said, ENGLISH) == said


def test_every_reason_for_a_missing_value_has_german_words() -> None:
    reasons = {
        each for name, each in vars(observing).items() if name in ("_NO_SPACING", "_OUTSIDE")
    }
    assert len(reasons) == 2
    assert [each for each in reasons if reason(each, GERMAN) == each] == []


def test_no_reason_of_a_template_takes_every_sentence() -> None:
    for known in GERMAN.observed.reasons:
        assert re.sub(r"\{\w+\}", "", known).strip("; ") != ""
