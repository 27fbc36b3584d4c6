"""What networks observe that declare themselves stands in the report, and nothing is found that
did not reach its threshold.
"""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdf
import pytest
from pydicom import Dataset
from typer.testing import CliRunner

from dicom_node.bundles.declared import ObservationWords
from dicom_node.cli.main import app
from dicom_node.findings import (
    AreaMap,
    Evidence,
    Explanation,
    FilmFindings,
    NetworkVersion,
    Outcome,
    Region,
    SaliencyMap,
    has_findings,
)
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results import observed_words as said
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, EarlierFilm
from dicom_node.results.key_objects import is_of_interest
from dicom_node.results.narrative import report_text
from dicom_node.results.observed_words import reason
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.reading import findings_from_report
from dicom_node.results.regions import area_line, places_of
from dicom_node.results.report import groups_of_study
from dicom_node.results.templates import Template, load_template
from dicom_node.results.values import Group, unit_of
from dicom_node.results.write import write_results
from tests.chest_kit import answering
from tests.conftest import debian
from tests.declared_kit import OUTPUTS, declaration
from tests.results.report_kit import errors_of, groups, items, parsed
from tests.results.told_kit import ENGLISH, GERMAN, covid, findings_of

K = ObservationKind
BOX = ((40.0, 30.0), (90.0, 30.0), (90.0, 70.0), (40.0, 70.0))
LINE = ((20.0, 100.0), (200.0, 110.0))
WHOLE = Region(0, 0, 256, 256)
EFFUSION, NODULE, OEDEMA = "60046008", "27925004", "19242006"
WIDE_HEART, CONSOLIDATION = "8186001", "95436008"

NETWORKS = {
    name: declaration(name, says if name != "length" else f'{says}comment = "Not calibrated."\n')
    for name, (says, _) in OUTPUTS.items()
}


def labels(*probabilities: float, calibrated: bool = True) -> Observation:
    names = ("effusion", "pneumothorax", "cardiomegaly")
    told = tuple(Candidate(n, p, 0.5) for n, p in zip(names, probabilities, strict=True))
    return Observation("findings", K.LABELS, "labels", labels=told, calibrated=calibrated)


def boxes(*probabilities: float) -> Observation:
    places = tuple(FoundPlace(BOX, "", each) for each in probabilities)
    return Observation("nodules", K.REGION, "boxes", threshold=0.5, places=places, calibrated=True)


def length(value: float | None, absent: str = "") -> Observation:
    ends = (None, None) if value is None else (value - 12.2, value + 12.2)
    return Observation(
        "heart_width", K.MEASUREMENT, "length", value, "mm", *ends, threshold=150.0,
        places=(FoundPlace(LINE),), absent=absent,
    )  # fmt: skip


def projection(standing: float, threshold: float = 0.0) -> Observation:
    told = (Candidate("standing", standing, threshold), Candidate("lying", 1 - standing, threshold))
    return Observation("projection", K.CLASS, "class", labels=told)


def oedema(*probabilities: float) -> Observation:
    names = ("none", "vascular", "alveolar")
    told = tuple(Candidate(n, p, 0.0) for n, p in zip(names, probabilities, strict=True))
    return Observation("oedema", K.LEVEL, "level", labels=told, calibrated=True)


def congestion(value: float) -> Observation:
    return Observation("congestion", K.SCORE, "score", value, "{0:10}", value - 1, value + 1, 5.0)


def mask(part: float) -> Observation:
    return Observation("consolidation", K.MASK, "mask", part, threshold=0.001)


FOUND = {
    "labels": labels(0.81, 0.4999, 0.1),
    "boxes": boxes(0.91, 0.63),
    "length": length(152.3),
    "class": projection(0.7),
    "level": oedema(0.1, 0.7, 0.2),
    "score": congestion(6.2),
    "mask": mask(0.12),
}
MISSED = {
    "labels": labels(0.2, 0.4999, 0.1),
    "boxes": boxes(),
    "length": length(149.96),
    "class": projection(0.55, 0.6),
    "level": oedema(0.8, 0.1, 0.1),
    "score": congestion(4.9),
    "mask": mask(0.0),
}
CODES = {
    "labels": [EFFUSION], "boxes": [NODULE, NODULE], "length": [WIDE_HEART], "class": [],
    "level": [OEDEMA], "score": [], "mask": [CONSOLIDATION],
}  # fmt: skip


