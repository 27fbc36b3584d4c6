"""C-STORE: check, write, row, answer. The promise: answered 0x0000 means durable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

from pynetdicom import evt

from dicom_node.dimse.incoming import Incoming
from dicom_node.dimse.status import PROCESSING_FAILURE, SUCCESS, status_of
from dicom_node.errors import NodeError, StoreError, Unavailable
from dicom_node.intake.identify import check_agreement, check_command
from dicom_node.intake.sources import EncodedDataSet, Streamed
from dicom_node.intake.take import FrontDoor
from dicom_node.records import Origin


@dataclass(frozen=True, slots=True)
class StoreService:
    """The C-STORE SCP. ``origin_of`` names the sender of an association as the table spells it."""

    front_door: FrontDoor
    origin_of: Callable[[evt.Event], Origin]

    def store(self, event: evt.Event) -> int:
        """Answer one C-STORE request with a DIMSE status; never raise."""
        try:
            return self._answer(event)
        except Exception as error:  # noqa: BLE001 - pynetdicom would answer 0xC211 for us
            # The disk of the log may be the one that is full.
            with suppress(OSError):
                self.front_door.log.event(
                    "role.error",
                    reason="a C-STORE could not be handled",
                    remedy=NodeError.default_remedy,
                    error=type(error).__name__,
                )
            return PROCESSING_FAILURE

    def _answer(self, event: evt.Event) -> int:
        origin = self.origin_of(event)
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID or "")
        try:
            check_command(uid, self.front_door.uids)
            agrees = partial(
                check_agreement,
                affected_sop_class_uid=str(request.AffectedSOPClassUID),
                affected_sop_instance_uid=uid,
                abstract_syntax=str(event.context.abstract_syntax),
            )
            syntax = str(event.context.transfer_syntax)
            self.front_door.take(_source_of(request.DataSet), syntax, origin, agrees)
        except (StoreError, Unavailable) as error:
            status = status_of(error)
            self.front_door.refused(origin, uid, status, error)
            return status
        finally:
            if isinstance(request.DataSet, Incoming):
                request.DataSet.discard()
        return SUCCESS


def _source_of(data_set: BytesIO | None) -> bytes | EncodedDataSet:
    if isinstance(data_set, Incoming) and isinstance(data_set.stream, Streamed):
        return data_set.stream
    return data_set.getvalue() if data_set is not None else b""
