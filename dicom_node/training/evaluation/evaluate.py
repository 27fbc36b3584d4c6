"""What a bundle can do on films it has not learned from: figures, pictures, the card's tables.

Every figure has a 95 % bootstrap interval over *patients*.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dicom_node.bundles import EVALUATION, open_bundle
from dicom_node.training.datasets.cases import Data
from dicom_node.training.evaluation.classes import evaluate_classes
from dicom_node.training.evaluation.gates import evaluate_gate
from dicom_node.training.evaluation.head import to_json
from dicom_node.training.evaluation.lungs import evaluate_lungs
from dicom_node.training.evaluation.severity import evaluate_airspace, evaluate_score
from dicom_node.training.teaching.course import COURSE_FILE, read_course

SUITE = (
    "covidnet-pyramid", "opacity-map", "opacity-zones", "opacity-extent-geographic",
    "opacity-extent-opacity",
)  # fmt: skip
"""What the course of the pyramid teaches, the detection network first."""

_BY_TASK: dict[str, Any] = {
    "detection": evaluate_classes,
    "segmentation": evaluate_lungs,
    "score": evaluate_score,
    "airspace": evaluate_airspace,
}


def evaluate(bundle_id: str, data: Data, models: Path, split: str = "test") -> dict[str, Any]:
    """Return the figures of ``models/<bundle_id>`` on one split of ``data``, as plain values.

    Raises `BundleError` leaves and `TrainingError`.
    """
    bundle = open_bundle(models, bundle_id)
    if bundle.manifest.task == "gate":
        return evaluate_gate(bundle, data, split)
    return to_json(_BY_TASK[bundle.manifest.task](bundle, data, split))


def course_of(bundle_id: str, models: Path) -> tuple[str, ...]:
    """Return the bundles that are taught, and measured, together with this one; none: ()."""
    course = read_course(models / bundle_id / COURSE_FILE)
    return SUITE if course is not None and course.task == "chest" else ()


def write_evaluation(evaluation: dict[str, Any], models: Path) -> Path:
    """Write ``evaluation.json``, the figures and the card's tables into the bundle.

    Returns the path of ``evaluation.json``.
    """
    from dicom_node.training.evaluation.card import update_card
    from dicom_node.training.evaluation.plots import draw_figures

    folder = models / str(evaluation["bundle"])
    path = folder / EVALUATION
    path.write_text(_text(evaluation), encoding="utf8")
    draw_figures(evaluation, folder / "figures")
    update_card(folder)
    return path


def _text(evaluation: dict[str, Any]) -> str:
    """Return JSON with one line a key: long lists of points stay on theirs."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in evaluation.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