def context_in(template: Template) -> Context:
    cards = {
        name: NetworkCard(name, each.title, each.version, each.weights_digest, "Tests.", each)
        for name, each in NETWORKS.items()
    }
    whole = preview_context(template)
    return replace(whole, networks={**whole.networks, **cards}, earlier=())


@pytest.fixture(params=[ENGLISH, GERMAN], ids=["en", "de"])
def context(request: pytest.FixtureRequest) -> Context:
    return context_in(request.param)


def area() -> AreaMap:
    values = np.zeros((16, 16), np.float32)
    values[3:6, 2:5], values[10:14, 9:13] = 0.9, 0.7
    return AreaMap("mask", "consolidation", values, WHOLE, 0.5)


def observed(*observations: Observation, film: AnalysedFilm | None = None) -> AnalysedFilm:
    """Return a film of which networks say so; beside ours, where ``film`` has their findings."""
    suite = {
        one.network: NetworkVersion("1.0.0", NETWORKS[one.network].weights_digest, "onnx")
        for one in observations
    }
    if film is not None:
        findings = answering(
            film.findings, observed=observations, suite={**film.findings.suite, **suite}
        )
        return replace(film, findings=findings)
    film = preview_film()
    uid = film.findings.sop_instance_uid
    findings = FilmFindings(uid, Outcome.ANALYSED, observations=observations, suite=suite)
    areas = tuple(area() for one in observations if one.kind is K.MASK and one.value)
    return replace(film, findings=findings, explanation=Explanation(areas=areas))


def report_on(film: AnalysedFilm, context: Context) -> Dataset:
    return parsed(write_results([film], context, [ObjectKind.REPORT])[0])


def groups_on(film: AnalysedFilm, context: Context) -> list[Group]:
    return groups_of_study([(film, places_of(film))], context)[0]


@pytest.mark.parametrize("kind", FOUND)
def test_each_kind_is_written_and_read_back_as_it_was(kind: str, context: Context) -> None:
    film = observed(FOUND[kind])
    assert findings_from_report(report_on(film, context)) == [film.findings]


@pytest.mark.parametrize("kind", FOUND)
def test_what_is_found_has_the_finding_of_its_manifest(kind: str) -> None:
    document = report_on(observed(FOUND[kind]), context_in(ENGLISH))
    assert [code for code, _ in findings_of(document)] == CODES[kind]


@pytest.mark.parametrize("kind", MISSED)
def test_what_does_not_reach_its_threshold_is_no_finding(kind: str) -> None:
    context, film = context_in(ENGLISH), observed(MISSED[kind])
    assert not list(findings_of(report_on(film, context)))
    assert not said.is_found(MISSED[kind], context)
    assert not is_of_interest(film, context)
    assert kind == "level" or not has_findings(film.findings)


def test_what_does_not_reach_its_threshold_has_no_certainty_either(context: Context) -> None:
    for group in groups_on(observed(*MISSED.values()), context):
        assert all(number.also is None for number in group.numbers)
        assert not any(number.name.value.endswith("-certainty") for number in group.numbers)


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("told", [FOUND, MISSED], ids=["found", "missed"])
def test_the_validator_of_debian_has_no_fault_to_find(
    told: dict[str, Observation], context: Context, tmp_path: Path
) -> None:
    film = observed(*told.values())
    for item in write_results([film], context, [ObjectKind.REPORT]):
        assert not errors_of(item.data, tmp_path)


