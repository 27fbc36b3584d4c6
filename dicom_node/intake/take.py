"""The one way in: from the bytes of a data set to an instance that is durable and in the ledger.

C-STORE, STOW-RS, a file dropped in the browser and the sweep of the spool all call it: the same
checks, the same file meta information, and so the same digest, whatever the door.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, cast

from pydicom import filereader
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicom_node.bundles.installed import eaten_sop_classes
from dicom_node.errors import (
    DataSetUnreadable,
    ImageError,
    InstanceTooLarge,
    NodeError,
    SopClassNotAccepted,
    TransferSyntaxNotAccepted,
)
from dicom_node.imaging.bounded import BoundedFile, ReadBudget
from dicom_node.imaging.header import parsing
from dicom_node.imaging.sop_classes import ACCEPTED_SOP_CLASSES
from dicom_node.imaging.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_node.intake.identify import StatedIdentifiers, check_uids, identify, is_uid
from dicom_node.intake.sources import EncodedDataSet, InFile, InMemory, Streamed
from dicom_node.ledger import Arrivals
from dicom_node.ledger.interface import Received
from dicom_node.logs import Log
from dicom_node.records import Arrival, Origin
from dicom_node.settings import Settings
from dicom_node.settings.model import UidRule
from dicom_node.sidecar import Coming
from dicom_node.spool import Spool, Stored
from dicom_node.uids import IMPLEMENTATION_CLASS_UID

_PREAMBLE = bytes(128) + b"DICM"
"""Always zero: nothing executable can ride in front of an instance (CVE-2019-11687)."""

_META_BYTES = 1 << 20

_STORED_BY = "DICOMNODE"
"""Implementation Version Name of stored files: set, for pydicom would name its own version."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An instance that is durable: what the ledger was told of it, and what it answered."""

    arrival: Arrival
    received: Received


def _agreed(_identity: StatedIdentifiers) -> None:
    return


