"""Severity in the report: scores with intervals, airspace level, zones; what reads it agrees."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_node.chest import Airspace, Detection, Score
from dicom_node.errors import ResultError
from dicom_node.findings import (
    Evidence,
    Explanation,
    LungMask,
    NetworkVersion,
    Region,
    SaliencyMap,
)
from dicom_node.records import ObjectKind
from dicom_node.results.films import EarlierFilm
from dicom_node.results.narrative import report_text
from dicom_node.results.reading import findings_from_report
from dicom_node.results.wording import answer_of, conclusion, course
from dicom_node.results.write import AnalysedFilm, Context, NetworkCard, write_results
from tests.chest_kit import answering, with_answers
from tests.conftest import debian
from tests.results.conftest import WEIGHTS, MakeFilm, second
from tests.results.report_kit import errors_of, groups, items, name_of, parsed

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
    findings = answering(
        film.findings,
        scores={
            "geographic_extent": Score(4.2345678, 3.1, 5.4, 3.1345678, 1.1),
            "opacity_extent": Score(3.0, 2.1, 3.9, 1.7, 1.3),
        },
        airspace=Airspace(2, 0.9123456789, ZONES),
        evidence=Evidence(saliency_in_lungs=0.86, change_when_hidden=0.41),
        checks={
            "covidnet": Evidence(0.86, 0.41),
            **{name: Evidence(0.7123456, -0.25) for name in GRADERS},
        },
        detections={
            "covidnet": film.findings.finding,
            "other": Detection({"normal": 0.2, "pneumonia": 0.7, "covid19": 0.1}, 0.4, True),  # noqa: FBT003
        },
        suite={
            **film.findings.suite,
            **{name: NetworkVersion("1.2.0", WEIGHTS) for name in (*GRADERS, "other", "lung-unet")},
        },
        quality=("positioning", "over_exposed"),
        notes=("turned", "unread:WindowCenter,VOILUTSequence"),
    )
    mask = np.zeros((16, 16), bool)
    mask[3:13, 2:7] = mask[3:13, 9:14] = True
    explanation = Explanation((*film.saliency, *maps), LungMask("lung-unet", mask))
    return replace(film, findings=findings, explanation=explanation)


@pytest.fixture
def known(context: Context) -> Context:
    """The context with the cards of all networks."""
    cards = {
        name: NetworkCard(name, name.upper(), "1.2.0", WEIGHTS, "research")
        for name in (*GRADERS, "other")
    }
    return second(context, networks={**context.networks, **cards})


@pytest.fixture
def document(film: AnalysedFilm, known: Context) -> Dataset:
    return parsed(write_results([film], known)[0])


def test_what_was_graded_comes_back_from_the_report_as_it_was(
    film: AnalysedFilm, document: Dataset
) -> None:
    assert findings_from_report(document) == [film.findings]


def test_a_level_comes_back_whatever_code_a_site_has_given_it(
    film: AnalysedFilm, known: Context
) -> None:
    severity = known.template.severity
    own = tuple(code.model_copy(update={"value": "RID52"}) for code in severity.levels)
    template = known.template.model_copy(
        update={"severity": severity.model_copy(update={"levels": own})}
    )
    report = write_results([film], replace(known, template=template))[0]
    assert findings_from_report(parsed(report)) == [film.findings]


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
    assert named["Right lower zone"] == "COVIDNET-CXR-S"
    assert named["Second opinion, OTHER"] == "OTHER"
    assert named["Algorithm parameters"] == "COVID-Net"


def test_each_lung_has_its_part_of_a_score_by_its_own_name(document: Dataset) -> None:
    group = next(
        g for g in groups(document) if _tracking(g) == "Geographic extent (0-8), each lung"
    )
    numbers = {name_of(item): item for item in items(group) if item.ValueType == "NUM"}
    value = numbers["geographic-extent-left"].MeasuredValueSequence[0]
    assert float(value.NumericValue) == 1.1
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "{0:4}"
    columns, rows = _place(group)
    # The mask has 16 cells of 10 pixels; its edge is drawn within one cell.
    assert min(columns) == pytest.approx(20, abs=5)
    assert max(columns) == pytest.approx(140, abs=5)
    assert (min(rows), max(rows)) == (pytest.approx(30, abs=5), pytest.approx(130, abs=5))


def test_a_zone_is_drawn_as_the_lung_in_its_third(document: Dataset) -> None:
    group = next(g for g in groups(document) if _tracking(g) == "Right middle zone")
    columns, rows = _place(group)
    assert (min(columns), max(columns)) == (pytest.approx(20, abs=5), pytest.approx(70, abs=5))
    assert (min(rows), max(rows)) == (pytest.approx(160 / 3, abs=1), pytest.approx(320 / 3, abs=1))


def test_a_mirrored_film_has_its_right_lung_where_the_patient_has_it(
    film: AnalysedFilm, known: Context
) -> None:
    film.dataset.PatientOrientation = ["R", "F"]
    document = parsed(write_results([film], known)[0])
    group = next(g for g in groups(document) if _tracking(g) == "Right middle zone")
    columns, _ = _place(group)
    assert min(columns) > 80


@pytest.mark.parametrize(
    ("orientation", "note", "first"),
    [
        (["L", "F"], "", ("right", "upper")),
        (["R", "F"], "", ("left", "upper")),
        (["L", "F"], "found_upside_down", ("left", "lower")),
        # It is drawn upright by its header, and by its pixels it was so before.
        (["R", "H"], "found_upside_down", ("left", "lower")),
    ],
)
def test_the_panel_has_each_zone_where_it_is_on_the_film_beside(
    film: AnalysedFilm, known: Context, monkeypatch: pytest.MonkeyPatch,
    orientation: list[str], note: str, first: tuple[str, str],
) -> None:  # fmt: skip
    drawn: list[list[tuple[str, float]]] = []
    monkeypatch.setattr(
        "dicom_node.results.picture.Panel.cells",
        lambda _panel, cells: drawn.append([tuple(cell) for cell in cells]),
    )
    film.dataset.PatientOrientation = orientation
    if note:
        film = replace(film, findings=replace(film.findings, notes=(note,)))
    capture = parsed(write_results([film], known, {ObjectKind.CAPTURE})[0])
    side, height = first
    assert drawn[0][0][1] == pytest.approx(ZONES[f"{side}_{height}"] / 3)
    stated = [str(value) for value in capture.PatientOrientation or ()]
    assert stated == ([] if note else orientation)


def test_the_impression_codes_how_the_suite_did_and_what_is_wrong_with_the_film(
    document: Dataset,
) -> None:
    first = groups(document)[0]
    coded = {
        name_of(item): str(item.ConceptCodeSequence[0].get("CodeValue"))
        for item in items(first)
        if item.ValueType == "CODE"
    }
    assert coded["111017"] == "111242"
    assert coded["111101"] in ("111209", "111212")
    assert "Film quality: Positioning, Over exposed." in report_text(document)


def test_a_film_that_was_read_with_a_note_says_so_in_the_report(document: Dataset) -> None:
    text = " ".join(report_text(document).split())

    assert "was analysed upright, as its Patient Orientation says." in text
    assert "Not readable in the header, taken as absent: WindowCenter, VOILUTSequence." in text


def test_a_normal_film_is_coded_as_without_findings(film: AnalysedFilm, known: Context) -> None:
    normal = Detection({"normal": 0.9, "pneumonia": 0.06, "covid19": 0.04}, 0.5, calibrated=True)
    nothing = {name: Score(0.0, 0.0, 2.5) for name in film.findings.scores}
    clear = Airspace(0, 0.9, dict.fromkeys(ZONES, 0.0))
    findings = answering(
        film.findings, finding=normal, detections={}, scores=nothing, airspace=clear
    )
    first = groups(parsed(write_results([replace(film, findings=findings)], known)[0]))[0]
    status = next(item for item in items(first) if name_of(item) == "111017")
    assert status.ConceptCodeSequence[0].CodeValue == "111241"


def test_earlier_films_are_told_as_the_course(film: AnalysedFilm, known: Context) -> None:
    before = [
        EarlierFilm("2026-01-03 10:12", replace(film.findings, sop_instance_uid="2.25.1")),
        EarlierFilm("2026-02-05", with_answers("2.25.2",
                                               finding=film.findings.finding)),
    ]  # fmt: skip
    told = replace(known, earlier=tuple(before))
    report, *_, capture = write_results([film], told)
    words = " ".join(report_text(parsed(report)).split())
    assert (
        "Earlier films: 2026-01-03 10:12: Resembles COVID-19 films (65 %), geographic extent 4.2,"
        " opacity extent 3.0 of 8; 2026-02-05: Resembles COVID-19 films (65 %)." in words
    )
    assert capture.sop_instance_uid != write_results([film], known)[-1].sop_instance_uid
    assert findings_from_report(parsed(report)) == [film.findings]


def test_the_text_alone_says_the_same_numbers(film: AnalysedFilm, known: Context) -> None:
    text = next(item for item in write_results([film], known) if item.sop_class_uid[-5:] == "88.11")
    said = " ".join(report_text(parsed(text)).split())
    for words in (
        "AI impression: COVID-19 pneumonia: Resembles COVID-19 films (65 %)",
        "Geographic extent (0-8): Opacity; Geographic extent score (0-8) 4.2 / 8",
        "90 % interval, lower end 3.1 / 8",
        "Level 2: opacities in 3 or more lung zones",
        "Left lower zone: Opacity; Left lower zone, severity score (0-3) 1.8 / 3",
        "FOR RESEARCH USE ONLY",
    ):
        assert words in said
    with pytest.raises(ResultError, match="sentences"):
        findings_from_report(parsed(text))


def test_the_report_in_words_gives_the_scores_with_intervals_and_the_zones(
    document: Dataset,
) -> None:
    text = report_text(document)
    assert re.search(r"Geographic extent score \(0-8\)\s+4\.2 / 8", text)
    assert re.search(r"90 % interval, lower end\s+3\.1 / 8", text)
    assert re.search(r"Airspace severity level, certainty\s+91 %", text)
    assert "Level 2: opacities in 3 or more lung zones" in text
    assert re.search(r"Right lower zone, severity score \(0-3\)\s+2\.2 / 3", text)
    assert "86 % of the weight lies inside the lungs" in " ".join(text.split())


def test_a_network_that_looked_elsewhere_is_reported_with_low_confidence(
    film: AnalysedFilm, known: Context
) -> None:
    evidence = Evidence(saliency_in_lungs=0.2, change_when_hidden=0.41)
    aside = replace(film, findings=replace(film.findings, evidence=evidence))
    text = " ".join(report_text(parsed(write_results([aside], known)[0])).split())
    assert "low confidence: what weighed most lies outside the lungs" in text
    assert "20 % of the weight lies inside the lungs" in text


@pytest.mark.parametrize(
    ("checked", "said"),
    [
        (
            Evidence(0.86, 1.34),
            "lowers the score by 1.3 points. 86 % of the weight lies inside the lungs.",
        ),
        (Evidence(0.86, 0.04), "does not lower the score: take this explanation with care. 86 %"),
        (
            Evidence(0.86, -0.25),
            "does not lower the score: take this explanation with care. 86 %",
        ),
        (Evidence(0.2, 1.34), "lowers the score by 1.3 points. 20 % of the weight lies"),
        (Evidence(None, 1.34), "lowers the score by 1.3 points."),
    ],
    ids=str,
)
def test_each_grade_says_how_far_its_explanation_can_be_trusted(
    film: AnalysedFilm, known: Context, checked: Evidence, said: str
) -> None:
    network = next(iter(GRADERS))
    findings = answering(film.findings, checks={**film.findings.checks, network: checked})
    written = write_results([replace(film, findings=findings)], known)[0]
    assert f"Hiding what weighed most {said}" in " ".join(report_text(parsed(written)).split())


def test_what_falls_is_named_with_its_scale(film: AnalysedFilm, known: Context) -> None:
    checks = {**film.findings.checks, "covidnet-cxr-s": Evidence(0.86, 4.51)}
    graded = replace(film, findings=replace(film.findings, checks=checks))
    said = " ".join(report_text(parsed(write_results([graded], known)[0])).split())
    assert "lowers the sum of the six zones (0-18) by 4.5 points" in said


@pytest.mark.pacs("dciodvfy")
def test_severity_is_valid_in_all_classes(
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
    assert re.search(r"Right lower zone, severity score \(0-3\)\W+2\.2", words)


def _tracking(group: Dataset) -> str:
    return next(str(item.TextValue) for item in items(group) if name_of(item) == "112039")


def _place(group: Dataset) -> tuple[list[float], list[float]]:
    """Return the columns and rows of a group's corners."""
    region = next(item for item in items(group) if item.ValueType == "SCOORD")
    data = [float(value) for value in region.GraphicData]
    return data[::2], data[1::2]


