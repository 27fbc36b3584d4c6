"""The ledger as whoever guesses passwords meets it: attempts are reserved before they are checked.

An attempt is counted in the same transaction that looks whether one may be made: guesses at the
same time get no more of them than guesses one after the other. Names that nobody has are counted
like those of users, so that waiting tells nothing. Whoever has signed in from an address before
counts by himself there: strangers elsewhere cannot keep him out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dicom_node.ledger.connection import Connection, text_of
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements

_SQL = statements("sign_ins")

_ANY = ""
"""In place of an address: all from which a user has never signed in; of a name: all names."""

_LONGEST = timedelta(hours=1)
_FORGOTTEN, _NO_LONGER_KNOWN = timedelta(days=1), timedelta(days=90)


@dataclass(frozen=True, slots=True)
class _Law:
    """After so many wrong ones each further one waits, twice as long each time."""

    free: int
    seconds: float

    def pause(self, failures: int) -> timedelta:
        beyond = failures - self.free
        if beyond < 0:
            return timedelta(0)
        return min(timedelta(seconds=self.seconds) * 2.0 ** min(beyond, 20), _LONGEST)


_NAME, _ADDRESS = _Law(5, 15.0), _Law(50, 15.0)


class SignIns(Part):
    """Attempts to sign in."""

    def reserve_sign_in(self, name: str, address: str) -> bool:
        """Count an attempt as a wrong one, before it is checked; False where it has to wait.

        `forgive` takes it back once the password turns out to be right.
        """
        with self._connection.transaction() as connection:
            _prune(connection)
            known = connection.one(
                _SQL["has_signed_in"],
                name=name, address=address,
            )  # fmt: skip
            keys = (
                [(name, address, _NAME)]
                if known is not None
                else [(name, _ANY, _NAME), (_ANY, address, _ADDRESS)]
            )
            if any(_waits(connection, *key[:2]) for key in keys):
                return False
            for key in keys:
                _count(connection, *key)
        return True

    def forgive(self, name: str, address: str) -> None:
        """Forget the wrong passwords before a right one; the address is the user's from now on."""
        with self._connection.transaction() as connection:
            connection.run(
                _SQL["forgive"],
                name=name, address=address, any=_ANY,
            )  # fmt: skip
            connection.run(
                _SQL["note_sign_in"],
                name=name, address=address, now=connection.now(),
            )  # fmt: skip


def forget_attempts(connection: Connection, name: str) -> None:
    """Forget every wrong password of a name, and from where it was right."""
    connection.run(_SQL["forget_attempts"], name=name)


def _waits(connection: Connection, name: str, address: str) -> bool:
    row = connection.one(
        _SQL["locked_until"],
        name=name, address=address,
    )  # fmt: skip
    if row is None or row["locked_until"] is None:
        return False
    # A wait that is longer than any was given before the clock was set back.
    latest = text_of(connection.moment() + _LONGEST)
    return bool(connection.now() < row["locked_until"] <= latest)


def _count(connection: Connection, name: str, address: str, law: _Law) -> None:
    row = connection.one(
        _SQL["count_attempt"],
        name=name, address=address, now=connection.now(),
    )  # fmt: skip
    assert row is not None
    pause = law.pause(row["failures"])
    connection.run(
        _SQL["lock"],
        name=name, address=address,
        until=text_of(connection.moment() + pause) if pause else None,
    )  # fmt: skip


def _prune(connection: Connection) -> None:
    connection.run(
        _SQL["forget_old_attempts"],
        old=text_of(connection.moment() - _FORGOTTEN),
        older=text_of(connection.moment() - _NO_LONGER_KNOWN),
    )
