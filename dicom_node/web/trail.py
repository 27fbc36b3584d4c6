"""What is noted in the audit trail once in some minutes: looks at a patient, refused sign-ins.

A list shows fifty thumbnails and asks for them again and again: a line each would hide the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from fastapi import Request

from dicom_node.errors import NodeError
from dicom_node.records import StudyId
from dicom_node.web.house import House

AGAIN_SECONDS = 600.0
"""So long nothing is noted that was noted already."""

Line = tuple[str, str, object]
"""Who did what, and the study or the address."""


class Trail:
    """Remembers which lines were written a moment ago; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._until: dict[Line, float] = {}

    def fresh(self, lines: Iterable[Line]) -> list[Line]:
        """Return those that have to be written now, and take them for written."""
        now = self._clock()
        with self._lock:
            self._until = {line: until for line, until in self._until.items() if until > now}
            found = [line for line in dict.fromkeys(lines) if line not in self._until]
            self._until |= dict.fromkeys(found, now + AGAIN_SECONDS)
        return found

    def forget(self, lines: Iterable[Line]) -> None:
        """Take lines for not written."""
        with self._lock:
            for line in lines:
                self._until.pop(line, None)


def seen(request: Request, who: str, what: str, *study_ids: StudyId) -> None:
    """Note that a person saw something of some studies. Raises `LedgerUnavailable`."""
    house, trail = _of(request)
    lines = trail.fresh((who, what, study_id) for study_id in study_ids)
    studies = [study_id for study_id in study_ids if (who, what, study_id) in lines]
    if not studies:
        return
    try:
        house.ledger.note_each(who, what, studies)
    except NodeError:
        trail.forget(lines)
        raise


def listed(request: Request, who: str) -> None:
    """Note that a person saw a list of cases."""
    house, trail = _of(request)
    if trail.fresh([(who, "cases.listed", None)]):
        house.ledger.note(who, "cases.listed")


def refused(request: Request) -> None:
    """Note that somebody could not sign in, with the address it was tried from."""
    house, trail = _of(request)
    address = request.client.host if request.client else None
    if trail.fresh([("web", "sign-in.refused", address)]):
        house.ledger.note("web", "sign-in.refused", address)


def _of(request: Request) -> tuple[House, Trail]:
    return request.app.state.house, request.app.state.trail