@pytest.mark.pacs("dsrdump")
def test_dcmtk_prints_every_number_with_its_name(tmp_path: Path) -> None:
    film = observed(*FOUND.values())
    path = tmp_path / "report.dcm"
    path.write_bytes(write_results([film], context_in(ENGLISH), [ObjectKind.REPORT])[0].data)
    done = subprocess.run([debian("dsrdump"), str(path)], capture_output=True, check=True)
    printed = done.stdout.decode("latin-1")
    assert 'Transverse width of the heart")="152.3" (mm,UCUM' in printed
    assert 'Congestion")="6.2" ({0:10},UCUM,"range: 0:10")' in printed


def test_a_label_that_is_reached_has_its_own_group_and_all_others_one() -> None:
    effusion, others = groups_on(observed(FOUND["labels"]), context_in(ENGLISH))[1:3]
    assert effusion.tracking == "Pleural effusion"
    assert [number.name.value for number in effusion.numbers] == ["effusion-certainty"]
    assert others.tracking == "Chest findings, not found"
    assert others.finding is None
    assert [(number.name.value, number.shown) for number in others.numbers] == [
        ("pneumothorax-probability", "49.99"), ("cardiomegaly-probability", "10"),
    ]  # fmt: skip


def test_numbers_that_are_no_probabilities_are_called_scores() -> None:
    film = observed(labels(0.81, 0.3, 0.1, calibrated=False))
    effusion, others = groups_on(film, context_in(ENGLISH))[1:3]
    assert [n.name.value for n in (*effusion.numbers, *others.numbers)] == [
        "effusion-score", "pneumothorax-score", "cardiomegaly-score",
    ]  # fmt: skip
    assert not any(number.also for number in effusion.numbers)


def test_a_class_is_an_answer_and_a_finding_only_where_it_is_coded_as_one() -> None:
    standing, level = groups_on(observed(FOUND["class"], FOUND["level"]), context_in(ENGLISH))[1:3]
    assert [(n.value, a.value) for n, a in standing.evaluations] == [("projection", "standing")]
    assert standing.finding is None
    assert [(n.value, a.value) for n, a in level.evaluations] == [("oedema", "vascular")]
    assert level.finding is not None
    assert level.others == 2


def test_a_class_that_nothing_reaches_is_undetermined() -> None:
    group = groups_on(observed(MISSED["class"]), context_in(ENGLISH))[1]
    assert [answer.meaning for _, answer in group.evaluations] == ["Undetermined"]


def test_every_place_is_a_line_of_its_own() -> None:
    _, first, second, _ = groups_on(observed(FOUND["boxes"]), context_in(ENGLISH))
    assert (first.tracking, second.tracking) == ("Nodules 1", "Nodules 2")
    assert first.place is not None
    assert {tuple(corner) for corner in first.place} == set(BOX)
    assert (first.place[0] == first.place[-1]).all()


def test_where_no_place_is_found_one_group_says_so() -> None:
    _, group, _ = groups_on(observed(boxes()), context_in(ENGLISH))
    assert [text for _, text in group.texts] == ["Nodules: none"]
    assert [(number.name.value, number.exact) for number in group.numbers] == [
        ("nodules-count", 0.0)
    ]


def test_what_was_measured_is_a_line_of_two_points() -> None:
    document = report_on(observed(length(152.3)), context_in(ENGLISH))
    lines = [
        list(item.GraphicData) for item in items(document)
        if item.ValueType == "SCOORD" and len(item.GraphicData) == 4
    ]  # fmt: skip
    assert lines == [[*LINE[0], *LINE[1]]]


def test_a_measurement_without_a_value_says_why_and_has_no_number(context: Context) -> None:
    film = observed(length(None, "the film states no pixel spacing"))
    group = groups_on(film, context)[1]
    assert not group.numbers
    why = reason("the film states no pixel spacing", context.template)
    assert why in group.texts[0][1]


