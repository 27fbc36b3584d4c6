"""The bundles of a course that has ended: weights, and what the validation films decide.

A manifest's texts and its contract stay as they are in ``models/<id>/model.toml``; version,
weights, thresholds, calibration and training are written anew.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.calibration import flags, probabilities
from dicom_node.bundles import MANIFEST, Bundle
from dicom_node.chest import FINDING_CLASSES, OPAQUE_PART
from dicom_node.networks.chest_gate import FLAGS, KINDS
from dicom_node.training.teaching.bundle_files import store_weights, write_bundle
from dicom_node.training.teaching.calibrate import (
    Scale,
    conformal,
    finding_scale,
    fit_flag,
    fit_scale,
    shares,
)
from dicom_node.training.teaching.course import COURSE_FILE
from dicom_node.training.teaching.courses import EndedRun
from dicom_node.training.teaching.feed import Arrays
from dicom_node.training.teaching.tasks.chest import NEGATIVE, SCORES

Tables = dict[str, dict[str, Any]]
UNANSWERED = 0.05
"""The part of the films of ``val`` that is too unsure to be answered."""

MARKED = 1 / 6
"""The part of the films of ``val`` read as negative whose map may say that there are opacities."""

PASSED = 0.998
"""The part of the frontal chest films of ``val`` that a gate lets pass at least."""


def write_bundles(told: EndedRun, models: Path) -> list[Bundle]:
    """Write the course's bundles, the trunk's first, and return them.

    Cards and ``evaluation.json`` stay as they are: `evaluate --write` renews them.
    """
    tables = _of_chest(told) if told.course.task == "chest" else {"chest-gate": _of_gate(told)}
    written = []
    for bundle_id, network in told.task.networks.items():
        folder = models / bundle_id
        before = tomllib.loads((folder / MANIFEST).read_text(encoding="utf8"))
        weights = store_weights(network, folder, told.course.version)
        document = {
            **{key: value for key, value in before.items() if key != "cost"},
            "version": told.course.version,
            "input": before["input"] | dict.fromkeys(("rows", "columns"), told.course.size),
            **tables[bundle_id],
            "training": _training(told, before),
            "weights": weights,
        }
        written.append(write_bundle(folder, document, network))
    return written


def _training(told: EndedRun, before: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data": before.get("training", {}).get("data", ""),
        "films": len(told.taught),
        "patients": len({case.patient or case.image_id for case in told.taught}),
        "validation_films": len(told.cases),
        "epochs": told.course.epochs,
        "best_epoch": told.course.epochs,
        "recipe": COURSE_FILE,
    }


def _of_chest(told: EndedRun) -> dict[str, Tables]:
    """Return the tables of thresholds and calibration of the five bundles."""
    known = {name: np.asarray(values, np.float64) for name, values in told.answers.items()}
    cases, targets = told.cases, told.targets
    sources = np.array([case.source[:6] for case in cases])
    finding = finding_scale(cases, known["finding"])
    abstain = _abstain(cases, known["finding"], finding)
    read = targets["appearance"].sum(axis=1) > 0
    appearance = fit_scale(
        known["appearance"][read], targets["appearance"][read].argmax(axis=1), np.ones(read.sum())
    )
    sure = np.isin(targets["opacity"], (0.0, 1.0))
    truth = targets["opacity"][sure].astype(int)
    opacity = fit_flag(known["opacity"][sure, 0], truth, shares(truth, sources[sure]))
    graded = targets["level"] >= 0
    levels = targets["level"][graded].astype(int)
    level = fit_scale(known["airspace"][graded], levels, shares(levels, sources[graded]))
    named = dict.fromkeys(("negative", "typical", "indeterminate", "atypical"), 0.0)
    tables: dict[str, Tables] = {
        "covidnet-pyramid": {
            "thresholds": {"abstain": abstain, "least": {**named, "opacity": 0.5}},
            "calibration": _scales(finding=finding, appearance=appearance, opacity=opacity),
        },
        "opacity-map": {
            "thresholds": {"least": {"opacity_map": map_threshold(cases, told.answers)}},
            "calibration": {},
        },
        "opacity-zones": {
            "thresholds": {},
            "calibration": {
                "fitted_on": "val", "temperature": level.temperature,
                "offsets": {"airspace": list(level.offsets)},
            },
        },
    }  # fmt: skip
    scored = (targets["extents"][:, 0] >= 0) & (targets["drawn"] != NEGATIVE)
    errors = [
        np.abs(known[f"{name}_extent"][:, 0] - targets["extents"][:, place])[scored]
        for place, name in enumerate(SCORES)
    ]
    # Few films are scored: the errors of both extents together tell a width that one alone cannot.
    half = round(conformal(np.concatenate(errors)), 2)
    for name in SCORES:
        tables[f"opacity-extent-{name}"] = {
            "thresholds": {}, "calibration": {"fitted_on": "val", "half_width": half},
        }  # fmt: skip
    return tables


def _abstain(cases: Sequence[Any], logits: npt.NDArray[np.float64], scale: Scale) -> float:
    """Return the probability below which no class is named."""
    three = np.array([case.finding in FINDING_CLASSES for case in cases])
    found = probabilities(logits[three], scale.temperature, scale.offsets)
    return round(float(np.quantile(found.max(axis=1), UNANSWERED)), 2)


def map_threshold(cases: Sequence[Any], answers: Arrays) -> float:
    """Return from which probability on a place of the map is opaque: 0.5, or higher.

    The least at which of the films read as negative no more than `MARKED` count as opaque.
    ``answers``: ``opacity_map``, logits, and ``cells``, the lungs first, (films, rows, columns, …).
    """
    found = flags(np.asarray(answers["opacity_map"], np.float64)[..., 0], 1.0)
    lungs = np.asarray(answers["cells"])[..., 0] > 0.5
    negative = np.array([case.appearance_class == "negative" for case in cases])
    for threshold in np.round(np.arange(0.5, 0.9, 0.05), 2).tolist():
        opaque = ((found >= threshold) & lungs).sum(axis=(1, 2)) / np.maximum(
            1, lungs.sum(axis=(1, 2))
        )
        if not negative.any() or (opaque[negative] >= OPAQUE_PART).mean() <= MARKED:
            return float(threshold)
    return 0.9


def _of_gate(told: EndedRun) -> Tables:
    """Return the gate's thresholds: frontal films pass, and nothing is turned without need."""
    found = probabilities(told.answers["kind"], 1.0)[:, 0]
    frontal = told.targets["kind"][:, 0] > 0
    passing = np.sort(found[frontal])[int((1.0 - PASSED) * frontal.sum())]
    # Not above what half of a logistic says: a gate that was shown more of the rest is shy.
    least = {KINDS[0]: round(min(0.5, float(passing)), 3)}
    told_flags = flags(told.answers["flags"], 1.0)
    for place, name in enumerate(FLAGS):
        least[name] = 0.5
        if name != "child":
            # Films of val lie as they should: a false correction is worse than one left out.
            highest = float(np.quantile(told_flags[frontal, place], 0.999))
            least[name] = round(min(0.95, max(0.5, highest)), 3)
    return {"thresholds": {"least": least}, "calibration": {}}


def _scales(**scales: Scale) -> dict[str, Any]:
    return {
        "fitted_on": "val",
        "temperatures": {name: scale.temperature for name, scale in scales.items()},
        "offsets": {name: list(scale.offsets) for name, scale in scales.items()},
    }
