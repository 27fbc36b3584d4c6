"""What results say: only what was found is a finding, and every doubt stands where one reads."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pypdf
import pytest
from pydicom import Dataset

from dicom_node.chest import ZONES
from dicom_node.findings import Evidence, FilmFindings
from dicom_node.records import ObjectKind
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.narrative import report_text
from dicom_node.results.picture import draw
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.reading import findings_from_report
from dicom_node.results.templates import load_template
from dicom_node.results.wording import conclusion, looked_elsewhere
from dicom_node.results.write import write_results
from tests.chest_kit import answering
from tests.results.conftest import reread
from tests.results.report_kit import errors_of, groups, items, name_of, parsed
from tests.results.told_kit import (
    ENGLISH,
    GERMAN,
    NONE,
    covid,
    doubtful,
    film_with,
    findings_of,
    normal,
    undetermined,
)
from tests.thinned import thinned

OLDER = Path(__file__).parent / "older"
CLASSES = {"882784691000119100": "covid19", "233604007": "pneumonia"}
OPACITY, NORMAL, UNDETERMINED = "112001", "17621005", "371934000"


FILMS = {"normal": normal, "undetermined": undetermined, "covid": covid, "doubtful": doubtful}


@pytest.fixture(params=[ENGLISH, GERMAN], ids=["en", "de"])
def context(request: pytest.FixtureRequest) -> Context:
    return preview_context(request.param)


def reports(film: AnalysedFilm, context: Context) -> list[Dataset]:
    """Return the report in every class that has numbers."""
    *written, _ = write_results([film], context, [ObjectKind.REPORT])
    return [parsed(item) for item in written]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("normal", [NORMAL]),
        ("undetermined", []),
        ("covid", ["882784691000119100", OPACITY, OPACITY, OPACITY, OPACITY]),
        ("doubtful", ["882784691000119100"]),
    ],
)
def test_only_what_was_found_is_a_finding_in_every_class_of_report(
    name: str, found: list[str], context: Context
) -> None:
    for document in reports(FILMS[name](), context):
        assert [code for code, _ in findings_of(document)] == found


@pytest.mark.parametrize("name", FILMS)
def test_the_text_alone_calls_nothing_else_a_finding(name: str, context: Context) -> None:
    film, template = FILMS[name](), context.template
    *_, plain = write_results([film], context, [ObjectKind.REPORT])
    found = [str(item.TextValue) for item in items(parsed(plain)) if name_of(item) == "121071"]
    codes = [template.severity.finding]
    codes += [each.finding for each in template.classes.values()]
    assert all(sum(f": {code.meaning}" in line for code in codes) >= 1 for line in found)
    assert len(found) == len([*findings_of(reports(film, context)[0])])
    others = [each.probability.meaning for each in template.classes.values()]
    assert not [line for line in found if any(other in line for other in others)]


@pytest.mark.parametrize("name", FILMS)
def test_what_viewers_print_says_which_class_and_which_zone(name: str, context: Context) -> None:
    document = reports(FILMS[name](), context)[0]
    for group in groups(document):
        named = [
            str(item.ConceptNameCodeSequence[0].CodeMeaning)
            for item in items(group)
            if item.ValueType == "NUM"
        ]
        assert len(named) == len(set(named)) <= 3
        assert "Certainty of Finding" not in named
    wording = context.template.classes["pneumonia"].probability.meaning
    assert wording in {
        str(item.ConceptNameCodeSequence[0].CodeMeaning)
        for item in items(groups(document)[0])
        if item.ValueType == "NUM"
    }


@pytest.mark.parametrize("name", FILMS)
def test_every_group_can_be_shown_by_ohif_and_only_what_was_found_has_a_place_of_its_own(
    name: str, context: Context
) -> None:
    film = FILMS[name]()
    document = reports(film, context)[0]
    places = {}
    for group in groups(document):
        (region,) = [item for item in group.ContentSequence if item.ValueType == "SCOORD"]
        assert any(name_of(item) == "112040" for item in group.ContentSequence)
        corners = np.array(region.GraphicData).reshape(-1, 2)
        places[frozenset(map(tuple, corners))] = group
    zones = sum(score >= 0.5 for score in film.findings.airspace.parts.values())  # type: ignore[union-attr]
    sides = {side for side in ("right", "left")
             for zone, score in film.findings.airspace.parts.items()  # type: ignore[union-attr]
             if zone.startswith(side) and score < 0.5}  # fmt: skip
    # Both lungs, each lung with zones that have nothing, each zone with opacities, the contour.
    assert len(places) == 1 + len(sides) + zones + (name in ("covid", "doubtful"))


def test_the_conclusion_comes_first_and_the_parameters_last(context: Context) -> None:
    document = reports(covid(), context)[0]
    first, *_, last = groups(document)
    names = [name_of(item) for item in first.ContentSequence]
    assert names[:3] == ["112039", "112040", "121077"]
    where = [group for group in groups(document) if any(
        name_of(item) == "111002" for item in items(group))]  # fmt: skip
    assert where == [last]


@pytest.mark.parametrize("name", FILMS)
def test_the_findings_come_back_from_every_class_of_report(name: str, context: Context) -> None:
    film = FILMS[name]()
    for document in reports(film, context):
        assert findings_from_report(document) == [film.findings]


def test_two_films_come_back_with_their_own_findings_and_parameters_stand_behind_both() -> None:
    one, other = covid(), normal()
    dataset = reread(preview_film().dataset)
    dataset.SOPInstanceUID, dataset.InstanceNumber = "2.25.77", 2
    other = replace(other, dataset=dataset,
                    findings=replace(other.findings, sop_instance_uid="2.25.77"))  # fmt: skip
    document = parsed(write_results([one, other], preview_context(ENGLISH))[0])
    assert {found.sop_instance_uid: found for found in findings_from_report(document)} == {
        film.findings.sop_instance_uid: film.findings for film in (one, other)
    }
    with_parameters = [
        any(name_of(item) == "111002" for item in items(group)) for group in groups(document)
    ]
    assert with_parameters == sorted(with_parameters)


def test_a_report_of_an_older_release_is_still_read() -> None:
    document = pydicom.dcmread(OLDER / "report-0.1.0.dcm")
    told = json.loads((OLDER / "report-0.1.0.json").read_text("utf-8"))
    (found,) = findings_from_report(document)
    # The report says by group what the JSON does not: who gave the finding.
    assert found.chest.network == "covidnet-lite"
    assert answering(found, network="") == FilmFindings.from_json(told)
    text = report_text(document)
    assert "COVID-19 pneumonia, 83.0 %" in text
    assert "Right lower zone" in text


@pytest.mark.parametrize("template", [ENGLISH, GERMAN], ids=["en", "de"])
def test_a_film_in_doubt_says_so_wherever_it_is_read(template: object, tmp_path: Path) -> None:
    context = preview_context(template)  # type: ignore[arg-type]
    begins = context.template.contradiction.headline.partition(":")[0]
    film = doubtful()
    assert conclusion(film.findings, context.template).startswith(begins)
    written = write_results([film], context, [*ObjectKind])
    kinds = {item.kind: parsed(item) for item in reversed(written)}
    report = kinds[ObjectKind.REPORT]
    codes = {
        name_of(item): item.ConceptCodeSequence[0].get("CodeValue")
        for item in items(groups(report)[0])
        if item.ValueType == "CODE"
    }
    assert codes["agreement"] == "in-doubt"
    assert begins in report_text(report)
    (plain,) = [item for item in written if item.sop_class_uid.endswith("88.11")]
    assert begins in report_text(parsed(plain))
    state = kinds[ObjectKind.PRESENTATION].GraphicAnnotationSequence[0].TextObjectSequence[0]
    assert state.UnformattedTextValue.startswith(begins)
    selection = [str(i.TextValue) for i in items(kinds[ObjectKind.KEY_OBJECTS])
                 if i.ValueType == "TEXT"]  # fmt: skip
    assert any(begins in text for text in selection)
    pages = pypdf.PdfReader(io.BytesIO(kinds[ObjectKind.DOCUMENT].EncapsulatedDocument)).pages
    assert begins in " ".join(" ".join(page.extract_text() for page in pages).split())
    for item in written:
        assert errors_of(item.data, tmp_path) == []


def test_a_film_in_doubt_is_seen_to_be_in_its_picture() -> None:
    context = preview_context(ENGLISH)
    amber = np.array((255, 196, 0))
    title = (slice(110, 170), slice(1020, 1500))

    def coloured(film: AnalysedFilm) -> int:
        panel = draw(film, context)[title].astype(int)
        return int((np.abs(panel - amber).sum(axis=2) < 60).sum())

    assert coloured(doubtful()) > 500
    assert coloured(covid()) == 0


def test_all_who_say_opacities_stand_against_all_who_say_none() -> None:
    said = conclusion(doubtful().findings, ENGLISH)
    assert said == (
        "Answers contradict: Resembles COVID-19 films (83 %), but Level 0: no opacities in any lung"
        " zone; 0 of six lung zones score 0.5 or more; Geographic extent (0-8): 0.3 (0.0 to 2.7);"
        " Opacity extent (0-8): 0.3 (0.0 to 2.7)"
    )


def test_a_finding_that_contradicts_nothing_is_no_part_of_the_contradiction() -> None:
    film = film_with((0.48, 0.42, 0.1), 0.2, 0, NONE | {"left_lower": 0.6})
    assert conclusion(film.findings, ENGLISH) == (
        "Answers contradict: Level 0: no opacities in any lung zone; Geographic extent (0-8): 0.2"
        " (0.0 to 2.6); Opacity extent (0-8): 0.2 (0.0 to 2.6), but 1 of six lung zones score 0.5"
        " or more. Undetermined: no class reaches the threshold of 55 %"
    )


@pytest.mark.parametrize(
    ("film", "status"),
    [
        (normal(), "111241"),
        (undetermined(), "111241"),
        (covid(), "111242"),
        (film_with((0.9, 0.05, 0.05), 0.2, 0, NONE | {"left_lower": 0.6}), "111242"),
        (film_with((0.48, 0.42, 0.1), 4.2, 2, dict.fromkeys(ZONES, 1.5)), "111242"),
    ],
)
def test_the_summary_says_with_findings_where_the_report_has_a_finding(
    film: AnalysedFilm, status: str
) -> None:
    document = reports(film, preview_context(ENGLISH))[0]
    found = {code for code, _ in findings_of(document)}
    assert (OPACITY in found or bool(CLASSES.keys() & found)) == (status == "111242")
    told = [item.ConceptCodeSequence[0].CodeValue for item in items(groups(document)[0])
            if name_of(item) == "111017"]  # fmt: skip
    assert told == [status]


def test_what_is_below_the_threshold_does_not_read_as_the_threshold() -> None:
    film = film_with((0.546, 0.4, 0.054), 0.2, 0, NONE)
    text = report_text(reports(film, preview_context(ENGLISH))[0])
    assert "54.6 %" in text
    assert ENGLISH.percent(0.56, 0.55) == "56"
    assert ENGLISH.percent(0.5, 0.55) == "50"


def test_what_chance_would_give_is_not_called_less_than_less() -> None:
    film = covid()
    evidence = Evidence(0.13, 0.3, 0.42, peak_in_lungs=True)
    text = report_text(reports(replace(film, findings=replace(film.findings, evidence=evidence)),
                               preview_context(ENGLISH))[0])  # fmt: skip
    assert "That is at most about what chance would give" in " ".join(text.split())


def test_german_numbers_have_their_comma_and_codes_keep_the_point() -> None:
    context = preview_context(GERMAN)
    assert "0,3 (0,0 bis 2,7)" in conclusion(doubtful().findings, GERMAN)
    document = reports(covid(), context)[0]
    values = [i.MeasuredValueSequence[0] for i in items(document) if i.ValueType == "NUM"]
    assert "4.2" in {str(value.NumericValue) for value in values}


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (Evidence(0.6, 0.3, 0.45, peak_in_lungs=True), ""),
        (Evidence(0.55, 0.3, 0.54, peak_in_lungs=True), "at most about as much as chance would"),
        (Evidence(0.9, 0.3, 0.45, peak_in_lungs=False), "what weighed most lies outside the lungs"),
        (Evidence(0.6, 0.3), ""),
        (Evidence(0.3, 0.3), "what weighed most lies outside the lungs"),
        (Evidence(None, 0.3), ""),
    ],
    ids=str,
)
def test_in_the_lungs_is_told_against_chance(evidence: Evidence, said: str) -> None:
    film = covid()
    findings = replace(film.findings, evidence=evidence)
    told = conclusion(findings, ENGLISH)
    assert ("low confidence" in told) == bool(said)
    assert told.endswith(said)
    assert looked_elsewhere(evidence, ENGLISH.evidence) == bool(said)
    text = " ".join(report_text(reports(replace(film, findings=findings),
                                        preview_context(ENGLISH))[0]).split())  # fmt: skip
    if evidence.chance:
        assert "times what chance would give" in text
    assert ("take the answer with care" in text) == bool(said)


def test_nothing_is_said_of_the_explanation_of_a_grade_that_found_nothing() -> None:
    checks = dict.fromkeys(normal().findings.checks, Evidence(0.1, 0.0, 0.45, peak_in_lungs=False))
    film = film_with((0.98, 0.012, 0.008), 0.1, 0, NONE, checks=checks)
    text = " ".join(report_text(reports(film, preview_context(ENGLISH))[0]).split())
    assert "Hiding what weighed most" not in text
    graded = film_with((0.04, 0.13, 0.83), 4.2, 1, NONE | {"left_lower": 2.1}, checks=checks)
    text = " ".join(report_text(reports(graded, preview_context(ENGLISH))[0]).split())
    assert text.count("Hiding what weighed most") == 3


@pytest.mark.parametrize(
    ("admitted", "header", "named", "caveat"),
    thinned(
        [
            ("PA", "", "View: PA.", False),
            ("AP", "", "View: AP. On the test films", True),
            ("", "AP", "View: AP. On the test films", True),
            ("FRONTAL", "", "View: frontal, PA or AP not stated. It may be AP", True),
            ("", "", "View: not stated. It may be AP or portable", True),
            ("", "LL", "View: not stated. It may be AP or portable", True),
        ],
        every=3,
    ),
)
def test_the_view_and_what_it_means_stand_in_every_object(
    admitted: str, header: str, named: str, caveat: bool
) -> None:
    film = covid()
    dataset = reread(film.dataset)
    dataset.ViewPosition = header
    for keyword in ("ViewCodeSequence",):
        if keyword in dataset:
            del dataset[keyword]
    film = replace(film, dataset=dataset, admitted_view=admitted)
    written = write_results([film], preview_context(ENGLISH), [*ObjectKind])
    for item in written:
        document = parsed(item)
        said = " ".join(_texts_of(document).split())
        assert named in said, item.kind
        assert ("right less often in AP than in PA" in said) == caveat, item.kind
    codes = {i.ConceptCodeSequence[0].get("CodeValue") for i in items(groups(parsed(written[0]))[0])
             if name_of(i) == "111031" and i.ValueType == "CODE"}  # fmt: skip
    view = admitted or header
    assert codes == ({"272479007"} if view == "PA" else {"399348003"} if view == "AP" else set())


def _texts_of(document: Dataset) -> str:
    if "EncapsulatedDocument" in document:
        pages = pypdf.PdfReader(io.BytesIO(document.EncapsulatedDocument)).pages
        return " ".join(page.extract_text() for page in pages)
    said = [str(item.TextValue) for item in items(document) if item.ValueType == "TEXT"] if (
        "ContentSequence" in document) else []  # fmt: skip
    for annotation in document.get("GraphicAnnotationSequence") or ():
        said += [str(text.UnformattedTextValue) for text in annotation.TextObjectSequence]
    return " ".join([*said, str(document.get("ImageComments") or ""),
                     str(document.get("DerivationDescription") or "")])  # fmt: skip


def test_a_class_that_is_not_named_is_an_answer_and_no_finding(context: Context) -> None:
    for document in reports(undetermined(), context):
        named = [item for item in items(document) if name_of(item) == "class-named"]
        assert [str(item.ConceptCodeSequence[0].CodeValue) for item in named] == [UNDETERMINED]
        assert not [item for item in items(document) if name_of(item) == "121071"]


@pytest.mark.parametrize(
    ("views", "reported"), [(["PA"], "36554-4"), (["AP"], "36572-6"), (["PA", "AP"], "30745-4")]
)
def test_the_procedure_reported_says_the_view_or_how_many_there_are(
    views: list[str], reported: str
) -> None:
    films = []
    for number, view in enumerate(views):
        film = covid()
        dataset = reread(film.dataset)
        for other in ("ProcedureCodeSequence", "PerformedProtocolCodeSequence"):
            dataset.pop(other, None)
        dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", view
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}{number}"
        findings = replace(film.findings, sop_instance_uid=dataset.SOPInstanceUID)
        films.append(replace(film, dataset=dataset, findings=findings, admitted_view=view))
    document = parsed(write_results(films, preview_context(ENGLISH), [ObjectKind.REPORT])[0])
    procedure = next(item for item in items(document) if name_of(item) == "121058")
    assert procedure.ConceptCodeSequence[0].CodeValue == reported


@pytest.mark.parametrize(
    ("keyword", "value", "reported"),
    [("BodyPartExamined", "CHEST", "36554-4"), ("BodyPartExamined", "THORAX", "36554-4"),
     ("BodyPartExamined", "", "43468-8"), ("BodyPartExamined", "HAND", "43468-8")],
)  # fmt: skip
def test_the_procedure_reported_is_of_the_chest_where_the_film_says_so(
    keyword: str, value: str, reported: str
) -> None:
    film = covid()
    dataset = reread(film.dataset)
    for other in ("ProcedureCodeSequence", "PerformedProtocolCodeSequence",
                  "AnatomicRegionSequence"):  # fmt: skip
        if other in dataset:
            del dataset[other]
    setattr(dataset, keyword, value)
    document = reports(replace(film, dataset=dataset), preview_context(ENGLISH))[0]
    procedure = next(item for item in items(document) if name_of(item) == "121058")
    assert procedure.ConceptCodeSequence[0].CodeValue == reported


def test_what_the_networks_do_not_look_for_is_said_with_every_answer(context: Context) -> None:
    knows = context.template.impression.knows
    for film in (normal(), covid(), undetermined()):
        assert " ".join(knows.split()) in " ".join(report_text(reports(film, context)[0]).split())


def test_a_template_that_a_site_wrote_for_an_older_release_goes_on_working() -> None:
    template = load_template(OLDER / "site-0.1.0.toml")
    assert template.classes["covid19"].wording == "Viral, typical"
    assert template.impression.knows == ENGLISH.impression.knows
    document = reports(covid(), preview_context(template))[0]
    assert "Viral, typical, 83.0 %" in report_text(document)
    assert findings_from_report(document) == [covid().findings]
    assert conclusion(doubtful().findings, template).startswith("Answers contradict: Viral")


def test_a_presentation_state_draws_no_zone_without_opacities() -> None:
    def lines(film: AnalysedFilm) -> int:
        (item,) = write_results([film], preview_context(ENGLISH), [ObjectKind.PRESENTATION])
        return len(parsed(item).GraphicAnnotationSequence[0].get("GraphicObjectSequence", []))

    clear = film_with((0.98, 0.012, 0.008), 0.0, 0, NONE)
    one = film_with((0.98, 0.012, 0.008), 0.0, 0, NONE | {"left_lower": 2.1})
    assert lines(one) == lines(clear) + 1


def test_every_page_of_a_pdf_says_whose_it_is() -> None:
    (item,) = write_results(
        [doubtful(), doubtful()], preview_context(ENGLISH), [ObjectKind.DOCUMENT]
    )
    pages = pypdf.PdfReader(io.BytesIO(parsed(item).EncapsulatedDocument)).pages
    assert len(pages) > 1
    assert all("PHANTOM SYNTHETIC" in page.extract_text() for page in pages)