def accepted_sop_classes(settings: Settings) -> tuple[str, ...]:
    """Return the SOP Class UIDs that may be stored: the usual ones, and those that bundles eat."""
    usual = tuple(map(str, ACCEPTED_SOP_CLASSES))
    return (*usual, *sorted(eaten_sop_classes(settings).difference(usual)))


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """What every door needs to take an instance in.

    ``uids``: `admission.uids` of the settings; ``sop_classes``: the SOP Class UIDs that are stored.
    """

    spool: Spool
    ledger: Arrivals
    log: Log
    max_object_bytes: int
    uids: UidRule = "strict"
    sop_classes: frozenset[str] = frozenset(ACCEPTED_SOP_CLASSES)

    @classmethod
    def of(cls, settings: Settings, spool: Spool, ledger: Arrivals, log: Log) -> FrontDoor:
        """Return the front door of a node."""
        classes = frozenset(accepted_sop_classes(settings))
        longest, uids = settings.node.max_object_bytes, settings.admission.uids
        return cls(spool, ledger, log, longest, uids, classes)

    def take(
        self,
        data_set: bytes | EncodedDataSet,
        transfer_syntax_uid: str,
        origin: Origin,
        agrees: Callable[[StatedIdentifiers], None] = _agreed,
        came: Coming | None = None,
    ) -> Taken:
        """Make an encoded data set durable, note its arrival, and log it.

        ``agrees`` may raise a `StoreError` where what it says it is, is not what the door was told;
        its UIDs are not checked yet. ``came``: where the spool knows that it came before. Raises
        the leaves of `StoreError`, `DiskFull`, `SpoolUnwritable` and `LedgerUnavailable`; then
        nothing may be answered as stored.
        """
        started = time.monotonic()
        source = InMemory(data_set) if isinstance(data_set, bytes) else data_set
        self._check(source, transfer_syntax_uid)
        with source.opened() as file:
            identity = identify(file, transfer_syntax_uid)
        agrees(identity)
        check_uids(identity, self.uids)
        if identity.sop_class_uid not in self.sop_classes:
            raise SopClassNotAccepted(
                f"No object of SOP class {_shown(identity.sop_class_uid)} is stored here."
            )
        head = _head(identity.sop_class_uid, identity.sop_instance_uid, transfer_syntax_uid)
        coming = came or _coming(origin, transfer_syntax_uid)
        stored = source.keep(self.spool, head, coming)
        arrival = _arrival(identity, transfer_syntax_uid, stored, origin, came)
        received = self.ledger.received(arrival)
        self._say(arrival, received, round((time.monotonic() - started) * 1000))
        return Taken(arrival, received)

    def take_file(
        self,
        file: bytes | BinaryIO,
        origin: Origin,
        agrees: Callable[[StatedIdentifiers], None] = _agreed,
        came: Coming | None = None,
    ) -> Taken:
        """Take the data set of a Part 10 file; its preamble and file meta information are not kept.

        Raises like `take`.
        """
        stream = io.BytesIO(file) if isinstance(file, bytes) else file
        transfer_syntax_uid, begin = split(stream)
        return self.take(InFile(stream, begin), transfer_syntax_uid, origin, agrees, came)

    def stream(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str
    ) -> Streamed:
        """Begin to take a large data set, announced as this, while it arrives."""
        announced = (sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        well = all(is_uid(uid, self.uids) for uid in announced)
        return Streamed(self.spool, _head(*announced) if well else None)

    def _check(self, source: EncodedDataSet, transfer_syntax_uid: str) -> None:
        if not source.size:
            raise DataSetUnreadable("There is no data set.")
        if source.size > self.max_object_bytes:
            raise InstanceTooLarge(
                f"The object has {source.size} bytes; {self.max_object_bytes} are taken."
            )
        if transfer_syntax_uid not in SUPPORTED_TRANSFER_SYNTAXES:
            raise TransferSyntaxNotAccepted(
                f"Nothing in transfer syntax {_shown(transfer_syntax_uid)} is stored here."
            )

    def refused(self, origin: Origin, sop_instance_uid: str, status: int, error: NodeError) -> None:
        """Log that an instance was not taken, and answered with ``status``."""
        self.log.event(
            "instance.refused",
            **_peer(origin),
            # What is no UID may be anything, a patient's name too (S7).
            sop_instance_uid=_shown(sop_instance_uid),
            status=f"0x{status:04X}",
            reason=error.message,
            remedy=error.remedy,
        )

    def _say(self, arrival: Arrival, received: Received, milliseconds: int) -> None:
        facts = {
            **_peer(arrival.origin),
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


def split(file: BinaryIO) -> tuple[str, int]:
    """Return the transfer syntax of a Part 10 file (PS3.10 7.1) and where its data set begins.

    Raises `DataSetUnreadable`.
    """
    file.seek(0)
    if file.read(132)[128:] != b"DICM":
        raise DataSetUnreadable("This is no DICOM file: it does not begin as one.")
    try:
        with parsing():
            bounded = BoundedFile(file, ReadBudget(most_bytes=_META_BYTES))
            meta = filereader.read_dataset(
                cast("BinaryIO", bounded), is_implicit_VR=False, is_little_endian=True,
                stop_when=_after_file_meta,
            )  # fmt: skip
            transfer_syntax_uid = str(meta.get("TransferSyntaxUID") or "")
    except ImageError as error:
        raise DataSetUnreadable("The file meta information cannot be parsed.") from error
    return transfer_syntax_uid, file.tell()


def _after_file_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 0x0002


def _shown(uid: str) -> str:
    return uid if is_uid(uid, "lenient") else "invalid"


def _peer(origin: Origin) -> dict[str, str]:
    return {
        "calling_ae_title": origin.calling_ae_title,
        "called_ae_title": origin.called_ae_title,
        "peer_address": origin.peer_address,
    }


def _head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble and file meta information."""
    # Nothing about the sender and no version: the same instance from two senders, or before
    # and after an upgrade of the node, is the same file.
    meta = FileMetaDataset()
    with parsing():
        meta.MediaStorageSOPClassUID = UID(sop_class_uid)
        meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
        meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
        meta.ImplementationVersionName = _STORED_BY
        buffer = DicomBytesIO()
        write_file_meta_info(buffer, meta, enforce_standard=True)
    return _PREAMBLE + buffer.getvalue()


def _coming(origin: Origin, transfer_syntax_uid: str) -> Coming | None:
    """Return what is noted of where it comes from; None where nobody knows that."""
    if not origin.calling_ae_title:
        return None
    return Coming(origin, transfer_syntax_uid, datetime.now(UTC))


def _arrival(
    identity: StatedIdentifiers, syntax: str, stored: Stored, origin: Origin, came: Coming | None
) -> Arrival:
    return Arrival(
        sop_instance_uid=identity.sop_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        transfer_syntax_uid=syntax,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        digest=stored.digest,
        size_bytes=stored.size_bytes,
        origin=origin,
        received_at=None if came is None else came.at,
    )
