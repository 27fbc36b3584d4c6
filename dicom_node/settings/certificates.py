"""Until when the node's certificates are good: their dates, in words for people.

A certificate that ends stops every peer that looks at dates, and none of them says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from dicom_node.settings.model import Settings

WARNING_DAYS = 30
_DAY_SECONDS = 86_400
REMEDY = "ask its issuer for a new one, put it in its place, and start the node again"


@dataclass(frozen=True, slots=True)
class Dates:
    """When the certificates of one file are good. ``key``: the section and key that name it."""

    key: tuple[str, str]
    path: Path
    begins: datetime
    ends: datetime

    @property
    def name(self) -> str:
        """The key as it is written in messages, "tls.certificate"."""
        return ".".join(self.key)

    def days_left(self, now: datetime) -> int:
        """Return whole days until the end; below 0 once it has passed."""
        return math.floor((self.ends - now).total_seconds() / _DAY_SECONDS)

    def is_good(self, now: datetime) -> bool:
        """Whether peers that look at the dates accept it now."""
        return self.fault(now) is None

    def warns(self, now: datetime) -> bool:
        """Whether it is no good, or ends within `WARNING_DAYS`."""
        return not self.is_good(now) or self.days_left(now) < WARNING_DAYS

    def fault(self, now: datetime) -> tuple[str, str] | None:
        """Return why it is no good now and what to do, if so. Days are UTC's, as in it."""
        if now < self.begins:
            what = f"is not valid before {self.begins:%Y-%m-%d %H:%M} UTC"
            return what, "wait until then, or correct this machine's clock"
        if now >= self.ends:
            return f"expired on {self.ends:%Y-%m-%d}: peers refuse it", REMEDY
        return None

    def sentence(self, now: datetime) -> str:
        """Return until when it is good, and what to do where that is not long."""
        if fault := self.fault(now):
            return "; ".join(fault)
        days = self.days_left(now)
        told = f"ends in {days} day{'' if days == 1 else 's'}, on {self.ends:%Y-%m-%d}"
        return f"{told}; {REMEDY}" if self.warns(now) else told


def certificates(settings: Settings) -> tuple[Dates, ...]:
    """Return the dates of every file with certificates; one that cannot be read is left out.

    Of a chain, all must be good; of authorities, one that is good is enough (a new one beside the
    old), so the last to end counts.
    """
    return tuple(_all(settings))


def _all(settings: Settings) -> Iterator[Dates]:
    for section in ("tls", "web"):
        path: Path | None = getattr(getattr(settings, section), "certificate", None)
        if path and (chain := _read(path)):
            begins = max(each.not_valid_before_utc for each in chain)
            ends = min(each.not_valid_after_utc for each in chain)
            yield Dates((section, "certificate"), path, begins, ends)
    if settings.tls and (signers := _read(settings.tls.ca)):
        now = datetime.now(UTC)
        good = [each for each in signers if each.not_valid_before_utc <= now]
        last = max(good or signers, key=lambda each: each.not_valid_after_utc)
        begins, ends = last.not_valid_before_utc, last.not_valid_after_utc
        yield Dates(("tls", "ca"), settings.tls.ca, begins, ends)


def _read(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []  # `settings.files` tells what is wrong with it
