"""Words, codes and numbers come from the template alone, and mean what they say."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sr._concepts_dict import concepts

from dicom_node.chest import Detection
from dicom_node.errors import ResultError, TemplateInvalid
from dicom_node.findings import (
    Evidence,
    Explanation,
    FilmFindings,
    Outcome,
)
from dicom_node.resources import report_templates
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.library import image_library
from dicom_node.results.narrative import report_text
from dicom_node.results.reading import findings_from_report
from dicom_node.results.stencil import CONTENT, content_of
from dicom_node.results.templates import Template, load_template
from dicom_node.results.values import fraction_of, percentage
from dicom_node.results.wording import ordered
from dicom_node.results.write import WrittenObject, write_results
from tests.conftest import debian
from tests.results.conftest import MakeFilm
from tests.results.report_kit import errors_of

SHIPPED = report_templates() / "chest-radiograph-measurement-report.toml"
CODES = Path(__file__).parents[2] / "docs" / "codes.md"
NOT_IN_PYDICOM = {"882784691000119100", "233604007", "en-US", "36554-4", "36572-6", "30745-4"}


def parsed(item: WrittenObject) -> Dataset:
    return pydicom.dcmread(io.BytesIO(item.data))


def items(node: Dataset) -> Iterator[Dataset]:
    for child in node.get("ContentSequence") or ():
        yield child
        yield from items(child)


@pytest.fixture
def template() -> Template:
    return load_template(SHIPPED)


@pytest.fixture
def faulty(tmp_path: Path) -> Callable[[str, str], str]:
    def message(old: str, new: str) -> str:
        text = SHIPPED.read_text("utf-8")
        assert old in text
        path = tmp_path / "site.toml"
        path.write_text(text.replace(old, new, 1), "utf-8")
        with pytest.raises(TemplateInvalid) as fault:
            load_template(path)
        return fault.value.message

    return message


def test_each_public_code_of_the_template_has_its_official_meaning(template: Template) -> None:
    checked = 0
    for code in template.codes():
        if code.scheme == "99DICOMNODE" or code.value in NOT_IN_PYDICOM:
            continue
        entries = concepts[code.scheme].values()
        official = {entry[code.value][0] for entry in entries if code.value in entry}
        assert code.meaning in official, code
        checked += 1
    assert checked >= 8


def test_each_private_code_is_defined_in_the_documentation(template: Template) -> None:
    page = CODES.read_text("utf-8")
    for code in template.codes():
        if code.scheme == "99DICOMNODE":
            assert f"| {code.value} | {code.meaning} |" in page


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('words = "moderate"', 'words = "mod\\u0007rate"', "impression.grades"),
        ("at_least = 0.7", "at_least = 0.95", "impression.grades"),
        ("{films} ({probability} %)", "{films!r} ({probability} %)", "impression.headline"),
        ("{films} ({probability} %)", "{films:>99} %", "impression.headline"),
        ("{films} ({probability} %)", "{films, %", "impression.headline"),
        ("\n[panel]", "\n[panels]", "panel"),
        ("weak_below = 0.05", "weak_below = 2", "evidence.weak_below"),
        ('heading = "AI', 'headings = "AI', "panel.heading"),
    ],
)
def test_a_template_that_could_not_be_used_is_refused(
    faulty: Callable[[str, str], str], old: str, new: str, named: str
) -> None:
    message = faulty(old, new)
    assert re.search(r"site\.toml(:\d+)?:", message)
    assert named in message


def test_a_line_number_leads_to_the_fault(faulty: Callable[[str, str], str]) -> None:
    message = faulty("percent_decimals = 0", "percent_decimals = 9")
    lines = SHIPPED.read_text("utf-8").splitlines()
    wanted = next(at for at, line in enumerate(lines, 1) if line.startswith("percent_decimals"))
    assert message.startswith(f"site.toml:{wanted}: percent_decimals:")


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0.8312, "83"), (1.0, "100"), (0.0, "0"), (0.9996, "99.96"),
        (0.99999999, "99.999999"),
        (0.0002, "0.02"), (0.5, "50"), (0.99951, "99.95"),
    ],
)  # fmt: skip
def test_no_rounding_claims_certainty(template: Template, fraction: float, shown: str) -> None:
    assert template.percent(fraction) == shown


@pytest.mark.parametrize(
    ("probability", "words"), [(1.0, "high"), (0.9, "high"), (0.8999, "moderate"), (0.34, "low")]
)
def test_a_grade_begins_at_its_threshold(
    template: Template, probability: float, words: str
) -> None:
    assert template.grade(probability) == words


def test_a_fraction_survives_as_a_percentage() -> None:
    for digits in range(1, 16):
        for value in (1 / 3, 2 / 3, 0.07, 1e-6 / 7):
            fraction = float(f"{value:.{digits}g}")
            assert fraction_of(percentage(fraction)) == fraction
    drawn = np.random.default_rng(1).random(2000)
    back = [fraction_of(percentage(float(value))) for value in drawn]
    assert np.allclose(back, drawn, rtol=3e-16, atol=0)


def test_numbers_for_people_are_rounded_and_numbers_for_machines_are_not(
    make_film: MakeFilm, context: Context
) -> None:
    exact = {"normal": 0.123456789, "pneumonia": 0.2, "covid19": 0.676543211}
    film = make_film(detection=Detection(exact, 0.5, calibrated=True))
    document = parsed(write_results([film], context)[0])
    shown = [
        item.MeasuredValueSequence[0] for item in items(document)
        if item.ValueType == "NUM" and item.RelationshipType == "CONTAINS"
    ]  # fmt: skip
    assert [str(value.NumericValue) for value in shown[:2]] == ["68", "20"]
    assert [value.FloatingPointValue for value in shown[:2]] == [67.6543211, 20.0]
    assert findings_from_report(document) == [film.findings]


def test_an_uncalibrated_score_is_never_called_a_probability(
    make_film: MakeFilm, context: Context
) -> None:
    detection = Detection({"normal": 0.1, "pneumonia": 0.1, "covid19": 0.8}, 0.5, calibrated=False)
    text = report_text(parsed(write_results([make_film(detection=detection)], context)[0]))
    assert "Resembles COVID-19 films (class score 80 %, not a probability)" in text
    assert "Certainty" not in text


def test_evidence_is_counted_and_told(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    findings = replace(film.findings, evidence=Evidence(0.86, 0.41, 0.43, peak_in_lungs=True))
    film = replace(film, findings=findings)
    document = parsed(write_results([film], context)[0])
    said = "86 % of the weight lies inside the lungs, 2.0 times what chance would give (43 %)."
    assert said in report_text(document).replace("\n", " ")
    assert findings_from_report(document) == [findings]


def test_classes_stand_in_the_order_that_the_template_wants(
    make_film: MakeFilm, context: Context, template: Template
) -> None:
    detection = Detection({"normal": 0.8, "pneumonia": 0.05, "covid19": 0.15}, 0.5, calibrated=True)
    assert ordered(detection, template) == ["covid19", "pneumonia", "normal"]
    by_probability = template.model_copy(update={"class_order": "probability"})
    assert ordered(detection, by_probability) == ["normal", "covid19", "pneumonia"]
    film, told = make_film(detection=detection), replace(context, template=by_probability)
    text = report_text(parsed(write_results([film], told)[0]))
    assert text.index("No finding, cert") < text.index("y of COVID") < text.index("y of pneumonia")


def not_analysed(film: AnalysedFilm, outcome: Outcome, reason: str) -> AnalysedFilm:
    findings = FilmFindings(str(film.dataset.SOPInstanceUID), outcome, reason)
    return AnalysedFilm(
        film.dataset, np.zeros((0, 0), np.float32), findings, Explanation(), film.digest
    )


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.FAILED])
def test_a_film_without_findings_is_mentioned_with_its_reason(
    make_film: MakeFilm, context: Context, tmp_path: Path, outcome: Outcome
) -> None:
    first, other = make_film(1), make_film(2)
    other.dataset.StudyInstanceUID = first.dataset.StudyInstanceUID
    without = not_analysed(other, outcome, "view position «LL» is not frontal")
    *reports, text, capture = write_results([without, first], context)
    assert len(reports) == 3
    assert "NOT ANALYSED, FILM 2" in report_text(parsed(text)).upper()
    assert parsed(capture).SourceImageSequence[0].ReferencedSOPInstanceUID == (
        first.dataset.SOPInstanceUID
    )
    said = replace(without.findings, reason="view position ?LL? is not frontal")
    for report in reports:
        document = parsed(report)
        assert findings_from_report(document) == [first.findings, said]
        assert "NOT ANALYSED, FILM 2" in report_text(document)
        path = tmp_path / "report.dcm"
        path.write_bytes(report.data)
        done = subprocess.run([debian("dciodvfy"), str(path)], capture_output=True, check=False)
        assert b"Error" not in done.stdout + done.stderr


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.FAILED])
def test_a_study_of_which_nothing_was_analysed_is_answered_by_the_reason_alone(
    make_film: MakeFilm, context: Context, tmp_path: Path, outcome: Outcome
) -> None:
    film = not_analysed(make_film(), outcome, "view position LL is not frontal")
    *reports, text = write_results([film], context)
    assert len(reports) == 3
    assert "view position LL is not frontal" in report_text(parsed(text))
    for item in (*reports, text):
        assert errors_of(item.data, tmp_path) == []
    for item in reports:
        assert findings_from_report(parsed(item)) == [film.findings]
        coded = {
            str(each.ConceptCodeSequence[0].CodeValue)
            for each in items(parsed(item))
            if each.ValueType == "CODE"
        }
        assert {"371934000", "111245", str(outcome)} <= coded


def test_an_instance_without_a_matrix_is_answered_too(
    make_film: MakeFilm, context: Context
) -> None:
    film = not_analysed(make_film(), Outcome.FAILED, "there are no pixels")
    del film.dataset.Rows
    del film.dataset.Columns
    report = parsed(write_results([film], context)[0])
    assert findings_from_report(report) == [film.findings]


def test_findings_without_a_network_are_not_reported(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    film = replace(film, findings=replace(film.findings, suite={}))
    with pytest.raises(ResultError, match="which network"):
        write_results([film], context)


def test_films_are_counted_in_the_order_in_which_they_were_taken(
    make_film: MakeFilm, context: Context
) -> None:
    late, early = make_film(1), make_film(2)
    early.dataset.StudyInstanceUID = late.dataset.StudyInstanceUID
    late.dataset.AcquisitionTime, early.dataset.AcquisitionTime = "130000", "110000"
    orders = [write_results(films, context) for films in ([late, early], [early, late])]
    assert orders[0] == orders[1]
    assert findings_from_report(parsed(orders[0][0])) == [early.findings, late.findings]


@pytest.mark.parametrize(
    ("changes", "absent", "present"),
    [
        ({"ImagerPixelSpacing": None}, "111026", "110910"),
        ({"ImagerPixelSpacing": [0.0, 0.0]}, "111026", "110910"),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, "", "111026"),
        ({"PatientOrientation": None}, "111044", "110910"),
        ({"PatientOrientation": ["L", "F"]}, "", "111044"),
        ({"Modality": "OT"}, "121139", "110910"),
        ({"AcquisitionDate": "20261301"}, "126201", "110910"),
    ],
    ids=str,
)
def test_the_image_library_says_what_the_film_says(
    make_film: MakeFilm, changes: dict[str, object], absent: str, present: str
) -> None:
    source = make_film().dataset
    for keyword in ("PixelSpacing", *changes):
        if keyword in source:
            del source[keyword]
    for keyword, value in changes.items():
        if value is not None and keyword != "AcquisitionDate":
            setattr(source, keyword, value)
    if "AcquisitionDate" in changes:
        source.add_new("AcquisitionDate", "LO", changes["AcquisitionDate"])
    document = Dataset()
    document[CONTENT] = content_of([image_library([source], ("latin_1",))])
    names = {str(item.ConceptNameCodeSequence[0].CodeValue) for item in items(document)}
    assert absent not in names
    assert present in names


def test_a_report_that_was_cut_to_pieces_is_refused(make_film: MakeFilm, context: Context) -> None:
    document = parsed(write_results([make_film()], context)[0])
    document.ContentSequence = list(document.ContentSequence)[:3]
    with pytest.raises(ResultError, match="not a report of dicom-node"):
        findings_from_report(document)
