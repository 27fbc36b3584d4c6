"""Room on the disk that is kept for the ledger alone: thrown off when the disk is full.

Sending frees space, and each object that is sent is noted first: a disk that something else has
filled must not stop that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 8 << 20
_PLENTY = 10
"""It is taken where so many times its size is free."""


def take_ballast(ledger: Path, free_bytes: int, reserve_bytes: int) -> None:
    """Keep room beside the ledger, where that is done yet and the disk has plenty."""
    ballast = _beside(ledger)
    if ballast.exists() or free_bytes < max(reserve_bytes, _PLENTY * BALLAST_BYTES):
        return
    with suppress(OSError):
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
        except OSError:
            # Half a ballast would look like a whole one ever after.
            drop_ballast(ledger)
        finally:
            os.close(descriptor)


def drop_ballast(ledger: Path) -> None:
    """Give the room to the ledger."""
    with suppress(OSError):
        _beside(ledger).unlink()


def _beside(ledger: Path) -> Path:
    return ledger.with_name("ledger.ballast")
