"""The ledger as readers see it: the case list, the story of a study, what readers said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dicom_node.ledger.cases import CasePage, CaseQuery, CaseRow, Feedback, ReaderReport
from dicom_node.ledger.headlines import HeadlineKey, ObservationWord
from dicom_node.ledger.interface.films import KnownFilms
from dicom_node.records import Event, InstanceId, ResultObject, Study, StudyId, StudyState


class Cases(KnownFilms, Protocol):
    """Studies as people ask for them."""

    def cases(self, query: CaseQuery) -> CasePage:
        """Return one page of the case list."""

    def case(self, study_id: StudyId) -> CaseRow:
        """Return the row of one study."""

    def study(self, study_id: StudyId) -> Study:
        """Return one study."""

    def find_study(self, study_instance_uid: str) -> Study | None:
        """Return the study with this Study Instance UID, if any."""

    def studies(
        self, *, state: StudyState | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Study]:
        """Return studies, the latest change first."""

    def study_count(self) -> int:
        """Return how many studies there are."""

    def results(self, study_id: StudyId) -> Sequence[ResultObject]:
        """Return all result objects ever written for the study, oldest first."""

    def events(
        self, *, study_id: StudyId | None = None, instance_id: InstanceId | None = None
    ) -> Sequence[Event]:
        """Return the story of a study or an instance, oldest first."""

    def asked_again(self, instance_id: InstanceId, who: str) -> None:
        """Move a finished instance back to `received`: a person wants it analysed once more."""


class ReadersWords(Protocol):
    """What readers write under a report, and say of an answer."""

    def reading(self, study_id: StudyId) -> ReaderReport | None:
        """Return the reader's lines under a study's report, if anyone wrote some."""

    def read(self, study_id: StudyId, report: ReaderReport, *, seen: str | None = None) -> bool:
        """Keep a reader's lines, as said now; the ledger tells whether they are outdated.

        ``seen``: `ReaderReport.at` of the lines that the reader had before him, "" where there were
        none, None where that is not known. Returns False, and keeps nothing, where somebody has
        written since: two readers never overwrite each other unseen.
        """

    def said(self, study_id: StudyId) -> Sequence[Feedback]:
        """Return what readers said of the answers on a study's films."""

    def say(self, study_id: StudyId, feedback: Feedback) -> None:
        """Keep what a reader says of a film; the same reader's earlier word is replaced."""

    def all_feedback(self) -> Sequence[Mapping[str, Any]]:
        """Return every feedback beside what the networks had said, for export; no patient in it."""

    def said_of_observations(self, study_id: StudyId) -> Sequence[ObservationWord]:
        """Return what readers said of the headlines of a study's films."""

    def say_of_observation(self, study_id: StudyId, word: ObservationWord) -> None:
        """Keep what a reader says of a headline; the same reader's earlier word is replaced."""

    def all_observation_feedback(self) -> Sequence[Mapping[str, Any]]:
        """Return every word on a headline beside what the network had said; no patient in it."""


class Figures(Protocol):
    """What is counted and drawn of many cases; nothing of it names a patient."""

    def counts(self) -> dict[str, int]:
        """Return how many rows are in each state, as ``instances.received`` and so on."""

    def scores_since(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Return findings of all cases received since a time (ISO 8601), without identity."""

    def observations_since(self, headline: HeadlineKey, since: str) -> Sequence[Mapping[str, Any]]:
        """Return what one headline said of cases received since (ISO 8601), without identity."""

    def stages_since(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Return the moments of each study received since: received, analysed, reported, sent."""
