"""Deterministic UIDs under the root ``2.25`` (PS3.5 B.2): the same input gives the same UID."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6d0a1bb5-3d0e-5a9c-9a3a-5f1b9d7f2c44")


def derived_uid(*parts: str) -> str:
    """Return the UID that belongs to ``parts``: at most 44 characters, name-based (RFC 9562 v5).

    Parts are joined by NUL, which no UID, digest or code holds, so that ("a", "bc") and
    ("ab", "c") differ.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"


IMPLEMENTATION_CLASS_UID = derived_uid("implementation class")
"""Who writes: of associations, results and stored files (PS3.7 D.3.3.2)."""
