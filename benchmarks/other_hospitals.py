"""What a suite answers on films of many hospitals, as the node's engine gives it.

``python benchmarks/other_hospitals.py --data DIR --suite ID…`` looks at every ``--every``-th film
of a split of each source and prints the figures; ``--write ID…`` also stores them as
``evaluation.json`` of these bundles and renews the tables of their cards. Sources that no network
learned from (``UNSEEN``) are counted apart. Intervals: 95 %, by the bootstrap over patients.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dicom_node import resources
from dicom_node.analysis.engine import Engine
from dicom_node.bundles import CARD, EVALUATION, open_bundle
from dicom_node.findings import FINDING_CLASSES, ZONES, FilmFindings, Outcome
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, of_split, read_cases, read_film
from dicom_node.training.evaluation.bootstrap import Bootstrap
from dicom_node.training.evaluation.card import card_with_tables
from dicom_node.training.teaching.packs import OPAQUE_PART

SIIM, UNSEEN = "SIIM", "Pakistan"
Answered = list[tuple[Case, FilmFindings]]


def chosen(cases: Sequence[Case], every: int) -> list[Case]:
    """Return every ``every``-th film of each source, more often where that leaves less than 60.

    Films that say nothing of opacities or the three classes are left out.
    """
    by_source: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case.finding in FINDING_CLASSES or case.appearance_class:
            by_source[case.source].append(case)
    return [
        case
        for films in by_source.values()
        for case in films[:: max(1, min(every, len(films) // 60))]
    ]


def _named(answered: Answered) -> np.ndarray:
    """Return the class that each film was given, "" where none was."""
    return np.array([
        "" if f.finding is None or f.finding.abstained else f.finding.finding_class
        for _, f in answered
    ])  # fmt: skip


def _row(name: str, answered: Answered, figure: Callable[..., float], *arrays: np.ndarray) -> dict:
    """Return a figure of these films with its interval."""
    again = Bootstrap([case.patient for case, _ in answered])
    return {"figure": name, "films": len(answered), **asdict(again(figure, *arrays))}


def _mean(name: str, answered: Answered, values: np.ndarray) -> dict:
    return _row(name, answered, np.mean, values)


def _area(name: str, answered: Answered, positive: np.ndarray, scores: np.ndarray) -> dict:
    return _row(name, answered, metrics.area_under_curve, positive, scores)


def of_classes(answered: Answered) -> list[dict]:
    """Return how films of three classes were named, within sources and by appearance."""
    rows = []
    known = [(c, f) for c, f in answered if c.finding in FINDING_CLASSES and f.finding]
    ours = [(c, f) for c, f in known if not c.source.startswith(UNSEEN)]
    labels = np.array([FINDING_CLASSES.index(c.finding) for c, _ in ours])
    found = np.array([[f.finding.probabilities[k] for k in FINDING_CLASSES] for _, f in ours])
    says = "three classes, balanced accuracy (the likeliest class)"
    rows.append(_row(says, ours, metrics.balanced_accuracy, labels, found))
    rows.append(_mean("undetermined", ours, (_named(ours) == "").astype(float)))
    nih = [
        (c, f) for c, f in known
        if c.source.startswith(("NIH", "RSNA"))
        and (c.finding == "normal" or c.reader_class == "Lung Opacity")
    ]  # fmt: skip
    rows.append(_area(
        "within NIH, pneumonia that a radiologist confirmed, AUC", nih,
        np.array([c.finding == "pneumonia" for c, _ in nih]),
        np.array([1 - f.finding.probabilities["normal"] for _, f in nih]),
    ))  # fmt: skip
    for source, finding, says in (
        (SIIM, "normal", "read as negative"), (SIIM, "covid19", "typical"),
        (UNSEEN, "normal", "normal, of a hospital that no network learned from"),
    ):  # fmt: skip
        of = [(c, f) for c, f in known if c.source.startswith(source) and c.finding == finding]
        if of:
            rows += [
                _mean(f"{says}: called {name or 'undetermined'}", of, (_named(of) == name) * 1.0)
                for name in (*FINDING_CLASSES, "")
            ]
    return rows


def of_opacity(answered: Answered) -> list[dict]:
    """Return how opacity and appearance are told apart on the SIIM films."""
    siim = [(c, f) for c, f in answered if c.appearance_class and f.outcome is Outcome.ANALYSED]
    rows = []
    if siim and siim[0][1].opacity:
        rows.append(_area(
            "SIIM, opacity against none, AUC", siim,
            np.array([c.appearance_class != "negative" for c, _ in siim]),
            np.array([f.opacity.probability for _, f in siim]),
        ))  # fmt: skip
    clear = [(c, f) for c, f in siim if c.appearance_class in {"negative", "typical"}]
    rows.append(_area(
        "SIIM, typical against negative, AUC of COVID-19", clear,
        np.array([c.appearance_class == "typical" for c, _ in clear]),
        np.array([f.finding.probabilities["covid19"] for _, f in clear]),
    ))  # fmt: skip
    if siim and siim[0][1].appearance:
        rows.append(_area(
            "SIIM, typical against all others, AUC of the appearance", siim,
            np.array([c.appearance_class == "typical" for c, _ in siim]),
            np.array([f.appearance.probabilities["typical"] for _, f in siim]),
        ))  # fmt: skip
    return rows


def _area_of_all(positive: np.ndarray, scores: np.ndarray) -> float:
    return metrics.area_under_curve(positive.ravel(), scores.ravel())


def of_severity(answered: Answered) -> list[dict]:
    """Return zones and levels of the SIIM films, and the extents of films that were scored."""
    graded = [(c, f) for c, f in answered if f.airspace and c.appearance_class]
    zoned = [
        (c, f) for c, f in graded if c.zone_fractions and c.airspace_level is not None
    ]  # fmt: skip
    rows = []
    if zoned:
        opaque = np.array([[z > OPAQUE_PART for z in c.zone_fractions] for c, _ in zoned])
        score = np.array([[f.airspace.zones[name] for name in ZONES] for _, f in zoned])
        rows.append(_row("SIIM, zones with opacity, AUC", zoned, _area_of_all, opaque, score))
    levelled = [(c, f) for c, f in graded if c.airspace_level is not None]
    if levelled:
        truth = np.array([c.airspace_level for c, _ in levelled])
        given = np.eye(3)[[f.airspace.level for _, f in levelled]]
        says = "SIIM, airspace level, balanced accuracy"
        rows.append(_row(says, levelled, metrics.balanced_accuracy, truth, given))
    for name in ("geographic_extent", "opacity_extent"):
        scored = [
            (c, f) for c, f in answered if getattr(c, name) is not None and name in f.scores
        ]  # fmt: skip
        if scored:
            truth = np.array([getattr(c, name) for c, _ in scored])
            given = np.array([f.scores[name].value for _, f in scored])
            rows.append(_mean(f"{name.replace('_', ' ')}, mean absolute error", scored,
                                np.abs(truth - given)))  # fmt: skip
    return rows


def main() -> None:
    """Print the figures, and store them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DICOM_NODE_DATA"))
    parser.add_argument("--suite", nargs="+", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--models", type=Path, default=resources.model_bundles())
    parser.add_argument("--write", nargs="*", default=[])
    given = parser.parse_args()
    engine = Engine(given.models, given.suite, lungs="lung-unet")
    cases = chosen(of_split(read_cases(given.data), given.split), given.every)
    answered: Answered = []
    for number, case in enumerate(cases, start=1):
        answered.append((case, engine.analyse(read_film(case.path), case.image_id)[0]))
        if number % 50 == 0:
            print(f"{number} of {len(cases)} films", flush=True)
    kept = [(c, f) for c, f in answered if f.outcome is Outcome.ANALYSED]
    declined = np.array([f.outcome is Outcome.DECLINED for _, f in answered], dtype=float)
    figures = [_mean("declined by the input gate", answered, declined)]
    figures += of_classes(kept) + of_opacity(kept) + of_severity(kept)
    for row in figures:
        low, high = row["low"], row["high"]
        around = "" if low is None else f" ({low:.3f}-{high:.3f})"
        print(f"{row['figure']:70} {row['value']:.3f}{around} n={row['films']}")
    for name in given.write:
        bundle = open_bundle(given.models, name)
        rounded = [
            {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
            for row in figures
        ]  # fmt: skip
        document = {
            "bundle": name, "version": bundle.manifest.version,
            "weights": bundle.manifest.weights.digest, "task": "suite", "split": given.split,
            "every": given.every, "suite": given.suite, "films": len(answered), "figures": rounded,
        }  # fmt: skip
        path = bundle.folder / EVALUATION
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf8")
        (bundle.folder / CARD).write_text(card_with_tables(bundle.folder), encoding="utf8")


if __name__ == "__main__":
    main()
