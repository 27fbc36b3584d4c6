"""Splits by patient group: which part of the films is for training, validation and testing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PARTS = (("train", 0.7), ("val", 0.8), ("test", 1.0))
"""Each split, and the share of the films where it ends."""


@dataclass(frozen=True, slots=True)
class PatientGroup:
    """A patient group: its name, the stratum it is balanced in, its number of films.

    ``taught_only``: it may be in no split but ``train``.
    """

    name: str
    stratum: tuple[str, ...]
    films: int
    taught_only: bool = False


def split_groups(groups: Iterable[PatientGroup], seed: int) -> dict[str, str]:
    """Return the split of each group by its name, 70 / 10 / 20 % of the films of each stratum.

    A hash of seed and name puts the groups of a stratum in order, and a group goes where its middle
    film falls. So nothing depends on the order of the groups; other strata (those of a new source)
    change nothing; and a group more or less moves only groups beside the two borders. Groups that
    may only be taught are in ``train``, outside these shares.
    """
    strata: defaultdict[tuple[str, ...], list[PatientGroup]] = defaultdict(list)
    taught: dict[str, str] = {}
    for group in groups:
        if group.taught_only:
            taught[group.name] = "train"
        else:
            strata[group.stratum].append(group)
    dealt = {name: split for stratum in strata.values() for name, split in _dealt(stratum, seed)}
    return dealt | taught


def _dealt(stratum: list[PatientGroup], seed: int) -> Iterable[tuple[str, str]]:
    total, before = sum(group.films for group in stratum), 0
    for group in sorted(stratum, key=lambda each: _order(each.name, seed)):
        middle = (before + group.films / 2) / total
        yield group.name, next(split for split, end in PARTS if middle <= end)
        before += group.films


def _order(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def joined(pairs: Iterable[tuple[str, str]], names: Iterable[str]) -> Mapping[str, str]:
    """Return the group of each name: names that a chain of pairs connects share the least one."""
    leader = {name: name for name in names}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for pair in pairs:
        first, second = sorted(map(find, pair))
        leader[second] = first
    return {name: find(name) for name in leader}
