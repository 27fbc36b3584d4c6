"""Passwords as argon2 hashes; tokens as random text of which only a digest is kept."""

from __future__ import annotations

import hashlib
import re
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dicom_node.errors import SettingsError
from dicom_node.ledger.people import ROLES

SHORTEST = 10
"""Characters of a password at least."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASHER = PasswordHasher()
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$dcSfeAg1WnTUlchrk"
    "4dAcQ$H1QaS2htFbHKMvntMO7nkg++bf1H2Y3VvCKDTWavZm0"
)
"""The hash of random text that was thrown away, as dear to check as any that `hashed` returns."""


def check_user(name: str, role: str, password: str) -> None:
    """Raise `SettingsError` where a user cannot be called so or the password is too short."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} is no name for a user.",
            remedy="Use letters, digits, dot, dash, underscore or @; at most 64.",
        )
    if role not in ROLES:
        raise SettingsError(f"There is no role {role!r}.", remedy=f"There are {', '.join(ROLES)}.")
    if len(password) < SHORTEST:
        raise SettingsError(
            "The password is too short.", remedy=f"Use at least {SHORTEST} characters."
        )


def hashed(password: str) -> str:
    """Return the argon2id hash of a password, salted."""
    return _HASHER.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Whether a password is the hashed one; as slow for a user that there is not."""
    try:
        right = _HASHER.verify(password_hash or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return right and password_hash is not None


def token() -> str:
    """Return 256 random bits as text for a cookie or a form."""
    return secrets.token_urlsafe(32)


def token_hash(text: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(text.encode()).hexdigest()
