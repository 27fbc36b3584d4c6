"""Looks for what is wrong and has it told: once when it begins, once when it ends.

What was told, and what still is to be, stands in the ledger. Of a ledger that is ill itself nothing
can stand there: that alone is kept in memory, and told again by a process that finds it so anew.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from dicom_node.errors import Unavailable
from dicom_node.ledger.alarms import ENDED, RISEN
from dicom_node.line.alarm_channels import CHANNELS, Channel, Untold
from dicom_node.line.alarm_words import shipped_or_own_wording
from dicom_node.line.metrics import NodeLedger
from dicom_node.line.troubles import Key, Trouble, troubles
from dicom_node.logs import Log
from dicom_node.records import Alarm, AlarmKind, AlarmNotice, Worker
from dicom_node.settings import Configuration

SETTLE_SECONDS = 60.0
"""What is not found for so long is over: what comes and goes is one alarm."""

LEDGER_SECONDS = 30.0
_REFRESH_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10.0, 900.0
_MOST_TRIES, _MOST_SECONDS = 10, 7 * 86_400.0
"""A notice that a channel refuses so often, or does not take for so long, keeps back no other."""

_MOST_IN_MEMORY = 16


class Watchman:
    """Finds troubles and tells them. Each of its methods is for one thread at a time.

    ``channels``: how people are told. The ledger is given later: that it cannot be opened is a
    trouble itself. ``clock``: seconds that nobody sets.
    """

    def __init__(
        self,
        configuration: Configuration,
        worker: Worker,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        channels: Mapping[str, Channel] = CHANNELS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        alarms = configuration.settings.alarms
        self._configuration, self._worker, self._log = configuration, worker, log
        self._clock, self._settle_seconds = clock, settle_seconds
        self._senders = {name: channels[name] for name in alarms.channels}
        self._wording = shipped_or_own_wording(configuration)
        self._ledger: NodeLedger | None = None
        self._first: dict[Key, float] = {}
        self._last: dict[Key, float] = {}
        self._fresh: dict[Key, float] = {}
        self._ledger_well_at = clock()
        self._ledger_alarm: Alarm | None = None
        self._lock = threading.Lock()
        self._in_memory = {
            name: deque[AlarmNotice](maxlen=_MOST_IN_MEMORY) for name in self.channels
        }
        self._again_at = dict.fromkeys(self.channels, 0.0)

    @property
    def channels(self) -> tuple[str, ...]:
        """How people are told."""
        return tuple(self._senders)

    def furnish(self, ledger: NodeLedger) -> None:
        """Look there from now on. Raises `LedgerUnavailable`."""
        ledger.only_channels(self.channels)
        self._ledger = ledger

    def look(self) -> None:
        """Note what has begun to be wrong, and what no longer is."""
        ledger = self._ledger
        if ledger is None:
            self._look_at_ledger()
            return
        try:
            up = ledger.alarms_up()
            known = {(AlarmKind(alarm.kind), alarm.subject) for alarm in up}
            found = {each.key: each for each in troubles(ledger, self._configuration, known)}
            if self._takes_writes(ledger):
                self._ledger_well_at = self._clock()
                self._raise(ledger, found, known)
                self._end(ledger, found, up)
        except Unavailable:
            pass  # every role logs it; how long it lasts is what counts here
        self._look_at_ledger()

    def tell(self, channel: str) -> int:
        """Tell by a channel what is to be told now; return how many notices it took."""
        told = 0
        while self._tell_from_memory(channel):
            told += 1
        ledger = self._ledger
        while ledger is not None and (notice := ledger.first_notice(channel)) is not None:
            untold = self._try(channel, notice)
            if untold is not None and not self._is_hopeless(notice, untold):
                ledger.notice_postponed(notice.id, _pause(notice.attempts))
                break
            ledger.notice_ended(notice.id)
            told += untold is None
        return told

    def _raise(self, ledger: NodeLedger, found: Mapping[Key, Trouble], known: set[Key]) -> None:
        now = self._clock()
        self._first = {key: self._first.get(key, now) for key in found}
        for key, trouble in found.items():
            self._last[key] = now
            if key not in known and now - self._first[key] < self._hold_seconds(trouble.kind):
                continue
            # What it tells changes all the time; nobody reads it every few seconds.
            if (
                key in known
                and now - self._fresh.get(key, now - _REFRESH_SECONDS) < _REFRESH_SECONDS
            ):
                continue
            self._fresh[key] = now
            if ledger.raise_alarm(*key, trouble.facts, self.channels):
                self._log.event("alarm.raised", alarm=str(key[0]), subject=key[1])

    def _end(self, ledger: NodeLedger, found: Mapping[Key, Trouble], up: Iterable[Alarm]) -> None:
        now = self._clock()
        for alarm in up:
            key = (AlarmKind(alarm.kind), alarm.subject)
            if key in found or now - self._last.setdefault(key, now) < self._settle_seconds:
                continue
            if ledger.end_alarm(alarm.id, self.channels):
                self._log.event("alarm.ended", alarm=alarm.kind, subject=alarm.subject)
            self._last.pop(key, None)

    def _hold_seconds(self, kind: AlarmKind) -> float:
        """Return for how long something must be wrong before it is told."""
        minutes = self._configuration.settings.alarms.ill_minutes
        return minutes * 60 if kind is AlarmKind.ROLE_ILL else 0.0

    def _takes_writes(self, ledger: NodeLedger) -> bool:
        """Tell whether our own signs of life arrive: a full disk lets itself be read."""
        own = [beat for beat in ledger.beats() if beat.worker.token == self._worker.token]
        if not own:
            return False
        return (ledger.moment() - own[0].beat_at).total_seconds() < LEDGER_SECONDS

    def _look_at_ledger(self) -> None:
        silent = self._clock() - self._ledger_well_at
        if self._ledger_alarm is None and silent >= LEDGER_SECONDS:
            facts = {"data_dir": str(self._configuration.data_dir), "seconds": f"{silent:.0f}"}
            alarm = Alarm(0, AlarmKind.LEDGER_ILL, "", facts, datetime.now(UTC))
            self._ledger_alarm = alarm
            self._keep_in_memory(alarm, RISEN)
            self._log.event("alarm.raised", alarm=alarm.kind, subject="")
        elif self._ledger_alarm is not None and silent < LEDGER_SECONDS:
            alarm = replace(self._ledger_alarm, ended_at=datetime.now(UTC))
            self._ledger_alarm = None
            self._keep_in_memory(alarm, ENDED)
            self._log.event("alarm.ended", alarm=alarm.kind, subject="")

    def _keep_in_memory(self, alarm: Alarm, what: str) -> None:
        with self._lock:
            for notices in self._in_memory.values():
                notices.append(AlarmNotice(0, alarm, what))

    def _tell_from_memory(self, channel: str) -> bool:
        notices = self._in_memory[channel]
        if not notices or self._clock() < self._again_at[channel]:
            return False
        notice = notices[0]
        untold = self._try(channel, notice)
        with self._lock:
            if untold is not None and not self._is_hopeless(notice, untold):
                notices[0] = replace(notice, attempts=notice.attempts + 1)
                self._again_at[channel] = self._clock() + _pause(notice.attempts)
                return False
            notices.popleft()
        return untold is None

    def _try(self, channel: str, notice: AlarmNotice) -> Untold | None:
        untold = self._senders[channel](self._configuration.settings.alarms, notice, self._wording)
        if untold is not None:
            self._log.event(
                "alarm.untold", channel=channel, alarm=str(notice.alarm.kind),
                attempts=notice.attempts + 1, reason=untold.reason, remedy=untold.remedy,
            )  # fmt: skip
        return untold

    def _is_hopeless(self, notice: AlarmNotice, untold: Untold) -> bool:
        if untold.final and notice.attempts + 1 >= _MOST_TRIES:
            return True
        age = (datetime.now(UTC) - notice.alarm.risen_at).total_seconds()
        return notice.attempts + 1 >= _MOST_TRIES and age >= _MOST_SECONDS


def _pause(attempts: int) -> float:
    return float(min(_FIRST_PAUSE_SECONDS * 2 ** min(attempts, 20), _LONGEST_PAUSE_SECONDS))
