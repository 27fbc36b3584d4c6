"""What the case list tells of observations: plain values, made where the manifests are known.

The ledger knows no manifests: whoever concludes a film says which of its observations are
headlines, and how they stand in a list (`dicom_node.line.headlines`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

WhetherFound = Literal["found", "not-found", "answered"]
"""Whether what was asked for was found; not found: the network answered, and it was not."""


@dataclass(frozen=True, slots=True)
class ListLine:
    """One observation as a list tells it, by its network and key.

    ``number``: by what it is sorted: the probability of the most probable class or label, the index
    of a level, a value in its unit, the count of places, or a part in [0, 1]. ``text``: the key of
    the class or level that is named, the labels that are believed joined by commas, else "".
    ``found``: whether that is a finding. ``unit``: of a value (UCUM), so that it can be read where
    its network is no longer installed.
    """

    network: str
    key: str
    number: float
    text: str = ""
    found: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class HeadlineKey:
    """Which headline: of which network, under which of its keys."""

    network: str
    key: str

    @classmethod
    def of(cls, text: str) -> HeadlineKey:
        """Return the key that is written ``network:key``."""
        network, _, key = text.partition(":")
        return cls(network, key)

    def __str__(self) -> str:
        return f"{self.network}:{self.key}"


@dataclass(frozen=True, slots=True)
class ObservationWord:
    """What a reader says of one headline of a film: agrees, disagrees or unsure."""

    sop_instance_uid: str
    reader: str
    network: str
    key: str
    verdict: str
    at: str = ""


def headlines_text(headlines: Iterable[ListLine]) -> str | None:
    """Return headlines as the ledger keeps them beside a film; None where there are none."""
    told = [asdict(each) for each in headlines]
    return json.dumps(told, sort_keys=True) if told else None


def headlines_from(text: str | None) -> Sequence[ListLine]:
    """Return what `headlines_text` wrote."""
    return [ListLine(**each) for each in json.loads(text)] if text else []


def foremost(films: Iterable[Sequence[ListLine]]) -> Sequence[ListLine]:
    """Return what is told of a study of several films: under each key one film's answer.

    What was found goes before what was not, then the highest number wins.
    """
    chosen: dict[tuple[str, str], ListLine] = {}
    for film in films:
        for each in film:
            place = (each.network, each.key)
            known = chosen.get(place)
            if known is None or _rank(each) > _rank(known):
                chosen[place] = each
    return [chosen[place] for place in sorted(chosen)]


def _rank(headline: ListLine) -> tuple[bool, float]:
    return headline.found, headline.number
