"""What a study is answered with, whom, and what happens to a wrong answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.errors import RowMissing, SpoolUnreadable
from dicom_node.line.admit import key_patients
from dicom_node.records import (
    BY_HAND,
    DeliveryState,
    InstanceState,
    ObjectKind,
    ResultObject,
    StudyState,
)
from dicom_node.results.narrative import report_text
from dicom_node.results.stored import newest
from tests.reporting_kit import WORKER, Node, pacs, reporting_node
from tests.thinned import thinned

__all__ = ["reporting_node"]

pytestmark = pytest.mark.usefixtures("phantoms_drawn_once")


def kinds(items: list[ResultObject]) -> list[str]:
    return [str(item.kind) for item in items]


def test_a_viewer_chooses_the_objects_that_its_people_can_see(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs(viewer="weasis"))
    assert kinds(node.outbox(study)["PACS"]) == ["sr", "capture", "presentation"]


def test_a_study_that_nobody_is_to_get_is_reported_and_no_failure(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report()
    assert (study.reason or "").startswith("no destination")
    # A study that failed has none: it would be written anew each time.
    assert study.signature


def test_nothing_is_taken_back_by_guess_while_the_spool_is_away(node: Node, tmp_path: Path) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    node.deliver()
    (tmp_path / "spool").rename(tmp_path / "away")
    with pytest.raises(SpoolUnreadable):
        node.retractor.retract(study, "quality")


def test_objects_named_by_hand_win_over_the_viewer(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs(viewer="weasis", objects=["document"]))
    assert kinds(node.outbox(study)["PACS"]) == ["document"]


def test_an_object_that_an_ae_wants_later_is_made_for_the_same_report(node: Node) -> None:
    film = node.receive(1, InstanceState.ANALYSED)
    first = node.report(pacs())
    node.deliver()
    before = node.outbox(first)["PACS"]
    node.reanalyse(film)
    study = node.report(pacs(objects=["sr", "capture", "segmentation"]))
    assert study.revision == first.revision
    after = node.outbox(study)["PACS"]
    assert after[:2] == before
    assert kinds(after[2:]) == ["segmentation", "segmentation"]


@pytest.mark.parametrize("outcome", [InstanceState.DECLINED, InstanceState.FAILED])
def test_a_film_without_findings_is_answered_where_the_ae_wants_it(
    node: Node, outcome: InstanceState
) -> None:
    node.receive(1, outcome, "view position LL is not frontal")
    study = node.report(pacs(answer_always=True))
    (report,) = node.outbox(study)["PACS"]
    assert "view position LL is not frontal" in report_text(node.read(report))
    assert "nothing to report" in str(study.reason)


def test_a_film_without_findings_is_not_answered_otherwise(node: Node) -> None:
    node.receive(1, InstanceState.DECLINED, "view position LL is not frontal")
    study = node.report(pacs())
    assert node.outbox(study) == {}
    assert "nothing to report: no film of this study was analysed" in str(study.reason)


def test_a_film_whose_other_bytes_were_declined_is_told_so(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    node.receive(1, InstanceState.DECLINED, "no lungs", PatientID="4711 ")
    study = node.report(pacs())
    assert node.outbox(study) == {}
    assert "came again with other bytes, which were not" in str(study.reason)


def test_our_own_result_coming_back_alone_is_never_answered(node: Node) -> None:
    node.receive(1, InstanceState.DECLINED, "result object of this node")
    assert node.outbox(node.report(pacs(answer_always=True))) == {}


def test_a_declined_film_beside_analysed_ones_does_not_change_their_report(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, StudyInstanceUID="1.2.9")
    first = node.report(pacs(answer_always=True))
    node.receive(2, InstanceState.DECLINED, "view position LL", StudyInstanceUID="1.2.9")
    again = node.report(pacs(answer_always=True))
    assert (again.revision, node.outbox(again)) == (first.revision, node.outbox(first))


def test_a_study_of_two_patients_is_answered_apart_and_says_so(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, StudyInstanceUID="1.2.9", PatientName="DOE^JANE")
    node.receive(2, InstanceState.ANALYSED, StudyInstanceUID="1.2.9", PatientName="ROE^RICHARD")
    study = node.report(pacs())
    sent = node.outbox(study)["PACS"]
    names = [str(node.read(item).PatientName) for item in sent]
    assert kinds(sent) == ["sr", "capture"] * 2
    assert names == ["DOE^JANE"] * 2 + ["ROE^RICHARD"] * 2
    assert "differ in the patient's name" in str(study.reason)
    assert "DOE" not in str(study.reason)


def test_the_report_tells_the_course_of_the_patient(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301", AcquisitionTime="0900")
    node.report(pacs())
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401", AcquisitionTime="0900")
    study = node.report(pacs())
    text = " ".join(report_text(node.read(node.outbox(study)["PACS"][0])).split())
    assert "Earlier films: 2019-03-01 09:00: Opacity: yes (93 %; threshold 50 %). Resembles" in text


@pytest.mark.parametrize(
    "other",
    thinned(
        [{"PatientID": "4712"}, {"PatientBirthDate": "19990101"},
         {"IssuerOfPatientID": "ELSEWHERE"}, {"AcquisitionDate": "20300101"},
         {"PatientSex": "F"}, {"PatientName": "ROE^RICHARD"}],
        every=3,
    ),
    ids=str,
)  # fmt: skip
def test_films_of_others_and_later_ones_are_no_part_of_the_course(
    node: Node, other: dict[str, str]
) -> None:
    node.receive(1, InstanceState.ANALYSED, **{"AcquisitionDate": "20190301", **other})
    node.report(pacs())
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401")
    study = node.report(pacs())
    assert "Earlier films" not in report_text(node.read(node.outbox(study)["PACS"][0]))


OF_TWO = [
    pytest.param(
        {"PatientID": "0", "PatientBirthDate": "19000101"},
        {"PatientName": "DOE^JOHN", "PatientSex": "M"},
        {"PatientName": "ROE^JANE", "PatientSex": "F"},
        id="dummies",
    ),
    pytest.param({"PatientID": "W/I", "PatientName": "DOE^JANE"}, {}, {}, id="shared ID"),
    pytest.param({"PatientIdentityRemoved": "YES", "PatientName": "DOE^JANE"}, {}, {}, id="none"),
    pytest.param(
        {"PatientBirthDate": "19620507"},
        {"PatientName": "DOE^JOHN"}, {"PatientName": "ROE^RICHARD"}, id="another name",
    ),
    pytest.param(
        {"PatientBirthDate": "19620507", "PatientName": "DOE^KIM"},
        {"PatientSex": "M"}, {"PatientSex": "F"}, id="another sex",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("shared", "one", "other"), thinned(OF_TWO, every=2))
def test_no_result_tells_of_a_film_that_may_be_another_person_s(
    node: Node, shared: dict[str, str], one: dict[str, str], other: dict[str, str]
) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301", **shared | one)
    node.report(pacs())
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401", **shared | other)
    study = node.report(pacs(objects=["sr", "capture", "document"]))
    for item in node.outbox(study)["PACS"]:
        data = node.spool.read(item.digest)
        for value in set(one.values()) - set(other.values()) - {"M"}:
            assert value.encode() not in data
        if item.kind is ObjectKind.REPORT:
            assert "Earlier films" not in report_text(node.read(item))


def test_two_people_of_one_id_and_no_birth_date_have_no_course_at_all(node: Node) -> None:
    for number, name in enumerate(["DOE^JANE", "ROE^RICHARD", "DOE^JANE"], 1):
        date = f"2019030{number}"
        node.receive(number, InstanceState.ANALYSED, AcquisitionDate=date, PatientName=name)
        study = node.report(pacs())
    assert "Earlier films" not in report_text(node.read(node.outbox(study)["PACS"][0]))


def test_a_film_whose_results_were_taken_back_is_in_no_course(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301")
    study = node.report(pacs())
    node.deliver()
    node.retractor.retract(study, "patient-safety")
    node.deliver()
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401")
    study = node.report(pacs())
    assert "Earlier films" not in report_text(node.read(node.outbox(study)["PACS"][0]))


def test_a_film_that_was_sent_again_under_another_patient_is_in_the_course_of_none_else(
    node: Node,
) -> None:
    for name, patient_id in (("ROE^RICHARD", "4712"), ("DOE^JANE", "4711")):
        node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301",
                     PatientName=name, PatientID=patient_id)  # fmt: skip
        node.report(pacs())
    texts = []
    for number, (name, patient_id) in enumerate((("ROE^RICHARD", "4712"), ("DOE^JANE", "4711")), 2):
        node.receive(number, InstanceState.ANALYSED, AcquisitionDate=f"2019040{number}",
                     PatientName=name, PatientID=patient_id)  # fmt: skip
        study = node.report(pacs())
        texts.append(report_text(node.read(node.outbox(study)["PACS"][0])))
    assert ["Earlier films" in text for text in texts] == [False, True]


def test_a_film_that_was_corrected_shares_its_id_with_nobody(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301",
                 PatientName="ROE^RICHARD", PatientID="4712")  # fmt: skip
    for name, patient_id in (("ROE^RICHARD", "4712"), ("DOE^JANE", "4711")):
        node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401",
                     PatientName=name, PatientID=patient_id)  # fmt: skip
    study = node.ledger.find_study("1.2.4.2")
    assert study is not None
    history = node.stored.history_of(study.id, newest(node.ledger.instances(study.id)))
    assert (history.films, history.others) == ((), ())


def test_films_of_an_older_ledger_are_keyed_by_today_s_rule(node: Node) -> None:
    film = node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301")
    node.report(pacs())
    node.reanalyse(film)
    node.report(pacs())
    assert len(node.ledger.unkeyed(10)) == 1
    assert key_patients(node.ledger, node.spool) == 1
    assert key_patients(node.ledger, node.spool) == 0
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401")
    study = node.report(pacs())
    assert "Earlier films" in report_text(node.read(node.outbox(study)["PACS"][0]))


def test_an_earlier_film_is_told_however_many_came_after_it(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190401")
    for number in range(2, 27):
        node.receive(number, InstanceState.ANALYSED, AcquisitionDate=f"201801{number:02}",
                     PatientName="ROE^RICHARD", PatientBirthDate="19620507")  # fmt: skip
        node.receive(100 + number, InstanceState.ANALYSED, AcquisitionDate=f"203001{number:02}")
    study = node.ledger.find_study("1.2.4.1")
    assert study is not None
    history = node.stored.history_of(study.id, node.ledger.instances(study.id))
    assert history.films == ()
    node.receive(200, InstanceState.ANALYSED, AcquisitionDate="20290401",
                 PatientBirthDate="19620507", PatientName="ROE^RICHARD")  # fmt: skip
    study = node.ledger.find_study("1.2.4.200")
    assert study is not None
    history = node.stored.history_of(study.id, node.ledger.instances(study.id))
    assert len(history.films) == 25
    assert [each.name for each in history.others] == ["PHANTOM^SYNTHETIC"]


def test_a_film_analysed_by_hand_is_told_of_in_no_report(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, sender=BY_HAND, AcquisitionDate="20190301")
    node.report(pacs())
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401")
    study = node.report(pacs())
    assert "Earlier films" not in report_text(node.read(node.outbox(study)["PACS"][0]))


def test_films_without_a_patient_id_have_no_course(node: Node) -> None:
    for number in (1, 2):
        date = f"2019030{number}"
        node.receive(number, InstanceState.ANALYSED, PatientID="", AcquisitionDate=date)
        study = node.report(pacs())
    assert "Earlier films" not in report_text(node.read(node.outbox(study)["PACS"][0]))


def test_an_earlier_film_that_arrives_later_changes_no_report(node: Node) -> None:
    film = node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401")
    first = node.report(pacs())
    before = node.outbox(first)
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301")
    node.report(pacs())
    node.reanalyse(film)
    node.report(pacs())
    again = node.ledger.study(first.id)
    assert (again.revision, node.outbox(again)) == (first.revision, before)


def test_retracting_sends_a_note_that_names_what_was_delivered(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    sent = [item.sop_instance_uid for item in node.outbox(study)["PACS"]]
    node.deliver()
    assert node.retractor.retract(study, "quality") == ["PACS"]
    note = node.read(node.outbox(study)["PACS"][-1])
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    named = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in note.ContentSequence
        if item.ValueType in ("IMAGE", "COMPOSITE")
    ]
    assert sorted(named) == sorted(sent)
    assert node.ledger.study(study.id).reason == "results retracted by person:admin"


def test_results_are_taken_back_under_the_patient_that_they_name(node: Node) -> None:
    names = ["DOE^JANE", "ROE^RICHARD"]
    for number, name in enumerate(names, 1):
        node.receive(number, InstanceState.ANALYSED, StudyInstanceUID="1.2.9", PatientName=name)
    study = node.report(pacs())
    sent = node.outbox(study)["PACS"]
    of = {item.sop_instance_uid: str(node.read(item).PatientName) for item in sent}
    node.deliver()
    node.retractor.retract(study, "patient-safety")
    notes = [node.read(item) for item in node.outbox(study)["PACS"][len(sent) :]]
    assert sorted(str(note.PatientName) for note in notes) == names
    for note in notes:
        named = {uid for uid in of if uid in str(note)}
        assert {of[uid] for uid in named} == {str(note.PatientName)}
        assert len(named) == 2


def test_results_under_a_wrong_patient_are_taken_back_under_the_wrong_patient(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, PatientName="ROE^RICHARD")
    study = node.report(pacs())
    node.deliver()
    node.receive(1, InstanceState.ANALYSED, PatientName="DOE^JANE", StudyInstanceUID="1.2.4.1")
    node.retractor.retract(study, "patient-safety")
    (note,) = node.outbox(study)["PACS"][2:]
    assert str(node.read(note).PatientName) == "ROE^RICHARD"


def test_retracting_twice_sends_one_note(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    node.deliver()
    for _ in range(2):
        node.retractor.retract(study, "quality")
        node.deliver()
    assert kinds(node.outbox(study)["PACS"]) == ["sr", "capture", "key-objects"]


def test_a_result_that_still_waits_is_dropped_when_it_is_retracted(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    assert node.retractor.retract(study, "patient-safety") == []
    states = {item.state for item in node.ledger.deliveries(study_id=study.id)}
    assert states == {DeliveryState.EXPIRED}


def test_a_result_whose_answer_was_lost_is_taken_back_too(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    for delivery in node.ledger.claim_deliveries(WORKER, 60, 10):
        uid = delivery.alternatives[0].sop_instance_uid
        node.ledger.pin(delivery.id, WORKER, uid)
        node.ledger.postponed(delivery.id, WORKER, datetime.now(UTC), "fell silent")
    assert node.retractor.retract(study, "patient-safety") == ["PACS"]
    (waiting,) = [
        item
        for item in node.ledger.deliveries(study_id=study.id)
        if item.state is DeliveryState.WAITING
    ]
    assert waiting.takes_back


def test_a_rejection_note_that_waits_outlives_a_second_retraction(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    node.deliver()
    for _ in range(2):
        node.retractor.retract(study, "quality")
    (note,) = [item for item in node.ledger.deliveries(study_id=study.id) if item.takes_back]
    assert note.state is DeliveryState.WAITING


def test_another_answer_on_the_same_film_is_another_object_of_every_kind(node: Node) -> None:
    wanted = pacs(objects=["sr", "capture", "overlays", "presentation", "segmentation"])
    film = node.receive(1, InstanceState.ANALYSED)
    first = node.outbox(node.report(wanted))["PACS"]
    (instance,) = node.ledger.find_instances(film.SOPInstanceUID)
    findings = json.loads(str(instance.findings_json))
    findings["finding"]["probabilities"] |= {"normal": 0.2, "covid19": 0.7, "pneumonia": 0.1}
    node.reanalyse(film, json.dumps(findings))
    both = node.outbox(node.report(wanted))["PACS"]
    assert kinds(both) == kinds(first) * 2
    assert len({item.sop_instance_uid for item in both}) == len(both)


def test_results_are_dated_by_the_film_not_by_the_writing(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20251103", AcquisitionTime="081500")
    study = node.report(pacs(objects=["sr", "capture", "document"]))
    for item in node.outbox(study)["PACS"]:
        document = node.read(item)
        assert (document.ContentDate, document.ContentTime) == ("20251103", "081500")


def test_the_same_analysis_again_does_not_bring_a_retracted_result_back(node: Node) -> None:
    film = node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    node.deliver()
    node.retractor.retract(study, "quality")
    before = node.outbox(study)
    node.reanalyse(film)
    assert node.outbox(node.report(pacs())) == before


def test_another_sender_of_a_film_does_not_get_what_was_taken_back(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301")
    study = node.report(pacs())
    node.deliver()
    node.retractor.retract(study, "patient-safety")
    before = node.outbox(study)
    node.receive(1, InstanceState.RECEIVED, sender="OTHER", AcquisitionDate="20190301")
    other = pacs(ae_title="OTHER", objects=["sr", "key-objects"])
    again = node.report(pacs(), other)
    assert (node.outbox(again), again.reason) == (before, "results retracted by person:admin")
    assert again.revision == study.revision
    # Nor is it told of in the course of the next film.
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401")
    (report, _) = node.outbox(node.report(pacs()))["PACS"]
    assert "Earlier films" not in report_text(node.read(report))


def test_other_results_than_those_that_were_taken_back_are_sent(node: Node) -> None:
    film = node.receive(1, InstanceState.ANALYSED)
    study = node.report(pacs())
    node.deliver()
    node.retractor.retract(study, "quality")
    (instance,) = node.ledger.find_instances(film.SOPInstanceUID)
    findings = json.loads(str(instance.findings_json))
    findings["finding"]["probabilities"] |= {"normal": 0.2, "covid19": 0.7, "pneumonia": 0.1}
    node.reanalyse(film, json.dumps(findings))
    again = node.report(pacs())
    assert kinds(node.outbox(again)["PACS"]) == ["sr", "capture", "key-objects", "sr", "capture"]
    assert again.reason is None


def test_two_reporters_never_write_one_study(node: Node) -> None:
    for number in (1, 2):
        node.receive(number, InstanceState.ANALYSED)
    node.ledger.quieten(0)
    first = node.ledger.claim_quiet_study("another reporter", 60)
    assert first is not None
    remotes = {"PACS": pacs()}
    assert node.reporter.work(remotes)
    assert not node.reporter.work(remotes)
    reported = node.ledger.studies(state=StudyState.REPORTED)
    assert [study.id for study in reported] != [first.id]
    assert len(reported) == 1


def test_there_is_nothing_to_retract_of_a_study_without_results(node: Node) -> None:
    node.receive(1, InstanceState.DECLINED, "a hand")
    study = node.report(pacs())
    with pytest.raises(RowMissing, match="no results"):
        node.retractor.retract(study, "quality")


def test_every_kind_of_object_can_be_wanted() -> None:
    assert set(pacs(objects=[str(kind) for kind in ObjectKind]).wanted_objects) == set(ObjectKind)


@dataclass(frozen=True)
class Preset:
    """What a viewer's people get."""

    viewer: str
    objects: tuple[str, ...]
    first_class: str


@pytest.mark.parametrize(
    "preset",
    [
        Preset("generic", ("sr", "capture"), "comprehensive"),
        Preset("ohif", ("sr", "capture"), "comprehensive"),
        Preset("weasis", ("sr", "capture", "presentation"), "comprehensive"),
        Preset("horos", ("sr", "capture"), "comprehensive"),
        Preset("air", ("sr", "capture", "segmentation"), "comprehensive-3d"),
        Preset("text", ("sr", "capture", "document"), "basic-text"),
    ],
    ids=lambda preset: preset.viewer,
)
def test_presets_are_those_of_the_documentation(preset: Preset) -> None:
    remote = pacs(viewer=preset.viewer)
    assert remote.wanted_objects == preset.objects
    assert remote.wanted_sr_classes[0] == preset.first_class
    if preset.viewer == "horos":
        assert "comprehensive-3d" not in remote.wanted_sr_classes
