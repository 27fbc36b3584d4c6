"""A node of which only the writing of reports runs, and films for it as they are analysed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dicom_node.bundles.declared import Declaration
from dicom_node.findings import pack_explanation
from dicom_node.imaging.header import header_of
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.headlines import declared_severity, headlines_of
from dicom_node.line.report import Reporter
from dicom_node.line.retract import Retractor
from dicom_node.logs import Log
from dicom_node.records import (
    Arrival,
    InstanceState,
    Origin,
    ResultObject,
    Study,
)
from dicom_node.resources import report_templates
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.stored import StoredFilms
from dicom_node.results.templates import load_template
from dicom_node.settings import Remote, Settings
from dicom_node.spool import Spool
from tests.ledger_kit import fresh_ledger

WORKER = "worker:1"
TEMPLATE = load_template(report_templates() / "chest-radiograph-measurement-report.toml")


@dataclass
class Node:
    """A node of which only the writing of reports runs; ``invented``: a film as it is analysed.

    ``manifests``: of the bundles that declare what they say.
    """

    ledger: SqliteLedger
    spool: Spool
    reporter: Reporter
    invented: Callable[[], AnalysedFilm] = preview_film
    manifests: Mapping[str, Declaration] = field(default_factory=dict)

    def receive(
        self, number: int, outcome: InstanceState, reason: str = "", sender: str = "PACS",
        **changes: str,
    ) -> Dataset:  # fmt: skip
        """Receive film ``number`` and bring it to ``outcome``; ``changes``: attributes of it."""
        film = self.invented()
        film.dataset.SOPInstanceUID = f"1.2.3.{number}"
        film.dataset.StudyInstanceUID = changes.pop("StudyInstanceUID", f"1.2.4.{number}")
        for keyword, value in {"PatientID": "4711", **changes}.items():
            setattr(film.dataset, keyword, value)
        stored = self.spool.write(_file(film.dataset))
        header = header_of(film.dataset)
        origin = Origin(sender, "NODE", "127.0.0.1")
        self.ledger.received(
            Arrival(header.sop_instance_uid, header.sop_class_uid, "1.2.840.10008.1.2.1",
                    header.study_instance_uid, header.series_instance_uid, stored.digest,
                    stored.size_bytes, origin)
        )  # fmt: skip
        if outcome is InstanceState.RECEIVED:
            return film.dataset
        (instance,) = self.ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1)
        if outcome is InstanceState.DECLINED:
            self.ledger.declined(instance.id, WORKER, reason)
            return film.dataset
        self.ledger.admitted(instance.id, WORKER, "PA", header.patient_key or None)
        (instance,) = self.ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 1)
        if outcome is InstanceState.FAILED:
            self.ledger.failed(instance.id, WORKER, reason)
            return film.dataset
        maps = self.spool.write(pack_explanation(film.explanation))
        findings = replace(film.findings, sop_instance_uid=header.sop_instance_uid)
        self.ledger.analysed(
            instance.id, WORKER, findings.to_json_text(), maps.digest,
            headlines_of(findings, self.manifests), declared_severity(findings, self.manifests),
        )  # fmt: skip
        return film.dataset

    def reanalyse(self, film: Dataset, findings_json: str | None = None) -> None:
        """Analyse a film again, with the same outcome if no other findings are given."""
        (instance,) = self.ledger.find_instances(film.SOPInstanceUID)
        self.ledger.asked_again(instance.id, "person:admin")
        (instance,) = self.ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1)
        self.ledger.admitted(instance.id, WORKER, "PA")
        (claimed,) = self.ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 1)
        findings_json = findings_json or instance.findings_json
        assert findings_json is not None
        self.ledger.analysed(claimed.id, WORKER, findings_json, instance.saliency_digest)

    def report(self, *remotes: Remote) -> Study:
        """Write the results of the one quiet study."""
        self.ledger.quieten(0)
        assert self.reporter.work({remote.ae_title: remote for remote in remotes})
        return self.ledger.studies()[0]

    def outbox(self, study: Study) -> dict[str, list[ResultObject]]:
        """Return what goes to each destination, the first alternative of each group."""
        found: dict[str, list[ResultObject]] = {}
        for delivery in reversed(self.ledger.deliveries(study_id=study.id)):
            found.setdefault(delivery.destination, []).append(delivery.alternatives[0])
        return found

    def read(self, item: ResultObject) -> Dataset:
        return pydicom.dcmread(io.BytesIO(self.spool.read(item.digest)))

    def deliver(self) -> None:
        """Deliver all that waits, the first alternative of each."""
        while due := self.ledger.claim_deliveries(WORKER, 60, 10):
            for delivery in due:
                uid = delivery.alternatives[0].sop_instance_uid
                self.ledger.pin(delivery.id, WORKER, uid)
                self.ledger.sent(delivery.id, WORKER, 0)

    @property
    def stored(self) -> StoredFilms:
        return StoredFilms.of(self.ledger, self.spool, Settings())

    @property
    def retractor(self) -> Retractor:
        return Retractor(self.ledger, self.spool, Settings(), "person:admin")


def pacs(**keys: object) -> Remote:
    """Return the AE that sends the films and gets the results."""
    return Remote.model_validate({"ae_title": "PACS", "host": "127.0.0.1", "port": 104, **keys})


def _file(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(name="node")
def reporting_node(tmp_path: Path) -> Iterator[Node]:
    ledger = fresh_ledger(tmp_path / "ledger.sqlite", who="test")
    spool = Spool(tmp_path / "spool")
    cards = preview_context(TEMPLATE).networks
    reporter = Reporter(ledger, spool, Settings(), TEMPLATE, cards, WORKER, Log("analyse"))
    yield Node(ledger, spool, reporter)
    ledger.close()
