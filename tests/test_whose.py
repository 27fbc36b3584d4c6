"""Whose films are is told without their files, and in the words that the files would give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.errors import ImageError
from dicom_node.imaging.header import read_attributes
from dicom_node.imaging.identity import identity_of
from dicom_node.imaging.patient import patient_of
from dicom_node.imaging.phantom import Encoding
from dicom_node.intake.rules import load_rules
from dicom_node.ledger.cases import CaseQuery, CaseRow
from dicom_node.line.admit import admit_received, describe_studies, key_patients, note_facts
from dicom_node.line.whose import Whose
from dicom_node.logs import Log
from dicom_node.records import Digest, InstanceState
from dicom_node.resources import default_configuration
from dicom_node.results import facts
from dicom_node.results.facts import HeaderFact, facts_of
from tests.museum.exhibits import EXHIBITS
from tests.museum.film import Film, film
from tests.reporting_kit import Node, pacs, reporting_node

__all__ = ["reporting_node"]

RULES = load_rules(default_configuration() / "admission.toml")
SCRIPTS = {
    "ISO_IR 100": "Äneas^Jürgen".encode("latin-1"),
    "ISO_IR 192": "Ωμέγα^Ήρα=山田^太郎=やまだ^たろう".encode(),
    "ISO_IR 144": "Люкceмбypг".encode("iso8859-5"),
    "GB18030": "王^小东".encode("gb18030"),
    "\\ISO 2022 IR 87": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
    "ISO_IR 6": "Müller^Ä".encode(),
    "": "Grün^Zoë".encode("latin-1"),
    "ISO_IR 999": "Ñandú^É".encode(),
}
"""Names by the character set that is declared, which is not always theirs."""


def in_script(declared: str) -> Film:
    name = SCRIPTS[declared]
    return film().text(
        SpecificCharacterSet=declared, PatientName=name, StudyDescription=name, PatientID=name
    )


def lose_every_file(node: Node) -> None:
    for path in Path(node.spool.path(Digest("00" * 32))).parent.parent.iterdir():
        shutil.rmtree(path)
        path.mkdir()


def the_case(node: Node) -> CaseRow:
    (case,) = node.ledger.cases(CaseQuery()).cases
    return case


def check_same(data: bytes, last: int | None) -> None:
    """What is kept of a header, read up to ``last``, is what the whole header says."""
    try:
        kept = facts_of(read_attributes(data) if last is None else read_attributes(data, last=last))
        fresh = (identity_of(read_attributes(data)), patient_of(read_attributes(data)))
    except ImageError:
        return
    fact = HeaderFact.from_json_text(kept.to_json_text())
    assert fact is not None
    assert (fact.identity, fact.patient) == fresh


@pytest.mark.parametrize("last", [None, facts.LAST], ids=["admitted", "noted"])
def test_what_is_kept_of_any_exhibit_is_what_its_file_says(last: int | None) -> None:
    for exhibit in EXHIBITS:
        made = exhibit.recipe(film(exhibit.name, Encoding(**exhibit.encoding)))  # type: ignore[arg-type]
        check_same(made.file(), last)


@pytest.mark.parametrize("declared", SCRIPTS)
def test_what_is_kept_in_any_character_set_is_what_the_file_says(declared: str) -> None:
    data = in_script(declared).file()
    check_same(data, None)
    assert identity_of(read_attributes(data)).patient_name


def test_the_case_list_names_an_admitted_film_without_its_file(node: Node) -> None:
    node.receive(1, InstanceState.RECEIVED, PatientName="DOE^JANE", AccessionNumber="A17")
    assert admit_received(node.ledger, node.spool, RULES, "intake", Log("intake")) == 1
    lose_every_file(node)
    assert describe_studies(node.ledger, node.spool) == 1
    case = the_case(node)
    assert (case.patient_name, case.patient_id, case.accession_number) == (
        "DOE^JANE",
        "4711",
        "A17",
    )


def test_what_an_older_release_kept_is_asked_of_the_file(node: Node) -> None:
    dataset = node.receive(1, InstanceState.ANALYSED, PatientName="DOE^JANE")
    (item,) = node.ledger.instances(node.ledger.studies()[0].id)
    older = facts_of(dataset).to_json_text().partition(',"identity"')[0] + "}"
    node.ledger.keep_facts({item.digest: older})
    assert Whose.of(node.ledger, node.spool, [item.digest]).kept[item.digest].identity is None
    describe_studies(node.ledger, node.spool)
    assert the_case(node).patient_name == "DOE^JANE"


def test_a_header_that_could_not_be_read_once_is_asked_again(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, PatientName="DOE^JANE")
    (item,) = node.ledger.instances(node.ledger.studies()[0].id)
    node.ledger.keep_facts({item.digest: facts.UNREADABLE})
    describe_studies(node.ledger, node.spool)
    assert the_case(node).patient_name == "DOE^JANE"


def test_where_nothing_of_the_latest_film_can_be_read_an_earlier_one_names_the_patient(
    node: Node,
) -> None:
    for number in (1, 2):
        node.receive(number, InstanceState.ANALYSED, StudyInstanceUID="1.2.4.1",
                     PatientName=f"DOE^NUMBER {number}")  # fmt: skip
    first, last = node.ledger.instances(node.ledger.studies()[0].id)
    note_facts(node.ledger, node.spool)
    node.ledger.keep_facts({last.digest: facts.UNREADABLE})
    lose_every_file(node)
    describe_studies(node.ledger, node.spool)
    assert the_case(node).patient_name == "DOE^NUMBER 1"
    assert first.digest != last.digest


def test_films_are_keyed_without_their_files(node: Node) -> None:
    dataset = node.receive(1, InstanceState.ANALYSED)
    (item,) = node.ledger.instances(node.ledger.studies()[0].id)
    node.reanalyse(dataset)
    note_facts(node.ledger, node.spool)
    lose_every_file(node)
    assert [each.id for each in node.ledger.unkeyed(10)] == [item.id]
    assert key_patients(node.ledger, node.spool) == 1
    node.receive(2, InstanceState.ANALYSED)
    other = node.ledger.find_study("1.2.4.2")
    assert other is not None
    assert [each.id for each in node.ledger.earlier(other.id, 10)] == [item.id]


def test_results_are_taken_back_by_the_header_of_one_film(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        node.receive(number, InstanceState.ANALYSED, StudyInstanceUID="1.2.4.1")
    study = node.report(pacs(objects=["sr", "capture"]))
    node.deliver()
    while note_facts(node.ledger, node.spool):
        pass
    films = node.ledger.instances(study.id)
    results = node.ledger.results(study.id)
    opened: list[Digest] = []
    header = Whose.header

    def counted(whose: Whose, digest: Digest) -> Dataset | None:
        opened.append(digest)
        return header(whose, digest)

    monkeypatch.setattr(Whose, "header", counted)
    assert node.retractor.retract(study, "quality") == ["PACS"]
    assert opened == [films[-1].digest]
    assert len(results) > len(films)


def test_results_are_taken_back_where_only_the_files_of_one_film_are_left(node: Node) -> None:
    for number in range(1, 4):
        node.receive(number, InstanceState.ANALYSED, StudyInstanceUID="1.2.4.1")
    study = node.report(pacs())
    node.deliver()
    while note_facts(node.ledger, node.spool):
        pass
    first = node.ledger.instances(study.id)[0]
    whole = node.spool.read(first.digest)
    lose_every_file(node)
    node.spool.write(whole)
    assert node.retractor.retract(study, "patient-safety") == ["PACS"]
    note = node.read(node.outbox(study)["PACS"][-1])
    assert note.Modality == "KO"
    assert note.PatientID == "4711"
