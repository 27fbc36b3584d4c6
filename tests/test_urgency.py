"""In which order films are looked at: by rule, by the patient's earlier findings, by arrival."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node.intake.admit import rank_of
from dicom_node.intake.rules import AdmissionRules, load_rules
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.admit import admit_received
from dicom_node.logs import Log
from dicom_node.records import BY_HAND, InstanceId, InstanceState, Origin
from dicom_node.resources import default_configuration
from dicom_node.settings import Settings
from dicom_node.settings.model import AdmissionSection
from dicom_node.spool import Spool
from tests.ledger_kit import WORKER, run
from tests.museum.film import film

SHIPPED = default_configuration() / "admission.toml"
URGENT = """
[[priority]]
value = 10
calling_ae_titles = ["EMERGENCY"]
"""


@dataclass
class Intake:
    """A node as far as admission, and what is said of films that it admitted."""

    ledger: SqliteLedger
    spool: Spool
    rules: AdmissionRules
    arrived: int = 0

    def take(self, patient_id: str, sender: str = "WARD") -> InstanceId:
        """Receive and admit a film, a study of its own, of a patient; return its id."""
        self.arrived += 1
        log = Log("intake")
        sent = film(f"film {self.arrived}").set(PatientID=patient_id)
        door = FrontDoor.of(Settings(), self.spool, self.ledger, log)
        door.take(sent.data, sent.transfer_syntax, Origin(sender, "NODE", "127.0.0.1"))
        assert admit_received(self.ledger, self.spool, self.rules, WORKER, log) == 1
        return InstanceId(self.arrived)

    def found(self, patient_id: str, extent: float, sender: str = "WARD") -> InstanceId:
        """Receive, admit and analyse a film of which the networks say so much; return its id."""
        self.take(patient_id, sender)
        findings = {
            "finding": {"class": "pneumonia", "probabilities": {"normal": 1.0}},
            "scores": {"geographic_extent": {"value": extent}},
        }
        (taken,) = self.ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 1)
        self.ledger.analysed(taken.id, WORKER, json.dumps(findings), None)
        return taken.id

    def order(self) -> list[InstanceId]:
        """Return the ids of what is admitted, as workers get them."""
        taken = self.ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 100)
        return [each.id for each in taken]


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    rules = tmp_path / "admission.toml"
    rules.write_text(SHIPPED.read_text("utf-8") + URGENT, "utf-8")
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="test")
    yield Intake(ledger, Spool(tmp_path / "spool"), load_rules(rules, AdmissionSection()))
    ledger.close()


def test_patients_with_severe_earlier_findings_go_first_and_urgent_films_before_them(
    intake: Intake,
) -> None:
    intake.found("MILD", 2.0)
    intake.found("SEVERE", 7.0)
    intake.found("SEVERE", 1.0)
    new, mild, severe = intake.take("NEW"), intake.take("MILD"), intake.take("SEVERE")
    urgent, urgent_severe = intake.take("NEW 2", "EMERGENCY"), intake.take("SEVERE", "EMERGENCY")
    assert intake.order() == [urgent_severe, urgent, severe, mild, new]


def test_earlier_findings_do_not_count_where_the_site_does_not_want_it(intake: Intake) -> None:
    intake.rules = load_rules(SHIPPED, AdmissionSection(earlier_findings_first=False))
    intake.found("SEVERE", 7.0)
    new, severe = intake.take("NEW"), intake.take("SEVERE")
    assert intake.order() == [new, severe]


def test_studies_of_these_patients_are_written_first_too(intake: Intake) -> None:
    earlier = intake.found("SEVERE", 7.0)
    new, severe = intake.take("NEW"), intake.take("SEVERE")
    for taken in intake.order():
        intake.ledger.failed(taken, WORKER, "a test")
    intake.ledger.quieten(0)
    written = [intake.ledger.claim_quiet_study(WORKER, 60) for _ in range(3)]
    assert [int(study.id) for study in written if study] == [severe, earlier, new]


def test_a_film_without_a_patient_id_is_of_nobody_who_came_before(intake: Intake) -> None:
    intake.found("", 7.0)
    new, nobody = intake.take("NEW"), intake.take("")
    assert intake.order() == [new, nobody]


def test_films_that_came_by_hand_or_whose_results_were_taken_back_do_not_count(
    intake: Intake,
) -> None:
    intake.found("TRIED", 7.0, BY_HAND)
    back = intake.found("TAKEN BACK", 7.0)
    intake.ledger.retracted(intake.ledger.instance(back).study_id, [], "me", keep_hours=1)
    new, tried, taken_back = intake.take("NEW"), intake.take("TRIED"), intake.take("TAKEN BACK")
    assert intake.order() == [new, tried, taken_back]


def test_the_films_of_the_study_itself_are_not_earlier_ones(intake: Intake) -> None:
    first = intake.found("SEVERE", 7.0)
    study = intake.ledger.instance(first).study_id
    (key,) = run(intake.ledger, "select patient_key from instances")[0]
    assert intake.ledger.earlier_severity(study, key) is None


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((1, None), (0, 18.0)),
        ((0, 18.0), (0, 17.0)),
        ((0, None), (-1, 18.0)),
        ((0, None), (-1, 9999.0)),
    ],
)
def test_urgency_counts_before_earlier_findings(
    first: tuple[int, float | None], then: tuple[int, float | None]
) -> None:
    assert rank_of(*first) > rank_of(*then)


@pytest.mark.parametrize("severity", [-1.0, 0.0, 0.9])
def test_who_was_as_good_as_normal_does_not_overtake_who_is_new(severity: float) -> None:
    assert rank_of(0, severity) == rank_of(0, None) == 0
