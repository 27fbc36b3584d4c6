"""The ledger as whoever writes results sees it: studies, frozen objects, what goes to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dicom_node.ledger.interface.films import KnownFacts, KnownFilms
from dicom_node.records import (
    Delivery,
    DeliveryState,
    Instance,
    PeerContact,
    ResultObject,
    Study,
    StudyId,
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Which alternatives of one group go to one destination, in its order of preference.

    ``held``: they wait for a person (``approve``), or are kept for comparison and leave only when
    they are posted anew without it (``shadow``); None: they leave at once.
    """

    destination: str
    objects: tuple[ResultObject, ...]
    held: Literal["approve", "shadow"] | None = None


class Studies(KnownFilms, Protocol):
    """Studies on their way from open to reported, and back where results are retracted."""

    def quieten(self, quiet_seconds: float) -> Sequence[Study]:
        """Move to `quiet` every open study without news for so long and without work left."""

    def claim_quiet_study(self, worker: str, lease_seconds: float) -> Study | None:
        """Take one quiet study to write its results; a power cut may take the claim back."""

    def results(self, study_id: StudyId) -> Sequence[ResultObject]:
        """Return all result objects ever written for the study, oldest first."""

    def reported(
        self,
        study: Study,
        worker: str,
        outgoing: Sequence[Outgoing],
        *,
        keep_hours: float,
        signature: str,
        reason: str | None = None,
        recipes: Mapping[str, bytes] | None = None,
    ) -> int:
        """Freeze the objects, fill the outbox, move to `reported`; return new deliveries.

        ``signature`` tells what the objects were made from: if it is the study's already, the
        revision stays, and only deliveries that are missing are added. Objects that exist (same
        SOP Instance UID) and deliveries that exist (same group and destination) are left alone:
        asking twice sends nothing twice. Only what waits in shadow takes the hold that its
        destination has by now. ``recipes``: by group, how a report is made in another SOP class.
        """

    def study_failed(self, study: Study, worker: str, reason: str) -> None:
        """Note why no result could be written and move to `reported` with that reason."""

    def retracted(
        self, study_id: StudyId, outgoing: Sequence[Outgoing], who: str, *, keep_hours: float
    ) -> int:
        """Take the study's results back: drop what still waits, send the rejection notes.

        Returns how many rejection notes are new.
        """

    def deliveries(
        self,
        *,
        study_id: StudyId | None = None,
        state: DeliveryState | None = None,
        limit: int | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, newest first, ``limit`` at most."""

    def peers(self) -> Sequence[PeerContact]:
        """Return what is known of each AE that ever sent or received."""


class Courses(KnownFacts, Protocol):
    """What is known of a patient's other films."""

    def earlier(self, study_id: StudyId, limit: int) -> Sequence[Instance]:
        """Return analysed films with a patient key of this study's, latest received first.

        Of other studies; the latest bytes alone of a film that was sent again; without those that
        came by hand alone, and without those whose results were taken back: reports that leave the
        node tell of what is returned.
        """
