"""A study whose films name more than one patient is answered once a patient, each under its own.

The Study Instance UID is the sender's and stays; what is said of one patient refers to no film of
another, and nothing is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from dicom_node.errors import IdentityNotPreserved
from dicom_node.imaging.patient import by_patient, contradiction, patient_of, unlike
from dicom_node.imaging.values import text
from dicom_node.results.films import AnalysedFilm, Context


def contradiction_of(films: Sequence[AnalysedFilm]) -> str | None:
    """Return what is told of a study whose films name more than one patient, else None."""
    patients = unlike(patient_of(film.dataset) for film in films)
    found = (contradiction(one, other) for one, other in combinations(patients, 2))
    what = next(filter(None, found), None)
    return what and f"its films differ in the patient's {what}: each patient's were answered apart"


def apart(
    films: Sequence[AnalysedFilm], context: Context
) -> list[tuple[Sequence[AnalysedFilm], Context]]:
    """Return the films of one study by patient, each with the context of that patient's results.

    The patient of the first film keeps the series of the study; the others get series of their own.
    Where films contradict each other there is no course. Raises `IdentityNotPreserved` for films of
    several studies.
    """
    if len({text(film.dataset, "StudyInstanceUID") for film in films}) > 1:
        raise IdentityNotPreserved(
            "The films of one report are of several studies.",
            remedy="Send each study by itself.",
        )
    groups = by_patient([patient_of(film.dataset) for film in films])
    if len(groups) < 2:
        return [(films, context)]
    found: list[tuple[Sequence[AnalysedFilm], Context]] = []
    for places in groups:
        own = [films[place] for place in places]
        name = text(own[0].dataset, "SOPInstanceUID") if found else ""
        theirs = replace(context, apart=name, earlier=())
        series = theirs.series_uid(own[0].dataset, "sr")
        before = tuple(each for each in context.predecessors if each[2] == series)
        found.append((own, replace(theirs, predecessors=before)))
    return found
