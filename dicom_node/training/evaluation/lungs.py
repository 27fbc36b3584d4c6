"""How well the lungs are outlined, by who drew the outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dicom_node.analysis.alone import lung_finder
from dicom_node.bundles import Bundle
from dicom_node.training.datasets.cases import (
    Case,
    Data,
    load_masks,
    of_split,
    read_cases,
    read_film,
    scored_opacity,
)
from dicom_node.training.evaluation.bootstrap import Bootstrap, Interval
from dicom_node.training.evaluation.head import Head, head_of
from dicom_node.training.metrics import dice, intersection_over_union
from dicom_node.training.teaching.lessons.lungs import EXCLUDING_HEART


@dataclass(frozen=True, slots=True)
class MaskRow:
    """Films of one source of masks (all: every source). Overlap of found and drawn lungs."""

    source: str
    convention: str
    films: int
    dice: Interval
    iou: Interval
    median_dice: float
    tenth_percentile_dice: float


@dataclass(frozen=True, slots=True)
class LungEvaluation:
    """The JSON form is ``evaluation.json``; ``points``: every film's Dice by source.

    ``most_opaque``: of the films drawn behind the heart whose opacity is known, the tenth with most
    of it; None where it is known of none.
    """

    head: Head
    behind_heart: MaskRow
    most_opaque: MaskRow | None
    by_source: tuple[MaskRow, ...]
    points: dict[str, list[float]]


def evaluate_lungs(bundle: Bundle, data: Data, split: str) -> LungEvaluation:
    """Return Dice and IoU on one split, on the grid of the network, cleaned as it is served."""
    cases = [case for case in of_split(read_cases(data), split) if case.mask is not None]
    finder = lung_finder(bundle)
    found = [finder.find(read_film(case.path)).mask for case in cases]
    drawn = load_masks(cases, found[0].shape) > 0.5
    overlap = np.array([dice(d, f) for d, f in zip(drawn, found, strict=True)])
    union = np.array([intersection_over_union(d, f) for d, f in zip(drawn, found, strict=True)])
    behind = [i for i, case in enumerate(cases) if case.mask_convention != EXCLUDING_HEART]
    opaque = sorted(
        (i for i in behind if scored_opacity(cases[i]) is not None),
        key=lambda i: -(scored_opacity(cases[i]) or 0),
    )
    tenth = opaque[: -(-len(opaque) // 10)]
    says = f"of {len(opaque)} of them whose opacity is known, the most opaque tenth"
    sources = sorted({case.mask_source for case in cases})
    members = {s: [i for i, case in enumerate(cases) if case.mask_source == s] for s in sources}
    return LungEvaluation(
        head=head_of(bundle, split, cases),
        behind_heart=_row("all that are drawn behind the heart", cases, behind, overlap, union),
        most_opaque=_row(says, cases, tenth, overlap, union) if tenth else None,
        by_source=tuple(_row(s, cases, members[s], overlap, union) for s in sources),
        points={s: [float(overlap[i]) for i in members[s]] for s in sources},
    )


def _row(
    source: str,
    cases: Sequence[Case],
    chosen: Sequence[int],
    overlap: np.ndarray,
    union: np.ndarray,
) -> MaskRow:
    draw = Bootstrap([cases[i].patient for i in chosen])
    own = overlap[list(chosen)]
    return MaskRow(
        source=source,
        convention=cases[chosen[0]].mask_convention,
        films=len(chosen),
        dice=draw(lambda values: float(values.mean()), own),
        iou=draw(lambda values: float(values.mean()), union[list(chosen)]),
        median_dice=float(np.median(own)),
        tenth_percentile_dice=float(np.quantile(own, 0.1)),
    )
