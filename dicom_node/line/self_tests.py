"""What a declared network says to the built-in self-test film, and whether it says it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from dicom_node import __version__
from dicom_node.analysis.declared import Answering
from dicom_node.analysis.observing import Looked
from dicom_node.bundles import SELF_TEST
from dicom_node.bundles.declared import Declared, WantedPixels
from dicom_node.bundles.network import film_digest, self_test_film, self_test_lungs
from dicom_node.imaging.prepare import Float
from dicom_node.imaging.wanted import seen

_MOST_VALUES, _MOST_BYTES = 64, 1_000_000
_TOLERANCE = 0.01
"""Of the largest number of an output: engines and processors differ by less."""


def self_test_look(pixels: WantedPixels) -> Looked:
    """Return the self-test film as a network sees it; 1 mm a pixel."""
    film, lungs = self_test_film(), self_test_lungs()
    return Looked(seen(film, pixels, lungs), (512, 448), lungs, (1.0, 1.0))


def outputs_of(bundle: Declared, who: Answering) -> dict[str, Float]:
    """Return each output for the self-test film, without the films' axis. Raises `NoAnswer`."""
    looked = self_test_look(bundle.manifest.eats.pixels)
    answers = who.answer(looked.seen.grid[None])
    return {name: np.asarray(value, np.float32)[0] for name, value in answers.items()}


def self_test_text(outputs: Mapping[str, Float], engine: str) -> str:
    """Return what ``self_test.json`` stores: film, engine, version, each output's answer."""
    document = {
        "film": film_digest(self_test_film()),
        "engine": engine,
        "version": __version__,
        "answers": {name: _summary(value) for name, value in outputs.items()},
        "tolerance": _TOLERANCE,
    }
    return json.dumps(document, indent=1) + "\n"


def self_test_fault(folder: Path, outputs: Mapping[str, Float]) -> str | None:
    """Return why a network does not give the stored answers; None: it does."""
    stored = _stored(folder / SELF_TEST)
    if isinstance(stored, str):
        return stored
    answers, tolerance = stored["answers"], float(stored["tolerance"])
    if stored["film"] != film_digest(self_test_film()):
        return "was made with another film"
    if set(answers) != set(outputs):
        return f"has answers of {_names(answers)}; the network has {_names(outputs)}"
    for name, value in outputs.items():
        found, wanted = np.array(_summary(value)), np.array(answers[name], np.float64)
        if found.shape != wanted.shape:
            return f"output {name!r} has {value.size} values, other than when it was made"
        gap = float(np.max(np.abs(found - wanted), initial=0.0))
        if not gap <= tolerance * max(1.0, float(np.max(np.abs(wanted), initial=0.0))):
            return f"output {name!r} is off by {gap:.4g}"
    return None


class _Stored(BaseModel):
    """What is read of ``self_test.json``: film digest, each output's numbers, and how far off."""

    film: str
    answers: dict[str, list[float]]
    tolerance: float


def _stored(path: Path) -> dict[str, Any] | str:
    """Return the document, or what is wrong with it."""
    if path.is_symlink() or not path.is_file():
        return "is missing"
    try:
        if path.stat().st_size > _MOST_BYTES:
            return "is too large"
        told = _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return "cannot be read"
    answers = {name: np.array(value, np.float64) for name, value in told.answers.items()}
    return {"film": told.film, "answers": answers, "tolerance": told.tolerance}


def _summary(values: Float) -> list[float]:
    """Return the values themselves, or the means of 64 parts of many."""
    flat = values.ravel().astype(np.float64)
    parts = flat if flat.size <= _MOST_VALUES else _means(flat)
    return [round(float(value), 6) for value in parts]


def _means(flat: Any) -> list[float]:
    return [float(part.mean()) for part in np.array_split(flat, _MOST_VALUES)]


def _names(named: Mapping[str, object]) -> str:
    return ", ".join(sorted(named)) or "nothing"
