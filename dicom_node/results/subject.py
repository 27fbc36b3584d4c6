"""What a measurement group is about."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places, Polygon
from dicom_node.results.templates import Template


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One film with its places, in the report that ``context`` describes.

    ``where`` follows every tracking identifier: ", film 2", or "" where there is only one film.
    """

    film: AnalysedFilm
    places: Places
    context: Context
    where: str

    @property
    def template(self) -> Template:
        """The report's template."""
        return self.context.template

    @property
    def lungs(self) -> Polygon:
        """The line around both lungs; without them what the network saw."""
        lungs = self.places.both_lungs
        return self.places.seen if lungs is None else lungs
