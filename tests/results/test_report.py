"""The Structured Report keeps the ten rules from the first version on."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.sr._concepts_dict import concepts

from dicom_node.chest import Detection
from dicom_node.errors import IdentityNotPreserved, ResultError
from dicom_node.findings import NetworkVersion, Region
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.phantom import Encoding, Identity
from dicom_node.records import ObjectKind
from dicom_node.results.narrative import report_text
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.reading import findings_from_report
from dicom_node.results.regions import places_of
from dicom_node.results.write import Context, NetworkCard, WrittenObject, write_results
from tests.conftest import debian
from tests.results.conftest import PROBABILITIES, WEIGHTS, MakeFilm, analysed, second
from tests.results.report_kit import errors_of, groups, items, name_of, parsed


@pytest.fixture
def report(make_film: MakeFilm, context: Context) -> Dataset:
    return parsed(write_results([make_film()], context)[0])


def test_there_are_four_alternatives_of_one_report_and_a_capture(
    make_film: MakeFilm, context: Context
) -> None:
    *reports, capture = write_results([make_film()], context)
    assert [item.sop_class_uid[-5:] for item in reports] == ["88.33", "88.34", "88.22", "88.11"]
    assert len({item.group for item in reports}) == 1
    assert len({item.series_instance_uid for item in reports}) == 1
    assert len({item.sop_instance_uid for item in [*reports, capture]}) == 5
    assert capture.kind is ObjectKind.CAPTURE


def test_every_container_is_separate(report: Dataset) -> None:
    containers = [item for item in [report, *items(report)] if item.ValueType == "CONTAINER"]
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}


def test_ohif_shows_every_group(report: Dataset) -> None:
    # What its cornerstone-dicom-sr extension asks for: root 126000, and in each group a Tracking
    # Unique Identifier and a SCOORD that names the image it was selected from.
    assert name_of(report) == "126000"
    assert len(groups(report)) == 3
    for group in groups(report):
        assert any(name_of(item) == "112040" for item in group.ContentSequence)
        (region,) = [item for item in group.ContentSequence if item.ValueType == "SCOORD"]
        assert region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        assert 1 <= len(numbers) <= 3


def test_the_decisive_number_comes_first(report: Dataset) -> None:
    numbers = [item for item in groups(report)[0].ContentSequence if item.ValueType == "NUM"]
    assert name_of(numbers[0]) == "covid19-certainty"
    standard = numbers[0].ConceptNameCodeSequence[0].EquivalentCodeSequence[0]
    assert (standard.CodeValue, standard.CodeMeaning) == ("111012", "Certainty of Finding")
    assert float(numbers[0].MeasuredValueSequence[0].NumericValue) == 65.0


def test_nobody_has_signed_it(report: Dataset) -> None:
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.CompletionFlag == "COMPLETE"
    assert report.PreliminaryFlag == "PRELIMINARY"


def test_it_says_that_it_is_for_research_only(report: Dataset) -> None:
    assert "RESEARCH USE ONLY" in report.SeriesDescription
    comments = [item.TextValue for item in groups(report)[0].ContentSequence
                if name_of(item) == "121106"]  # fmt: skip
    assert any("FOR RESEARCH USE ONLY" in text for text in comments)


def test_a_probability_that_is_not_calibrated_is_never_called_certainty(
    make_film: MakeFilm, context: Context
) -> None:
    detection = Detection(PROBABILITIES, 0.5, calibrated=False)
    document = parsed(write_results([make_film(detection=detection)], context)[0])
    numbers = [item for item in items(document) if item.ValueType == "NUM"]
    names = {name_of(item) for item in numbers}
    assert {"covid19-score", "pneumonia-score", "normal-score"} <= names
    assert not [item for item in numbers if item.ConceptNameCodeSequence[0].get(
        "EquivalentCodeSequence")]  # fmt: skip


def test_a_network_that_abstains_finds_nothing_and_says_so_as_an_answer(
    make_film: MakeFilm, context: Context
) -> None:
    detection = Detection(PROBABILITIES, 0.9, calibrated=True)
    document = parsed(write_results([make_film(detection=detection)], context)[0])
    first = groups(document)[0].ContentSequence
    assert not [item for item in first if name_of(item) == "121071"]
    (answer,) = [item for item in first if name_of(item) == "class-named"]
    assert answer.ConceptCodeSequence[0].CodeMeaning == "Normality Undetermined"
    assert "Undetermined" in report_text(document)


def test_each_code_of_a_public_scheme_has_its_official_meaning(report: Dataset) -> None:
    official = {
        (scheme, code): {entry[code][0] for entry in table.values() if code in entry}
        for scheme, table in concepts.items()
        for entry in table.values()
        for code in entry
    }
    checked = 0
    for item in items(report):
        for sequence in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            for code in item.get(sequence) or ():
                key = (str(code.CodingSchemeDesignator), str(code.get("CodeValue")))
                if key in official and key[0] == "DCM":
                    assert str(code.CodeMeaning) in official[key], key
                    checked += 1
    assert checked > 20


def test_the_report_read_back_gives_the_same_findings(
    make_film: MakeFilm, context: Context
) -> None:
    film = make_film()
    for alternative in write_results([film], context)[:3]:
        assert findings_from_report(parsed(alternative)) == [film.findings]


def test_the_same_input_gives_the_same_bytes(make_film: MakeFilm, context: Context) -> None:
    assert write_results([make_film()], context) == write_results([make_film()], context)


def test_other_weights_give_other_instances_in_the_same_series(
    make_film: MakeFilm, context: Context
) -> None:
    card = NetworkCard("covidnet", "COVID-Net", "1.0.1", "sha256:" + "cd" * 32, "research")
    old = write_results([make_film()], context)
    new = write_results([make_film()], second(context, networks={"covidnet": card}))
    assert not {item.sop_instance_uid for item in old} & {item.sop_instance_uid for item in new}
    assert [item.series_instance_uid for item in old] == [item.series_instance_uid for item in new]


def test_two_films_are_one_report_with_two_impressions(
    make_film: MakeFilm, context: Context
) -> None:
    first, other = make_film(1), make_film(2)
    other.dataset.StudyInstanceUID = first.dataset.StudyInstanceUID
    *reports, _, _ = write_results([first, other], context)
    document = parsed(reports[0])
    tracked = [item.TextValue for item in items(document) if name_of(item) == "112039"]
    assert [text for text in tracked if text.startswith("AI impression")] == [
        "AI impression: COVID-19 pneumonia, film 1",
        "AI impression: COVID-19 pneumonia, film 2",
    ]
    assert findings_from_report(document) == [first.findings, other.findings]


def test_a_later_report_names_the_one_it_replaces(make_film: MakeFilm, context: Context) -> None:
    first = write_results([make_film()], context)[0]
    named = (first.sop_class_uid, first.sop_instance_uid, first.series_instance_uid)
    later = second(context, revision=2, predecessors=(named,))
    document = parsed(write_results([make_film()], later)[0])
    assert document.InstanceNumber == 2
    assert document.SeriesInstanceUID == first.series_instance_uid
    study = document.PredecessorDocumentsSequence[0]
    reference = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == first.sop_instance_uid


def test_times_are_in_the_time_zone_of_the_film(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    film.dataset.TimezoneOffsetFromUTC = "-0530"
    document = parsed(write_results([film], context)[0])
    taken = (film.dataset.AcquisitionDate, film.dataset.AcquisitionTime)
    assert (document.ContentDate, document.ContentTime) == taken
    assert document.TimezoneOffsetFromUTC == "-0530"


NAMES = [
    ("ISO_IR 100", "Müller^Jörg"),
    ("ISO_IR 144", "Иванов^Пётр"),
    ("ISO_IR 192", "Ελληνικά^山田"),
    (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう"),
]


@pytest.mark.parametrize(("charset", "name"), NAMES)
def test_the_patient_s_name_comes_back_as_it_was(
    make_film: MakeFilm, context: Context, charset: str, name: str
) -> None:
    film = make_film(identity=Identity(patient_name=name, specific_character_set=charset))
    for item in write_results([film], context):
        assert str(parsed(item).PatientName) == name


def test_a_name_that_its_character_set_cannot_hold_stops_the_result(
    make_film: MakeFilm, context: Context
) -> None:
    film = make_film()
    film.dataset.PatientName = "Иванов^Пётр"
    del film.dataset.SpecificCharacterSet
    with pytest.raises(IdentityNotPreserved, match="PatientName"):
        write_results([film], context)


def test_nothing_analysed_is_no_report(context: Context) -> None:
    with pytest.raises(ResultError):
        write_results([], context)


def test_an_age_that_is_no_age_string_is_left_out(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    with pytest.warns(UserWarning, match="AS"):
        film.dataset.PatientAge = "62"
    assert all("PatientAge" not in parsed(item) for item in write_results([film], context))


ENCODINGS = [
    Encoding(kind=kind, bits=bits, photometric=photometric)
    for kind, bits, photometric in (
        ("DX", 8, "MONOCHROME2"),
        ("DX", 12, "MONOCHROME1"),
        ("CR", 16, "MONOCHROME2"),
        ("CR", 12, "MONOCHROME1"),
    )
]


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_object_is_valid(
    make_film: MakeFilm, context: Context, tmp_path: Path, encoding: Encoding
) -> None:
    for item in write_results([make_film(encoding=encoding)], context):
        assert errors_of(item.data, tmp_path) == [], item.sop_class_uid


@pytest.mark.pacs("dciodvfy")
@pytest.mark.data
@pytest.mark.slow
def test_every_object_from_every_real_film_is_valid(
    shared_data: Path, context: Context, tmp_path: Path
) -> None:
    films = [*(shared_data / "dicom" / "chest").glob("*.dcm")]
    films += (shared_data / "dicom" / "chest_derived").glob("*.dcm")
    films = [path for path in films if "deflated" not in path.name]
    assert len(films) == 12
    written = {path.name: _of_everything(read_dataset(path), context) for path in films}
    for name, objects in written.items():
        assert {item.kind for item in objects} == set(ObjectKind), name
        for item in objects:
            assert errors_of(item.data, tmp_path) == [], (name, item.sop_class_uid)


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize(
    "odd",
    [
        {"PatientOrientation": "L"},
        {"RescaleSlope": "", "RescaleIntercept": "", "RescaleType": ""},
        {"RescaleSlope": "2", "RescaleIntercept": "", "RescaleType": ""},
    ],
    ids=str,
)
def test_values_that_the_film_should_not_have_make_no_result_invalid(
    make_film: MakeFilm, context: Context, tmp_path: Path, odd: dict[str, str]
) -> None:
    dataset = make_film().dataset
    for keyword, value in odd.items():
        setattr(dataset, keyword, value)
    for item in _of_everything(dataset, context):
        assert errors_of(item.data, tmp_path) == [], item.sop_class_uid


def _of_everything(dataset: Dataset, context: Context) -> tuple[WrittenObject, ...]:
    """Write every kind of object of a film on which everything was found and graded."""
    invented, film = preview_film(), analysed(dataset)
    rows, columns = film.film.shape
    seen = Region(rows * 0.08, 0, rows, columns)
    maps = tuple(replace(heat, region=seen) for heat in invented.saliency)
    everything = replace(
        film,
        findings=replace(invented.findings, sop_instance_uid=film.findings.sop_instance_uid),
        explanation=replace(invented.explanation, maps=maps),
    )
    networks = preview_context(context.template).networks
    return write_results([everything], replace(context, networks=networks), [*ObjectKind])


@pytest.mark.pacs("dsr2html")
def test_each_number_stands_beside_its_name(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(write_results([make_film()], context)[0].data)
    done = subprocess.run([debian("dsr2html"), str(path)], capture_output=True, check=True)
    text = re.sub(r"<[^>]+>", " ", done.stdout.decode("utf-8", "replace"))
    text = re.sub(r"\s+", " ", text)
    assert "COVID-19 pneumonia, certainty: 65 %" in text
    assert "Probability of pneumonia other than COVID-19: 25 %" in text
    assert "Fall of score when salient area is hidden: 31 %" in text


@pytest.mark.pacs("dsrdump")
def test_dcmtk_reads_the_report_in_every_class(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    reports = write_results([make_film()], context, [ObjectKind.REPORT])
    assert len(reports) == 4
    for number, item in enumerate(reports):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(item.data)
        done = subprocess.run(
            [debian("dsrdump"), "+Pl", str(path)], capture_output=True, check=True, text=True
        )
        assert "COVID-19 pneumonia" in done.stdout
        assert "65" in done.stdout


@pytest.mark.pacs("dcmconv")
def test_the_report_survives_implicit_vr(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    film = make_film()
    source, target = tmp_path / "explicit.dcm", tmp_path / "implicit.dcm"
    source.write_bytes(write_results([film], context)[0].data)
    subprocess.run([debian("dcmconv"), "+ti", str(source), str(target)], check=True)
    assert findings_from_report(read_dataset(target)) == [film.findings]


def test_files_begin_with_an_empty_preamble(make_film: MakeFilm, context: Context) -> None:
    for item in write_results([make_film()], context):
        assert item.data[:132] == bytes(128) + b"DICM"


def test_the_text_reads_like_a_report(report: Dataset) -> None:
    text = report_text(report)
    assert "Resembles COVID-19 films (65 %)" in text
    assert "Hiding it lowers the score by 31 percentage points" in text.replace("\n", " ")
    assert "FOR RESEARCH USE ONLY" in text.replace("\n", " ")


@pytest.mark.parametrize("change", [-0.02, 0.049])
def test_an_explanation_without_effect_is_not_drawn(
    make_film: MakeFilm, context: Context, change: float
) -> None:
    film = make_film(change=change)
    assert places_of(film).salient == ()
    document = parsed(write_results([film], context)[0])
    assert "There is no contour" in report_text(document)


def test_a_foreign_report_is_not_read_as_ours(report: Dataset) -> None:
    report.Manufacturer = "Somebody"
    with pytest.raises(ResultError, match="not a report of dicom-node"):
        report_text(report)


def test_the_film_is_named_as_evidence(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    document = parsed(write_results([film], context)[0])
    series = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    named = series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == film.dataset.SOPInstanceUID


def test_every_group_names_its_network_and_the_last_one_all_weights(report: Dataset) -> None:
    for group in groups(report):
        told = {name_of(item): item.TextValue for item in items(group) if item.ValueType == "TEXT"}
        assert (told["111001"], told["111003"]) == ("COVID-Net", "1.0.0")
    *others, last = groups(report)
    assert not [item for group in others for item in items(group) if name_of(item) == "111002"]
    parameters = [item.TextValue for item in items(last) if name_of(item) == "111002"]
    assert f"network=covidnet 1.0.0 {WEIGHTS}" in parameters
    assert not [text for text in parameters if text.endswith("=")]


def test_a_report_names_who_computed_its_networks_and_is_another_report_for_that(
    make_film: MakeFilm, context: Context
) -> None:
    film, engine = make_film(), "openvino 2026.4.1 f32"
    ran = NetworkVersion("1.0.0", WEIGHTS, engine)
    other = replace(film, findings=replace(film.findings, suite={"covidnet": ran}))
    by_keras, by_other = (parsed(write_results([each], context)[0]) for each in (film, other))
    told = [item.TextValue for item in items(groups(by_other)[-1]) if name_of(item) == "111002"]
    assert f"network=covidnet 1.0.0 {WEIGHTS} {engine}" in told
    (read,) = findings_from_report(by_other)
    assert read.suite == {"covidnet": ran}
    assert NetworkVersion.from_text(told[0].removeprefix("network=covidnet ")) == ran
    assert by_keras.SOPInstanceUID != by_other.SOPInstanceUID
    assert "keras" not in str(by_keras).lower()


def test_contributing_equipment_names_acquisition_and_network(report: Dataset) -> None:
    purposes = [
        item.PurposeOfReferenceCodeSequence[0].CodeValue
        for item in report.ContributingEquipmentSequence
    ]
    assert purposes == ["109101", "109102"]


def test_a_study_uid_is_never_made_up(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    for item in write_results([film], context):
        assert parsed(item).StudyInstanceUID == film.dataset.StudyInstanceUID
