"""What lies beside a received file in the spool: where its bytes came from, as JSON.

A ledger that was lost, or put back to an earlier day, learns from it whom the answer is owed to.
One file a digest, with an origin for each AE and door that the same bytes came from. No patient
data: AE titles, addresses, times and UIDs of transfer syntaxes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dicom_node.records import Origin

SUFFIX = ".origin"
"""Of the file beside one that is named by its digest alone."""

MOST_BYTES = 1 << 20
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Coming:
    """The first time that bytes came from an AE by a door; ``at`` is aware, UTC."""

    origin: Origin
    transfer_syntax_uid: str
    at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What makes it another one: the AE and the door, never the address, which may change."""
        return self.origin.calling_ae_title, self.origin.door


_COMINGS = TypeAdapter(tuple[Coming, ...])


def encoded(comings: Sequence[Coming]) -> bytes:
    """Return what the sidecar's file holds."""
    return json.dumps(
        {"format": _FORMAT, "came": [_told(each) for each in comings]}, separators=(",", ":")
    ).encode()


def decoded(data: bytes) -> tuple[Coming, ...]:
    """Return what a sidecar's file tells, earliest first; nothing where it is not one of ours."""
    try:
        told: Any = json.loads(data)
        comings = _COMINGS.validate_python(told["came"])
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        return ()
    return comings if all(each.at.tzinfo is not None for each in comings) else ()


def joined(known: Sequence[Coming], more: Sequence[Coming]) -> tuple[Coming, ...]:
    """Return what is known with what is new of ``more``; the first of each AE and door stays."""
    found = {each.key: each for each in known}
    for each in more:
        found.setdefault(each.key, each)
    return tuple(found.values())


def _told(coming: Coming) -> dict[str, Any]:
    return {**asdict(coming), "at": coming.at.isoformat(timespec="microseconds")}
