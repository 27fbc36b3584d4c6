"""What a trial of the whole way tells, step by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One step of a trial of the whole way. ``seconds``: how long it took."""

    name: str
    well: bool
    sentence: str
    seconds: float
