"""Films with findings of which everything is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from dicom_node.chest import Detection
from dicom_node.findings import (
    Evidence,
    Explanation,
    NetworkVersion,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.resources import report_templates
from dicom_node.results.templates import load_template
from dicom_node.results.write import AnalysedFilm, Context, NetworkCard
from tests.chest_kit import with_answers

WEIGHTS = "sha256:" + "ab" * 32
PROBABILITIES = {"normal": 0.1, "pneumonia": 0.25, "covid19": 0.65}

MakeFilm = Callable[..., AnalysedFilm]


def reread(dataset: Dataset) -> Dataset:
    """Return a data set as the node reads it from its spool."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return read_dataset(buffer.getvalue())


def analysed(
    dataset: Dataset,
    *,
    detection: Detection | None = None,
    heat: np.ndarray | None = None,
    change: float | None = 0.31,
) -> AnalysedFilm:
    """Return ``dataset`` with invented findings."""
    film = film_of(dataset)
    if heat is None:
        heat = np.zeros((15, 15), np.float32)
        heat[8:12, 3:6] = 1
    findings = with_answers(
        str(dataset.SOPInstanceUID),
        finding=detection or Detection(PROBABILITIES, 0.5, calibrated=True),
        evidence=Evidence(change_when_hidden=change),
        suite={"covidnet": NetworkVersion("1.0.0", WEIGHTS)},
    )
    rows, columns = film.shape
    region = Region(rows * 0.08, 0, rows, columns)
    saliency = SaliencyMap("covidnet", "covid19", heat, region)
    return AnalysedFilm(dataset, film, findings, Explanation((saliency,)), "d" * 64)


@pytest.fixture(autouse=True)
def _phantoms(phantoms_drawn_once: None) -> None:
    """Films of these tests differ in what is said of them."""


@pytest.fixture
def make_film() -> MakeFilm:
    """Return a function: keywords of the phantom and of `analysed` to a film."""

    def make(seed: int = 0, *, rows: int = 160, columns: int = 160, **keys: object) -> AnalysedFilm:
        of_phantom = {key: keys.pop(key) for key in ("encoding", "identity") if key in keys}
        dataset = phantom_dataset(seed=seed, rows=rows, columns=columns, **of_phantom)  # type: ignore[arg-type]
        return analysed(reread(dataset), **keys)  # type: ignore[arg-type]

    return make


@pytest.fixture
def context() -> Context:
    """A first report."""
    template = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
    card = NetworkCard("covidnet", "COVID-Net", "1.0.0", WEIGHTS, "research")
    return Context("DICOMNODE", template, 9000, {"covidnet": card}, 1, ())


def second(context: Context, **changes: object) -> Context:
    """Return ``context`` with changes."""
    return replace(context, **changes)  # type: ignore[arg-type]
