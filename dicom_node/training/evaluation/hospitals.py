"""What the networks of a course answer on films of many hospitals, as the node's engine gives it.

Every ``every``-th film of a split of each source is looked at, more often where a source has few.
Sources that no network learned from (`rows.UNSEEN`) are counted apart, and so are children.
Intervals: 95 %, by the bootstrap over patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.analysis.engine import Engine
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.chest import FINDING_CLASSES
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.training.datasets.cases import Case, Data, of_split, read_cases
from dicom_node.training.evaluation import suite_classes, suite_severity
from dicom_node.training.evaluation.answers import AnsweredFilm, answered_films, answers_file
from dicom_node.training.evaluation.controls import controlled, of_controls
from dicom_node.training.evaluation.head import rounded
from dicom_node.training.evaluation.rows import LEAST, mean

CHILD = "child"
Telling = Callable[[str, int, int], None]
"""Called with what is done, how many films of it, of how many."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Which films are measured, one in ``every`` of a split, and the folder of kept answers."""

    data: Data
    split: str
    every: int
    answers: Path


def chosen(cases: Sequence[Case], every: int) -> list[Case]:
    """Return every ``every``-th film of each source, more often where that leaves less than 60.

    Films that say nothing of opacities or the three classes are left out, and children's.
    """
    by_source: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case.age_group != CHILD and (case.finding in FINDING_CLASSES or case.appearance_class):
            by_source[case.source].append(case)
    return [
        case
        for films in by_source.values()
        for case in films[:: max(1, min(every, len(films) // LEAST))]
    ]


def evaluate_suite(
    suite: Sequence[str], models: Path, wanted: Measured, tell: Telling, *, gate: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the figures of each bundle of a suite by its id, as plain values.

    The first bundle of the suite is its detection network. Raises as `Engine` and `read_cases`.
    """
    engine = Engine(models, suite, lungs="lung-unet", gate=gate)
    cases = chosen(of_split(read_cases(wanted.data), wanted.split), wanted.every)
    path = answers_file(engine, models, wanted.answers)
    answered = answered_films(
        engine, cases, path, lambda done, of: tell("films are analysed", done, of)
    )
    children = answered_films(
        engine, children_of(wanted), path, lambda done, of: tell("children's films", done, of)
    )
    bundles = [open_bundle(models, bundle_id) for bundle_id in suite]
    controls = of_controls(
        bundles[0], controlled(cases), lambda done, of: tell("controls", done, of)
    )
    return {
        bundle.id: rounded({
            "bundle": bundle.id, "version": bundle.manifest.version,
            "weights": bundle.manifest.weights.digest, "task": "suite", "split": wanted.split,
            "every": wanted.every, "suite": list(suite), "films": len(answered),
            "patients": len({film.case.patient for film in answered}),
            **_figures(bundle, answered, children, controls),
        })
        for bundle in bundles
    }  # fmt: skip


def children_of(wanted: Measured) -> list[Case]:
    """Return the split's films of children: sets do not recommend them for anything else."""
    cases = of_split(read_cases(wanted.data, recommended_only=False), wanted.split)
    return [case for case in cases if case.age_group == CHILD and case.finding in FINDING_CLASSES]


def _figures(
    bundle: Bundle, answered: Sequence[AnsweredFilm], children: Sequence[AnsweredFilm],
    controls: Sequence[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """Return what one bundle's task is measured by."""
    films = [film for film in answered if film.findings.outcome is Outcome.ANALYSED]
    kept = _pairs(films)
    task = bundle.manifest.task
    if task == "detection":
        return _of_detection(_pairs(answered), kept, _pairs(children), controls)
    if task == "map":
        return {"figures": suite_severity.of_map(films)}
    if task == "airspace":
        return {
            "figures": suite_severity.of_zones(kept),
            "classes": ["level 0", "level 1", "level 2"],
            "confusion": suite_severity.level_confusion(kept),
        }
    output = bundle.manifest.outputs[0]
    name = output.reported_as or output.name
    return {
        "figures": suite_severity.of_extent(kept, name),
        "points": suite_severity.extent_points(kept, name),
    }


def _pairs(films: Sequence[AnsweredFilm]) -> list[tuple[Case, FilmFindings]]:
    return [(film.case, film.findings) for film in films]


def _of_detection(
    answered: Sequence[tuple[Case, FilmFindings]], kept: Sequence[tuple[Case, FilmFindings]],
    children: Sequence[tuple[Case, FilmFindings]], controls: Sequence[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    declined = np.array([f.outcome is Outcome.DECLINED for _, f in answered], dtype=float)
    return {
        "figures": [
            mean("declined by the input gate", answered, declined),
            *suite_classes.of_classes(kept), *suite_classes.of_opacity(kept),
            *suite_classes.of_groups(kept), *suite_classes.of_calibration(kept), *controls,
            *suite_classes.of_children(children),
        ],
        "classes": list(FINDING_CLASSES),
        "confusion": suite_classes.confusion(kept),
        "reliability": suite_classes.reliability(kept),
        "decisions": suite_classes.decisions(kept),
        "mistakes": suite_classes.mistakes(kept),
    }  # fmt: skip
