"""An outbox with one study in it: a report in three SR classes, and a capture."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.delivery.sender import Sender
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.logs import Log
from dicom_node.records import (
    REJECTION,
    Arrival,
    Delivery,
    InstanceState,
    ObjectKind,
    Origin,
    ResultObject,
)
from dicom_node.settings import Remote, Settings
from dicom_node.settings.model import DeliverySection
from dicom_node.spool import Spool
from tests.ledger_kit import fresh_ledger

WORKER = "deliver@test:1"
REPORT_CLASSES = (
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    EnhancedSRStorage,
    BasicTextSRStorage,
)


def object_bytes(sop_class: str, uid: str) -> bytes:
    """Return a small object of a SOP class as a Part 10 file."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.PatientName, dataset.PatientID = "A^B", "1"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    file = FileDataset("", dataset, preamble=bytes(128), file_meta=meta)
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@dataclass
class Outbox:
    """A ledger, a spool and a sender over them."""

    ledger: SqliteLedger
    spool: Spool
    settings: Settings
    picture: bytes | None = None
    """A capture as it is written, to be in the outbox instead of a small object."""

    def hasty(self, answer_seconds: float = 1.5) -> None:
        """Wait for peers that say nothing no longer than such a test takes."""
        self._wait(connect_timeout_seconds=1.0, answer_timeout_seconds=answer_seconds)

    def patient(self) -> None:
        """Wait for peers as long as a busy machine lets them need."""
        self._wait(connect_timeout_seconds=30.0, answer_timeout_seconds=30.0)

    def _wait(self, **seconds: float) -> None:
        limits = DeliverySection(retry_first_seconds=10.0, **seconds)
        self.settings = self.settings.model_copy(update={"delivery": limits})

    def post(self, *destinations: str, number: int = 1) -> None:
        """Put the results of a study into the outbox for each destination."""
        film = self.spool.write(b"film %d" % number)
        uid = f"1.2.{number}"
        origin = Origin("PACS", "DICOMNODE", "127.0.0.1")
        self.ledger.received(
            Arrival(uid, "1.1", "1.2", f"{uid}.1", f"{uid}.2", film.digest, 1, origin)
        )
        (instance,) = self.ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
        self.ledger.admitted(instance.id, "w", "PA")
        (instance,) = self.ledger.claim_instances(InstanceState.ADMITTED, "w", 60, 1)
        findings = {"sop_instance_uid": uid, "outcome": "analysed", "reason": None}
        self.ledger.analysed(instance.id, "w", json.dumps(findings), None)
        self.ledger.quieten(0)
        study = self.ledger.claim_quiet_study("w", 60)
        assert study is not None
        outgoing = [
            Outgoing(destination, objects)
            for destination in destinations
            for objects in self._objects(number)
        ]
        self.ledger.reported(study, "w", outgoing, keep_hours=1, signature="s")

    def post_rejection(self, destination: str) -> None:
        """Put nothing but a rejection note into the outbox."""
        self.post()
        uid, (study,) = "2.25.18", self.ledger.studies()
        note = self._object(
            f"{REJECTION}{uid}", ObjectKind.KEY_OBJECTS, KeyObjectSelectionDocumentStorage, uid
        )
        self.ledger.retracted(study.id, [Outgoing(destination, (note,))], "test", keep_hours=1)

    def _objects(self, number: int) -> list[tuple[ResultObject, ...]]:
        report = tuple(
            self._object(f"sr:{number}", ObjectKind.REPORT, sop_class, f"2.25.{number}{place}")
            for place, sop_class in enumerate(REPORT_CLASSES, 1)
        )
        uid, data = f"2.25.{number}9", self.picture
        if data is not None:
            uid = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPInstanceUID
        capture = self._object(
            f"capture:{number}", ObjectKind.CAPTURE, SecondaryCaptureImageStorage, uid, data
        )
        return [report, (capture,)]

    def _object(
        self, group: str, kind: ObjectKind, sop_class: str, uid: str, data: bytes | None = None
    ) -> ResultObject:
        stored = self.spool.write(data or object_bytes(sop_class, uid))
        return ResultObject(group, kind, uid, sop_class, "2.25.7", stored.digest, stored.size_bytes)

    def attempt(self, *remotes: Remote) -> list[Delivery]:
        """Claim what is due for one destination and study and try to deliver it."""
        parcel = self.ledger.claim_deliveries(WORKER, 60, 10)
        assert parcel, "nothing is due"
        sender = Sender(self.settings, self.spool, self.ledger, WORKER, Log("deliver"))
        sender.deliver(parcel, {remote.ae_title: remote for remote in remotes})
        return self.deliveries()

    def deliveries(self) -> list[Delivery]:
        """Return all deliveries, report before capture."""
        return sorted(self.ledger.deliveries(), key=lambda item: item.id)

    def hurry(self) -> None:
        """Make every waiting delivery due now."""
        for item in self.deliveries():
            if item.state == "waiting":
                self.ledger.resend(item.id, "test", 1)

    def data_set_digest(self, uid: str) -> str:
        """Return the SHA-256 of the data set's bytes, without file meta, of a result."""
        import hashlib

        item = next(
            one for delivery in self.deliveries() for one in delivery.alternatives
            if one.sop_instance_uid == uid
        )  # fmt: skip
        data = self.spool.read(item.digest)
        dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        start = 132 + 12 + int(dataset.file_meta.FileMetaInformationGroupLength)
        return hashlib.sha256(data[start:]).hexdigest()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    ledger = fresh_ledger(tmp_path / "ledger.sqlite", who="test")
    made = Outbox(ledger, Spool(tmp_path / "spool"), Settings())
    made.patient()
    yield made
    ledger.close()


@pytest.fixture
def remote() -> Callable[..., Remote]:
    def make(port: int, ae_title: str = "PACS", **keys: object) -> Remote:
        return Remote(ae_title=ae_title, host="127.0.0.1", port=port, **keys)

    return make
