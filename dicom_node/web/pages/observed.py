"""What declared bundles say of a film: blocks for pages, places for the viewer, readers' words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from dicom_node.findings import AreaMap, FilmFindings
from dicom_node.imaging.geometry import contours
from dicom_node.ledger.headlines import HeadlineKey, ObservationWord, headlines_from
from dicom_node.observations import FoundPlace, Observation, ObservationKind, of_networks
from dicom_node.records import StudyId
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.observed_words import called, rows, written
from dicom_node.results.regions import simplified
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.rendering import csv_file, done
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.typed import Typed

router = APIRouter()

_COLUMNS = (
    "at", "reader", "study_instance_uid", "sop_instance_uid", "network", "key", "verdict",
    "answer_number", "answer_text", "answer_found",
)  # fmt: skip
_VERDICTS = ("agrees", "disagrees", "unsure")
_LINE = 2
"""Points of a place that is a line."""


@dataclass(frozen=True, slots=True)
class ObservedRow:
    """One line of a block: what, its value with its 90 % interval or why there is none, in words.

    ``threshold``: what it is held against; ``note``: what it means.
    """

    name: str
    value: str
    threshold: str
    found: bool
    note: str


@dataclass(frozen=True, slots=True)
class ObservedBlock:
    """What one network says of a film, or why it said nothing."""

    title: str
    rows: tuple[ObservedRow, ...] = ()
    unanswered: str = ""


def blocks_of(findings: FilmFindings, context: Context) -> list[ObservedBlock]:
    """Return a block for each declared network that answered, then those that did not."""
    told = [
        ObservedBlock(
            _title(context, network), tuple(row for each in said for row in _rows(each, context))
        )
        for network, said in of_networks(findings.observed).items()
    ]
    silent = [
        ObservedBlock(_title(context, network), unanswered=reason)
        for network, reason in findings.unanswered.items()
    ]
    return [*told, *silent]


def words_context(house: House) -> Context:
    """Return the words of the configured template and the installed networks; of no study."""
    return Context(house.settings.node.ae_title, house.template(),
                   house.settings.results.series_number_base, house.cards, 1, ())  # fmt: skip


def drawn_places(film: AnalysedFilm, context: Context) -> list[dict[str, Any]]:
    """Return the places of observations in pixels of the stored matrix, with their labels."""
    return [
        {"network": network, "key": key, "label": label, "closed": closed, "line": line}
        for network, key, label, closed, line in _lines(film, context)
    ]


def _lines(
    film: AnalysedFilm, context: Context
) -> Iterator[tuple[str, str, str, bool, list[list[float]]]]:
    for observation in film.findings.observed:
        words = context.words(observation)
        for place in observation.places:
            name = called(observation, place.label, context) if place.label else words.name
            yield (observation.network, observation.key, f"{name}{_surely(place)}",
                   len(place.points) > _LINE, _rounded(place.points))  # fmt: skip
        if observation.reached:
            for area in film.explanation.areas:
                if (area.network, area.key) == (observation.network, observation.key):
                    for number, line in enumerate(_outlines(area)):
                        # Of several parts of one mask the largest has its name.
                        label = "" if number else words.name
                        yield observation.network, observation.key, label, True, line


def _surely(place: FoundPlace) -> str:
    return "" if place.probability is None else f" {place.probability:.0%}"


def _outlines(area: AreaMap) -> Iterator[list[list[float]]]:
    rows, columns = area.probability.shape
    region = area.region
    scale = (region.right - region.left) / columns, (region.bottom - region.top) / rows
    for line in contours(area.probability, area.threshold):
        placed = line.astype(np.float64) * scale + (region.left, region.top)
        closed = placed if (placed[0] == placed[-1]).all() else np.concatenate([placed, placed[:1]])
        yield _rounded(simplified(closed))


def _rounded(points: Any) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


def _title(context: Context, network: str) -> str:
    card = context.networks.get(network)
    return card.title if card else network


def _rows(observation: Observation, context: Context) -> Iterator[ObservedRow]:
    limits = _thresholds(observation, context)
    for (name, value, found), limit in zip(
        rows(observation, context), chain(limits, repeat("")), strict=False
    ):
        yield ObservedRow(name, value, limit, found, context.words(observation).comment)


def _thresholds(observation: Observation, context: Context) -> Iterator[str]:
    """Yield what each row of an observation is held against, "" for nothing."""
    percent = context.template.percent
    if observation.kind is ObservationKind.LABELS:
        yield from (f"{percent(label.threshold)} %" for label in observation.labels)
    elif observation.labels:
        best = observation.best
        yield f"{percent(best.threshold)} %" if best and best.threshold else ""
    elif observation.threshold is not None and observation.kind is ObservationKind.MASK:
        yield f"{percent(observation.threshold)} %"
    elif observation.threshold is not None and observation.value is not None:
        yield written(observation.threshold, observation, context)


@router.post("/cases/{study_id}/observations")
def say(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)], typed: Typed
) -> Response:
    """Keep what a reader says of the headlines of one film: ``network:key`` to a verdict."""
    house = house_of(request)
    study = house.ledger.study(StudyId(study_id))
    uid = typed.get("sop_instance_uid", "")
    films = [item for item in house.ledger.instances(study.id) if item.sop_instance_uid == uid]
    if not films:
        raise HTTPException(404, "The study has no such film.")
    known = {str(HeadlineKey(each.network, each.key)) for item in films
             for each in headlines_from(item.headlines)}  # fmt: skip
    words = {name: verdict for name, verdict in typed.items() if name in known and verdict}
    if not words:
        raise HTTPException(422, "No verdict on an observation of this film.")
    if not set(words.values()) <= set(_VERDICTS):
        raise HTTPException(422, f"A verdict is one of {', '.join(_VERDICTS)}.")
    for name, verdict in words.items():
        place = HeadlineKey.of(name)
        word = ObservationWord(uid, person.name, place.network, place.key, verdict)
        house.ledger.say_of_observation(study.id, word)
    house.ledger.note(person.name, "feedback.observations", study_id=study.id)
    return done(f"/cases/{study_id}", "feedback")


@router.get("/feedback-observations.csv")
def feedback_table(request: Request, person: Annotated[Person, Depends(reader)]) -> Response:
    """Return every reader's word on a headline beside what the network had said, as CSV."""
    house = house_of(request)
    house.ledger.note(person.name, "feedback.exported")
    return csv_file("feedback-observations.csv", _COLUMNS, house.ledger.all_observation_feedback())


def said_by(house: House, study_id: StudyId, person: Person) -> dict[tuple[str, str], str]:
    """Return a reader's verdicts by the film's SOP Instance UID and ``network:key``."""
    return {
        (word.sop_instance_uid, str(HeadlineKey(word.network, word.key))): word.verdict
        for word in house.ledger.said_of_observations(study_id)
        if word.reader == person.name
    }
