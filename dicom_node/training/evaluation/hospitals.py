"""What the networks of a course answer on films of many hospitals, as the node's engine gives it.

Every ``every``-th film of a split of each source is looked at, more often where a source has few.
Sources that no network learned from (``UNSEEN``) are counted apart. Intervals: 95 %, by the
bootstrap over patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from dicom_node.analysis.engine import Engine
from dicom_node.bundles import open_bundle
from dicom_node.findings import FINDING_CLASSES, ZONES, Explanation, FilmFindings, Outcome, Region
from dicom_node.imaging.opaque import GRID, LEVEL, drawn
from dicom_node.imaging.prepare import resized
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, Data, of_split, read_cases, read_film
from dicom_node.training.evaluation.bootstrap import Bootstrap
from dicom_node.training.evaluation.head import rounded
from dicom_node.training.teaching.packs import OPAQUE_PART
from dicom_node.training.teaching.severity_data import drawn_on

SIIM, UNSEEN, LEAST = "SIIM", "Pakistan", 60
Values = npt.NDArray[Any]
Answered = Sequence[tuple[Case, FilmFindings]]
Row = dict[str, Any]
OnFilm = Callable[[int, int], None]


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
        for case in films[:: max(1, min(every, len(films) // LEAST))]
    ]


def evaluate_suite(
    suite: Sequence[str], data: Data, models: Path, *, split: str = "test", every: int = 6,
    gate: str = "", on_film: OnFilm | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Return the figures of each bundle of a suite by its id, as plain values.

    The first bundle of the suite is its detection network. Raises as `Engine` and `read_cases`.
    """
    engine = Engine(models, suite, lungs="lung-unet", gate=gate)
    cases = chosen(of_split(read_cases(data), split), every)
    answered: list[tuple[Case, FilmFindings]] = []
    overlaps: list[tuple[Case, float]] = []
    for number, case in enumerate(cases, start=1):
        film = read_film(case.path)
        findings, explanation = engine.analyse(film, case.image_id)
        answered.append((case, findings))
        if case.lesions is not None and explanation.opacity is not None:
            overlaps.append((case, _overlap(case, film.shape, explanation)))
        if on_film:
            on_film(number, len(cases))
    kept = [(c, f) for c, f in answered if f.outcome is Outcome.ANALYSED]
    declined = np.array([f.outcome is Outcome.DECLINED for _, f in answered], dtype=float)
    first = [_mean("declined by the input gate", answered, declined)]
    by_task = {
        "detection": [*first, *of_classes(kept), *of_opacity(kept), *of_groups(kept)],
        "map": of_map(kept, overlaps),
        "airspace": of_zones(kept),
    }
    found = {}
    for bundle_id in suite:
        bundle = open_bundle(models, bundle_id)
        task = bundle.manifest.task
        rows = by_task[task] if task in by_task else of_extent(kept, bundle.manifest.outputs[0])
        found[bundle_id] = rounded({
            "bundle": bundle_id, "version": bundle.manifest.version,
            "weights": bundle.manifest.weights.digest, "task": "suite", "split": split,
            "every": every, "suite": list(suite), "films": len(answered),
            "figures": rows,
        })  # fmt: skip
    return found


def _overlap(case: Case, shape: tuple[int, ...], explanation: Explanation) -> float:
    """Return the Dice of the mapped opacity with the outlined one, on the map's crop."""
    opacity, outlined = explanation.opacity, drawn_on(case, shape, ())
    if opacity is None or outlined is None:
        return 0.0
    whole = Region(0, 0, *shape)
    mapped = drawn(opacity, explanation.lungs, whole, opacity.region, GRID) > LEVEL
    truth = resized(outlined, opacity.region, GRID) > LEVEL
    return metrics.dice(truth, mapped)


