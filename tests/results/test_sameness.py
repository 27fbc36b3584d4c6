"""The same SOP Instance UID is the same bytes, for ever; and one bad object spoils no other."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.ledger import open_ledger
from dicom_node.line.report import Reporter
from dicom_node.logs import Log
from dicom_node.records import InstanceState, ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results import modules, write
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import load_template
from dicom_node.results.write import Refused, write_each, write_results
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from tests.reporting_kit import TEMPLATE, WORKER, Node, pacs
from tests.thinned import thinned

pytestmark = pytest.mark.usefixtures("phantoms_drawn_once")

CONTEXT = preview_context(TEMPLATE)
EVERYTHING = tuple(ObjectKind)
WANTED = pacs(objects=["sr", "segmentation", "key-objects", "document"])
QUICK = (ObjectKind.REPORT, ObjectKind.SEGMENTATION, ObjectKind.PRESENTATION)

PRINT = """
import hashlib
from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import load_template
from dicom_node.results.write import write_results
template = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
for item in write_results([preview_film()], preview_context(template), tuple(ObjectKind)):
    print(item.sop_instance_uid, hashlib.sha256(item.data).hexdigest())
"""


@cache
def usual() -> dict[str, str]:
    """Return what is written of the preview's film in the usual context."""
    return bytes_of(light_film())


def light_film() -> AnalysedFilm:
    """Return the preview's film with one saliency map: fewer pictures to draw."""
    film = preview_film()
    return replace(film, explanation=replace(film.explanation, maps=film.explanation.maps[:1]))


def bytes_of(*films: AnalysedFilm, **changes: Any) -> dict[str, str]:
    """Return every object of ``films`` in a context with ``changes``: UID to digest."""
    written = write_results(films or (light_film(),), replace(CONTEXT, **changes), EVERYTHING)
    return {item.sop_instance_uid: hashlib.sha256(item.data).hexdigest() for item in written}


def agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether no UID of both stands for different bytes."""
    return all(other.get(uid, digest) == digest for uid, digest in one.items())


def printed(**environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env={**os.environ, **environment}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Caracas"])
def test_another_time_zone_another_process_and_another_hash_seed_give_the_same_bytes(
    zone: str,
) -> None:
    assert printed(TZ=zone, PYTHONHASHSEED="1", LANG="C") == bytes_of(preview_film())


def test_the_time_of_writing_is_in_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    first = usual()
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert bytes_of() == first
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "changes",
    thinned(
        [
            {"node_ae_title": "OTHER"},
            {"series_number_base": 100},
            {"revision": 2},
            {"predecessors": (("1.2.840.10008.5.1.4.1.1.88.33", "1.2.3", "1.2.4"),)},
            {"earlier": ()},
            {"networks": {}},
            {
                "networks": {
                    name: replace(card, title="Another title", intended_use="Another use")
                    for name, card in CONTEXT.networks.items()
                }
            },
            {
                "template": load_template(
                    report_templates() / "chest-radiograph-measurement-report-de.toml"
                )
            },
        ],
        every=3,
    ),
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_the_bytes_changes_the_uid(changes: dict[str, Any]) -> None:
    assert agree(usual(), bytes_of(**changes))


def test_another_release_gives_another_uid_or_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = usual()
    for name, module in list(sys.modules.items()):
        if name.startswith("dicom_node.results") and hasattr(module, "__version__"):
            monkeypatch.setattr(module, "__version__", "99.0.0")
    after = bytes_of()
    assert agree(before, after)
    assert not set(before) & set(after)


def test_an_undated_film_gives_the_same_bytes_too() -> None:
    film = light_film()
    for keyword in [e.keyword for e in film.dataset if e.VR in ("DA", "TM", "DT")]:
        del film.dataset[keyword]
    film.dataset.StudyDate = film.dataset.StudyTime = ""
    assert bytes_of(film) == bytes_of(film)
    (report, *_) = write_results([film], CONTEXT, {ObjectKind.REPORT})
    assert modules.UNDATED[0].encode() in report.data


class Restored:
    """A node whose ledger can be put back to an earlier state; everything it sent is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent = folder, dict[str, set[str]]()
        self.spool = Spool(folder / "spool")

    def node(self) -> Node:
        ledger = open_ledger(self.folder / "ledger.sqlite", who="test")
        cards = preview_context(TEMPLATE).networks
        reporter = Reporter(ledger, self.spool, Settings(), TEMPLATE, cards, WORKER, Log("analyse"))
        return Node(ledger, self.spool, reporter)

    def deliver(self, node: Node) -> None:
        for delivery in node.ledger.deliveries():
            for item in delivery.alternatives:
                self.sent.setdefault(item.sop_instance_uid, set()).add(item.digest)
        node.deliver()

    def backup(self, name: str) -> None:
        shutil.copy(self.folder / "ledger.sqlite", self.folder / name)

    def restore(self, name: str) -> None:
        for old in self.folder.glob("ledger.sqlite*"):
            old.unlink()
        shutil.copy(self.folder / name, self.folder / "ledger.sqlite")


@pytest.fixture
def site(tmp_path: Path) -> Restored:
    return Restored(tmp_path)


