"""What stands in the corner of every film that is shown: whose, when, which view, how long ago."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from dicom_node.imaging.patient import Patient
from dicom_node.records import Instance
from dicom_node.results.stored import StoredFilms

_MANY_DAYS, _MANY_MONTHS = 60, 24
_DAYS_OF_A_MONTH, _DAYS_OF_A_YEAR = 30.44, 365.25


@dataclass(frozen=True, slots=True)
class FilmLabel:
    """The corner of one film. ``instance``: the film; ``ago``: "5 days earlier", or ""."""

    instance: Instance
    patient: Patient = field(default_factory=Patient, repr=False)
    accession_number: str = field(default="", repr=False)
    taken: str = ""
    ago: str = ""

    @property
    def id(self) -> int:
        """The number of the film."""
        return int(self.instance.id)

    @property
    def view(self) -> str:
        """PA or AP, or that nobody knows."""
        return self.instance.view or "view unknown"


def label_of(stored: StoredFilms, instance: Instance) -> FilmLabel:
    """Return the label of a film, by its header; an empty one where that cannot be read."""
    told = stored.told([instance]).get(instance.digest)
    if told is None:
        return FilmLabel(instance)
    return FilmLabel(instance, told.patient, told.accession_number, told.taken)


def how_long_ago(before: str, now: str) -> str:
    """Return how long before ``now`` a film was taken, both as `taken_at` tells; "" if unknown."""
    try:
        days = (date.fromisoformat(now[:10]) - date.fromisoformat(before[:10])).days
    except ValueError:
        return ""
    if days < 1:
        return "earlier the same day"
    if days < _MANY_DAYS:
        return f"{days} {'day' if days == 1 else 'days'} earlier"
    months = round(days / _DAYS_OF_A_MONTH)
    if months < _MANY_MONTHS:
        return f"{months} months earlier"
    return f"{round(days / _DAYS_OF_A_YEAR)} years earlier"