def _named(answered: Answered) -> Values:
    """Return the class that each film was given, "" where none was."""
    return np.array([
        "" if f.finding is None or f.finding.abstained else f.finding.finding_class
        for _, f in answered
    ])  # fmt: skip


def _row(
    name: str, answered: Sequence[tuple[Case, Any]], figure: Callable[..., float], *arrays: Values
) -> Row:
    """Return a figure of these films with its interval."""
    again = Bootstrap([case.patient for case, _ in answered])
    return {"figure": name, "films": len(answered), **asdict(again(figure, *arrays))}


def _mean(name: str, answered: Sequence[tuple[Case, Any]], values: Values) -> Row:
    return _row(name, answered, np.mean, values)


def _area(name: str, answered: Answered, positive: Values, scores: Values) -> Row:
    return _row(name, answered, metrics.area_under_curve, positive, scores)


def _probabilities(answered: Answered) -> Values:
    """Return the probabilities of the three classes, (films, 3)."""
    return np.array([
        [f.finding.probabilities[k] for k in FINDING_CLASSES] for _, f in answered if f.finding
    ])  # fmt: skip


def _of_three(answered: Answered) -> list[tuple[Case, FilmFindings]]:
    return [(c, f) for c, f in answered if c.finding in FINDING_CLASSES and f.finding]


def _balanced(name: str, answered: Answered) -> Row:
    labels = np.array([FINDING_CLASSES.index(c.finding) for c, _ in answered])
    return _row(name, answered, metrics.balanced_accuracy, labels, _probabilities(answered))


def of_classes(answered: Answered) -> list[Row]:
    """Return how films of three classes were named, within sources and by appearance."""
    known = _of_three(answered)
    ours = [(c, f) for c, f in known if not c.source.startswith(UNSEEN)]
    undetermined = _named(ours) == ""
    right = np.array([c.finding for c, _ in ours]) == _named(ours)
    sure = [pair for pair, without in zip(ours, undetermined, strict=True) if not without]
    rows = [
        _balanced("three classes, balanced accuracy (the likeliest class)", ours),
        _mean("undetermined", ours, undetermined.astype(float)),
        _mean("of the answered, right", sure, right[~undetermined].astype(float)),
    ]
    first = [(c, f) for c, f in ours if c.source.startswith(("NIH", "OpenIST", "covid-chest",
             "Hannover", "Actualmed", "Figure1"))]  # fmt: skip
    if first:
        rows.append(_balanced("three classes, the sources of the first edition", first))
    nih = [
        (c, f) for c, f in known
        if c.source.startswith("NIH")
        and (c.finding == "normal" or c.reader_class == "Lung Opacity")
    ]  # fmt: skip
    cohen = [(c, f) for c, f in known if c.source.startswith("covid-chest")
             and c.finding != "normal"]  # fmt: skip
    for says, films, finding in (
        ("within NIH, not normal where a radiologist confirmed pneumonia, AUC", nih, "pneumonia"),
        ("within Cohen, COVID-19 against pneumonia, AUC", cohen, "covid19"),
    ):
        if films:
            truth = np.array([c.finding == finding for c, _ in films])
            found = _probabilities(films)
            scores = 1 - found[:, 0] if finding == "pneumonia" else found[:, 2] - found[:, 1]
            rows.append(_area(says, films, truth, scores))
    for source, finding, says in (
        (SIIM, "normal", "read as negative"), (SIIM, "covid19", "typical"),
        (UNSEEN, "normal", "normal, of a set that detection never learned from"),
    ):  # fmt: skip
        of = [(c, f) for c, f in known if c.source.startswith(source) and c.finding == finding]
        if of:
            rows += [
                _mean(f"{says}: called {name or 'undetermined'}", of, (_named(of) == name) * 1.0)
                for name in (*FINDING_CLASSES, "")
            ]
    return rows


