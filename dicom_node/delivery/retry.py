"""When to try again: growing pauses with jitter, slow ones for faults that only a person mends."""

from __future__ import annotations

from datetime import datetime, timedelta

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

from dicom_node.dimse.status import StoreOutcome
from dicom_node.settings.model import DeliverySection

MAX_PERMANENT_ATTEMPTS = 3
"""A peer that refuses the same bytes so often will not take them the next time either."""

_JITTER = 0.1


def next_attempt_at(
    now: datetime, earlier_attempts: int, outcome: StoreOutcome, delivery: DeliverySection
) -> datetime:
    """Return when a delivery that was tried ``earlier_attempts`` times before this one is due.

    Pauses double from ``retry_first_seconds`` to ``retry_longest_seconds``, with up to a tenth
    added so that the deliveries of a night do not all come back at the same instant. After a fault
    of configuration the pause is the longest at once: only a person can mend it.
    """
    if outcome is StoreOutcome.TRY_SLOWLY:
        return now + timedelta(seconds=delivery.retry_longest_seconds)
    wait = wait_exponential(
        multiplier=delivery.retry_first_seconds, max=delivery.retry_longest_seconds
    ) + wait_random(0, delivery.retry_first_seconds * _JITTER)
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = earlier_attempts + 1
    return now + timedelta(seconds=wait(state))