def test_after_a_restored_ledger_no_uid_stands_for_two_byte_strings(site: Restored) -> None:
    node = site.node()
    node.receive(1, InstanceState.ANALYSED)
    node.report(WANTED)
    site.deliver(node)
    node.ledger.close()
    site.backup("yesterday")
    for _ in range(2):
        node = site.node()
        node.receive(2, InstanceState.ANALYSED)
        study = node.report(WANTED)
        site.deliver(node)
        node.retractor.retract(study, "quality")
        site.deliver(node)
        node.ledger.close()
        site.restore("yesterday")
    assert len(site.sent) > 10
    assert {len(digests) for digests in site.sent.values()} == {1}


def test_a_film_that_comes_again_after_retention_gives_the_same_objects(site: Restored) -> None:
    node = site.node()
    first: set[str] = set()
    for _ in range(2):
        node.receive(1, InstanceState.ANALYSED)
        study = node.report(WANTED)
        site.deliver(node)
        first = first or set(site.sent)
        assert node.ledger.forget(study.id)
    node.ledger.close()
    assert set(site.sent) == first
    assert {len(digests) for digests in site.sent.values()} == {1}


def spoilt(film: AnalysedFilm, keyword: str, vr: str, value: bytes) -> AnalysedFilm:
    """Put raw bytes under a VR into the header, as pydicom finds them in a file."""
    tag = Tag(keyword)
    film.dataset._dict[tag] = RawDataElement(
        tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )
    return film


ODD_HEADERS = [
    ("RequestAttributesSequence", "SQ", b"abcdef"),
    ("RequestAttributesSequence", "LO", b"a text"),
    ("ProcedureCodeSequence", "SQ", b"\x01\x02\x03\x04\x05\x06"),
    ("ProcedureCodeSequence", "UN", b"text, no items"),
    ("ImagerPixelSpacing", "DS", b"0.2 "),
    ("ImagerPixelSpacing", "DS", b"0,139\\0,139 "),
    ("PixelSpacing", "DS", b"0.2\0\0.20000"),
    ("PixelSpacing", "DS", b"[0.2\\0.2]"),
    ("PatientOrientation", "CS", b"L"),
    ("ViewPosition", "SQ", b"PA"),
    ("SoftwareVersions", "SQ", b"text"),
    ("InstanceNumber", "IS", b"one "),
    ("AcquisitionTime", "TM", b"half past"),
    ("LossyImageCompressionRatio", "DS", b"10:1"),
    ("BurnedInAnnotation", "OW", b"\0"),
    ("AcquisitionDate", "DA", b"2025.01.99"),
    ("RescaleSlope", "DS", b"1,0 "),
    ("PatientAge", "AS", b"62"),
    ("StationName", "??", b"X"),
]


@pytest.mark.parametrize(("keyword", "vr", "value"), thinned(ODD_HEADERS, every=4))
def test_whatever_a_header_holds_the_other_objects_and_films_are_written(
    keyword: str, vr: str, value: bytes
) -> None:
    good, bad = light_film(), spoilt(light_film(), keyword, vr, value)
    good.dataset.SOPInstanceUID = "1.2.3.4"
    refused: list[Refused] = []
    written = list(write_each([bad, good], CONTEXT, QUICK, refused.append))
    made = [item.kind for item in written]
    assert made.count(ObjectKind.REPORT) >= 1
    assert made.count(ObjectKind.PRESENTATION) >= 1
    assert made.count(ObjectKind.SEGMENTATION) >= 2
    assert all(each.reason and "CANARY" not in each.reason for each in refused)


@pytest.mark.parametrize("kind", EVERYTHING)
def test_whatever_a_library_raises_for_one_object_the_others_are_written(
    monkeypatch: pytest.MonkeyPatch, kind: ObjectKind
) -> None:
    makers = {
        ObjectKind.REPORT: "report", ObjectKind.CAPTURE: "capture",
        ObjectKind.OVERLAYS: "overlay", ObjectKind.PRESENTATION: "presentation",
        ObjectKind.SEGMENTATION: "lung_segmentation", ObjectKind.DOCUMENT: "document",
        ObjectKind.KEY_OBJECTS: "key_objects",
    }  # fmt: skip

    def odd(*_: object) -> Dataset:
        raise ValueError("CANARY^NAME")

    monkeypatch.setattr(write, makers[kind], odd)
    refused: list[Refused] = []
    kinds = {*QUICK, kind}
    written = list(write_each([light_film()], CONTEXT, kinds, refused.append))
    assert {item.kind for item in written} >= kinds - {kind}
    assert {each.kind for each in refused} == {kind}
    assert "CANARY" not in str(refused)


def test_a_film_that_no_report_can_tell_of_is_mentioned_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = write.report

    def odd(films: Any, groups: Any, context: Any, uid: str) -> Dataset:
        if any(film.is_analysed and film.digest == "bad" for film in films):
            raise TypeError
        return report(films, groups, context, uid)

    monkeypatch.setattr(write, "report", odd)
    bad, good = replace(light_film(), digest="bad"), light_film()
    bad.dataset.SOPInstanceUID = "1.2.3.4"
    refused: list[Refused] = []
    first, *_ = write_each([bad, good], CONTEXT, {ObjectKind.REPORT}, refused.append)
    assert b"could not be written into a report" in first.data
    assert [each.sop_instance_uid for each in refused] == ["1.2.3.4"]
