"""Results that turned out wrong are taken back: a rejection note to everyone who has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydicom import Dataset

from dicom_node.errors import RowMissing, SpoolError
from dicom_node.imaging.patient import Patient, by_patient, contradiction
from dicom_node.ledger import KnownFacts, Studies
from dicom_node.ledger.interface import Outgoing
from dicom_node.line.whose import Whose
from dicom_node.records import REJECTION, Delivery, Digest, ObjectKind, ResultObject, Study
from dicom_node.results.key_objects import (
    RejectionNote,
    RejectionReason,
    RetractedObject,
    rejection_note,
)
from dicom_node.results.names import named_file
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.uids import derived_uid


class RetractionLedger(Studies, KnownFacts, Protocol):
    """Studies, what was sent of them, and whose films and results they are."""


@dataclass(frozen=True, slots=True)
class Retractor:
    """What is needed to take results back, and who does."""

    ledger: RetractionLedger
    spool: Spool
    settings: Settings
    who: str

    def retract(self, study: Study, reason: RejectionReason) -> Sequence[str]:
        """Put a rejection note for each destination that has results into the outbox.

        What still waits is dropped. Returns those destinations, also where an answer was lost: the
        destination may have the object all the same. Asking twice sends nothing twice.
        Raises `RowMissing` where the study has no result.
        """
        delivered = [
            item for item in self.ledger.deliveries(study_id=study.id) if not item.takes_back
        ]
        if not delivered:
            raise RowMissing(
                f"Study {study.id} has no results to take back.",
                remedy="`dicom-node cases show` tells what became of it.",
            )
        arrived = [item for item in delivered if item.may_have_arrived]
        destinations = sorted({item.destination for item in arrived})
        outgoing = [
            Outgoing(name, (note,))
            for name in destinations
            for note in self._notes(study, [d for d in arrived if d.destination == name], reason)
        ]
        self.ledger.retracted(
            study.id, outgoing, self.who, keep_hours=self.settings.delivery.keep_hours
        )
        return destinations

    def _notes(
        self, study: Study, deliveries: Sequence[Delivery], reason: RejectionReason
    ) -> Iterator[ResultObject]:
        """Yield a note for each patient that the results name, under that patient's identity."""
        sent = [
            item
            for delivery in reversed(deliveries)
            for item in delivery.alternatives
            if item.sop_instance_uid == delivery.pinned_sop_instance_uid
        ]
        films = [item.digest for item in reversed(self.ledger.instances(study.id))]
        known = Whose.of(self.ledger, self.spool, [*films, *(item.digest for item in sent)])
        # A result that nobody can read contradicts no film.
        patients = [known.patient(item.digest) or Patient() for item in sent]
        for places in by_patient(patients):
            first = places[0]
            source = _source([*films, sent[first].digest], known, patients[first])
            yield self._note(study, source, [sent[place] for place in places], reason)

    def _note(
        self,
        study: Study,
        source: Dataset,
        results: Sequence[ResultObject],
        reason: RejectionReason,
    ) -> ResultObject:
        rejected = [
            RetractedObject(item.sop_class_uid, item.sop_instance_uid, item.series_instance_uid)
            for item in results
        ]
        note = RejectionNote(
            reason, self.settings.node.ae_title, self.settings.results.series_number_base
        )
        document = rejection_note(source, rejected, note, derived_uid("unnamed"))
        uid, data = named_file(document, source)
        stored = self.spool.write(data)
        return ResultObject(
            group=f"{REJECTION}{uid}",
            kind=ObjectKind.KEY_OBJECTS,
            sop_instance_uid=uid,
            sop_class_uid=str(document.SOPClassUID),
            series_instance_uid=str(document.SeriesInstanceUID),
            digest=stored.digest,
            size_bytes=stored.size_bytes,
            revision=study.revision,
        )


def _source(objects: Sequence[Digest], known: Whose, whose: Patient) -> Dataset:
    """Return the header of the first object that can be of ``whose``, and can be read.

    A film may have come again under another patient since: the note belongs to the old one.
    """
    for digest in objects:
        patient = known.patient(digest)
        if patient is None or contradiction(patient, whose):
            continue
        header = known.header(digest)
        if header:
            return header
    raise SpoolError("Neither the films nor the results of this study can be read any more.")
