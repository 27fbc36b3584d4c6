"""Results that turned out wrong are taken back: a rejection note to everyone who has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.errors import RowMissing
from dicom_node.imaging.header import read_dataset
from dicom_node.ledger import Ledger
from dicom_node.ledger.interface import Outgoing
from dicom_node.records import REJECTION, Delivery, ObjectKind, ResultObject, Study
from dicom_node.results.key_objects import (
    Rejected,
    RejectionNote,
    RejectionReason,
    rejection_note,
)
from dicom_node.results.write import named_file
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.uids import derived_uid


@dataclass(frozen=True, slots=True)
class Retractor:
    """What is needed to take results back, and who does."""

    ledger: Ledger
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
            Outgoing(
                name, (self._note(study, [d for d in arrived if d.destination == name], reason),)
            )
            for name in destinations
        ]
        self.ledger.retracted(
            study.id, outgoing, self.who, keep_hours=self.settings.delivery.keep_hours
        )
        return destinations

    def _note(
        self, study: Study, deliveries: Sequence[Delivery], reason: RejectionReason
    ) -> ResultObject:
        rejected = [
            Rejected(item.sop_class_uid, item.sop_instance_uid, item.series_instance_uid)
            for delivery in reversed(deliveries)
            for item in delivery.alternatives
            if item.sop_instance_uid == delivery.pinned_sop_instance_uid
        ]
        source = read_dataset(self.spool.read(self.ledger.instances(study.id)[-1].digest))
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


"""More deliveries than any study has."""
