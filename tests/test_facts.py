"""What a header says is read once, at admission: lists, searches and courses open no file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from dicom_node.imaging.header import read_attributes
from dicom_node.intake.rules import load_rules
from dicom_node.ledger.cases import CaseQuery
from dicom_node.line import admit
from dicom_node.line.admit import note_facts
from dicom_node.logs import Log
from dicom_node.records import Digest, InstanceState
from dicom_node.resources import default_configuration
from dicom_node.results.facts import HeaderFact, facts_of
from dicom_node.results.stored import newest
from dicom_node.web import archive
from tests.ledger_kit import asked_of
from tests.reporting_kit import Node, pacs, reporting_node

__all__ = ["reporting_node"]


class Pages:
    """Of the house what an archive looks at."""

    def __init__(self, node: Node) -> None:
        self.ledger, self.spool, self.log = node.ledger, node.spool, node.reporter.log


def noted(node: Node) -> None:
    while note_facts(node.ledger, node.spool):
        pass


def lose_every_file(node: Node) -> None:
    for path in Path(node.spool.path(Digest("00" * 32))).parent.parent.iterdir():
        shutil.rmtree(path)
        path.mkdir()


def listed(node: Node) -> Any:
    """Return what QIDO-RS says of every study and series."""
    house: Any = Pages(node)
    (case,) = node.ledger.cases(CaseQuery()).cases
    items = archive.kept(house, case.study_id)
    series = list(archive.series_json(house, case.study_instance_uid, items, "base"))
    instances = list(archive.instances_json(house, "1.2", items, "base"))
    return archive.study_json(house, case, "base"), series, instances


def test_a_search_says_the_same_without_any_file(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    node.report(pacs(objects=["sr", "capture", "segmentation"]))
    from_files = listed(node)
    noted(node)
    lose_every_file(node)
    assert listed(node) == from_files
    assert from_files[0]["00080061"]["Value"]


def test_a_search_asks_the_ledger_no_more_often_for_many_films_than_for_one(node: Node) -> None:
    counts = []
    for first, last in ((1, 1), (2, 20)):
        for number in range(first, last + 1):
            node.receive(number, InstanceState.RECEIVED, StudyInstanceUID="1.2.4.1")
        noted(node)
        lose_every_file(node)
        with asked_of(node.ledger) as asked:
            assert len(listed(node)[2]) == last
        counts.append(len(asked))
    assert counts[0] == counts[1] > 0


def test_a_course_is_told_without_the_files_of_the_earlier_films(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED, AcquisitionDate="20190301", AcquisitionTime="0900")
    node.report(pacs())
    node.receive(2, InstanceState.ANALYSED, AcquisitionDate="20190401", AcquisitionTime="0900")
    study = node.report(pacs())
    films = newest(node.ledger.instances(study.id))
    from_files = node.stored.history_of(study.id, films)
    noted(node)
    lose_every_file(node)
    assert node.stored.history_of(study.id, films) == from_files
    assert [film.when for film in from_files.films] == ["2019-03-01 09:00"]


def test_facts_are_what_the_header_says_and_go_with_their_study(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    study = node.report()
    (film,) = node.ledger.instances(study.id)
    assert node.ledger.without_facts(10) == [film.digest]
    noted(node)
    assert node.ledger.without_facts(10) == []
    fact = facts_of(read_attributes(node.spool.path(film.digest)))
    assert HeaderFact.from_json_text(node.ledger.facts([film.digest])[film.digest]) == fact
    assert node.ledger.forget(study.id)
    assert node.ledger.facts([film.digest]) == {}


def test_a_film_is_read_when_it_is_admitted_and_by_nobody_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.receive(1, InstanceState.RECEIVED)
    node.receive(2, InstanceState.RECEIVED, Modality="CT")
    opened: list[Path] = []

    def counted(path: Path) -> Dataset:
        opened.append(path)
        return read_attributes(path)

    monkeypatch.setattr(admit, "read_attributes", counted)
    rules = load_rules(default_configuration() / "admission.toml")
    assert admit.admit_received(node.ledger, node.spool, rules, "intake", Log("intake")) == 2
    assert node.ledger.without_facts(10) == []
    assert len(opened) == len(set(opened)) == 2


def test_an_object_that_cannot_be_read_is_asked_once(node: Node) -> None:
    node.receive(1, InstanceState.ANALYSED)
    lose_every_file(node)
    noted(node)
    (study,) = node.ledger.studies()
    (film,) = node.ledger.instances(study.id)
    assert json.loads(node.ledger.facts([film.digest])[film.digest]) is None
    assert node.stored.told([film]) == {}


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "PatientBirthDate"])
def test_facts_tell_no_log_whose_film_it_is(node: Node, keyword: str) -> None:
    dataset = node.receive(1, InstanceState.ANALYSED, **{keyword: "19991231"})
    assert "19991231" not in repr(facts_of(dataset))
