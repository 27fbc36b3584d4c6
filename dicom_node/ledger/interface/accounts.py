"""The ledger as the door of the pages sees it: users, sessions, sign-ins, and who did what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from dicom_node.ledger.people import AuditLine, Session, User
from dicom_node.records import StudyId


class Accounts(Protocol):
    """Who may sign in. Passwords and tokens come hashed."""

    def users(self) -> Sequence[User]:
        """Return every user by name."""

    def user(self, name: str) -> User | None:
        """Return one user, if there is such a one."""

    def keep_user(self, name: str, role: str, password_hash: str) -> None:
        """Add a user, or give one another role and password; that one's sessions end.

        Raises `TransitionRefused` where the last admin would be none any more.
        """

    def keep_person(self, name: str, role: str) -> None:
        """Add one whom an identity provider knows, or note another role; no password fits.

        Sessions of another role end.
        """

    def remove_user(self, name: str) -> None:
        """Remove a user. Raises `RowMissing`, and `TransitionRefused` for the last admin."""

    def open_session(
        self, name: str, token_hash: str, csrf: str, before: str | None = None
    ) -> None:
        """Remember a new session; the one that the browser had ``before`` ends (its token hash)."""

    def session(
        self, token_hash: str, idle: timedelta, longest: timedelta, *, used: bool = True
    ) -> Session | None:
        """Return a living session and note that it was ``used`` (not at every request)."""

    def end_session(self, token_hash: str) -> None:
        """Forget a session."""

    def reserve_sign_in(self, name: str, address: str) -> bool:
        """Count an attempt as a wrong one, before it is checked; False where it has to wait.

        `forgive` takes it back once the password turns out to be right.
        """

    def forgive(self, name: str, address: str) -> None:
        """Forget the wrong passwords before a right one; the address is the user's from now on."""


class AuditTrail(Protocol):
    """Who did what, and how much."""

    def note(
        self, who: str, what: str, detail: str | None = None, study_id: StudyId | None = None
    ) -> None:
        """Write a line of the audit trail."""

    def note_each(self, who: str, what: str, study_ids: Sequence[StudyId]) -> None:
        """Write a line of the audit trail for each of some studies."""

    def audit(
        self, limit: int = 200, study_id: StudyId | None = None, before: int | None = None
    ) -> Sequence[AuditLine]:
        """Return the latest lines of the audit trail, of all or of one study.

        ``before``: only lines older than the one with this `AuditLine.id`.
        """

    def audit_lines_older(self, days: float, most: int) -> int:
        """Count lines of the audit trail that are older than that, up to ``most``."""

    def reserve_upload(self, who: str, size_bytes: int, most: int) -> bool:
        """Count bytes that a person uploads today (UTC); False where they would pass ``most``."""
