"""C-STORE: check, write, row, answer. The promise: answered 0x0000 means durable."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom import evt

from dicom_node.association.identify import (
    Identity,
    check_agreement,
    check_command,
    identify,
    is_uid,
)
from dicom_node.dimse.entity import IMPLEMENTATION_CLASS_UID
from dicom_node.dimse.status import PROCESSING_FAILURE, SUCCESS, status_of
from dicom_node.errors import (
    DataSetUnreadable,
    InstanceTooLarge,
    NodeError,
    StoreError,
    Unavailable,
)
from dicom_node.ledger import Ledger
from dicom_node.ledger.interface import Received
from dicom_node.logs import Log
from dicom_node.records import Arrival, Origin
from dicom_node.spool import Spool, Stored

_PREAMBLE = bytes(128) + b"DICM"
"""Always zero: nothing executable can ride in front of an instance (CVE-2019-11687)."""

_STORED_BY = "DICOMNODE"
"""Implementation Version Name of stored files: set, for pydicom would name its own version."""


@dataclass(frozen=True, slots=True)
class StoreService:
    """The C-STORE SCP. ``origin_of`` names the sender of an association as the table spells it."""

    spool: Spool
    ledger: Ledger
    log: Log
    max_object_bytes: int
    origin_of: Callable[[evt.Event], Origin]

    def store(self, event: evt.Event) -> int:
        """Answer one C-STORE request with a DIMSE status; never raise."""
        try:
            return self._answer(event)
        except Exception as error:  # noqa: BLE001 - pynetdicom would answer 0xC211 for us
            # The disk of the log may be the one that is full.
            with suppress(OSError):
                self.log.event(
                    "role.error",
                    reason="a C-STORE could not be handled",
                    remedy=NodeError.default_remedy,
                    error=type(error).__name__,
                )
            return PROCESSING_FAILURE

    def _answer(self, event: evt.Event) -> int:
        started = time.monotonic()
        origin = self.origin_of(event)
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID or "")
        try:
            arrival, received = self._keep(event, origin, uid)
        except (StoreError, Unavailable) as error:
            status = status_of(error)
            self._refused(origin, uid, status, error)
            return status
        self._stored(arrival, received, round((time.monotonic() - started) * 1000))
        return SUCCESS

    def _keep(self, event: evt.Event, origin: Origin, uid: str) -> tuple[Arrival, Received]:
        check_command(uid)
        data = self._data_of(event)
        syntax = str(event.context.transfer_syntax)
        identity = identify(data, syntax)
        check_agreement(
            identity,
            affected_sop_class_uid=_affected_sop_class(event),
            affected_sop_instance_uid=uid,
            abstract_syntax=str(event.context.abstract_syntax),
        )
        stored = self.spool.write((_header(identity, syntax), data))
        arrival = _arrival(identity, syntax, stored, origin)
        return arrival, self.ledger.received(arrival)

    def _data_of(self, event: evt.Event) -> bytes:
        request: Any = event.request
        data: bytes = request.DataSet.getvalue() if request.DataSet is not None else b""
        if not data:
            raise DataSetUnreadable("The C-STORE has no data set.")
        if len(data) > self.max_object_bytes:
            raise InstanceTooLarge(
                f"The object has {len(data)} bytes; {self.max_object_bytes} are taken."
            )
        return data

    def _refused(self, origin: Origin, uid: str, status: int, error: NodeError) -> None:
        self.log.event(
            "instance.refused",
            calling_ae_title=origin.calling_ae_title,
            called_ae_title=origin.called_ae_title,
            peer_address=origin.peer_address,
            # What is no UID may be anything, a patient's name too (S7).
            sop_instance_uid=uid if is_uid(uid) else "invalid",
            status=f"0x{status:04X}",
            reason=error.message,
            remedy=error.remedy,
        )

    def _stored(self, arrival: Arrival, received: Received, milliseconds: int) -> None:
        facts = {
            "calling_ae_title": arrival.origin.calling_ae_title,
            "called_ae_title": arrival.origin.called_ae_title,
            "peer_address": arrival.origin.peer_address,
            "sop_instance_uid": arrival.sop_instance_uid,
            "digest": arrival.digest,
        }
        if received.duplicate:
            self.log.event("instance.duplicate", **facts)
            return
        if received.conflict:
            self.log.event("instance.conflict", **facts)
        self.log.event(
            "instance.stored",
            **facts,
            study_instance_uid=arrival.study_instance_uid,
            bytes=arrival.size_bytes,
            milliseconds=milliseconds,
        )


def _affected_sop_class(event: evt.Event) -> str:
    request: Any = event.request
    return str(request.AffectedSOPClassUID)


def _header(identity: Identity, transfer_syntax_uid: str) -> bytes:
    # Nothing about the sender and no version: the same instance from two senders, or before
    # and after an upgrade of the node, is the same file.
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(identity.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(identity.sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = _STORED_BY
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return _PREAMBLE + buffer.getvalue()


def _arrival(identity: Identity, syntax: str, stored: Stored, origin: Origin) -> Arrival:
    return Arrival(
        sop_instance_uid=identity.sop_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        transfer_syntax_uid=syntax,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        digest=stored.digest,
        size_bytes=stored.size_bytes,
        origin=origin,
    )
