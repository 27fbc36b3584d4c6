"""Opacity maps, zones, levels and extents of a suite, held against what readers drew and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from dicom_node.chest import ZONES
from dicom_node.findings import FilmFindings
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case
from dicom_node.training.evaluation.answers import AnsweredFilm
from dicom_node.training.evaluation.rows import Answered, Row, Values, area, mean, row
from dicom_node.training.teaching.packs import OPAQUE_PART


def of_map(films: Sequence[AnsweredFilm]) -> list[Row]:
    """Return how the mapped opacity agrees with what was outlined or boxed."""
    rows = []
    for says, found in (
        ("outlined opacities, Dice", [(a.case, a.overlap) for a in films]),
        ("mapped opacity, part inside drawn lungs", [(a.case, a.inside) for a in films]),
    ):
        if known := [(case, value) for case, value in found if value is not None]:
            rows.append(mean(says, known, np.array([value for _, value in known])))
    answered = [(a.case, a.findings) for a in films]
    mapped = [
        (c, f, f.opacity_map.lungs) for c, f in answered
        if f.opacity_map and f.opacity_map.lungs is not None
    ]  # fmt: skip
    boxed = [(c, f, part) for c, f, part in mapped if c.appearance_class and c.box_fraction]
    clear = [(c, f, part) for c, f, part in mapped if c.appearance_class == "negative"]
    if boxed:
        rows.append(row(
            "SIIM, films with boxes: mapped part of the lungs against the boxes', Spearman",
            [(c, f) for c, f, _ in boxed], _ranked,
            np.array([part for _, _, part in boxed]),
            np.array([c.box_fraction for c, _, _ in boxed]),
        ))  # fmt: skip
    if clear:
        rows.append(mean(
            "SIIM, read as negative: something is mapped", [(c, f) for c, f, _ in clear],
            np.array([part > 0.01 for _, _, part in clear], dtype=float),
        ))  # fmt: skip
    return rows


def _ranked(one: Values, other: Values) -> float:
    """Return Spearman's correlation; of values that are all alike there is none (NaN)."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other)[0])


@dataclass(frozen=True, slots=True)
class _Graded:
    """A film, and ``said``: of its findings the answer that is compared with what readers said."""

    case: Case
    findings: FilmFindings
    said: Any

    @property
    def film(self) -> tuple[Case, FilmFindings]:
        """The film as intervals are made of."""
        return self.case, self.findings


def of_zones(answered: Answered) -> list[Row]:
    """Return zones and levels of the SIIM films and of those whose zones were scored."""
    rows = []
    for says, films in (
        ("SIIM", [(c, f) for c, f in answered if f.airspace and c.appearance_class]),
        ("Brixia", [(c, f) for c, f in answered if f.airspace and c.zones]),
    ):
        zoned = [
            _Graded(c, f, f.airspace) for c, f in films
            if f.airspace and (c.zones or (c.zone_fractions and c.airspace_level is not None))
        ]  # fmt: skip
        if zoned:
            opaque = np.array([_opaque_of(each.case) for each in zoned])
            score = np.array([[each.said.parts[name] for name in ZONES] for each in zoned])
            where = [each.film for each in zoned]
            rows.append(
                row(f"{says}, zones with opacity, AUC", where, metrics.area_over_all, opaque, score)
            )
        levelled = [_Graded(c, f, f.airspace) for c, f in films
                    if f.airspace and c.airspace_level is not None]  # fmt: skip
        if levelled:
            rows += _of_levels(says, levelled)
    return rows


def _opaque_of(case: Case) -> list[bool]:
    if case.zones:
        return [score > 0 for score in case.zones]
    return [part > OPAQUE_PART for part in case.zone_fractions or ()]


def _of_levels(says: str, levelled: Sequence[_Graded]) -> list[Row]:
    """Return the table of the CXR-S paper: balanced, sensitivity and predictive value a level."""
    films = [each.film for each in levelled]
    truth = np.array([each.case.airspace_level for each in levelled])
    given = np.array([each.said.level for each in levelled])
    rows = [
        row(f"{says}, airspace level, balanced accuracy", films, metrics.balanced_accuracy,
            truth, np.eye(3)[given]),
        mean(f"{says}, airspace level, accuracy", films, (truth == given).astype(float)),
    ]  # fmt: skip
    for level in range(3):
        for name, part in (("sensitivity", truth == level), ("predictive value", given == level)):
            if part.any():
                rows.append(mean(
                    f"{says}, level {level}: {name}",
                    [film for film, counted in zip(films, part, strict=True) if counted],
                    (truth == given)[part].astype(float),
                ))  # fmt: skip
    some = truth > 0
    if len(set(truth[some].tolist())) == 2:
        sums = np.array([sum(each.said.parts.values()) for each in levelled])
        rows.append(area(
            f"{says}, level 2 against 1, AUC of the zones' sum",
            [film for film, counted in zip(films, some, strict=True) if counted],
            truth[some] == 2, sums[some],
        ))  # fmt: skip
    return rows


def level_confusion(answered: Answered) -> list[list[int]]:
    """Return how many SIIM films of each level (row) were given each level (column)."""
    films = [(c.airspace_level, f.airspace.level) for c, f in answered
             if f.airspace and c.appearance_class and c.airspace_level is not None]  # fmt: skip
    return [[sum(pair == (true, said) for pair in films) for said in range(3)] for true in range(3)]


def extent_points(answered: Answered, name: str) -> list[list[float]]:
    """Return what readers scored, the value, and its interval, of each film that was scored."""
    return [
        [getattr(each.case, name), each.said.value, each.said.low, each.said.high]
        for each in _scored(answered, name)
        if each.said.low is not None and each.said.high is not None
    ]


def _scored(answered: Answered, name: str) -> list[_Graded]:
    return [
        _Graded(c, f, f.scores[name]) for c, f in answered
        if getattr(c, name, None) is not None and name in f.scores
    ]  # fmt: skip


def of_extent(answered: Answered, name: str) -> list[Row]:
    """Return the errors and intervals of one extent on films that were scored."""
    films = _scored(answered, name)
    if not films:
        return []
    where = [each.film for each in films]
    truth = np.array([getattr(each.case, name) for each in films])
    value, low, high = (
        np.array([getattr(each.said, key) for each in films], dtype=float)
        for key in ("value", "low", "high")
    )
    says = name.replace("_", " ")
    rows = [
        mean(f"{says}, mean absolute error", where, np.abs(truth - value)),
        row(f"{says}, R²", where, metrics.r_squared, truth, value),
        row(f"{says}, 90 % interval: coverage", where, metrics.coverage, truth, low, high),
        mean(f"{says}, 90 % interval: width", where, high - low),
    ]
    boxed = [_Graded(c, f, f.scores[name]) for c, f in answered
             if c.appearance_class and c.box_fraction is not None and name in f.scores]  # fmt: skip
    if boxed:
        rows.append(row(
            f"SIIM, {says} against the boxes' part of the lungs, Spearman",
            [each.film for each in boxed], _ranked,
            np.array([each.said.value for each in boxed]),
            np.array([each.case.box_fraction for each in boxed]),
        ))  # fmt: skip
    return rows
