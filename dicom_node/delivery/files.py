"""Send files as they are: the C-STORE SCU behind ``dicom-node send`` and ``ae echo``."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from dicom_node.dimse.entity import limit_socket, requestor
from dicom_node.dimse.status import StoreOutcome, outcome_of
from dicom_node.dimse.tls import requestor_context
from dicom_node.errors import AssociationRefused, DeliveryError, PeerUnreachable
from dicom_node.settings.model import TlsSection

_config.STORE_SEND_CHUNKED_DATASET = True
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_MAX_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call and as whom."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str


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
    association = _associate(peer, sorted(set(kinds.values()))[:_MAX_CONTEXTS])
    try:
        for file in kinds:
            yield _send(association, file)
    finally:
        if association.is_established:
            association.release()


def echo(peer: Peer, tls: TlsSection | None = None, over_tls: bool = False) -> None:
    """Ask for a C-ECHO. Raises `DeliveryError` with why there was none."""
    context = requestor_context(tls) if tls is not None and over_tls else None
    association = _associate(peer, [(Verification, "1.2.840.10008.1.2")], context)
    answer = association.send_c_echo()
    association.release()
    if "Status" not in answer or int(answer.Status) != 0:
        raise AssociationRefused(f"{peer.called_ae_title} did not answer the C-ECHO.")


def _kind_of(file: Path) -> tuple[str, str] | None:
    try:
        header = pydicom.dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True)
        return str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)
    except (InvalidDicomError, AttributeError, OSError):
        return None


def _associate(
    peer: Peer, kinds: Sequence[tuple[str, str]], context: ssl.SSLContext | None = None
) -> Association:
    entity = requestor(
        peer.calling_ae_title, connect_seconds=_CONNECT_SECONDS, answer_seconds=_ANSWER_SECONDS
    )
    association = entity.associate(
        peer.host,
        peer.port,
        contexts=[build_context(sop_class, syntax) for sop_class, syntax in kinds],
        ae_title=peer.called_ae_title,
        evt_handlers=[(evt.EVT_CONN_OPEN, limit_socket, [_ANSWER_SECONDS])],
        tls_args=(context, peer.host) if context is not None else None,
    )
    if association.is_established:
        return association
    raise _why_not(association, peer)


def _why_not(association: Association, peer: Peer) -> DeliveryError:
    where = f"{peer.called_ae_title} at {peer.host}:{peer.port}"
    if not association.is_rejected:
        if association.acceptor.primitive is not None:
            return AssociationRefused(
                f"{where} accepts none of these objects.",
                remedy="Check which SOP classes and transfer syntaxes it takes.",
            )
        remedy = "Check host and port, and that it is running."
        return PeerUnreachable(f"{where} does not answer.", remedy=remedy)
    answer = association.acceptor.primitive
    remedies = {
        3: f"Add the AE title {peer.calling_ae_title} (with this address) to its AE table.",
        7: "Check --aec: it must be the AE title of the node or PACS that is called.",
    }
    return AssociationRefused(
        f"{where} rejected the association"
        f" ({answer.result},{answer.result_source},{answer.diagnostic}).",
        remedy=remedies.get(answer.diagnostic, "Try again later."),
    )


def _send(association: Association, file: Path) -> Sent:
    if not association.is_established:
        return Sent(file, stored=False, status=None, sentence="the association was lost")
    try:
        answer = association.send_c_store(file)
    except (ValueError, RuntimeError) as error:
        return Sent(file, stored=False, status=None, sentence=f"not sent: {error}")
    if "Status" not in answer:
        return Sent(file, stored=False, status=None, sentence="no answer")
    status = int(answer.Status)
    outcome = outcome_of(status)
    stored = outcome in (
        StoreOutcome.STORED,
        StoreOutcome.STORED_WITH_WARNING,
        StoreOutcome.ALREADY_THERE,
    )
    return Sent(file, stored, status, f"{outcome} (0x{status:04X})")
