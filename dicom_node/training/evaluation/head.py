"""What all evaluations have in common: whose figures they are, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dicom_node.bundles import Bundle
from dicom_node.training.datasets.cases import Case


@dataclass(frozen=True, slots=True)
class Head:
    """Which weights, on which films."""

    bundle: str
    version: str
    weights: str
    task: str
    split: str
    films: int
    patients: int


def head_of(bundle: Bundle, split: str, cases: Sequence[Case]) -> Head:
    """Return the head of an evaluation of ``bundle`` on these films."""
    manifest = bundle.manifest
    return Head(
        bundle.id, manifest.version, manifest.weights.digest, manifest.task, split,
        len(cases), len({case.patient for case in cases}),
    )  # fmt: skip


def to_json(evaluation: Any) -> dict[str, Any]:
    """Return plain values, numbers rounded to four decimals; the head's keys come first."""
    document: dict[str, Any] = rounded(asdict(evaluation))
    return {**document.pop("head"), **document}


def rounded(value: Any) -> Any:
    """Return the same structure with floats of four decimals and no NaN."""
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else round(float(value), 4)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
