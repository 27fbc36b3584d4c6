"""Which networks a film gets: those of the suites that fit it, as far as they eat it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_node.bundles import list_bundles
from dicom_node.bundles.declared import FILMS, Eats, list_declared, open_declared
from dicom_node.bundles.installed import broken_bundles, declaring_folder
from dicom_node.conformance.statement import statement
from dicom_node.dimse.contexts import accepted_contexts
from dicom_node.errors import SettingsError, SopClassNotAccepted
from dicom_node.findings import (
    Explanation,
    FilmFindings,
    NetworkVersion,
    Outcome,
)
from dicom_node.imaging.header import CodedEntry, FilmHeader
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.sop_classes import ACCEPTED_SOP_CLASSES
from dicom_node.intake.admit import Admitted, Declined, admit
from dicom_node.intake.eats import not_eaten
from dicom_node.intake.menu import CHEST_SUITE, NO_SUITE, Menu
from dicom_node.intake.rules import AdmissionRules, load_rules
from dicom_node.intake.take import FrontDoor, accepted_sop_classes
from dicom_node.ledger import open_ledger
from dicom_node.line import upkeep
from dicom_node.line.admit import admit_received
from dicom_node.line.analyse import Analyst, eaters
from dicom_node.line.bundles import bundle_faults, check_bundles, declared_bundles, own_bundles
from dicom_node.line.by_hand import ByHand
from dicom_node.line.networks import engine_of
from dicom_node.line.wiring import menu_of, network_cards
from dicom_node.logs import Log
from dicom_node.records import InstanceState, Origin
from dicom_node.resources import default_configuration, model_bundles, report_templates
from dicom_node.results.templates import load_template
from dicom_node.settings import Configuration, Settings, load_configuration
from dicom_node.settings.model import AdmissionSection
from dicom_node.spool import Spool
from tests import declared_kit as kit
from tests.museum.film import film

RULES = load_rules(default_configuration() / "admission.toml", AdmissionSection())
DX = FILMS["DX"]
CHEST = FilmHeader(
    sop_class_uid=FILMS["CR"],
    sop_instance_uid="1.2.3",
    modality="CR",
    body_part_examined="CHEST",
    view_position="PA",
    photometric_interpretation="MONOCHROME2",
)
SILENT = replace(CHEST, body_part_examined="", view_position="")
PIXELS = {"rows": 32, "columns": 32}
HAND = replace(CHEST, body_part_examined="HAND")
LATERAL = replace(CHEST, view_position="LL")

HANDS = 'body_parts = ["HAND"]\nviews = ["PA"]'
SIDES = 'body_parts = ["CHEST"]\nviews = ["LATERAL"]'
OWN = ("covidnet-pyramid", "opacity-map")


def eats(**said: Any) -> Eats:
    return Eats.model_validate({"pixels": PIXELS, **said})


BONE_AGE = eats(body_parts=("HAND",), views=("PA",))
SIDE = eats(body_parts=("CHEST",), views=("LATERAL",))
NODULES = eats(body_parts=("CHEST",), views=("PA", "AP"))


def against(header: FilmHeader, what: Eats, rules: AdmissionRules = RULES) -> str | None:
    return not_eaten(header, what, rules)


# What one bundle eats


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"manufacturer": "dicom-node"}, "result object of this node"),
        ({"modality": "CT"}, "modality CT is no radiograph"),
        ({"modality": "RG"}, "modality RG is not CR or DX"),
        ({"modality": ""}, "modality is missing"),
        ({"sop_class_uid": FILMS["SC"]}, "SOP class Secondary Capture Image is not CR or DX"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, "SOP class CT Image is no radiograph"),
        ({"number_of_frames": 12}, "12 frames, a film has one"),
        ({"presentation_intent_type": "FOR PROCESSING"}, "image is for processing, not for"),
        ({"photometric_interpretation": "RGB"}, "colour picture (RGB)"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "image type LOCALIZER is no plain"),
        ({"body_part_examined": "CHEST"}, "body part CHEST is not hand"),
        ({"body_part_examined": "FOOT"}, "body part FOOT is not hand"),
        ({"view_position": "LL"}, "view position LL is not PA"),
        ({"view_position": "PA OBLIQUE"}, "view position PA OBLIQUE is not PA"),
        ({"view_position": "AP"}, "view position AP is not PA"),
    ],
)
def test_a_bundle_says_why_it_does_not_eat_a_film(change: dict[str, Any], reason: str) -> None:
    said = against(replace(HAND, **change), BONE_AGE)
    assert said is not None
    assert said.startswith(reason)
    assert against(HAND, BONE_AGE) is None


def test_a_bundle_of_frontal_chest_films_agrees_with_our_own_networks() -> None:
    """It eats what they eat, and declines the rest in the same words."""
    for change in (
        {}, {"body_part_examined": "Thorax p.a."}, {"body_part_examined": "TÓRAX"},
        {"view_position": "AP PORTABLE"}, {"view_position": "FRONTAL"}, {"modality": "MG"},
        {"body_part_examined": "ABDOMEN"}, {"view_position": "LATERAL"},
        {"view_position": "PA/LAT"}, {"view_position": "XYZ"}, {"number_of_frames": 2},
        {"body_part_examined": "", "series_description": "Chest pa"},
        {"body_part_examined": "", "series_description": "Thoracic spine pa"},
        {"view_position": "", "series_description": "chest lat"},
        {"view_position": "", "patient_orientation": ("A", "F")},
        {"body_part_examined": "", "anatomic_regions": (CodedEntry("51185008", "SCT"),)},
        {"body_part_examined": "", "anatomic_regions": (CodedEntry("85562004", "SCT"),)},
        {"view_position": "", "view_codes": (CodedEntry("R-10206", "99SDM"),)},
        {"view_position": "", "view_codes": (CodedEntry("399173006", "SCT"),)},
    ):  # fmt: skip
        header = replace(CHEST, **change)
        own = admit(header, RULES)
        assert against(header, NODULES) == (own.reason if isinstance(own, Declined) else None)


@pytest.mark.parametrize(
    "change",
    [
        {"body_part_examined": "Hand li."},
        {"body_part_examined": "HAND WRIST"},
        {"body_part_examined": "", "anatomic_regions": (CodedEntry("85562004", "SCT"),)},
        {"body_part_examined": "", "anatomic_regions": (CodedEntry("T-D8700", "SNM3"),)},
        {"body_part_examined": "", "anatomic_regions": (CodedEntry("1", "99X", "Left hand"),)},
        {"body_part_examined": "XR", "study_description": "Hand links d.p."},
        {"body_part_examined": "EXTREMITY", "series_description": "HAND"},
        {"view_position": "", "view_codes": (CodedEntry("272479007", "SCT"),)},
        {"view_position": "", "view_codes": (CodedEntry("399335002", "SCT"),)},
        {"view_position": "", "protocol_name": "hand d.p."},
        {"view_position": "", "patient_orientation": ("R", "H")},
    ],
)
def test_body_part_and_view_are_known_by_codes_words_and_orientation(
    change: dict[str, Any],
) -> None:
    assert against(replace(HAND, **change), BONE_AGE) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body_part_examined": "EXTREMITY"}, "neither body part, anatomic region nor"),
        ({"body_part_examined": "EXTREMITY", "series_description": "Knie ap"}, "descriptions name"),
        ({"body_part_examined": "", "series_description": "chest pa, hands up"}, "descriptions"),
        ({"view_position": ""}, "the film does not say that its view is PA"),
        ({"view_position": "", "series_description": "hand obliq"}, "a description with 'obl"),
    ],
)
def test_what_names_another_part_or_view_is_not_eaten(change: dict[str, Any], reason: str) -> None:
    said = against(replace(HAND, **change), BONE_AGE)
    assert said is not None
    assert said.startswith(reason)


@pytest.mark.parametrize("position", ["LL", "RL", "LATERAL", "Lat", "seitlich", "LEFT LATERAL"])
def test_lateral_is_every_lateral_view(position: str) -> None:
    assert against(replace(CHEST, view_position=position), SIDE) is None


@pytest.mark.parametrize("position", ["PA", "LLD", "LAT DECUB", "PA/LAT", "LAO", "lordotic"])
def test_what_is_no_lateral_view_is_named(position: str) -> None:
    reason = f"view position {position} is not LATERAL"
    assert against(replace(CHEST, view_position=position), SIDE) == reason


def test_an_orientation_tells_a_lateral_film_but_not_its_side() -> None:
    along = replace(CHEST, view_position="", patient_orientation=("A", "F"))
    across = replace(along, patient_orientation=("L", "F"))
    assert against(along, SIDE) is None
    assert against(across, SIDE) == "patient orientation L/F is not LATERAL"
    left = eats(body_parts=("CHEST",), views=("LL",))
    assert against(along, left) == "the film does not say that its view is LL"
    assert against(across, left) == "patient orientation L/F is not LL"


@pytest.mark.parametrize("known", ["body_part_examined", "view_position"])
def test_unspecific_decides_for_what_a_film_does_not_tell(known: str) -> None:
    strict, open_hearted = SIDE, SIDE.model_copy(update={"unspecific": "accept"})
    header = replace(SILENT, **{known: getattr(LATERAL, known)})
    for silent in (header, SILENT):
        assert against(silent, strict) is not None
        assert against(silent, open_hearted) is None
    assert against(SILENT, eats()) is None, "who names neither part nor view eats any"


def test_a_part_that_no_table_has_is_known_by_its_name() -> None:
    ribs = eats(body_parts=("RIB",))
    assert against(replace(CHEST, body_part_examined="Ribs"), ribs) is None
    assert against(replace(CHEST, body_part_examined="CHEST"), ribs) == "body part CHEST is not rib"
    region = replace(SILENT, anatomic_regions=(CodedEntry("113197003", "SCT", "Rib"),))
    assert against(region, ribs) is None


def test_mammograms_are_eaten_by_who_says_so() -> None:
    breast = eats(sop_classes=("MG",), modalities=("MG",), views=("MLO", "CC"))
    header = replace(CHEST, sop_class_uid=FILMS["MG"], modality="MG", view_position="")
    coded = replace(header, view_codes=(CodedEntry("R-10226", "SRT"),))
    assert against(coded, breast) is None
    assert against(replace(header, view_position="mlo"), breast) is None
    assert against(CHEST, breast) == "modality CR is not MG"
    odd = replace(header, sop_class_uid=DX)
    reason = "SOP class Digital X-Ray Image Storage - Fo… is not MG"
    assert against(odd, breast) == reason


@pytest.mark.parametrize(
    ("part", "text", "fits"),
    [
        ("SPINE", "LWS ap", True),
        ("TSPINE", "thoracic spine", True),
        ("TSPINE", "T-spine lat", True),
        ("TSPINE", "lumbar spine", False),
        ("TSPINE", "spine", False),
        ("HIP", "Hüfte links", True),
        ("KNEE", "genou droit", True),
        ("SKULL", "Schädel", True),
    ],
)
def test_parts_are_known_by_words(part: str, text: str, fits: bool) -> None:
    header = replace(SILENT, study_description=text)
    assert (against(header, eats(body_parts=(part,))) is None) is fits


def test_a_reason_never_quotes_a_description() -> None:
    for text in ("DOE^JANE knee", "DOE^JANE lat", "DOE^JANE"):
        header = replace(SILENT, series_description=text, study_description=text)
        for what in (BONE_AGE, SIDE, NODULES, eats(views=("PA",))):
            assert "DOE" not in (against(header, what) or "")


# Suites


def menu(**settings: Any) -> Menu:
    found = Settings.model_validate({"analysis": {"suite": settings.pop("suite", OWN)}, **settings})
    bundles = {"bone-age": BONE_AGE, "side": SIDE, "nodules": NODULES}
    return replace(Menu.of(found, RULES, ()), eats=bundles)


def test_each_film_is_for_those_that_eat_it() -> None:
    served = menu(suite=(*OWN, "bone-age", "side"))
    frontal, hand, side = (served.choose(each) for each in (CHEST, HAND, LATERAL))
    assert frontal.networks == {*OWN}
    assert frontal.decision == Admitted("PA")
    assert frontal.reasons == {
        "bone-age": "body part CHEST is not hand", "side": "view position PA is not LATERAL",
    }  # fmt: skip
    assert (hand.networks, hand.decision) == ({"bone-age"}, Admitted("PA"))
    assert hand.reasons[CHEST_SUITE] == "body part HAND is not chest"
    assert (side.networks, side.decision) == ({"side"}, Admitted("LL"))


def test_a_film_that_nobody_eats_is_declined_with_the_reason_of_each() -> None:
    served = menu(suite=(*OWN, "bone-age"))
    hand = replace(HAND, view_position="LL")
    assert served.choose(hand).decision == Declined(
        f"{CHEST_SUITE}: body part HAND is not chest; bone-age: view position LL is not PA"
    )
    assert served.choose(hand).networks == frozenset()
    scan = replace(CHEST, modality="CT")
    assert served.choose(scan).decision == Declined("modality CT is no radiograph")


def test_our_own_networks_alone_give_the_reasons_that_they_gave() -> None:
    served = menu()
    for change in ({}, {"modality": "CT"}, {"view_position": "LL"}, {"view_position": ""}):
        header = replace(CHEST, **change)
        assert served.choose(header).decision == admit(header, RULES)
    own = replace(CHEST, manufacturer="dicom-node")
    assert menu(suite=(*OWN, "side")).choose(own).decision == admit(own, RULES)
    written = menu(suite=("side",)).choose(LATERAL, own_instances={"1.2.3"})
    assert written.decision == Declined("result object of this node")


def test_a_bundle_alone_is_a_suite() -> None:
    served = menu(suite=("side",))
    assert served.choose(LATERAL).networks == {"side"}
    assert served.choose(CHEST).decision == Declined("side: view position PA is not LATERAL")


@pytest.mark.parametrize(
    ("condition", "header", "senders"),
    [
        ({"calling_ae_titles": ["ROOM1", "ROOM2"]}, HAND, ["PACS", "ROOM2 "]),
        ({"modalities": ["dx"]}, replace(HAND, sop_class_uid=DX, modality="DX"), []),
        ({"body_parts": ["Hand", "WRIST"]}, HAND, []),
        ({"stations": ["bone 1"]}, replace(HAND, station_name="BONE 1"), []),
        ({"words": ["bone*"]}, replace(HAND, study_description="Bone age"), []),
        ({}, HAND, []),
    ],
)
def test_a_suite_is_for_the_films_that_it_names(
    condition: dict[str, Any], header: FilmHeader, senders: list[str]
) -> None:
    served = menu(suites=[{"name": "bones", "networks": ["bone-age"], **condition}])
    assert served.asks_senders is ("calling_ae_titles" in condition)
    assert served.choose(header, senders).networks == {"bone-age"}
    other = replace(CHEST, station_name="X", sop_class_uid=FILMS["CR"])
    chosen = served.choose(other, ["PACS"])
    if condition:
        assert chosen.networks == {*OWN}, "what no suite fits gets analysis.suite"
    else:
        assert isinstance(chosen.decision, Declined)


def test_every_condition_of_a_suite_must_fit() -> None:
    suite = {
        "name": "bones", "networks": ["bone-age"], "body_parts": ["HAND"], "stations": ["BONE"],
    }  # fmt: skip
    served = menu(suites=[suite])
    assert served.offered(HAND) == OWN
    assert served.offered(replace(HAND, station_name="BONE")) == ("bone-age",)


def test_a_film_gets_the_networks_of_every_suite_that_fits() -> None:
    served = menu(suites=[
        {"name": "chests", "networks": ["nodules", *OWN], "body_parts": ["CHEST"]},
        {"name": "all", "networks": ["side", "nodules"]},
    ])  # fmt: skip
    assert served.offered(CHEST) == ("nodules", *OWN, "side")
    assert served.choose(CHEST).networks == {"nodules", *OWN}
    assert served.choose(LATERAL).networks == {"side"}
    assert served.networks == {"nodules", "side", *OWN}


def test_a_film_that_no_suite_is_for_is_declined() -> None:
    served = menu(suite=(), suites=[{"name": "b", "networks": ["side"], "modalities": ["DX"]}])
    assert served.choose(CHEST).decision == Declined(NO_SUITE)


def test_only_who_eats_a_film_is_asked_about_it() -> None:
    served = menu(suite=(*OWN, "nodules", "side"))
    assert eaters(CHEST, served) == {*OWN, "nodules"}
    assert eaters(CHEST, menu()) is None
    assert eaters(HAND, menu()) == Declined("body part HAND is not chest")


# The settings


def configured(folder: Path, node: str) -> Configuration:
    kit.declared_bundle(folder / "var" / "models", "bone-age", kit.SCORE, kit.SCORE_OUTPUTS,
                        eats=HANDS)  # fmt: skip
    kit.declared_bundle(folder / "var" / "models", "side", kit.LABELS, kit.LABELS_OUTPUTS,
                        eats=SIDES)  # fmt: skip
    (folder / "node.toml").write_text(node, "utf-8")
    return load_configuration(folder, thorough=True)


def test_what_cannot_be_read_of_a_bundle_that_nobody_names_stops_nothing(tmp_path: Path) -> None:
    for name in ("deep", "pipe", "folder"):
        (tmp_path / "var" / "models" / name).mkdir(parents=True)
    (tmp_path / "var/models/deep/model.toml").write_text(f"x = {'[' * 5000}", "utf-8")
    os.mkfifo(tmp_path / "var/models/pipe/model.toml")
    (tmp_path / "var/models/folder/model.toml").mkdir()
    assert configured(tmp_path, "").settings.analysis.suite
    (fault,) = faults(tmp_path, '[analysis]\nsuite = ["covidnet-pyramid", "folder"]')
    assert "there is no bundle 'folder'" in fault


@pytest.mark.parametrize("name", ["covidnet-pyramid", "opacity-zones", "lung-unet"])
def test_no_bundle_takes_the_place_of_one_of_ours(tmp_path: Path, name: str) -> None:
    models = tmp_path / "var" / "models"
    kit.declared_bundle(models, name, kit.LABELS, kit.LABELS_OUTPUTS)
    settings = configured(tmp_path, "").settings
    # Ours answers, and people are told of the other.
    assert declaring_folder(settings, name) is None
    assert name in own_bundles(settings)
    (fault,) = bundle_faults(settings)
    assert f"{models / name} has the id of one of our own networks" in fault


def test_no_network_may_take_longer_than_its_worker_is_waited_for(tmp_path: Path) -> None:
    models = tmp_path / "var" / "models"
    kit.declared_bundle(models, "slow", kit.LABELS, kit.LABELS_OUTPUTS, head="seconds = 400.0")
    settings = configured(tmp_path, '[analysis]\nsuite = ["covidnet-pyramid", "slow"]').settings
    (fault,) = bundle_faults(settings)
    assert "slow/model.toml: seconds: 400 s are not below analysis.lease_seconds (300 s)" in fault


def test_no_manifest_is_longer_than_people_write(tmp_path: Path) -> None:
    models = tmp_path / "var" / "models"
    bundle = kit.declared_bundle(models, "long", kit.LABELS, kit.LABELS_OUTPUTS)
    with (bundle / "model.toml").open("a", encoding="utf-8") as manifest:
        manifest.write("# and so on\n" * 900_000)
    settings = configured(tmp_path, '[analysis]\nsuite = ["covidnet-pyramid", "long"]').settings
    assert "long" in broken_bundles(settings)
    assert any("is larger than 1,000,000 bytes" in fault for fault in bundle_faults(settings))


def faults(folder: Path, node: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        configured(folder, node)
    return caught.value.faults


BESIDE = """
[[suites]]
name = "bones"
networks = ["bone-age", "covidnet-pyramid"]
body_parts = ["HAND"]
[[suites]]
name = "from the side"
networks = ["side"]
"""


def test_declared_bundles_stand_in_suites_beside_our_own(tmp_path: Path) -> None:
    found = configured(tmp_path, BESIDE)
    settings = found.settings
    assert settings.networks[-2:] == ("bone-age", "side")
    assert set(settings.bundles) >= {"covidnet-pyramid", "bone-age", "side", "chest-gate"}
    assert [bundle.id for bundle in declared_bundles(settings)] == ["bone-age", "side"]
    assert {"bone-age", "side"}.isdisjoint(own_bundles(settings))
    assert network_cards(settings)["bone-age"].declaration is not None
    assert bundle_faults(settings) == ()
    served = menu_of(found)
    assert served.choose(HAND).networks == {"bone-age"}
    assert served.choose(LATERAL).networks == {"side"}
    # The second suite fits every film, so that none is left for analysis.suite.
    assert served.choose(CHEST).networks == frozenset()


def test_a_suite_of_declared_bundles_alone_is_valid(tmp_path: Path) -> None:
    found = configured(tmp_path, '[analysis]\nsuite = ["bone-age"]\ngate = ""\nlungs = ""')
    assert found.settings.bundles == ("bone-age",)
    assert own_bundles(found.settings) == ()
    empty = '[analysis]\nsuite = []\n[[suites]]\nname = "s"\nnetworks = ["side"]'
    assert configured(tmp_path, empty).settings.networks == ("side",)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            '[[suites]]\nname = "b"\nnetworks = ["side", "bone-ago"]',
            "node.toml:3: suites[0].networks[1]: there is no bundle 'bone-ago'",
        ),
        ('[analysis]\nsuite = ["bone-ag"]', "did you mean 'bone-age'?"),
        ('[analysis]\nsuite = ["nothing-like-it"]', "bone-age, chest-gate"),
        ("[analysis]\nsuite = []", "node.toml:2: analysis.suite: reports need"),
        (
            '[[suites]]\nname = "b"\nnetworks = ["side", "opacity-map"]',
            "node.toml:3: suites[0].networks: reports need a detection network",
        ),
        ('[[suites]]\nname = "b"\nnetworks = []', "suites[0].networks"),
        ('[[suites]]\nname = "b"', "node.toml:1: suites[0].networks: missing"),
        ('[[suites]]\nname = "b"\nnetwork = ["side"]', "did you mean 'networks'?"),
        (
            '[[suites]]\nname = "b"\nnetworks = ["side"]\n[[suites]]\nname = "b"\n'
            'networks = ["side"]',
            "node.toml:5: suites[1].name: 'b' is the name of another suite, too",
        ),
        ('[analysis]\ngate = "side"', "analysis.gate: 'side' says what it eats and says"),
    ],
)
def test_faults_of_suites_are_named_with_line_and_key(tmp_path: Path, node: str, said: str) -> None:
    assert any(said in fault for fault in faults(tmp_path, node)), faults(tmp_path, node)


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ('key = "congestion"', 'key = "opacity"', "bone-age/model.toml:21: says[0]: "),
        ("range = [0.0, 10.0]", "", "a score has a range"),
        ('title = "Bone age"', "title = ", "bone-age/model.toml:2: not valid TOML"),
        ('file = "network.onnx"', 'file = "other.onnx"', "there is no 'other.onnx'"),
    ],
)
def test_a_manifest_with_a_fault_keeps_the_node_from_starting(
    tmp_path: Path, line: str, instead: str, said: str
) -> None:
    found = configured(tmp_path, '[analysis]\nsuite = ["covidnet-pyramid", "bone-age"]')
    path = tmp_path / "var" / "models" / "bone-age" / "model.toml"
    text = path.read_text("utf-8")
    assert line in text
    path.write_text(text.replace(line, instead), "utf-8")
    (fault,) = bundle_faults(found.settings)
    assert said in fault
    assert "bone-age/model.toml" in fault
    with pytest.raises(SettingsError) as caught:
        check_bundles(found.settings)
    assert caught.value.faults == (fault,)


def test_an_engine_that_is_not_installed_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = configured(tmp_path, '[analysis]\nsuite = ["side"]')
    monkeypatch.setattr("dicom_node.line.bundles.find_spec", lambda _name: None)
    (fault,) = bundle_faults(found.settings)
    assert fault == (
        "side/model.toml: engine: onnxruntime is not installed — install dicom-node[onnx]"
    )


def test_two_bundles_may_use_the_same_key(tmp_path: Path) -> None:
    for name in ("one", "two"):
        kit.declared_bundle(tmp_path / "var" / "models", name, kit.SCORE, kit.SCORE_OUTPUTS)
    assert bundle_faults(configured(tmp_path, '[analysis]\nsuite = ["one", "two"]').settings) == ()


def test_bundles_of_both_forms_are_listed_apart(tmp_path: Path) -> None:
    kit.declared_bundle(tmp_path / "first", "side", kit.LABELS, kit.LABELS_OUTPUTS, eats=SIDES)
    kit.declared_bundle(tmp_path / "second", "side", kit.LABELS, kit.LABELS_OUTPUTS)
    kit.declared_bundle(tmp_path / "second", "bone-age", kit.SCORE, kit.SCORE_OUTPUTS)
    folders = (tmp_path / "first", tmp_path / "second", tmp_path / "nowhere", model_bundles())
    found = list_declared(folders)
    assert [bundle.id for bundle in found] == ["bone-age", "side"]
    assert found[1].manifest.eats.views == ("LATERAL",)
    assert list_bundles(tmp_path / "second") == ()


# On the line


class Asking:
    """Stands in for the engine: notes what is asked."""

    at_once, computed_by, device = 1, "keras", "cpu"

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}

    def warm(self) -> None:
        return

    def analyse(self, _film: object, uid: str, asked: Any) -> tuple[FilmFindings, Explanation]:
        self.asked[uid] = asked.networks
        suite = {"side": NetworkVersion("1.0.0", "sha256:0")}
        return FilmFindings(uid, Outcome.ANALYSED, suite=suite), Explanation()


def test_a_film_is_admitted_and_analysed_by_those_that_eat_it_also_after_a_change(
    tmp_path: Path,
) -> None:
    log, spool, engine = Log("intake"), Spool(tmp_path / "spool"), Asking()
    served = menu(suites=[{
        "name": "side", "networks": ["side"], "calling_ae_titles": ["ROOM1"],
    }])  # fmt: skip
    with closing(open_ledger(tmp_path / "ledger.sqlite", who="test")) as ledger:
        door = FrontDoor.of(Settings(), spool, ledger, log)
        for name, sender, view in (("a", "ROOM1", "LL"), ("b", "WARD", "LL"), ("c", "WARD", "PA")):
            sent = film(name).put("0018,5101", "CS", view.encode())
            door.take(sent.data, sent.transfer_syntax, Origin(sender, "NODE", "127.0.0.1"))
        assert admit_received(ledger, spool, RULES, "w", log, served) == 3
        states = {item.id: (item.state, item.reason) for item in map(ledger.instance, (1, 2, 3))}
        assert states[1] == (InstanceState.ADMITTED, None)
        assert ledger.instance(1).view == "LL"
        assert states[2] == (InstanceState.DECLINED, "view position LL is not frontal")
        assert states[3] == (InstanceState.ADMITTED, None)
        # Meanwhile the node was told that ROOM1 is for nobody.
        changed = menu(suites=[{
            "name": "hands", "networks": ["bone-age"], "calling_ae_titles": ["ROOM1"],
        }])  # fmt: skip
        analyst = Analyst(engine, ledger, spool, Settings(), "w", log, menu=changed)  # type: ignore[arg-type]
        while analyst.work():
            pass
        first, third = ledger.instance(1), ledger.instance(3)
        assert first.reason == "bone-age: body part CHEST is not hand"
        assert third.state is InstanceState.ANALYSED
        assert engine.asked == {third.sop_instance_uid: {*OWN}}


def test_a_file_is_for_those_that_eat_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(tmp_path, '[analysis]\nsuite = ["covidnet-pyramid", "side"]')
    engine = Asking()
    monkeypatch.setattr("dicom_node.line.by_hand.engine_of", lambda _settings: engine)
    names = {"PA": "chest", "LL": "lateral", "LAO": "oblique"}
    for view, name in names.items():
        dataset = phantom_dataset(rows=64, columns=64)
        dataset.ViewPosition, dataset.SOPInstanceUID = view, f"1.2.{len(name)}"
        dataset.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    files = [tmp_path / f"{name}.dcm" for name in names.values()]
    (_, _, declined) = ByHand(found).answers(files)
    assert engine.asked == {"1.2.5": {"covidnet-pyramid"}, "1.2.7": {"side"}}
    assert declined.findings.reason == (
        "chest suite: view position LAO is not frontal; side: view position LAO is not LATERAL"
    )


def test_the_nightly_check_holds_the_files_of_a_bundle_against_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dicom_node import logs

    found = configured(tmp_path, '[analysis]\nsuite = ["side", "bone-age"]\ngate = ""\nlungs = ""')
    (tmp_path / "var" / "models" / "side" / "network.onnx").write_bytes(b"another")
    logs.configure(strict=True)
    ledger = open_ledger(found.ledger_path, who="test")
    upkeep.self_test(found, Log("housekeep"), ledger)
    assert [(each.subject, each.reason is None) for each in ledger.ailments()] == [
        ("bone-age", True), ("side", False),
    ]  # fmt: skip
    ledger.close()
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["event"], each["network"]) for each in said] == [
        ("self_test.failed", "side"), ("self_test.passed", "bone-age"),
    ]  # fmt: skip
    assert "digest" in said[0]["reason"]


def test_a_key_of_our_own_findings_is_taken(tmp_path: Path) -> None:
    from dicom_node.errors import BundleContractBroken

    says = kit.SCORE.replace('"congestion"', '"airspace"')
    kit.declared_bundle(tmp_path, "mine", says, kit.SCORE_OUTPUTS)
    with pytest.raises(BundleContractBroken, match="the key 'airspace' is that of a finding"):
        open_declared(tmp_path, "mine")


MAMMO = 'sop_classes = ["MG", "CR"]\nmodalities = ["MG"]\nviews = ["MLO", "CC"]'


def test_what_a_bundle_in_use_eats_is_stored_and_stated(tmp_path: Path) -> None:
    """Other nodes refuse it at the door: nothing is kept that nobody looks at."""
    folder = tmp_path / "var" / "models"
    kit.declared_bundle(folder, "breast", kit.SCORE, kit.SCORE_OUTPUTS, eats=MAMMO)
    settings = configured(tmp_path, '[analysis]\nsuite = ["covidnet-pyramid", "breast"]').settings
    accepted = accepted_sop_classes(settings)
    assert accepted == (*map(str, ACCEPTED_SOP_CLASSES), FILMS["MG"])
    offered = {context.abstract_syntax for context in accepted_contexts(accepted)}
    assert FILMS["MG"] in offered
    assert FILMS["MG"] not in {context.abstract_syntax for context in accepted_contexts()}
    template = load_template(report_templates() / f"{settings.results.template}.toml")
    stated = statement(settings, {}, template)
    assert "Digital Mammography X-Ray Image Storage - For Presentation" in stated
    assert "`breast`: MG/CR, MG, MLO/CC" in stated
    # A manifest with a fault stops no door.
    (folder / "breast" / "model.toml").write_text("[eats]\n", "utf-8")
    assert accepted_sop_classes(settings) == tuple(map(str, ACCEPTED_SOP_CLASSES))


def test_the_doors_take_what_is_eaten(tmp_path: Path) -> None:
    sent = film("breast").put("0008,0016", "UI", FILMS["MG"].encode() + b"\0")
    origin, log = Origin("PACS", "NODE", "127.0.0.1"), Log("receive")
    with closing(open_ledger(tmp_path / "ledger.sqlite", who="test")) as ledger:
        door = FrontDoor.of(Settings(), Spool(tmp_path / "spool"), ledger, log)
        with pytest.raises(SopClassNotAccepted):
            door.take(sent.data, sent.transfer_syntax, origin)
        eating = replace(door, sop_classes=door.sop_classes | {FILMS["MG"]})
        eating.take(sent.data, sent.transfer_syntax, origin)


@pytest.mark.parametrize("damage", ['kind = "lables"', "this is no TOML = = ="])
def test_a_manifest_that_breaks_while_the_node_runs_stops_none_of_the_others(
    tmp_path: Path, damage: str
) -> None:
    models = tmp_path / "var" / "models"
    for name, films in (("hands", HANDS), ("sides", SIDES)):
        kit.declared_bundle(models, name, kit.LABELS, kit.LABELS_OUTPUTS, eats=films)
    shutil.copytree(default_configuration(), tmp_path / "config")
    configuration = configured(
        tmp_path / "config",
        f'[node]\ndata_dir = "{tmp_path / "var"}"\n[analysis]\nsuite = ["hands", "sides"]\n',
    )
    manifest = models / "hands" / "model.toml"
    text = manifest.read_text("utf-8")
    manifest.write_text(text.replace('kind = "labels"', damage), "utf-8")
    settings = configuration.settings
    assert [bundle.id for bundle in declared_bundles(settings)] == ["sides"]
    engine = engine_of(settings)
    assert set(engine.declared.silent) == {"hands"}
    engine.declared.close()
    menu = menu_of(configuration)
    assert menu.choose(LATERAL).networks == {"sides"}
    decision = menu.choose(HAND).decision
    assert isinstance(decision, Declined)
    assert "hands: its manifest has faults" in decision.reason
    assert set(network_cards(settings)) >= {"sides"}
    assert any("hands/model.toml" in fault for fault in bundle_faults(settings))
