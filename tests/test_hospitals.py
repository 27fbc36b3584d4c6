"""The figures of a suite on films of many hospitals, of answers whose figures are told by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dicom_node.chest import (
    FINDING_CLASSES,
    ZONES,
    Airspace,
    Detection,
    MappedOpacity,
    OpacityPresence,
    Score,
)
from dicom_node.findings import Explanation, FilmFindings, Outcome
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case
from dicom_node.training.evaluation import hospitals, suite_classes, suite_severity
from dicom_node.training.evaluation.answers import AnsweredFilm, answered_films, answers_file
from dicom_node.training.evaluation.card import tables
from dicom_node.training.evaluation.plots import draw_figures
from tests.chest_kit import with_answers

SOURCE = {"siim": "SIIM-FISABIO-RSNA COVID-19", "other": "Pakistan TB set"}


def _case(number: int, finding: str, source: str = "siim", **more: Any) -> Case:
    return Case(
        f"f{number}", Path("none"), "test", f"P{number}", finding, SOURCE[source], **more
    )  # fmt: skip


def _named(finding: str, **more: Any) -> FilmFindings:
    rest = {name: 0.1 for name in FINDING_CLASSES if name != finding}
    return with_answers(
        "1.2", suite={},
        finding=Detection({finding: 0.8, **rest}, 0.5, calibrated=True), **more,
    )  # fmt: skip


def _value(rows: list[dict[str, Any]], figure: str) -> float:
    return float(next(row["value"] for row in rows if row["figure"] == figure))


def test_every_source_is_looked_at_often_enough() -> None:
    films = [_case(k, "normal") for k in range(600)]
    films += [_case(k, "normal", "other") for k in range(70)]
    taken = hospitals.chosen(films, every=6)
    assert sum(case.source == SOURCE["siim"] for case in taken) == 100
    assert sum(case.source == SOURCE["other"] for case in taken) == 70


def test_false_alarms_are_counted_on_films_read_as_negative_and_of_hospitals_never_seen() -> None:
    answered = [
        (_case(1, "normal", appearance_class="negative"), _named("normal")),
        (_case(2, "normal", appearance_class="negative"), _named("covid19")),
        (_case(3, "covid19", appearance_class="typical"), _named("covid19")),
        (_case(4, "normal", "other"), _named("covid19")),
    ]
    rows = suite_classes.of_classes(answered)
    assert _value(rows, "read as negative: called covid19") == 0.5
    assert _value(rows, "typical: called covid19") == 1.0
    unseen = "normal, of a set that detection never learned from: called covid19"
    assert _value(rows, unseen) == 1.0
    # The film of the other hospital is no part of the three classes' figure.
    says = "three classes, balanced accuracy (the likeliest class)"
    assert _value(rows, says) == pytest.approx(0.75)


def test_levels_have_the_sensitivity_and_predictive_value_of_the_table() -> None:
    answered = [
        (
            _case(k, "covid19", appearance_class="typical", airspace_level=level,
                  zone_fractions=(0.5 * (level > 0),) * 6),
            _named("covid19", airspace=Airspace(given, 0.8, dict.fromkeys(ZONES, float(given)))),
        )
        for k, (level, given) in enumerate([(0, 0), (1, 1), (1, 2), (2, 2)])
    ]  # fmt: skip
    rows = suite_severity.of_zones(answered)
    assert _value(rows, "SIIM, level 1: sensitivity") == 0.5
    assert _value(rows, "SIIM, level 2: predictive value") == 0.5
    assert _value(rows, "SIIM, airspace level, balanced accuracy") == pytest.approx(2.5 / 3)
    assert _value(rows, "SIIM, zones with opacity, AUC") == 1.0


def test_an_extent_is_measured_with_its_interval_and_against_the_boxes() -> None:
    answered = [
        (
            _case(k, "covid19", appearance_class="typical", geographic_extent=truth,
                  box_fraction=truth / 8),
            _named("covid19", scores={"geographic_extent": Score(truth + error, truth - 1, truth)}),
        )
        for k, (truth, error) in enumerate([(1.0, 0.5), (3.0, -0.5), (6.0, 1.0)])
    ]  # fmt: skip
    rows = suite_severity.of_extent(answered, "geographic_extent")
    assert _value(rows, "geographic extent, mean absolute error") == pytest.approx(2 / 3)
    assert _value(rows, "geographic extent, 90 % interval: coverage") == 1.0
    assert _value(rows, "geographic extent, 90 % interval: width") == 1.0
    ranked = "SIIM, geographic extent against the boxes' part of the lungs, Spearman"
    assert _value(rows, ranked) == pytest.approx(1.0)


def test_a_map_is_held_against_boxes_and_against_films_without_opacities() -> None:
    boxed = [
        (_case(k, "covid19", appearance_class="typical", box_fraction=part),
         _named("covid19", opacity_map=MappedOpacity(0.5, part / 2)))
        for k, part in enumerate(np.linspace(0.1, 0.6, 6))
    ]  # fmt: skip
    clear = [
        (_case(10 + k, "normal", appearance_class="negative"),
         _named("normal", opacity_map=MappedOpacity(0.5, part)))
        for k, part in enumerate((0.0, 0.2))
    ]  # fmt: skip
    rows = suite_severity.of_map([AnsweredFilm(*pair) for pair in (*boxed, *clear)])
    says = "SIIM, films with boxes: mapped part of the lungs against the boxes', Spearman"
    assert _value(rows, says) == pytest.approx(1.0)
    assert _value(rows, "SIIM, read as negative: something is mapped") == 0.5


def test_the_surest_mistakes_come_first_and_undetermined_films_are_none() -> None:
    unsure = with_answers(
        "1.2", suite={},
        finding=Detection({"normal": 0.4, "pneumonia": 0.3, "covid19": 0.3}, 0.5, calibrated=True),
    )  # fmt: skip
    surer = with_answers(
        "1.2", suite={},
        finding=Detection({"normal": 0.9, "pneumonia": 0.1, "covid19": 0.0}, 0.5, calibrated=True),
    )  # fmt: skip
    answered = [
        (_case(1, "covid19"), _named("normal")), (_case(2, "covid19"), surer),
        (_case(3, "covid19"), unsure), (_case(4, "normal"), surer),
    ]  # fmt: skip
    assert [wrong["film"] for wrong in suite_classes.mistakes(answered)] == ["f2", "f1"]
    assert suite_classes.confusion(answered) == [[1, 0, 0, 0], [0, 0, 0, 0], [2, 0, 0, 1]]


def test_a_source_whose_probabilities_are_too_high_is_told_apart() -> None:
    answered = [(_case(k, "normal"), _named("normal")) for k in range(40)]
    answered += [(_case(40 + k, "covid19", "other"), _named("normal")) for k in range(40)]
    rows = suite_classes.of_calibration(answered)
    says = "expected calibration error, source "
    assert _value(rows, says + SOURCE["siim"]) == pytest.approx(0.2)
    assert _value(rows, says + SOURCE["other"]) == pytest.approx(0.8)
    assert _value(rows, "expected calibration error") == pytest.approx(0.3)


def test_net_benefit_weighs_a_false_alarm_by_the_odds_of_the_threshold() -> None:
    positive, stated = np.array([True, True, False, False]), np.array([0.9, 0.1, 0.6, 0.1])
    assert metrics.net_benefit(positive, stated, 0.5) == 0.0
    assert metrics.net_benefit(positive, stated, 0.2) == pytest.approx((1 - 0.25) / 4)
    assert metrics.net_benefit(positive, np.ones(4), 0.2) == pytest.approx((2 - 2 * 0.25) / 4)


def test_a_decision_curve_holds_the_network_against_acting_on_every_film() -> None:
    answered = [
        (_case(k, "covid19", appearance_class=read),
         _named("covid19", opacity=OpacityPresence(probability, 0.5, calibrated=True)))
        for k, (read, probability) in enumerate([("typical", 0.9), ("negative", 0.05)])
    ]  # fmt: skip
    curve = {
        threshold: values for threshold, *values in suite_classes.decisions(answered)["opacity"]
    }
    ours, every = curve[0.5]
    assert (ours, every) == (0.5, 0.0)


def test_children_are_counted_by_themselves_with_what_was_declined() -> None:
    declined = FilmFindings("1.2", Outcome.DECLINED, suite={}, reason="A child.")
    rows = suite_classes.of_children(
        [(_case(1, "normal"), _named("normal")), (_case(2, "pneumonia"), _named("normal")),
         (_case(3, "normal"), declined)]
    )  # fmt: skip
    assert _value(rows, "children: declined by the input gate") == pytest.approx(1 / 3)
    assert _value(rows, "children, pneumonia: called normal") == 1.0
    assert suite_classes.of_children([]) == []


def test_children_s_films_are_no_part_of_the_other_figures() -> None:
    films = [_case(1, "normal"), _case(2, "normal", age_group="child")]
    assert [case.image_id for case in hospitals.chosen(films, every=1)] == ["f1"]


def test_an_extent_s_points_are_those_of_films_that_were_scored() -> None:
    scored = _named("covid19", scores={"opacity_extent": Score(2.0, 1.0, 3.0)})
    answered = [(_case(1, "covid19", opacity_extent=2.5), scored), (_case(2, "covid19"), scored)]
    assert suite_severity.extent_points(answered, "opacity_extent") == [[2.5, 2.0, 1.0, 3.0]]


class CountedEngine:
    """An engine that calls every film normal, and counts how often it is asked."""

    def __init__(self) -> None:
        self.suite_version = {"network": None}
        self.asked: list[str] = []

    def analyse(self, _film: Any, uid: str) -> tuple[FilmFindings, Explanation]:
        self.asked.append(uid)
        return replace(_named("normal"), sop_instance_uid=uid), Explanation()


@pytest.fixture
def films(tmp_path: Path) -> list[Case]:
    """Three films on disk."""
    found = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((40, 40), 40 * number, np.uint8)).save(path)
        found.append(replace(_case(number, "normal"), path=path))
    return found


def test_a_film_is_analysed_once_whatever_is_asked_of_its_answer_later(
    films: list[Case], tmp_path: Path
) -> None:
    engine, path = CountedEngine(), tmp_path / "kept" / "answers.jsonl"
    first = answered_films(engine, films[:2], path)  # type: ignore[arg-type]
    again = answered_films(engine, films, path)  # type: ignore[arg-type]
    assert engine.asked == ["f0", "f1", "f2"]
    assert [film.findings for film in again[:2]] == [film.findings for film in first]


def test_an_answer_whose_line_was_cut_off_is_made_again_and_the_others_stay(
    films: list[Case], tmp_path: Path
) -> None:
    engine, path = CountedEngine(), tmp_path / "answers.jsonl"
    answered_films(engine, films, path)  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:-40])
    answered_films(engine, films, path)  # type: ignore[arg-type]
    answered_films(engine, films, path)  # type: ignore[arg-type]
    assert engine.asked == ["f0", "f1", "f2", "f2"]


def test_answers_of_other_networks_are_kept_in_another_file(tmp_path: Path) -> None:
    engine = CountedEngine()
    files = set()
    for text in ("one", "other"):
        (tmp_path / "network").mkdir(exist_ok=True)
        (tmp_path / "network" / "model.toml").write_text(text, "utf8")
        files.add(answers_file(engine, tmp_path, tmp_path))  # type: ignore[arg-type]
    assert len(files) == 2


def test_the_figures_of_a_suite_are_drawn_and_told_in_its_card(tmp_path: Path) -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    evaluation = {
        "bundle": "b", "version": "1.0.0", "task": "suite", "split": "test", "every": 1, "films": 9,
        "patients": 8, "suite": ["b"], "figures": [{"figure": "one", "films": 9, **interval}],
        "classes": ["normal", "covid19"], "confusion": [[3, 1, 0], [1, 3, 1]],
        "reliability": [[0.8, 0.7, 9]], "decisions": {"opacity": [[0.1, 0.4, 0.35]]},
        "mistakes": [{"film": "f1", "source": "S", "true": "normal", "named": "covid19",
                      "probability": 0.93}],
    }  # fmt: skip
    assert {path.name for path in draw_figures(evaluation, tmp_path)} == {
        "confusion.png", "reliability.png", "decisions.png",
    }  # fmt: skip
    text = tables(evaluation)
    assert "| **covid19** | 1 | 3 | 1 |" in text
    assert "| opacity | 0.10 | 0.400 | 0.350 |" in text
    assert "| f1 | S | normal | covid19 | 0.93 |" in text
    assert "one film in" not in text