@pytest.mark.parametrize(
    ("level", "opaque", "in_doubt"),
    [
        (0, 0, True),  # COVID-19 is named
        (1, 1, False),
        (1, 2, False),
        (2, 3, False),
        (2, 6, False),
        (0, 1, True),
        (1, 0, True),
        (1, 3, True),
        (2, 2, True),
    ],
)
def test_a_level_that_its_zones_contradict_is_called_in_doubt(
    film: AnalysedFilm, known: Context, level: int, opaque: int, in_doubt: bool
) -> None:
    # What counts is what the reader sees: 0.46 is shown as 0.5.
    zones = {zone: 0.46 if place < opaque else 0.44 for place, zone in enumerate(ZONES)}
    findings = answering(
        film.findings, airspace=Airspace(level, 0.6, zones), detections={}, scores={}
    )
    told = conclusion(findings, known.template)
    assert told.startswith("Answers contradict: ") == in_doubt
    if in_doubt:
        assert f"{opaque} of six lung zones score 0.5 or more" in told


def test_an_earlier_film_of_which_no_class_was_named_is_told_so(
    film: AnalysedFilm, known: Context
) -> None:
    unsure = Detection({"normal": 0.3, "pneumonia": 0.4, "covid19": 0.3}, 0.5, calibrated=True)
    before = EarlierFilm("2019-12-20", with_answers("2.25.1", finding=unsure))
    report = write_results([film], replace(known, earlier=(before,)))[0]
    words = " ".join(report_text(parsed(report)).split())
    assert "2019-12-20: Undetermined: no class reaches the threshold of 50 %." in words


