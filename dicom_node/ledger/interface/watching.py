"""The ledger as the monitor sees it: what was counted, what waits, what ails, who was told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from dicom_node.records import Ailment, Alarm, AlarmKind, AlarmNotice, Queue, StageTimes


class Counting(Protocol):
    """Counts that never go down, whoever is restarted."""

    def count_events(self, known: Collection[str], limit: int = 2000) -> int:
        """Count what has happened since the last call, ``limit`` events at most; return how many.

        AE titles that are not ``known`` are counted together, as `OTHER_TITLES`. A power cut may
        take it back; they are counted again then.
        """

    def add_totals(self, counts: Mapping[tuple[str, str], int], levels: Mapping[str, int]) -> None:
        """Add to what was counted, by what and of whom; set ``levels``, which go down too."""


class Watched(Counting, Protocol):
    """What a monitor tells of the node, without a look at every row."""

    def totals(self) -> Mapping[tuple[str, str], int]:
        """Return what was counted so far, by what and of whom."""

    def stage_times(self) -> Sequence[StageTimes]:
        """Return how long each stage took so far, each step of its histogram, the least first."""

    def uncounted(self, most: int = 100_000) -> int:
        """Return how many events `count_events` has not seen yet, ``most`` at most."""

    def queues(self) -> Sequence[Queue]:
        """Return what waits for the roles intake, analyse and report.

        Of films the hundred that came first are looked at: an age may be understated where many
        old ones are analysed anew.
        """

    def outbox_queues(self) -> Sequence[Queue]:
        """Return what waits for each destination; what is held for a person does not wait."""

    def deliveries_by_destination(self) -> Mapping[tuple[str, str], int]:
        """Return how many deliveries are in each state, by destination and state."""

    def stored_bytes(self) -> int:
        """Return the sizes of all received films and of all results together."""

    def last_received(self) -> datetime | None:
        """Return when anybody sent something last."""


class Troubles(Protocol):
    """What a person should look at."""

    def parked_by_destination(self, most: int = 1000) -> Mapping[str, int]:
        """Return how many deliveries each destination did not take, ``most`` at most of each.

        Without what a person gave up, and what the destination has no use for.
        """

    def quarantined_films(self, most: int = 1000) -> int:
        """Return how many films stopped their worker twice, ``most`` at most."""

    def deaths(self, seconds: float) -> Mapping[str, int]:
        """Return how often processes of each role died in the last so many seconds."""


class Ailments(Protocol):
    """What chores find to be wrong, until they find it to be right."""

    def found(self, kind: AlarmKind, subject: str, reason: str | None) -> None:
        """Note what was found; ``reason`` None: nothing is wrong. No patient data."""

    def found_only(self, kind: AlarmKind, subjects: Collection[str]) -> None:
        """Forget what was found of others: they are looked at no more."""

    def ailments(self) -> Sequence[Ailment]:
        """Return what was found of everything at its last look."""


class Alarms(Protocol):
    """What a person is told, once when it begins and once when it ends, by each channel."""

    def alarms_up(self) -> Sequence[Alarm]:
        """Return the alarms that have not ended, the oldest first."""

    def latest_alarms(self, most: int) -> Sequence[Alarm]:
        """Return the latest alarms, those that have ended too, newest first."""

    def raise_alarm(
        self, kind: AlarmKind, subject: str, facts: Mapping[str, str], channels: Collection[str]
    ) -> bool:
        """Note that something is wrong, and who is to be told; return whether that is new.

        Of one that is up already, only ``facts`` change.
        """

    def end_alarm(self, alarm_id: int, channels: Collection[str]) -> bool:
        """Note that an alarm is over, and who is to be told; return whether that is new."""

    def first_notice(self, channel: str) -> AlarmNotice | None:
        """Return what a channel has to tell first, in the order in which it happened, if now."""

    def notice_ended(self, notice_id: int) -> None:
        """Forget a notice that was told, or is given up."""

    def notice_postponed(self, notice_id: int, seconds: float) -> None:
        """Tell it again in so many seconds; what comes behind it waits."""

    def untold(self) -> Mapping[str, int]:
        """Return how many notices wait, by channel."""

    def only_channels(self, channels: Collection[str]) -> None:
        """Forget what other channels had to tell: they are configured no more."""

    def forget_alarms(self, days: float) -> int:
        """Forget alarms that ended longer ago; return how many."""
