"""Moments as people read them: in the site's zone, with the zone named.

What machines read (JSON, CSV, the ledger, logs) stays UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

_YEARS = (1900, 2999)
_NOT_SUGGESTED = ("Etc/", "SystemV/", "posix/", "right/")


def shown(moment: datetime | str, zone: tzinfo | None, *, seconds: bool = False) -> str:
    """Return an aware moment (or its ISO 8601 text) as "2026-11-26 00:14 CET".

    ``zone``: the site's; None is the system's. A moment of the hour that clocks pass twice is told
    from the other by its zone's name (CEST, CET).
    """
    local = at(moment).astimezone(zone)
    clock = f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%Y-%m-%d %H:%M}"
    name = local.tzname() or ""
    # Zones without a name of their own are called by their offset, "-03": from what, is said here.
    return f"{clock} {name}" if name[:1].isalpha() else f"{clock} {_from_utc(local)}"


def _from_utc(local: datetime) -> str:
    offset = f"{local:%z}"
    return f"UTC{offset[:3]}:{offset[3:5]}"


def day(moment: datetime | str, zone: tzinfo | None) -> str:
    """Return the site's calendar day of a moment, "2026-11-26"."""
    return f"{at(moment).astimezone(zone):%Y-%m-%d}"


def day_span(first: str, last: str, zone: tzinfo | None) -> tuple[datetime | None, datetime | None]:
    """Return when the site's day ``first`` ("2026-11-24") begins and ``last`` has ended.

    None for "". Raises `ValueError` for what is no day.
    """
    return (
        _midnight(_day_of(first), zone) if first else None,
        _midnight(_day_of(last) + timedelta(days=1), zone) if last else None,
    )


def _day_of(text: str) -> date:
    found = date.fromisoformat(text)
    if not _YEARS[0] <= found.year <= _YEARS[1]:
        raise ValueError(f"{text} is not within {_YEARS[0]} and {_YEARS[1]}")
    return found


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    midnight = datetime(day.year, day.month, day.day)
    return midnight.replace(tzinfo=zone) if zone else midnight.astimezone()


def machine_readable(moment: datetime | str) -> str:
    """Return a moment for the attribute ``datetime`` of HTML's ``time``, "2026-11-25T23:14:00Z"."""
    return f"{at(moment).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def at(moment: datetime | str) -> datetime:
    """Return an aware moment; a text without an offset is UTC, as the ledger writes."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def zone_of(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name; None, the system's, for "". Raises `ValueError`."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        # A folder of the database ("Europe"), a path out of it, an unknown name.
        raise ValueError(f"{name!r} is no time zone") from error


def zones_for_people() -> dict[str, str]:
    """Return the zones that one may have meant: by city and by whole name, in lower case."""
    zones = sorted(name for name in available_timezones() if not name.startswith(_NOT_SUGGESTED))
    cities = {name.rpartition("/")[2].lower(): name for name in zones if "/" in name}
    return cities | {name.lower(): name for name in zones}
