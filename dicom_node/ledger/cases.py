"""The values of the case list and of what readers say: questions and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dicom_node.ledger.headlines import HeadlineKey, ListLine, WhetherFound
from dicom_node.records import StudyId

Order = Literal["received", "severity", "study_date"] | HeadlineKey
"""Of a headline: what was found first, then the highest number; those that it answered alone."""

IN_DOUBT, UNDETERMINED = "in-doubt", "undetermined"
OPACITY, NO_OPACITY = "opacity", "no-opacity"

MATCHES = 20_000
"""So many hits of a search, the latest, are looked at; a broader search should be narrowed."""

MEASURED = 2_000
"""Of so many cases, the latest, it is told how long each stage took."""


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A row of the case list. ``figures``: numbers of `chest.FIGURES` by name; ``in_lungs`` and
    ``probability``: of 0-1.

    ``chance``: what ``in_lungs`` would be by chance. ``in_doubt``: answers on a film contradict
    each other. ``reading``: of the present report; ``earlier_reader``: who marked only an earlier
    one as read. ``opacity`` and ``appearance``: None where the network does not tell them; an
    appearance that is not named is "undetermined". ``observations``: the headlines of bundles that
    declare what they say, by network and key.
    """

    study_id: StudyId
    study_instance_uid: str
    patient_name: str
    patient_id: str
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    study_date: str
    study_description: str
    received_at: str
    state: str
    films: int
    outcome: str
    reason: str | None
    view: str | None
    sender: str
    finding: str | None
    probability: float | None
    abstained: bool
    opacity: bool | None
    opacity_probability: float | None
    appearance: str | None
    appearance_probability: float | None
    figures: Mapping[str, float]
    in_lungs: float | None
    chance: float | None
    peak_in_lungs: bool | None
    in_doubt: bool
    change_when_hidden: float | None
    severity: float
    delivery: str
    reading: str
    earlier_reader: str
    observations: tuple[ListLine, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservationFilter:
    """Which cases by a headline: ``observed``, and its number ``at_least`` so high."""

    headline: HeadlineKey
    observed: WhetherFound = "found"
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """Which cases, in which order. Empty texts ask for nothing.

    ``finding``: a class, `IN_DOUBT`, `UNDETERMINED`, `OPACITY`, `NO_OPACITY`, or an appearance.
    The node's own trials of the whole way are listed only where they are asked for by words,
    patient, study or sender.
    ``words``: beginnings of words of name, ID, accession number, description, or a whole Study
    Instance UID. ``after``: the last row seen, as `CasePage.after` gave it. ``since`` and
    ``until``: study dates, eight digits. ``reading``: draft, read, or "unread" for all but read.
    """

    words: str = ""
    finding: str = ""
    outcome: str = ""
    delivery: str = ""
    sender: str = ""
    state: str = ""
    reading: str = ""
    patient_id: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    since: str = ""
    until: str = ""
    observation: ObservationFilter | None = None
    order: Order = "received"
    after: tuple[str, int] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class CasePage:
    """A page of the list; ``after`` is what the next page begins behind, None on the last.

    ``is_partial``: the words have more than `MATCHES` hits, of which only the latest count.
    """

    cases: tuple[CaseRow, ...]
    after: tuple[str, int] | None
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a reader says of the answer on a film. ``verdict``: agrees, disagrees or unsure.

    ``numbers``: those of `chest.FIGURES` that he gives instead, by name.
    """

    sop_instance_uid: str
    reader: str
    verdict: str
    finding: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    comment: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """A reader's own lines under the report. ``state``: draft or read.

    ``revision``: of the report that the reader had before him; ``is_outdated``: there is a newer.
    """

    state: str
    comment: str
    reader: str
    revision: int
    at: str = ""
    is_outdated: bool = False