def test_a_mask_has_its_outlines_as_its_place() -> None:
    film = observed(mask(0.12))
    line = area_line(film, "mask", "consolidation")
    assert line is not None
    assert (line.min(axis=0) <= (40, 56)).all()
    assert (line.max(axis=0) >= (200, 216)).all()
    group = groups_on(film, context_in(ENGLISH))[1]
    assert group.place is not None
    assert len(group.place) == len(line)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (ENGLISH, "Pleural effusion (81 %); Nodules: 2; Transverse width of the heart 152.3 mm"
         " (140.1 to 164.5); Oedema: Vascular (70 %); Congestion 6.2 / 10 (5.2 to 7.2)"),
        (GERMAN, "Pleuraerguss (81 %); Nodules: 2; Transverse width of the heart 152,3 mm"
         " (140,1 bis 164,5); Oedema: Vascular (70 %); Congestion 6,2 / 10 (5,2 bis 7,2)"),
    ],
)  # fmt: skip
def test_the_conclusion_is_what_the_headline_observations_say(
    template: Template, sentence: str
) -> None:
    film, context = observed(*FOUND.values()), context_in(template)
    assert said.conclusion_of(film.findings, context) == sentence
    impression = groups_on(film, context)[0]
    assert impression.key == "impression"
    assert impression.texts[0][1] == sentence
    assert impression.finding is None


def test_without_headlines_the_conclusion_is_all_that_was_observed() -> None:
    film = observed(projection(0.7), mask(0.12))
    assert said.conclusion_of(film.findings, context_in(ENGLISH)) == (
        "Projection: Standing (score 70 %, not a probability); Consolidation 12 % of the film"
    )


@pytest.mark.parametrize(
    ("observation", "short", "rows"),
    [
        (labels(0.81, 0.4, 0.1), "Pleural effusion 81 %",
         [("Pleural effusion", "81 %", True), ("Pneumothorax", "40 %", False),
          ("Large heart", "10 %", False)]),
        (labels(0.2, 0.4, 0.1), "Chest findings: none", None),
        (boxes(0.9, 0.6), "Nodules: 2", [("Nodules", "2", True)]),
        (length(152.3), "152.3 mm (140.1 to 164.5)",
         [("Transverse width of the heart", "152.3 mm (140.1 to 164.5)", True)]),
        (projection(0.55, 0.6), "undetermined", [("Projection", "undetermined", False)]),
        (mask(0.12), "12 % of the film", [("Consolidation", "12 % of the film", True)]),
    ],
)  # fmt: skip
def test_lists_and_panels_say_it_in_short(
    observation: Observation, short: str, rows: list[tuple[str, str, bool]] | None
) -> None:
    context = context_in(ENGLISH)
    assert said.short(observation, context) == short
    assert rows is None or list(said.rows(observation, context)) == rows


def test_a_number_just_below_its_threshold_does_not_read_as_reaching_it() -> None:
    assert said.short(length(149.96), context_in(ENGLISH)).startswith("149.96 mm")


def test_our_own_networks_conclude_as_before_and_observations_stand_behind() -> None:
    context = context_in(ENGLISH)
    alone, both = covid(), observed(FOUND["labels"], film=covid())
    before, after = groups_on(alone, context), groups_on(both, context)
    assert [group.key for group in after] == [
        *(group.key for group in before[:-1]),
        "observed labels findings effusion", "observed labels findings", "parameters",
    ]  # fmt: skip
    assert after[0].texts[0] == before[0].texts[0]
    assert findings_from_report(report_on(both, context)) == [both.findings]


def test_a_network_that_gave_no_answer_is_named_with_its_reason(context: Context) -> None:
    film = observed(FOUND["class"], film=covid())
    film = replace(film, findings=replace(film.findings, unanswered={"mask": "it took too long"}))
    impression = groups_on(film, context)[0]
    assert any("Mask" in text and "it took too long" in text for _, text in impression.texts)
    assert impression.evaluations[0][1].value == "111244"


def test_a_film_of_which_no_network_said_anything_is_mentioned_with_the_reasons() -> None:
    film = observed()
    film = replace(film, findings=replace(film.findings, unanswered={"mask": "it took too long"}))
    (mention,) = groups_on(film, context_in(ENGLISH))
    assert mention.texts[0][1] == "mask: it took too long"


