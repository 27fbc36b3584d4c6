"""Random splits of patients, for networks that are taught and checked many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_node.training.datasets.cases import Case

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Films of one repeated split, by index; no patient is in both."""

    taught: Indices
    checked: Indices


def monte_carlo_splits(cases: Sequence[Case], count: int, seed: int) -> list[Split]:
    """Return random patient splits, 80 % to learn from, stratified by geographic extent.

    Only films with both extents are checked; all other graded and normal films are learned from,
    unless their patient is checked.
    """
    scored = [i for i, c in enumerate(cases) if c.geographic_extent is not None]
    return [
        _split(cases, scored, _strata_extent, np.random.default_rng([seed, number]), 0.2)
        for number in range(count)
    ]


def level_folds(cases: Sequence[Case], count: int, seed: int) -> list[Split]:
    """Return folds of the films of airspace level 1 and 2, stratified by level, by patient."""
    levelled = [i for i, c in enumerate(cases) if c.airspace_level in (1, 2)]
    patients: dict[str, int] = {}
    for i in levelled:
        known = patients.get(cases[i].patient, 9)
        patients[cases[i].patient] = min(known, int(cases[i].airspace_level or 0))
    chance = np.random.default_rng([seed, count])
    fold_of: dict[str, int] = {}
    for level in (1, 2):
        names = sorted(name for name, found in patients.items() if found == level)
        for place, k in enumerate(chance.permutation(len(names))):
            fold_of[names[k]] = place % count
    return [
        _apart(cases, [i for i in levelled if fold_of[cases[i].patient] == fold])
        for fold in range(count)
    ]


def _strata_extent(case: Case) -> int:
    return min(3, int((case.geographic_extent or 0.0) // 2))


def _split(
    cases: Sequence[Case],
    scored: Sequence[int],
    stratum: Callable[[Case], int],
    chance: np.random.Generator,
    part: float,
) -> Split:
    """Draw patients of every stratum until ``part`` of its films is checked."""
    groups: dict[int, dict[str, list[int]]] = {}
    seen: dict[str, int] = {}
    for i in scored:
        patient = cases[i].patient
        level = seen.setdefault(patient, stratum(cases[i]))
        groups.setdefault(level, {}).setdefault(patient, []).append(i)
    checked: list[int] = []
    for level in sorted(groups):
        names = sorted(groups[level])
        wanted, taken = part * sum(map(len, groups[level].values())), 0
        for k in chance.permutation(len(names)):
            if taken >= wanted:
                break
            checked += groups[level][names[k]]
            taken += len(groups[level][names[k]])
    return _apart(cases, checked)


def _apart(cases: Sequence[Case], checked: Sequence[int]) -> Split:
    """Return the split that checks these films and learns from all of other patients."""
    held_out = {cases[i].patient for i in checked}
    taught = [i for i, case in enumerate(cases) if case.patient not in held_out]
    return Split(np.array(taught, np.int64), np.array(sorted(checked), np.int64))
