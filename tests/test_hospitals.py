"""The figures of a suite on films of many hospitals, of answers whose figures are told by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dicom_node.findings import (
    FINDING_CLASSES,
    ZONES,
    Airspace,
    Detection,
    FilmFindings,
    MappedOpacity,
    Outcome,
    Score,
)
from dicom_node.training.datasets.cases import Case
from dicom_node.training.evaluation import hospitals

SOURCE = {"siim": "SIIM-FISABIO-RSNA COVID-19", "other": "Pakistan TB set"}


def _case(number: int, finding: str, source: str = "siim", **more: Any) -> Case:
    return Case(
        f"f{number}", Path("none"), "test", f"P{number}", finding, SOURCE[source], **more
    )  # fmt: skip


def _named(finding: str, **more: Any) -> FilmFindings:
    rest = {name: 0.1 for name in FINDING_CLASSES if name != finding}
    return FilmFindings(
        "1.2", Outcome.ANALYSED, suite={},
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
    rows = hospitals.of_classes(answered)
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
    rows = hospitals.of_zones(answered)
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
    output = SimpleNamespace(name="extent", reported_as="geographic_extent")
    rows = hospitals.of_extent(answered, output)
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
    rows = hospitals.of_map([*boxed, *clear], [])
    says = "SIIM, films with boxes: mapped part of the lungs against the boxes', Spearman"
    assert _value(rows, says) == pytest.approx(1.0)
    assert _value(rows, "SIIM, read as negative: something is mapped") == 0.5
