"""What a suite names, on films of many hospitals: classes, opacity, appearance, and how surely."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from dicom_node.chest import FINDING_CLASSES
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case
from dicom_node.training.evaluation.classes import MISTAKES
from dicom_node.training.evaluation.rows import (
    LEAST,
    SIIM,
    UNSEEN,
    Answered,
    Row,
    area,
    balanced,
    mean,
    named,
    of_three,
    probabilities,
    row,
)


def of_classes(answered: Answered) -> list[Row]:
    """Return how films of three classes were named, within sources and by appearance."""
    known = of_three(answered)
    ours = [(c, f) for c, f in known if not c.source.startswith(UNSEEN)]
    undetermined = named(ours) == ""
    right = np.array([c.finding for c, _ in ours]) == named(ours)
    sure = [pair for pair, without in zip(ours, undetermined, strict=True) if not without]
    rows = [
        balanced("three classes, balanced accuracy (the likeliest class)", ours),
        mean("undetermined", ours, undetermined.astype(float)),
        mean("of the answered, right", sure, right[~undetermined].astype(float)),
    ]
    first = [(c, f) for c, f in ours if c.source.startswith(("NIH", "OpenIST", "covid-chest",
             "Hannover", "Actualmed", "Figure1"))]  # fmt: skip
    if first:
        rows.append(balanced("three classes, the sources of the first edition", first))
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
            found = probabilities(films)
            scores = 1 - found[:, 0] if finding == "pneumonia" else found[:, 2] - found[:, 1]
            rows.append(area(says, films, truth, scores))
    for source, finding, says in (
        (SIIM, "normal", "read as negative"), (SIIM, "covid19", "typical"),
        (UNSEEN, "normal", "normal, of a set that detection never learned from"),
    ):  # fmt: skip
        of = [(c, f) for c, f in known if c.source.startswith(source) and c.finding == finding]
        if of:
            rows += [
                mean(f"{says}: called {name or 'undetermined'}", of, (named(of) == name) * 1.0)
                for name in (*FINDING_CLASSES, "")
            ]
    return rows


def confusion(answered: Answered) -> list[list[int]]:
    """Return how many films of each class (row) were named each (column), undetermined last."""
    films = of_three(answered)
    pairs = list(zip([case.finding for case, _ in films], named(films), strict=True))
    return [[pairs.count((true, said)) for said in (*FINDING_CLASSES, "")]
            for true in FINDING_CLASSES]  # fmt: skip


def mistakes(answered: Answered) -> list[dict[str, Any]]:
    """Return the wrong films that the network was surest of, surest first."""
    wrong = [
        (case, found.finding) for case, found in of_three(answered)
        if found.finding and not found.finding.abstained
        and found.finding.finding_class != case.finding
    ]  # fmt: skip
    surest = sorted(wrong, key=lambda pair: -max(pair[1].probabilities.values()))
    return [
        {"film": case.image_id, "source": case.source, "true": case.finding,
         "named": finding.finding_class, "probability": max(finding.probabilities.values())}
        for case, finding in surest[:MISTAKES]
    ]  # fmt: skip


def of_calibration(answered: Answered) -> list[Row]:
    """Return the expected calibration error of the named class, of all films and a source."""
    known = of_three(answered)
    rows = [_calibration("expected calibration error", known)] if known else []
    by_source: defaultdict[str, list[tuple[Case, FilmFindings]]] = defaultdict(list)
    for case, findings in known:
        by_source[case.source].append((case, findings))
    return rows + [
        _calibration(f"expected calibration error, source {source}", films)
        for source, films in sorted(by_source.items())
        if len(films) >= LEAST // 2
    ]


def _calibration(says: str, films: Answered) -> Row:
    labels = np.array([FINDING_CLASSES.index(case.finding) for case, _ in films])
    return row(says, films, metrics.expected_calibration_error, labels, probabilities(films))


def reliability(answered: Answered) -> Any:
    """Return stated probability, part that was right and number of films, by probability."""
    known = of_three(answered)
    labels = np.array([FINDING_CLASSES.index(case.finding) for case, _ in known])
    return metrics.reliability(labels, probabilities(known))


def decisions(answered: Answered) -> dict[str, list[list[float]]]:
    """Return decision curves: threshold, net benefit of the network, of acting on every film.

    Of opacity on the SIIM films, and of COVID-19 on films of the three classes; see
    `metrics.net_benefit`.
    """
    read = [(c, f.opacity.probability) for c, f in answered if f.opacity and c.appearance_class]
    known = of_three(answered)
    curves = {
        "opacity": (
            np.array([case.appearance_class != "negative" for case, _ in read]),
            np.array([probability for _, probability in read]),
        ),
        "covid19": (
            np.array([case.finding == "covid19" for case, _ in known]),
            probabilities(known)[:, 2] if known else np.zeros(0),
        ),
    }
    return {
        name: [
            [threshold, metrics.net_benefit(truth, found, threshold),
             metrics.net_benefit(truth, np.ones(len(truth)), threshold)]
            for threshold in np.round(np.arange(0.05, 0.61, 0.05), 2).tolist()
        ]
        for name, (truth, found) in curves.items()
        if len(truth)
    }  # fmt: skip


def of_children(children: Answered) -> list[Row]:
    """Return what the suite says of children's films, of whom no course learned a class."""
    if not children:
        return []
    declined = np.array([f.outcome is Outcome.DECLINED for _, f in children], dtype=float)
    rows = [mean("children: declined by the input gate", children, declined)]
    for true in ("normal", "pneumonia"):
        own = [(c, f) for c, f in of_three(children) if c.finding == true]
        if own:
            rows += [
                mean(f"children, {true}: called {said or 'undetermined'}", own,
                     (named(own) == said).astype(float))
                for said in (*FINDING_CLASSES, "")
            ]  # fmt: skip
    return rows


def of_groups(answered: Answered) -> list[Row]:
    """Return the part named rightly by source, projection, sex and age where they are known."""
    known = of_three(answered)
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
        mean(
            f"{name}: named rightly", films,
            (np.array([c.finding for c, _ in films]) == named(films)).astype(float),
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
        rows.append(area(
            "SIIM, opacity against none, AUC", [(c, f) for c, f, _ in told],
            np.array([c.appearance_class != "negative" for c, _, _ in told]),
            np.array([o.probability for _, _, o in told]),
        ))  # fmt: skip
    clear = [(c, f) for c, f in siim if c.appearance_class in {"negative", "typical"} and f.finding]
    if clear:
        rows.append(area(
            "SIIM, typical against negative, AUC of COVID-19", clear,
            np.array([c.appearance_class == "typical" for c, _ in clear]),
            probabilities(clear)[:, 2],
        ))  # fmt: skip
    seen = [(c, f, f.appearance) for c, f in siim if f.appearance]
    if seen:
        rows.append(area(
            "SIIM, typical against all others, AUC of the appearance", [(c, f) for c, f, _ in seen],
            np.array([c.appearance_class == "typical" for c, _, _ in seen]),
            np.array([a.probabilities["typical"] for _, _, a in seen]),
        ))  # fmt: skip
    return rows
