"""The ledger as the door of the pages sees it: users, sessions, and who did what.

Passwords and tokens come here hashed; nothing here can be used to sign in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dicom_node.errors import RowMissing, TransitionRefused
from dicom_node.ledger.connection import Connection, Row
from dicom_node.ledger.part import Part
from dicom_node.ledger.sign_ins import forget_attempts
from dicom_node.ledger.statements import statements
from dicom_node.records import StudyId

_SQL = statements("people")

ROLES = ("reader", "operator", "admin")
"""What a user may do: read and comment; also steer; also manage users."""


@dataclass(frozen=True, slots=True)
class User:
    """One who may sign in."""

    name: str
    role: str
    password_hash: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user; ``csrf`` must come back with everything that changes something."""

    user: str
    role: str
    csrf: str


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what, when; ``detail`` names no patient."""

    at: str
    who: str
    what: str
    study_id: StudyId | None
    detail: str | None
    id: int = 0


class People(Part):
    """Users, sessions, audit."""

    def users(self) -> Sequence[User]:
        """Return every user by name."""
        return [_user(row) for row in self._connection.all(_SQL["users"])]

    def user(self, name: str) -> User | None:
        """Return one user, if there is such a one."""
        row = self._connection.one(_SQL["user"], name=name)
        return None if row is None else _user(row)

    def keep_user(self, name: str, role: str, password_hash: str) -> None:
        """Add a user, or give one another role and password; that one's sessions end.

        Raises `TransitionRefused` where the last admin would be none any more.
        """
        with self._connection.transaction() as connection:
            if role != "admin":
                _refuse_last_admin(connection, name)
            connection.run(
                _SQL["keep_user"],
                name=name, role=role, hash=password_hash, now=connection.now(),
            )  # fmt: skip
            forget_attempts(connection, name)
            connection.run(_SQL["end_sessions_of_user"], name=name)

    def keep_person(self, name: str, role: str) -> None:
        """Add one whom an identity provider knows, or note another role; no password fits.

        Sessions of another role end.
        """
        with self._connection.transaction() as connection:
            connection.run(
                _SQL["end_sessions_of_another_role"],
                name=name, role=role,
            )  # fmt: skip
            connection.run(
                _SQL["keep_person"],
                name=name, role=role, now=connection.now(),
            )  # fmt: skip

    def remove_user(self, name: str) -> None:
        """Remove a user. Raises `RowMissing`, and `TransitionRefused` for the last admin."""
        with self._connection.transaction() as connection:
            row = connection.one(_SQL["user"], name=name)
            if row is None:
                raise RowMissing(
                    f"There is no user {name!r}.", remedy="`dicom-node user list` shows them."
                )
            _refuse_last_admin(connection, name)
            connection.run(_SQL["end_sessions_of_user"], name=name)
            connection.run(_SQL["remove_user"], name=name)
            forget_attempts(connection, name)

    def open_session(
        self, name: str, token_hash: str, csrf: str, before: str | None = None
    ) -> None:
        """Remember a new session; the one that the browser had ``before`` ends (its token hash)."""
        with self._connection.transaction() as connection:
            connection.run(_SQL["end_session"], token=before)
            connection.run(
                _SQL["open_session"],
                token=token_hash, name=name, csrf=csrf, now=connection.now(),
            )  # fmt: skip

    def session(
        self, token_hash: str, idle: timedelta, longest: timedelta, *, used: bool = True
    ) -> Session | None:
        """Return a living session and note that it was ``used`` (not at every request)."""
        row = self._connection.one(_SQL["session"], token=token_hash)
        if row is None:
            return None
        now = self._connection.moment()
        seen, created = (datetime.fromisoformat(row[key]) for key in ("seen_at", "created_at"))
        if now - seen > idle or now - created > longest:
            self.end_session(token_hash)
            return None
        if used and now - seen > min(timedelta(minutes=1), idle / 4):
            with self._connection.transaction() as connection:
                connection.run(
                    _SQL["use_session"],
                    now=connection.now(), token=token_hash,
                )  # fmt: skip
        return Session(row["user"], row["role"], row["csrf"])

    def end_session(self, token_hash: str) -> None:
        """Forget a session."""
        with self._connection.transaction() as connection:
            connection.run(_SQL["end_session"], token=token_hash)

    def reserve_upload(self, who: str, size_bytes: int, most: int) -> bool:
        """Count bytes that a person uploads today (UTC); False where they would pass ``most``."""
        with self._connection.transaction() as connection:
            today = connection.now()[:10]
            connection.run(_SQL["forget_uploads"], today=today)
            row = connection.one(_SQL["uploaded"], who=who)
            if (row["bytes"] if row else 0) + size_bytes > most:
                return False
            connection.run(
                _SQL["count_upload"],
                who=who, today=today, size=size_bytes,
            )  # fmt: skip
        return True

    def note(
        self, who: str, what: str, detail: str | None = None, study_id: StudyId | None = None
    ) -> None:
        """Write a line of the audit trail."""
        with self._connection.transaction() as connection:
            connection.insert(
                "audit", at=connection.now(), who=who, what=what, study_id=study_id, detail=detail
            )

    def note_each(self, who: str, what: str, study_ids: Sequence[StudyId]) -> None:
        """Write a line of the audit trail for each of some studies."""
        with self._connection.transaction() as connection:
            for study_id in study_ids:
                connection.insert(
                    "audit", at=connection.now(), who=who, what=what, study_id=study_id, detail=None
                )

    def audit(
        self, limit: int = 200, study_id: StudyId | None = None, before: int | None = None
    ) -> Sequence[AuditLine]:
        """Return the latest lines of the audit trail, of all or of one study.

        ``before``: only lines older than the one with this `AuditLine.id`.
        """
        if study_id is None:
            sql, value = _SQL["audit_before"], {"before": before or 2**63 - 1}
        else:
            sql, value = _SQL["audit_of_study"], {"study": study_id}
        rows = self._connection.all(sql, limit=limit, **value)
        return [
            AuditLine(row["at"], row["who"], row["what"], row["study_id"], row["detail"], row["id"])
            for row in rows
        ]


def _refuse_last_admin(connection: Connection, name: str) -> None:
    admins = [row["name"] for row in connection.all(_SQL["admins"])]
    if admins == [name]:
        raise TransitionRefused(
            "The last admin stays one.", remedy="Add another admin first: `dicom-node user add`."
        )


def _user(row: Row) -> User:
    return User(row["name"], row["role"], row["password_hash"], row["created_at"])
