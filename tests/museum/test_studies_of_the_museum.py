"""Films of one study whose headers differ: one patient's where nothing contradicts, never silence.

dcm4che/dcm4chee-arc-light#4508 (the issuer differs between objects of a study) and neighbours.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.museum.exhibit import Museum
from tests.museum.film import Film, film
from tests.thinned import thinned

STUDY = "2.25.4711"


def of_one_study(folder: Path, *films: Film) -> tuple[list[str], str]:
    """Return which films the reports of one study tell of, and the study's own reason."""
    museum = Museum.at(folder)
    with closing(museum.ledger):
        for one in films:
            museum.receive(one.set(StudyInstanceUID=STUDY))
        museum.work(("sr",))
        told = {
            str(item.ReferencedSOPInstanceUID)
            for report in museum.results()
            for study in report.get("CurrentRequestedProcedureEvidenceSequence", ())
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        (study,) = museum.ledger.studies()
        return sorted(told), study.reason or ""


def uids(*films: Film) -> list[str]:
    return sorted(one.identity["SOPInstanceUID"] for one in films)


@pytest.mark.parametrize(
    ("keyword", "value"),
    thinned([
        ("PatientSex", b""), ("PatientBirthDate", b""), ("PatientID", b""), ("PatientName", b""),
        ("IssuerOfPatientID", b"HOSPITAL"), ("PatientName", b"PHANTOM^SYNTHETIC^^^ "),
        ("PatientName", b"Phantom^Synthetic"), ("PatientName", b"PHANTOM^SYNTHETIC="),
        ("PatientID", b" M1 "), ("PatientSex", b"O "), ("PatientBirthDate", b"19500101"),
        ("OtherPatientNames", b"P^S"), ("PatientAge", b"047Y"), ("StudyDescription", b""),
        ("AccessionNumber", b""), ("StudyDate", b""), ("SpecificCharacterSet", b"ISO_IR 100"),
    ], every=4),
)  # fmt: skip
def test_films_that_differ_in_what_says_nothing_are_answered_together(
    quick_folder: Path, keyword: str, value: bytes
) -> None:
    first, second = film("first"), film("second").text(**{keyword: value})
    told, reason = of_one_study(quick_folder, first, second)
    assert told == uids(first, second), reason


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", b"M2"), ("PatientName", b"ROE^JANE"), ("PatientBirthDate", b"19990909"),
        ("PatientSex", b"F"),
    ],
)  # fmt: skip
def test_films_that_contradict_are_answered_apart_or_the_contradiction_is_told(
    quick_folder: Path, keyword: str, value: bytes
) -> None:
    first, second = film("first"), film("second").text(**{keyword: value})
    told, reason = of_one_study(quick_folder, first.text(PatientSex="M"), second)
    assert told == uids(first, second) or reason


def test_the_answer_to_one_film_does_not_wait_for_the_header_of_another(
    quick_folder: Path,
) -> None:
    sound, odd = film("first"), film("second").put("PatientName", "SQ", b"")
    told, reason = of_one_study(quick_folder, sound, odd)
    assert uids(sound)[0] in told, reason