def test_a_site_says_it_in_its_own_words() -> None:
    words = ObservationWords(name="Effusion & Co", classes={"effusion": "Fluid"}, comment="Ours.")
    template = ENGLISH.model_copy(update={"networks": {"labels": {"findings": words}}})
    group = groups_on(observed(FOUND["labels"]), context_in(template))[1]
    assert group.tracking == "Fluid"
    assert [text for _, text in group.texts][:2] == ["Effusion & Co: Fluid (81 %)", "Ours."]


def test_words_that_a_character_set_does_not_have_are_transliterated() -> None:
    film = observed(labels(0.1, 0.2, 0.9))
    del film.dataset.SpecificCharacterSet
    document = report_on(film, context_in(GERMAN))
    told = report_text(document)
    assert "Herzvergroesserung" in told


def test_a_network_that_shows_nothing_says_so_and_one_that_looked_says_where() -> None:
    context, film = context_in(ENGLISH), observed(FOUND["labels"])
    texts = [text for _, text in groups_on(film, context)[1].texts]
    assert texts[-1] == "No explanation: this network does not show where it looked."
    heat = np.eye(8, dtype=np.float32)
    looked = replace(
        film,
        explanation=Explanation((SaliencyMap("labels", "findings:effusion", heat, WHOLE),)),
        findings=replace(film.findings, checks={"labels": Evidence(change_when_hidden=0.31)}),
    )
    texts = [text for _, text in groups_on(looked, context)[1].texts]
    assert texts[-1] == (
        "Colour shows what weighed most for Pleural effusion: hiding it lowers the number by"
        " 31 percentage points."
    )


def test_an_earlier_film_that_only_declared_networks_looked_at_is_told_too() -> None:
    before = EarlierFilm("2019-12-20 09:15", observed(FOUND["boxes"]).findings)
    context = replace(context_in(ENGLISH), earlier=(before,))
    for film in (covid(), observed(FOUND["labels"])):
        texts = [text for _, text in groups_on(film, context)[0].texts]
        assert "Earlier films: 2019-12-20 09:15: Nodules: 2." in texts


def test_films_with_an_observed_finding_are_key_objects() -> None:
    context, film = context_in(ENGLISH), observed(FOUND["labels"])
    (written,) = write_results([film], context, [ObjectKind.KEY_OBJECTS])
    texts = [str(item.TextValue) for item in items(parsed(written)) if item.ValueType == "TEXT"]
    assert any(text.startswith("Pleural effusion (81 %)") for text in texts)
    assert not write_results([observed(MISSED["labels"])], context, [ObjectKind.KEY_OBJECTS])


def test_a_film_with_two_hundred_places_comes_back_whole() -> None:
    probabilities = (round(0.999 - 0.001 * number, 3) for number in range(200))
    film = observed(boxes(*probabilities))
    document = report_on(film, context_in(ENGLISH))
    assert len(groups(document)) == 202
    assert findings_from_report(document) == [film.findings]


def test_the_command_gives_the_observations_back(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    film = observed(FOUND["labels"], FOUND["length"])
    path.write_bytes(write_results([film], context_in(ENGLISH), [ObjectKind.REPORT])[0].data)
    (told,) = json.loads(CliRunner().invoke(app, ["report", str(path), "--json"]).stdout)
    assert [each["key"] for each in told["observations"]] == ["findings", "heart_width"]
    assert "Pleural effusion (81 %)" in CliRunner().invoke(app, ["report", str(path)]).stdout


def test_a_film_of_another_part_of_the_body_is_not_called_a_chest() -> None:
    film = observed(projection(0.7))
    film.dataset.BodyPartExamined = "HAND"
    document = report_on(film, context_in(ENGLISH))
    assert document.BodyPartExamined == "HAND"
    assert report_text(document).startswith("RADIOGRAPH: AI ANALYSIS")


def test_places_and_sites_that_a_manifest_codes_stand_in_the_group() -> None:
    says = OUTPUTS["score"][0] + (
        'laterality = "left"\n'
        'site = { value = "3341006", scheme = "SCT", meaning = "Right lung" }\n'
        'finding = { value = "112001", scheme = "DCM", meaning = "Opacity" }\n'
    )
    card = NetworkCard(
        "score", "Score", "1.0.0", "sha256:" + "ab" * 32, "", declaration("score", says)
    )
    context = context_in(ENGLISH)
    context = replace(context, networks={**context.networks, "score": card})
    group = groups_on(observed(congestion(6.2)), context)[1]
    assert group.site is not None
    assert (group.site.place.value, group.site.laterality and group.site.laterality.meaning) == (
        "3341006", "Left",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "meaning", "shown"),
    [
        ("{0:8}", "range: 0:8", "/ 8"), ("%", "Percent", "%"), ("mm", "millimeter", "mm"),
        ("kg/m2", "kilogram per square meter", "kg/m2"), ("", "no units", ""),
        ("{points}", "points", "points"), ("ng/mL", "ng/mL", "ng/mL"),
    ],
)  # fmt: skip
def test_any_unit_of_ucum_has_a_meaning(code: str, meaning: str, shown: str) -> None:
    unit = unit_of(code)
    assert (unit.meaning, unit.shown) == (meaning, shown)


