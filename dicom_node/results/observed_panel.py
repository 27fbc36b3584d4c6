"""What networks observed that declare it themselves, in the panel beside the film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dicom_node.bundles.found import is_label_finding
from dicom_node.observations import Candidate, Observation, ObservationKind
from dicom_node.results import panel
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.lettering import Colour
from dicom_node.results.observed_picture import colours_of
from dicom_node.results.observed_words import (
    Row,
    called,
    is_found,
    names,
    rows,
    short,
    unanswered,
    value,
)
from dicom_node.results.panel import Panel

LINES: tuple[int, ...] = (100, 10, 6, 4, 2, 1, 0)
"""How many lines an observation may have, the first of them with which the panel's text fits.

With 0 all networks share one section, of what is found alone.
"""

_FEW = 8
"""So many of what is found are told where there is hardly room."""

_FEW_REASONS = 2
"""So many networks that gave no answer are named with the reason where there is hardly room."""

_BARS = 4
"""Up to so many labels are drawn as bars; more of them are lines of a table."""


def explain_observed(column: Panel, film: AnalysedFilm, context: Context, lines: int) -> None:
    """Write a section a network: what it is called, and what it observed, at most ``lines`` each.

    What is found stands first, and `_FEW` of what is reached however few lines there are; how much
    is left out is said. Of networks that gave no answer the first are named, and how many others.
    """
    observed = film.findings.observed
    if observed and not lines:
        _in_short(column, film, context)
    else:
        for network in dict.fromkeys(one.network for one in observed):
            card = context.card(film, network)
            column.heading(f"{card.title} {card.version}")
            explain_network(column, film, network, context, lines)
    silent = list(unanswered(film.findings, context))
    most = max(lines, _FEW_REASONS)
    for said in silent[:most]:
        column.gap(6)
        column.text(said, 14, panel.BAR_FOUND)
    if (left := len(silent) - most) > 0:
        column.text(context.template.observed.more.format(count=left), 13, panel.QUIET)


def explain_network(
    column: Panel, film: AnalysedFilm, network: str, context: Context, lines: int
) -> None:
    """Write what one network observed, without its name."""
    colours = colours_of(film)
    for one in (each for each in film.findings.observed if each.network == network):
        _explain(column, one, (context, colours), lines)


def _in_short(column: Panel, film: AnalysedFilm, context: Context) -> None:
    observed, colours = film.findings.observed, colours_of(film)
    found = [one for one in observed if is_found(one, context)]
    column.heading(context.template.observed.tracking_many)
    for one in found[:_FEW]:
        if one.kind in (ObservationKind.LABELS, ObservationKind.REGION):
            column.text(short(one, context), 15, panel.BAR_FOUND)
        else:
            mark = colours.get((one.network, one.key))
            column.pair(names(one, context), value(one, context), panel.BAR_FOUND, mark)
    if left := len(observed) - len(found[:_FEW]):
        column.text(context.template.observed.more.format(count=left), 13, panel.QUIET)


def _explain(
    column: Panel,
    one: Observation,
    told_by: tuple[Context, Mapping[tuple[str, str], Colour]],
    lines: int,
) -> None:
    context, colours = told_by
    if one.labels and len(one.labels) <= min(_BARS, lines):
        if one.kind is not ObservationKind.LABELS:
            said = (names(one, context), value(one, context))
            column.pair(*said, _ink(is_found(one, context)))
        for candidate in one.labels:
            _bar(column, one, candidate, context)
    else:
        known, mark = rows(one, context), colours.get((one.network, one.key))
        reached = len(one.believed) if one.labels else sum(found for _, _, found in known)
        most = max(lines, min(reached, _FEW))
        for name, shown, found in _chosen(known, one)[:most]:
            column.pair(name, shown, _ink(found), mark)
        if (left := len(known) - most) > 0:
            column.text(context.template.observed.more.format(count=left), 13, panel.QUIET)
    comment = context.words(one).comment
    if comment and lines == LINES[0]:
        column.text(comment, 13, panel.QUIET)


def _bar(column: Panel, one: Observation, candidate: Candidate, context: Context) -> None:
    found = candidate in one.believed and is_found(one, context)
    if one.kind is ObservationKind.LABELS:
        found = found and is_label_finding(candidate, one, context.says(one))
    words = context.template.observed
    form = words.percent if one.calibrated else words.percent_uncalibrated
    shown = context.template.percent(candidate.probability, candidate.threshold)
    column.bar(
        (called(one, candidate.key, context), form.format(probability=shown)),
        candidate.probability,
        # The most probable class is named, however probable it is.
        candidate.threshold or None,
        panel.BAR_FOUND if found else panel.BAR,
    )


def _chosen(known: Sequence[Row], one: Observation) -> Sequence[Row]:
    """Return the lines of an observation: what is found first, then what is reached, then the most
    probable.
    """
    strength = [(not each.reached, -each.probability) for each in one.labels]
    if len(strength) != len(known):
        return sorted(known, key=lambda row: not row[2])
    order = sorted(range(len(known)), key=lambda place: (not known[place][2], *strength[place]))
    return [known[place] for place in order]


def _ink(found: bool) -> Colour:
    return panel.BAR_FOUND if found else panel.BRIGHT
