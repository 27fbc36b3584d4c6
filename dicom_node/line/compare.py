"""Two networks, or two versions of one, on the films of the ledger that both answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from dicom_node.analysis.agreement import Agreement, BothAnswers, agreements
from dicom_node.findings import FilmFindings
from dicom_node.ledger.interface import ComparedFilm, Comparison
from dicom_node.observations import Observation
from dicom_node.records import InstanceId

_AT_ONCE = 200


def compared(
    ledger: Comparison, first: str, second: str, since: datetime
) -> tuple[int, tuple[Agreement, ...]]:
    """Return on how many films two networks both answered, and how far they agree.

    A network is named as ``id`` (what was reported of it, else what any version of it said in
    shadow) or ``id@version``.
    """
    films = list(_films(ledger, first, second, since))
    return len(films), agreements(films)


def _films(ledger: Comparison, first: str, second: str, since: datetime) -> Iterator[BothAnswers]:
    after = InstanceId(0)
    while films := ledger.answered_films(since, after, _AT_ONCE):
        for film in films:
            findings = FilmFindings.from_json(json.loads(film.findings_json))
            ours = observations_of(film, findings, first)
            theirs = observations_of(film, findings, second)
            if ours and theirs:
                yield film.sop_instance_uid, ours, theirs
        after = films[-1].id


def observations_of(film: ComparedFilm, findings: FilmFindings, name: str) -> Sequence[Observation]:
    """Return what a network said of a film; nothing where it was not asked."""
    bundle_id, _, version = name.partition("@")
    reported = [one for one in findings.observations if one.network in (name, bundle_id)]
    ran = findings.suite.get(bundle_id)
    if reported and (not version or (ran is not None and ran.version == version)):
        return reported
    for network, text in sorted(film.beside.items(), reverse=True):
        if network == name or (not version and network.partition("@")[0] == bundle_id):
            return [Observation.from_json(each) for each in json.loads(text)]
    return []