def test_a_label_that_says_that_nothing_is_there_is_no_finding() -> None:
    says = OUTPUTS["labels"][0].replace(
        "\n[template.en.findings]", '\n[[says.classes]]\nkey = "nothing"\n[template.en.findings]', 1
    )
    manifest = declaration("labels", says)
    card = NetworkCard("labels", "Labels", "1.0.0", manifest.weights_digest, "", manifest)
    context = context_in(ENGLISH)
    context = replace(context, networks={**context.networks, "labels": card})
    one = labels(0.1, 0.1, 0.1)
    one = replace(one, labels=(*one.labels, Candidate("nothing", 0.9, 0.5)))
    assert not said.is_found(one, context)
    assert said.rows(one, context)[-1] == ("Nothing", "90 %", False)
    group = groups_on(observed(one), context)[1]
    assert group.finding is None
    assert [answer.value for _, answer in group.evaluations] == ["nothing"]


def test_a_long_name_is_cut_and_not_that_nothing_was_found() -> None:
    words = ObservationWords(name="x" * 52)
    template = ENGLISH.model_copy(update={"networks": {"labels": {"findings": words}}})
    _, _, missed, _ = groups_on(observed(FOUND["labels"]), context_in(template))
    assert missed.tracking.endswith("x, not found")
    assert len(missed.tracking) == 52


def test_a_number_that_was_explained_falls_in_its_unit() -> None:
    film = observed(FOUND["length"])
    heat = SaliencyMap("length", "heart_width", np.eye(8, dtype=np.float32), WHOLE)
    findings = replace(film.findings, checks={"length": Evidence(change_when_hidden=4.2)})
    film = replace(film, findings=findings, explanation=Explanation((heat,)))
    texts = [text for _, text in groups_on(film, context_in(ENGLISH))[1].texts]
    assert texts[-1].endswith("hiding it lowers the number by 4.2 mm.")


def test_the_words_of_a_site_stand_in_its_template(tmp_path: Path) -> None:
    shipped = report_templates() / "chest-radiograph-measurement-report.toml"
    path = tmp_path / "site.toml"
    own = '[networks.labels.findings]\nname = "Ours"\nclasses = { effusion = "Fluid" }\n'
    path.write_text(f"{shipped.read_text('utf-8')}\n{own}", "utf-8")
    context = context_in(load_template(path))
    assert said.sentence(FOUND["labels"], context) == "Ours: Fluid (81 %)"
    assert said.names(FOUND["boxes"], context) == "Nodules"


def test_the_page_to_print_says_what_was_observed(context: Context) -> None:
    film = observed(*FOUND.values())
    (written,) = write_results([film], context, [ObjectKind.DOCUMENT])
    pages = pypdf.PdfReader(io.BytesIO(parsed(written).EncapsulatedDocument)).pages
    printed = " ".join(" ".join(page.extract_text().split()) for page in pages)
    for one in FOUND.values():
        for name, value, _ in said.rows(one, context):
            assert name in printed
            assert value in printed
