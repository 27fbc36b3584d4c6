"""Frontal chest radiographs are admitted; everything else is declined with a plain reason."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_node.errors import SettingsError
from dicom_node.imaging.header import CodedEntry, FilmHeader, header_of, read_header
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.intake.admit import Admitted, Declined, admit, priority_of
from dicom_node.intake.rules import AdmissionRules, load_rules
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import open_ledger
from dicom_node.line.admit import admit_received
from dicom_node.logs import Log
from dicom_node.records import InstanceState, Origin
from dicom_node.resources import default_configuration
from dicom_node.settings import Settings
from dicom_node.settings.model import AdmissionSection
from dicom_node.spool import Spool
from tests.museum.film import film

SHIPPED = default_configuration() / "admission.toml"
CR, DX, SC = (
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
)
CHEST = FilmHeader(
    sop_class_uid=CR,
    sop_instance_uid="1.2.3",
    modality="CR",
    body_part_examined="CHEST",
    view_position="PA",
    photometric_interpretation="MONOCHROME2",
)
SILENT = replace(CHEST, body_part_examined="", view_position="")


@pytest.fixture(scope="module")
def rules() -> AdmissionRules:
    return load_rules(SHIPPED, AdmissionSection())


def reason(decision: Admitted | Declined) -> str:
    assert isinstance(decision, Declined), decision
    return decision.reason


@pytest.mark.data
def test_every_shared_chest_film_is_admitted(shared_data: Path, rules: AdmissionRules) -> None:
    for folder in ("chest", "chest_derived"):
        for file in sorted((shared_data / "dicom" / folder).glob("*.dcm")):
            if "deflated" not in file.name:
                assert admit(read_header(file), rules) == Admitted("PA"), file.name


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_chest/cr_hip_mono2_jpeglossless", "body part HIP is not chest"),
        ("not_chest/cr_ankle_mono1_jpegls", "body part EXTREMITY is not chest"),
        ("not_chest/cr_ankle_mono1_jpeg12bit", "body part EXTREMITY is not chest"),
        ("not_chest/cr_dental_mono1_modality_lut_sequence", "another part of the body"),
        ("not_radiograph/ct_scout_chest_jpeglossless", "modality CT"),
        ("not_radiograph/ct_head_j2k", "modality CT"),
        ("not_radiograph/seg_liver", "modality SEG"),
        ("not_radiograph/us_multiframe_jpeg_ybr", "modality US"),
        ("not_radiograph/xa_multiframe_96", "modality XA"),
        ("awkward/cr_view_position_says_lateral", "view position LL is not frontal"),
        ("awkward/dx_elbow_no_pixel_data_cyrillic", "body part EXTREMITY is not chest"),
    ],
)
def test_every_other_shared_object_is_declined_with_its_reason(
    shared_data: Path, rules: AdmissionRules, name: str, words: str
) -> None:
    header = read_header(shared_data / "dicom" / f"{name}.dcm")
    assert words in reason(admit(header, rules))


def test_the_phantom_is_admitted(rules: AdmissionRules) -> None:
    header = header_of(phantom_dataset(rows=96, columns=96))
    assert admit(header, rules) == Admitted("PA")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manufacturer": "dicom-node"}, "result object of this node"),
        ({"series_description": "AI CXR overlay", "sop_class_uid": SC}, "result object"),
        ({"modality": "MG"}, "modality MG"),
        ({"modality": ""}, "modality is missing"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, "SOP class CT Image is no radiograph"),
        ({"sop_class_uid": "not a uid"}, "SOP class not a uid"),
        ({"number_of_frames": 12}, "12 frames"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "image type LOCALIZER"),
        ({"photometric_interpretation": "RGB"}, "colour picture"),
        ({"presentation_intent_type": "FOR PROCESSING"}, "for processing"),
        ({"body_part_examined": "ABDOMEN"}, "body part ABDOMEN is not chest"),
        ({"body_part_examined": "CHEST_ABDOMEN"}, "is not chest"),
        ({"body_part_examined": "Thoracic spine"}, "is not chest"),
        ({"view_position": "LATERAL"}, "view position LATERAL is not frontal"),
        ({"view_position": "PA/LAT"}, "view position PA/LAT is not frontal"),
        ({"view_position": "AP LORDOTIC"}, "is not frontal"),
        ({"view_position": "XYZ"}, "view position XYZ is not frontal"),
    ],
)
def test_what_is_no_frontal_chest_film_is_declined_with_its_reason(
    rules: AdmissionRules, change: dict[str, Any], words: str
) -> None:
    assert words in reason(admit(replace(CHEST, **change), rules))


@pytest.mark.parametrize(
    ("change", "view"),
    [
        ({"sop_class_uid": DX, "modality": "DX"}, "PA"),
        ({"sop_class_uid": SC}, "PA"),
        ({"view_position": "AP"}, "AP"),
        ({"view_position": "ap"}, "AP"),
        ({"view_position": "AP PORTABLE"}, "AP"),
        ({"view_position": "PA_ERECT"}, "PA"),
        ({"view_position": "FRONTAL"}, "FRONTAL"),
        ({"body_part_examined": "Thorax p.a."}, "PA"),
        ({"body_part_examined": "TÓRAX"}, "PA"),
        ({"body_part_examined": "lung"}, "PA"),
        ({"image_type": ("DERIVED", "SECONDARY")}, "PA"),
    ],
)
def test_usual_spellings_of_a_frontal_chest_film_are_admitted(
    rules: AdmissionRules, change: dict[str, Any], view: str
) -> None:
    assert admit(replace(CHEST, **change), rules) == Admitted(view)


@pytest.mark.parametrize("code", [("816094009", "SCT"), ("T-D3000", "SRT"), ("T-D3000", "SNM3")])
def test_a_chest_is_known_by_its_region_code(rules: AdmissionRules, code: tuple[str, str]) -> None:
    header = replace(CHEST, body_part_examined="", anatomic_regions=(CodedEntry(*code),))
    assert admit(header, rules) == Admitted("PA")
    elbow = replace(header, anatomic_regions=(CodedEntry("T-D0300", code[1]),))
    assert "anatomic region" in reason(admit(elbow, rules))


@pytest.mark.parametrize(
    ("code", "view"),
    [
        (CodedEntry("272479007", "SCT"), "PA"),
        (CodedEntry("399348003", "SCT"), "AP"),
        (CodedEntry("R-10206", "SNM3"), "AP"),
        (CodedEntry("399173006", "SCT"), None),
    ],
)
def test_a_view_is_known_by_its_code(
    rules: AdmissionRules, code: CodedEntry, view: str | None
) -> None:
    decision = admit(replace(CHEST, view_position="", view_codes=(code,)), rules)
    if view:
        assert decision == Admitted(view)
    else:
        assert "view code SCT:399173006 is not frontal" in reason(decision)


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("Chest PA", "PA"),
        ("Thorax a.p. liegend", "AP"),
        ("RX TORAX FRENTE", ""),
        ("Radiographie du thorax de face", "FRONTAL"),
        ("胸部正面", "FRONTAL"),
        ("ОГК прямая", "FRONTAL"),
        ("Klatka piersiowa AP", "AP"),
        ("Portable CXR", "AP"),
    ],
)
def test_without_body_part_and_view_the_descriptions_decide(
    rules: AdmissionRules, text: str, view: str
) -> None:
    assert admit(replace(SILENT, series_description=text), rules) == Admitted(view)


@pytest.mark.parametrize(
    "text",
    [
        "Chest lateral", "CHEST LAT", "Thorax seitlich", "Thorax de profil", "Tórax perfil",
        "胸部側面", "ОГК боковая", "Chest LL", "Chest oblique RAO", "Chest PA bone suppression lat",
    ],
)  # fmt: skip
def test_a_lateral_named_in_any_language_is_declined(rules: AdmissionRules, text: str) -> None:
    header = replace(SILENT, series_description=text)
    if "PA" in text:
        assert admit(header, rules) == Admitted(""), "it names both: nothing is known"
    else:
        assert "is not frontal" in reason(admit(header, rules))


@pytest.mark.parametrize("text", ["Thoracic spine AP", "BWS", "Ribs left", "Pelvis", "Knie rechts"])
def test_descriptions_of_other_parts_decline(rules: AdmissionRules, text: str) -> None:
    assert "another part" in reason(admit(replace(SILENT, series_description=text), rules))


def test_the_series_counts_before_the_study(rules: AdmissionRules) -> None:
    header = replace(SILENT, study_description="Chest and pelvis", series_description="Thorax PA")
    assert admit(header, rules) == Admitted("PA")


def test_a_study_of_two_views_does_not_decline_its_frontal_one(rules: AdmissionRules) -> None:
    header = replace(CHEST, view_position="", study_description="CHEST PA AND LATERAL")
    assert admit(header, rules) == Admitted("")


NOTHING = [
    "", " ", "-", "--", "?", "N/A", "NA", "XX", "UNKNOWN", "UNK", "OTHER", "NONE", "DEFAULT",
    "unspecified", "NOT SPECIFIED",
]  # fmt: skip


@pytest.mark.parametrize("value", [*NOTHING, "XR", "BODY"])
def test_a_header_that_says_nothing_of_the_body_part_leaves_it_to_the_pixels(
    rules: AdmissionRules, value: str
) -> None:
    header = replace(SILENT, body_part_examined=value, series_description="AP 1 VIEW")
    assert admit(header, rules) == Admitted("AP")


@pytest.mark.parametrize("value", NOTHING)
def test_a_site_may_decline_what_says_nothing_of_the_body_part(value: str) -> None:
    rules = load_rules(SHIPPED, AdmissionSection(when_unspecific="decline"))
    header = replace(SILENT, body_part_examined=value)
    assert "admission.when_unspecific declines" in reason(admit(header, rules))


@pytest.mark.parametrize("text", ["Knee ap", "Abdomen", "HAND LEFT", "Schulter", "CHEST/ABD"])
def test_a_header_that_names_another_part_is_never_left_to_the_pixels(
    rules: AdmissionRules, text: str
) -> None:
    assert isinstance(admit(replace(SILENT, study_description=text), rules), Declined)
    assert isinstance(admit(replace(SILENT, body_part_examined=text), rules), Declined)


@pytest.mark.parametrize(
    "view",
    [
        *NOTHING, "ERECT", "SITTING", "STANDING", "UPRIGHT", "SEMI-ERECT", "Semi Erect", "CHEST",
        "1 VIEW", "ERECT CHEST", "PRONE",
    ],
)  # fmt: skip
def test_a_view_that_says_nothing_is_as_good_as_none(rules: AdmissionRules, view: str) -> None:
    assert admit(replace(CHEST, view_position=view), rules) == Admitted("")
    told = replace(CHEST, view_position=view, series_description="Thorax seitlich")
    assert "is not frontal" in reason(admit(told, rules))


@pytest.mark.parametrize("view", ["PORT", "PORTABLE", "PORT CHEST", "SUPINE", "MOBILE", "AP ERECT"])
def test_a_film_taken_at_the_bed_is_ap(rules: AdmissionRules, view: str) -> None:
    assert admit(replace(CHEST, view_position=view), rules) == Admitted("AP")


@pytest.mark.parametrize("view", ["LAT", "LL", "ERECT LAT", "RLO", "LLO", "LATERAL STANDING"])
def test_a_view_that_names_a_side_stays_declined(rules: AdmissionRules, view: str) -> None:
    assert "is not frontal" in reason(admit(replace(CHEST, view_position=view), rules))


@pytest.mark.parametrize(
    "words",
    [
        "ГРУДНАЯ КЛЕТКА", "ОГК", "ΘΩΡΑΚΑΣ", "ΘΏΡΑΚΑΣ", "胸部", "胸片", "흉부", "صدر", "חזה",
        "ทรวงอก", "छाती", "TÓRAX", "PORTCHEST", "CHEST_PA", "CHESTPA", "XRCHEST",
        "CHEST PA ARM UP", "CHEST PA ARMS UP", "Chest, arms raised", "CHEST HANDS ON HIPS",
    ],
)  # fmt: skip
def test_body_part_examined_is_understood_in_every_script_and_spelling(
    rules: AdmissionRules, words: str
) -> None:
    assert isinstance(admit(replace(CHEST, body_part_examined=words), rules), Admitted)


@pytest.mark.parametrize("words", ["ARM", "CHEST AND ARM", "THORACICSPINE", "UPPER ARM UP", "RIBS"])
def test_how_the_patient_stood_excuses_no_other_part(rules: AdmissionRules, words: str) -> None:
    assert isinstance(admit(replace(CHEST, body_part_examined=words), rules), Declined)


def test_another_script_is_shown_as_it_is_read(rules: AdmissionRules) -> None:
    header = replace(CHEST, body_part_examined="КОЛЕННЫЙ СУСТАВ")
    assert reason(admit(header, rules)) == "body part КОЛЕННЫЙ СУСТАВ is not chest"


def test_rules_of_an_older_release_are_still_read(tmp_path: Path) -> None:
    text = SHIPPED.read_text("utf-8")
    positioning = text[text.index("# These name other parts only") : text.index("[view]")]
    start = text.index("# These say as little as an empty one: view codes")
    unspecific = text[start : text.index("# A chest film whose header")]
    older = text.replace(positioning, "").replace(unspecific, "")
    (tmp_path / "admission.toml").write_text(older, "utf-8")
    assert load_rules(tmp_path / "admission.toml").view.unspecific == ()


def test_patient_orientation_tells_a_lateral_where_nothing_else_does(rules: AdmissionRules) -> None:
    header = replace(CHEST, view_position="", patient_orientation=("A", "F"))
    assert "patient orientation A/F is not frontal" in reason(admit(header, rules))
    assert admit(replace(header, patient_orientation=("L", "F")), rules) == Admitted("")


def test_an_unknown_view_can_be_declined_by_rule(rules: AdmissionRules) -> None:
    strict = rules.model_copy(
        update={"view": rules.view.model_copy(update={"when_unknown": "decline"})}
    )
    assert isinstance(admit(replace(CHEST, view_position=""), strict), Declined)


def test_a_result_is_known_by_its_uid_too(rules: AdmissionRules) -> None:
    assert "result object" in reason(admit(CHEST, rules, {CHEST.sop_instance_uid}))


def test_reasons_quote_no_description_and_no_control_character(rules: AdmissionRules) -> None:
    canary = replace(SILENT, series_description="CANARY Mueller knee")
    assert "CANARY" not in reason(admit(canary, rules))
    hostile = replace(CHEST, body_part_examined="KNEE\n\x1b[31m" + "A" * 500)
    shown = reason(admit(hostile, rules))
    assert shown.isprintable()
    assert len(shown) < 100


def test_settings_replace_body_parts_and_views() -> None:
    section = AdmissionSection(body_parts=("RIBS",), views=("AP",))
    rules = load_rules(SHIPPED, section)
    assert admit(replace(CHEST, body_part_examined="RIBS", view_position="AP"), rules) == Admitted(
        "AP"
    )
    assert isinstance(admit(replace(CHEST, view_position="PA"), rules), Declined)


def test_the_shipped_rules_name_the_defaults_of_the_settings() -> None:
    rules, section = load_rules(SHIPPED), AdmissionSection()
    assert rules.body_part.accept == section.body_parts
    assert rules.view.accept == section.views


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('when_unknown = "admit"', 'when_unknown = "perhaps"', "view.when_unknown"),
        ("when_unknown", "if_unknown", "if_unknown"),
        ("[view]", "[view", "admission.toml:"),
        ('accept = ["PA", "AP"]', "", "view.accept"),
    ],
)
def test_a_fault_in_the_rules_is_named_by_file_and_key(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    file = tmp_path / "admission.toml"
    text = SHIPPED.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(SettingsError) as caught:
        load_rules(file)
    assert any(words in fault and "admission.toml" in fault for fault in caught.value.faults)


def test_a_missing_rules_file_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_rules(tmp_path / "admission.toml")


def ranked(tmp_path: Path, *tables: str) -> AdmissionRules:
    file = tmp_path / "admission.toml"
    added = "".join(f"\n[[priority]]\n{table}\n" for table in tables)
    file.write_text(SHIPPED.read_text("utf-8") + added, "utf-8")
    return load_rules(file)


def test_without_a_rule_every_film_is_as_urgent_as_any_other(rules: AdmissionRules) -> None:
    urgent = replace(CHEST, requested_procedure_priority="STAT")
    assert priority_of(urgent, ["EMERGENCY"], rules) == 0


def test_the_highest_rule_that_fits_says_how_urgent_a_film_is(tmp_path: Path) -> None:
    rules = ranked(
        tmp_path,
        'value = 10\nrequested = ["STAT"]',
        'value = 5\ncalling_ae_titles = ["EMERGENCY"]',
        'value = 3\nwords = ["trauma*"]',
    )
    urgent = replace(CHEST, requested_procedure_priority="stat ")
    told = replace(CHEST, study_description="Thorax, Trauma")
    assert priority_of(urgent, ["EMERGENCY"], rules) == 10
    assert priority_of(CHEST, ["WARD", "EMERGENCY "], rules) == 5
    assert priority_of(told, ["WARD"], rules) == 3
    assert priority_of(CHEST, ["WARD"], rules) == 0


def test_every_list_of_a_rule_must_fit(tmp_path: Path) -> None:
    rules = ranked(tmp_path, 'value = 5\ncalling_ae_titles = ["EMERGENCY"]\nstations = ["XR1"]')
    there = replace(CHEST, station_name="XR1")
    assert priority_of(there, ["EMERGENCY"], rules) == 5
    assert priority_of(there, ["WARD"], rules) == 0
    assert priority_of(CHEST, ["EMERGENCY"], rules) == 0


def test_a_rule_of_priority_that_names_nothing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name calling_ae_titles"):
        ranked(tmp_path, "value = 5")


def test_station_and_requested_priority_are_read_from_a_film() -> None:
    dataset = phantom_dataset()
    dataset.StationName, dataset.RequestedProcedurePriority = "XR1", "STAT"
    header = header_of(dataset)
    assert (header.station_name, header.requested_procedure_priority) == ("XR1", "STAT")


def test_an_urgent_film_overtakes_those_that_came_before_it(tmp_path: Path) -> None:
    rules = ranked(tmp_path, 'value = 10\ncalling_ae_titles = ["EMERGENCY"]')
    log, spool = Log("intake"), Spool(tmp_path / "spool")
    with closing(open_ledger(tmp_path / "ledger.sqlite", who="test")) as ledger:
        door = FrontDoor.of(Settings(), spool, ledger, log)
        for name, sender in (("first", "WARD"), ("second", "EMERGENCY")):
            sent = film(name)
            door.take(sent.data, sent.transfer_syntax, Origin(sender, "NODE", "127.0.0.1"))
        assert admit_received(ledger, spool, rules, "worker:1", log) == 2
        next_films = ledger.claim_instances(InstanceState.ADMITTED, "worker:1", 60, 2)
    assert [each.id for each in next_films] == [2, 1]
