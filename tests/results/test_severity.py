"""Severity in the report: scores with intervals, airspace level, zones; what reads it agrees."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_node.findings import (
    Airspace,
    Evidence,
    NetworkVersion,
    Region,
    SaliencyMap,
    Score,
)
from dicom_node.results.narrative import findings_from_report, report_text
from dicom_node.results.write import AnalysedFilm, Context, NetworkCard, write_results
from tests.conftest import debian
from tests.results.conftest import WEIGHTS, MakeFilm, second
from tests.results.test_report import errors_of, groups, items, name_of, parsed

ZONES = {
    "right_upper": 0.4, "right_middle": 1.7, "right_lower": 2.2,
    "left_upper": 0.1, "left_middle": 0.9, "left_lower": 1.8,
}  # fmt: skip
GRADERS = {
    "covidnet-s-geographic": "geographic_extent",
    "covidnet-s-opacity": "opacity_extent",
    "covidnet-cxr-s": "airspace",
}


@pytest.fixture
def film(make_film: MakeFilm) -> AnalysedFilm:
    """A film on which everything was found and graded."""
    film = make_film()
    heat = np.ones((14, 14), np.float32)
    rows, columns = film.film.shape
    maps = [SaliencyMap(i, t, heat, Region(0, 0, rows, columns)) for i, t in GRADERS.items()]
    findings = replace(
        film.findings,
        scores={
            "geographic_extent": Score(4.2345678, 3.1, 5.4),
            "opacity_extent": Score(3.0, 2.1, 3.9),
        },
        airspace=Airspace(2, 0.9123456789, ZONES),
        evidence=Evidence(saliency_in_lungs=0.86, change_when_hidden=0.41),
        suite={
            **film.findings.suite,
            **{name: NetworkVersion("1.2.0", WEIGHTS) for name in GRADERS},
        },
    )
    return replace(film, findings=findings, saliency=(*film.saliency, *maps))


@pytest.fixture
def known(context: Context) -> Context:
    """The context with the cards of all networks."""
    cards = {
        name: NetworkCard(name, name.upper(), "1.2.0", WEIGHTS, "research") for name in GRADERS
    }
    return second(context, networks={**context.networks, **cards})


@pytest.fixture
def document(film: AnalysedFilm, known: Context) -> Dataset:
    return parsed(write_results([film], known)[0])


def test_what_was_graded_comes_back_from_the_report_as_it_was(
    film: AnalysedFilm, document: Dataset
) -> None:
    assert findings_from_report(document) == [film.findings]


def test_each_score_is_a_group_with_its_number_first_and_its_interval(document: Dataset) -> None:
    group = next(g for g in groups(document) if _tracking(g) == "Geographic extent (0-8)")
    numbers = [item for item in items(group) if item.ValueType == "NUM"]
    assert [name_of(n) for n in numbers] == ["geographic-extent", "interval-low", "interval-high"]
    value = numbers[0].MeasuredValueSequence[0]
    assert str(value.NumericValue) == "4.2"
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "{0:8}"


def test_each_zone_is_a_group_at_its_place_and_side(document: Dataset) -> None:
    group = next(g for g in groups(document) if _tracking(g) == "Left lower zone")
    site = next(item for item in items(group) if name_of(item) == "363698007")
    assert site.ConceptCodeSequence[0].CodeValue == "281394001"
    assert site.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning == "Left"


def test_each_group_names_the_network_that_graded_it(document: Dataset) -> None:
    named = {
        _tracking(group): next(i.TextValue for i in items(group) if name_of(i) == "111001")
        for group in groups(document)
    }
    assert named["Opacity extent (0-8)"] == "COVIDNET-S-OPACITY"
    assert named["Right upper zone"] == "COVIDNET-CXR-S"


def test_the_report_in_words_gives_the_scores_with_intervals_and_the_zones(
    document: Dataset,
) -> None:
    text = report_text(document)
    assert re.search(r"Geographic extent \(0-8\)\s+4\.2\s+90 % interval 3\.1 to 5\.4", text)
    assert "Level 2: opacities in 3 or more lung zones (91.2 %)" in text
    assert re.search(r"Right lower zone\s+2\.2\s+of 3", text)
    assert "86.0 % of the weight lies inside the lungs" in " ".join(text.split())


def test_a_network_that_looked_elsewhere_is_reported_with_low_confidence(
    film: AnalysedFilm, known: Context
) -> None:
    evidence = Evidence(saliency_in_lungs=0.2, change_when_hidden=0.41)
    aside = replace(film, findings=replace(film.findings, evidence=evidence))
    text = " ".join(report_text(parsed(write_results([aside], known)[0])).split())
    assert "low confidence: the network looked mostly outside the lungs" in text
    assert "Only 20.0 % of the weight lies inside the lungs" in text


@pytest.mark.pacs("dciodvfy")
def test_severity_is_valid_in_all_three_classes(
    film: AnalysedFilm, known: Context, tmp_path: Path
) -> None:
    for item in write_results([film], known):
        assert errors_of(item.data, tmp_path) == []


@pytest.mark.pacs("dsr2html")
def test_every_number_of_severity_stands_beside_its_name_in_html(
    film: AnalysedFilm, known: Context, tmp_path: Path
) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(write_results([film], known)[0].data)
    html = subprocess.run([debian("dsr2html"), str(path)], capture_output=True, check=True).stdout
    words = " ".join(re.sub(r"<[^>]+>", " ", html.decode("latin-1")).split())
    assert re.search(r"Geographic extent score \(0-8\)\W+4\.2", words)
    assert re.search(r"Zone severity score \(0-3\)\W+2\.2", words)


def _tracking(group: Dataset) -> str:
    return next(str(item.TextValue) for item in items(group) if name_of(item) == "112039")
