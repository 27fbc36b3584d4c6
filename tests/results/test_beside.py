"""Opacity or not and the COVID-19 appearance stand beside the class, and cannot be misread."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pypdf
import pytest
from pydicom import Dataset

from dicom_node.chest import Appearance, Detection, OpacityPresence
from dicom_node.findings import FilmFindings
from dicom_node.records import ObjectKind
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.narrative import report_text
from dicom_node.results.preview import preview_context
from dicom_node.results.reading import findings_from_report
from dicom_node.results.templates import Template
from dicom_node.results.wording import conclusion
from dicom_node.results.write import write_results
from tests.chest_kit import answering
from tests.conftest import debian
from tests.results.report_kit import errors_of, groups, items, name_of, parsed
from tests.results.told_kit import ENGLISH, GERMAN, covid, findings_of, normal, undetermined
from tests.thinned import thinned

ABNORMAL, OPACITY, NORMAL = "263654008", "112001", "17621005"


def appearance(name: str, *, threshold: float = 0.45, calibrated: bool = True) -> Appearance:
    rest = {"negative": 0.04, "typical": 0.04, "indeterminate": 0.04, "atypical": 0.04}
    return Appearance(rest | {name: 0.88}, threshold, calibrated)


def beside(
    film: AnalysedFilm, probability: float, named: Appearance, *, calibrated: bool = True
) -> AnalysedFilm:
    """Return a film with what the second edition's network says beside its class."""
    opacity = OpacityPresence(probability, 0.5, calibrated)
    return replace(film, findings=answering(film.findings, opacity=opacity, appearance=named))


def ill() -> AnalysedFilm:
    return beside(covid(), 0.93, appearance("typical"))


def well() -> AnalysedFilm:
    return beside(normal(), 0.04, appearance("negative"))


def unnamed() -> AnalysedFilm:
    return beside(undetermined(), 0.3, appearance("atypical", threshold=0.9))


def contradicting() -> AnalysedFilm:
    return beside(normal(), 0.71, appearance("atypical"))


FILMS = {"ill": ill, "well": well, "unnamed": unnamed, "contradicting": contradicting}


@pytest.fixture(params=[ENGLISH, GERMAN], ids=["en", "de"])
def context(request: pytest.FixtureRequest) -> Context:
    return preview_context(request.param)


def report(film: AnalysedFilm, context: Context) -> Dataset:
    return parsed(write_results([film], context, [ObjectKind.REPORT])[0])


def group_called(document: Dataset, words: str) -> Dataset:
    (found,) = [group for group in groups(document) if any(
        name_of(item) == "112039" and item.TextValue.startswith(words)
        for item in items(group))]  # fmt: skip
    return found


def codes_of(group: Dataset) -> dict[str, str]:
    codes = {
        name_of(item): item.ConceptCodeSequence[0]
        for item in group.ContentSequence
        if item.ValueType == "CODE" and item.RelationshipType == "CONTAINS"
    }
    return {name: str(c.get("CodeValue") or c.LongCodeValue) for name, c in codes.items()}


@pytest.mark.parametrize(
    ("film", "template", "sentence"),
    [
        (ill, ENGLISH, "Opacity: yes (93 %; threshold 50 %). Resembles COVID-19 films (83 %)."
         " COVID-19 appearance: typical (88 %), not a diagnosis"),
        (ill, GERMAN, "Verschattung: ja (93 %; Schwelle 50 %). Ähnelt COVID-19-Aufnahmen (83 %)."
         " COVID-19-Erscheinungsbild: typisch (88 %), keine Diagnose"),
        (well, ENGLISH, "No opacity found; read as normal (98 %)"),
        (well, GERMAN, "Keine Verschattung gefunden; als normal gelesen (98 %)"),
        (unnamed, ENGLISH, "Opacity: no (30 %; threshold 50 %)."
         " Undetermined: no class reaches the threshold of 55 %"),
        (contradicting, ENGLISH, "Answers contradict: Opacity: yes (71 %; threshold 50 %); COVID-19"
         " appearance: atypical (88 %), not a diagnosis, but Resembles films without a finding"
         " (98 %); Level 0: no opacities in any lung zone; 0 of six lung zones score 0.5 or more;"
         " Geographic extent (0-8): 0.0 (0.0 to 2.4); Opacity extent (0-8): 0.0 (0.0 to 2.4)"),
    ],
)  # fmt: skip
def test_opacity_is_said_first_then_the_class_then_the_appearance(
    film: object, template: Template, sentence: str
) -> None:
    assert conclusion(film().findings, template) == sentence  # type: ignore[operator]


def test_a_normal_film_that_looks_atypical_without_opacity_is_in_doubt() -> None:
    film = beside(normal(), 0.04, appearance("atypical"))
    assert conclusion(film.findings, ENGLISH) == (
        "Answers contradict: Resembles films without a finding (98 %), but COVID-19 appearance:"
        " atypical (88 %), not a diagnosis. Opacity: no (4 %; threshold 50 %)"
    )


def test_an_opacity_just_below_its_threshold_does_not_read_as_reaching_it() -> None:
    film = beside(undetermined(), 0.499, appearance("negative"))
    assert conclusion(film.findings, ENGLISH).startswith("Opacity: no (49.9 %; threshold 50 %)")