def test_a_finding_that_is_undetermined_has_no_certainty(
    film: AnalysedFilm, known: Context
) -> None:
    unsure = Detection({"normal": 0.3, "pneumonia": 0.4, "covid19": 0.3}, 0.5, calibrated=True)
    findings = answering(film.findings, finding=unsure, detections={})
    document = parsed(write_results([replace(film, findings=findings)], known)[0])
    first = groups(document)[0]
    assert "111012" not in {name_of(item) for item in items(first) if item.ValueType == "NUM"}
    assert findings_from_report(document) == [findings]


def test_a_finding_in_doubt_is_in_doubt_wherever_it_is_named(
    film: AnalysedFilm, known: Context
) -> None:
    evidence = Evidence(saliency_in_lungs=0.2, change_when_hidden=0.41)
    aside = replace(film.findings, evidence=evidence)
    selection = write_results([replace(film, findings=aside)], known, {ObjectKind.KEY_OBJECTS})[0]
    told = [str(item.TextValue) for item in items(parsed(selection)) if item.ValueType == "TEXT"]
    assert any("low confidence" in text for text in told)
    assert "low confidence" in " ".join(answer_of(replace(film, findings=aside), "covidnet", known))
    course_of = replace(known, earlier=(EarlierFilm("2019-12-20", aside),))
    assert "low confidence" in " ".join(course(course_of))