def of_groups(answered: Answered) -> list[Row]:
    """Return the part named rightly by source, projection, sex and age where they are known."""
    known = _of_three(answered)
    groups: defaultdict[str, list[tuple[Case, FilmFindings]]] = defaultdict(list)
    for case, findings in known:
        groups[f"source {case.source}"].append((case, findings))
        if case.view in {"PA", "AP"}:
            groups[f"projection {case.view}"].append((case, findings))
        if case.sex in {"M", "F"}:
            groups[f"sex {case.sex}"].append((case, findings))
        if case.age is not None:
            groups[f"age {'below 60' if case.age < 60 else '60 and more'}"].append((case, findings))
    return [
        _mean(
            f"{name}: named rightly", films,
            (np.array([c.finding for c, _ in films]) == _named(films)).astype(float),
        )
        for name, films in sorted(groups.items())
        if len(films) >= LEAST // 3
    ]  # fmt: skip


def of_opacity(answered: Answered) -> list[Row]:
    """Return how opacity and appearance are told apart on the SIIM films."""
    siim = [(c, f) for c, f in answered if c.appearance_class]
    rows = []
    told = [(c, f, f.opacity) for c, f in siim if f.opacity]
    if told:
        rows.append(_area(
            "SIIM, opacity against none, AUC", [(c, f) for c, f, _ in told],
            np.array([c.appearance_class != "negative" for c, _, _ in told]),
            np.array([o.probability for _, _, o in told]),
        ))  # fmt: skip
    clear = [(c, f) for c, f in siim if c.appearance_class in {"negative", "typical"} and f.finding]
    if clear:
        rows.append(_area(
            "SIIM, typical against negative, AUC of COVID-19", clear,
            np.array([c.appearance_class == "typical" for c, _ in clear]),
            _probabilities(clear)[:, 2],
        ))  # fmt: skip
    seen = [(c, f, f.appearance) for c, f in siim if f.appearance]
    if seen:
        rows.append(_area(
            "SIIM, typical against all others, AUC of the appearance", [(c, f) for c, f, _ in seen],
            np.array([c.appearance_class == "typical" for c, _, _ in seen]),
            np.array([a.probabilities["typical"] for _, _, a in seen]),
        ))  # fmt: skip
    return rows


def of_map(answered: Answered, overlaps: Sequence[tuple[Case, float]]) -> list[Row]:
    """Return how the mapped opacity agrees with what was outlined or boxed."""
    rows = []
    if overlaps:
        rows.append(_mean("outlined opacities, Dice", overlaps, np.array([d for _, d in overlaps])))
    mapped = [
        (c, f, f.opacity_map.lungs) for c, f in answered
        if f.opacity_map and f.opacity_map.lungs is not None
    ]  # fmt: skip
    boxed = [(c, f, part) for c, f, part in mapped if c.appearance_class and c.box_fraction]
    clear = [(c, f, part) for c, f, part in mapped if c.appearance_class == "negative"]
    if boxed:
        rows.append(_row(
            "SIIM, films with boxes: mapped part of the lungs against the boxes', Spearman",
            [(c, f) for c, f, _ in boxed], _ranked,
            np.array([part for _, _, part in boxed]),
            np.array([c.box_fraction for c, _, _ in boxed]),
        ))  # fmt: skip
    if clear:
        rows.append(_mean(
            "SIIM, read as negative: something is mapped", [(c, f) for c, f, _ in clear],
            np.array([part > 0.01 for _, _, part in clear], dtype=float),
        ))  # fmt: skip
    return rows


