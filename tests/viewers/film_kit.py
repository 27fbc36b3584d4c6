"""A film for viewers to open."""

from __future__ import annotations

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.results.films import AnalysedFilm
from tests.results.conftest import analysed, reread


def phantom_film(seed: int = 77, **keys: int) -> AnalysedFilm:
    """Return a phantom as the node reads it, with invented findings."""
    return analysed(reread(phantom_dataset(seed=seed, **keys)))