def test_what_is_not_calibrated_is_called_a_score_and_no_probability() -> None:
    named = appearance("typical", calibrated=False)
    film = beside(covid(), 0.93, named, calibrated=False)
    said = conclusion(film.findings, ENGLISH)
    assert "Opacity: yes (score 93 %, not a probability; threshold 50 %)" in said
    assert "typical (score 88 %, not a probability), not a diagnosis" in said
    text = report_text(report(film, preview_context(ENGLISH)))
    assert "Opacity of the lungs, score (uncalibrated)" in text
    assert "Typical COVID-19 appearance, score (uncalibrated)" in text
    assert "Probability of typical" not in text


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("ill", ["882784691000119100", OPACITY, ABNORMAL]),
        ("well", [NORMAL]),
        ("unnamed", []),
        ("contradicting", [NORMAL, OPACITY, ABNORMAL]),
    ],
)
def test_opacity_is_a_finding_where_it_was_found_and_an_appearance_never_is_a_disease(
    name: str, first: list[str], context: Context
) -> None:
    found = [code for code, _ in findings_of(report(FILMS[name](), context))]
    assert found[: len(first)] == first
    assert OPACITY not in found or name in ("ill", "contradicting")


@pytest.mark.parametrize(
    ("name", "present", "named"),
    [
        ("ill", "52101004", "appearance-typical"),
        ("well", "272519000", "appearance-negative"),
        ("unnamed", "272519000", "373068000"),
        ("contradicting", "52101004", "appearance-atypical"),
    ],
)
def test_both_answers_are_coded_and_stand_behind_the_impression(
    name: str, present: str, named: str, context: Context
) -> None:
    document = report(FILMS[name](), context)
    _, opacity, looks, *_ = groups(document)
    assert codes_of(opacity)["opacity-presence"] == present
    assert codes_of(looks)["covid19-appearance"] == named
    for group in (opacity, looks):
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        assert len(numbers) == 1
        assert any(item.ValueType == "SCOORD" for item in group.ContentSequence)


def test_every_appearance_is_told_and_that_none_is_a_diagnosis() -> None:
    group = group_called(report(ill(), preview_context(ENGLISH)), "COVID-19 appearance: typical")
    told = [str(item.TextValue) for item in items(group) if item.ValueType == "TEXT"]
    assert "All four: typical 88 %, indeterminate 4 %, atypical 4 %, negative 4 %." in told
    assert any("is not a diagnosis" in text for text in told)
    assert any("Influenza" in text for text in told)


@pytest.mark.parametrize("name", thinned(FILMS, every=2))
def test_they_come_back_from_the_report(name: str, context: Context) -> None:
    film = FILMS[name]()
    assert findings_from_report(report(film, context)) == [film.findings]


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("name", thinned(FILMS, every=4))
def test_every_object_that_says_them_is_valid_and_says_the_same(
    name: str, context: Context, tmp_path: Path
) -> None:
    film = FILMS[name]()
    said = conclusion(film.findings, context.template)
    written = write_results([film], context, [*ObjectKind])
    for item in written:
        assert errors_of(item.data, tmp_path) == []
    kinds = {item.kind: parsed(item) for item in reversed(written)}
    state = kinds[ObjectKind.PRESENTATION].GraphicAnnotationSequence[0].TextObjectSequence[0]
    assert state.UnformattedTextValue.startswith(said)
    pages = pypdf.PdfReader(io.BytesIO(kinds[ObjectKind.DOCUMENT].EncapsulatedDocument)).pages
    page = " ".join(" ".join(page.extract_text() for page in pages).split())
    assert said in page
    assert context.template.panel.appearance in page
    (plain,) = [item for item in written if item.sop_class_uid.endswith("88.11")]
    assert said in " ".join(report_text(parsed(plain)).split())


@pytest.mark.pacs("dsrdump")
def test_dcmtk_prints_each_number_beside_its_name(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(write_results([ill()], preview_context(ENGLISH), [ObjectKind.REPORT])[0].data)
    done = subprocess.run(
        [debian("dsrdump"), "+Pl", str(path)], capture_output=True, check=True, text=True
    )
    assert 'NUM:(,,"Opacity of the lungs, certainty")="93"' in done.stdout
    assert 'NUM:(,,"Probability of typical COVID-19 appearance")="88"' in done.stdout
    assert '"Typical appearance for COVID-19 pneumonia")' in done.stdout


def test_a_film_of_the_first_edition_says_what_it_said() -> None:
    film = covid()
    assert conclusion(film.findings, ENGLISH) == "Resembles COVID-19 films (83 %)"
    text = report_text(report(film, replace(preview_context(ENGLISH), earlier=())))
    assert "Opacity of the lungs" not in text
    assert "appearance:" not in text
    document = film.findings.to_json()
    assert {"opacity", "appearance"}.isdisjoint(document)
    assert FilmFindings.from_json(document) == film.findings


def test_a_normal_class_that_is_not_calibrated_is_not_read_as_normal() -> None:
    film = well()
    finding = film.findings.finding
    assert finding is not None
    bare = Detection(finding.probabilities, finding.threshold, calibrated=False)
    said = conclusion(answering(film.findings, finding=bare), ENGLISH)
    assert "read as normal" not in said
    assert "class score 98 %, not a probability" in said
