"""Send files as they are: the C-STORE SCU behind ``dicom-node send`` and ``ae echo``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.delivery.association import ARRIVED, Peer, associate, end, store
from dicom_node.dimse.status import outcome_of
from dicom_node.errors import AssociationRefused, DeliveryError
from dicom_node.imaging.values import CAN_RAISE

_MAX_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one file: ``status`` is None where the peer gave none."""

    file: Path
    stored: bool
    status: int | None
    sentence: str


def send_files(files: Sequence[Path], peer: Peer) -> Iterator[Sent]:
    """Send DICOM files in the transfer syntax they have; yield what became of each.

    Raises `DeliveryError` where there is no association.
    """
    kinds = {file: kind for file in files if (kind := _kind_of(file)) is not None}
    for file in files:
        if file not in kinds:
            yield Sent(file, stored=False, status=None, sentence="not a DICOM file")
    if not kinds:
        return
    proposed = [build_context(*kind) for kind in sorted(set(kinds.values()))]
    association = associate(peer, proposed[:_MAX_CONTEXTS])
    try:
        for file in kinds:
            yield _send(association, file, peer)
    finally:
        end(association)


def echo(peer: Peer) -> None:
    """Ask for a C-ECHO. Raises `DeliveryError` with why there was none."""
    association = associate(peer, [build_context(Verification)])
    try:
        answer = association.send_c_echo()
    except (RuntimeError, ValueError) as error:
        raise AssociationRefused(f"{peer} ended the association before the C-ECHO.") from error
    finally:
        end(association)
    if "Status" not in answer or int(answer.Status) != 0:
        raise AssociationRefused(f"{peer} did not answer the C-ECHO.")


def _kind_of(file: Path) -> tuple[str, str] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True)
            return str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)
    except CAN_RAISE:
        return None


def _send(association: Association, file: Path, peer: Peer) -> Sent:
    if not association.is_established:
        return Sent(file, stored=False, status=None, sentence="the association was lost")
    try:
        status = store(association, file, file.stat().st_size, peer.answer_seconds)
    except DeliveryError as error:
        return Sent(file, stored=False, status=None, sentence=error.message)
    except CAN_RAISE:
        # The library's own words could quote the data set.
        why = "not sent: its SOP class and transfer syntax are not accepted, or it is damaged"
        return Sent(file, stored=False, status=None, sentence=why)
    outcome = outcome_of(status)
    return Sent(file, outcome in ARRIVED, status, f"{outcome} (0x{status:04X})")