def _ranked(one: Values, other: Values) -> float:
    """Return Spearman's correlation; of values that are all alike there is none (NaN)."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other)[0])


def _area_of_all(positive: Values, scores: Values) -> float:
    return metrics.area_under_curve(positive.ravel(), scores.ravel())


def of_zones(answered: Answered) -> list[Row]:
    """Return zones and levels of the SIIM films and of those whose zones were scored."""
    rows = []
    for says, films in (
        ("SIIM", [(c, f) for c, f in answered if f.airspace and c.appearance_class]),
        ("Brixia", [(c, f) for c, f in answered if f.airspace and c.zones]),
    ):
        zoned = [
            (c, f, f.airspace) for c, f in films
            if f.airspace and (c.zones or (c.zone_fractions and c.airspace_level is not None))
        ]  # fmt: skip
        if zoned:
            opaque = np.array([_opaque_of(c) for c, _, _ in zoned])
            score = np.array([[a.zones[name] for name in ZONES] for _, _, a in zoned])
            where = [(c, f) for c, f, _ in zoned]
            rows.append(
                _row(f"{says}, zones with opacity, AUC", where, _area_of_all, opaque, score)
            )
        levelled = [(c, f, f.airspace) for c, f in films
                    if f.airspace and c.airspace_level is not None]  # fmt: skip
        if levelled:
            rows += _of_levels(says, levelled)
    return rows


def _opaque_of(case: Case) -> list[bool]:
    if case.zones:
        return [score > 0 for score in case.zones]
    return [part > OPAQUE_PART for part in case.zone_fractions or ()]


def _of_levels(says: str, levelled: Sequence[tuple[Case, FilmFindings, Any]]) -> list[Row]:
    """Return the table of the CXR-S paper: balanced, sensitivity and predictive value a level."""
    films = [(c, f) for c, f, _ in levelled]
    truth = np.array([c.airspace_level for c, _, _ in levelled])
    given = np.array([a.level for _, _, a in levelled])
    rows = [_row(f"{says}, airspace level, balanced accuracy", films, metrics.balanced_accuracy,
                 truth, np.eye(3)[given])]  # fmt: skip
    for level in range(3):
        for name, part in (("sensitivity", truth == level), ("predictive value", given == level)):
            if part.any():
                rows.append(_mean(
                    f"{says}, level {level}: {name}",
                    [film for film, counted in zip(films, part, strict=True) if counted],
                    (truth == given)[part].astype(float),
                ))  # fmt: skip
    some = truth > 0
    if len(set(truth[some].tolist())) == 2:
        sums = np.array([sum(a.zones.values()) for _, _, a in levelled])
        rows.append(_area(
            f"{says}, level 2 against 1, AUC of the zones' sum",
            [film for film, counted in zip(films, some, strict=True) if counted],
            truth[some] == 2, sums[some],
        ))  # fmt: skip
    return rows


def of_extent(answered: Answered, output: Any) -> list[Row]:
    """Return the errors and intervals of one extent on films that were scored."""
    name = output.reported_as or output.name
    films = [
        (c, f, f.scores[name]) for c, f in answered
        if getattr(c, name, None) is not None and name in f.scores
    ]  # fmt: skip
    if not films:
        return []
    where = [(c, f) for c, f, _ in films]
    truth = np.array([getattr(c, name) for c, _, _ in films])
    value, low, high = (
        np.array([getattr(score, key) for _, _, score in films], dtype=float)
        for key in ("value", "low", "high")
    )
    says = name.replace("_", " ")
    rows = [
        _mean(f"{says}, mean absolute error", where, np.abs(truth - value)),
        _row(f"{says}, R²", where, metrics.r_squared, truth, value),
        _row(f"{says}, 90 % interval: coverage", where, metrics.coverage, truth, low, high),
        _mean(f"{says}, 90 % interval: width", where, high - low),
    ]
    boxed = [(c, f, f.scores[name]) for c, f in answered
             if c.appearance_class and c.box_fraction is not None and name in f.scores]  # fmt: skip
    if boxed:
        rows.append(_row(
            f"SIIM, {says} against the boxes' part of the lungs, Spearman",
            [(c, f) for c, f, _ in boxed], _ranked,
            np.array([s.value for _, _, s in boxed]),
            np.array([c.box_fraction for c, _, _ in boxed]),
        ))  # fmt: skip
    return rows
