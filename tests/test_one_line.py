"""A film's answers on one line of a terminal, by `analyse` and in the table of `cases list`."""

from __future__ import annotations

from dicom_node.chest import (
    Appearance,
    Detection,
    MappedOpacity,
    OpacityPresence,
)
from dicom_node.cli.one_line import cell, sentence
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.observations import Candidate, Observation, ObservationKind
from tests.chest_kit import answering, with_answers

FOUND = with_answers(
    "2.25.1",
    finding=Detection({"normal": 0.1, "pneumonia": 0.7, "covid19": 0.2}, 0.43, calibrated=True),
    opacity=OpacityPresence(0.88, 0.5, calibrated=True),
    appearance=Appearance(
        {"negative": 0.1, "typical": 0.6, "indeterminate": 0.2, "atypical": 0.1}, 0.0,
        calibrated=True,
    ),
    opacity_map=MappedOpacity(0.5, 0.26, 0.47, 0.03),
)  # fmt: skip


def test_every_answer_of_a_suite_with_a_map_is_told() -> None:
    assert sentence(FOUND) == (
        "opacity: yes (0.88; threshold 0.5); pneumonia (70%);"
        " COVID-19 appearance: typical (60%), not a diagnosis;"
        " mapped opaque: 26% of the lungs (right 47%, left 3%)"
    )
    assert cell(FOUND) == "opacity 88%, pneumonia 70%, looks typical, mapped 26%"


def test_a_suite_of_one_class_tells_that_class() -> None:
    alone = answering(FOUND, opacity=None, appearance=None, opacity_map=None)
    assert (sentence(alone), cell(alone)) == ("pneumonia (70%)", "pneumonia 70%")


def test_answers_that_contradict_each_other_are_in_doubt() -> None:
    torn = answering(FOUND, opacity=OpacityPresence(0.2, 0.5, calibrated=True))
    assert torn.contradictions
    assert sentence(torn).endswith(", in doubt: answers contradict each other")
    assert cell(torn) == "opacity 20% (no), pneumonia 70%, looks typical, mapped 26%, in doubt"


def test_where_nothing_is_mapped_no_lung_is_named() -> None:
    clear = answering(FOUND, opacity_map=MappedOpacity(0.5, 0.0, 0.0, 0.0))
    assert "mapped opaque: 0% of the lungs" in sentence(clear)
    assert "right" not in sentence(clear)


def test_a_map_without_lungs_has_no_part_to_tell() -> None:
    anywhere = answering(FOUND, opacity_map=MappedOpacity(0.5))
    assert "mapped" not in sentence(anywhere) + cell(anywhere)


def test_a_film_without_an_answer_has_no_line() -> None:
    declined = FilmFindings("2.25.1", Outcome.DECLINED, "lateral view")
    assert (sentence(declined), cell(declined)) == ("", "")


def test_what_declared_networks_observed_is_told_by_its_keys() -> None:
    labels = (Candidate("effusion", 0.81, 0.5), Candidate("pneumothorax", 0.2, 0.5))
    findings = FilmFindings(
        "1.2.3",
        Outcome.ANALYSED,
        observations=(
            Observation("findings", ObservationKind.LABELS, "a", labels=labels),
            Observation("nodules", ObservationKind.REGION, "b"),
            Observation("heart_width", ObservationKind.MEASUREMENT, "c", 152.3, "mm"),
            Observation("angle", ObservationKind.MEASUREMENT, "c", absent="no spacing"),
            Observation("consolidation", ObservationKind.MASK, "d", 0.12),
        ),
        unanswered={"late": "it took too long"},
    )
    told = (
        "findings: effusion (81%)", "nodules: 0", "heart_width: 152.3 mm",
        "angle: no value (no spacing)", "consolidation: 12%",
    )  # fmt: skip
    assert sentence(findings) == "; ".join([*told, "late: no answer (it took too long)"])
    assert cell(findings) == ", ".join(told)
