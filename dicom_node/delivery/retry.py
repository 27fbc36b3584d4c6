"""When to try again: growing pauses with jitter, slow ones for faults that only a person mends."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from dicom_node.dimse.status import StoreOutcome, outcome_of
from dicom_node.records import Delivery
from dicom_node.settings.model import DeliverySection

MAX_PERMANENT_ATTEMPTS = 3
"""A peer that refuses the same bytes so often will not take them the next time either."""

_JITTER = 0.1
_MOST_DOUBLINGS = 64


def worth_another_try(delivery: Delivery, outcome: StoreOutcome) -> bool:
    """Return whether ``delivery``, answered with ``outcome`` now, is tried again by itself.

    Refused bytes are not, from the third attempt on; but the first refusal after a time of other
    trouble (a PACS that was down, say) is never the last.
    """
    if outcome is not StoreOutcome.REFUSED or delivery.attempts + 1 < MAX_PERMANENT_ATTEMPTS:
        return True
    return delivery.status is None or outcome_of(delivery.status) is not StoreOutcome.REFUSED


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
    doubled = delivery.retry_first_seconds * 2.0 ** min(earlier_attempts, _MOST_DOUBLINGS)
    # What must not come back at the same instant is no secret.
    spread = random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311
    return now + timedelta(seconds=min(doubled, delivery.retry_longest_seconds) * spread)
