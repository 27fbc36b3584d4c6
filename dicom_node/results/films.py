"""What results are written from: films with their findings, and the circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_node.findings import FilmFindings, SaliencyMap
from dicom_node.results.cards import NetworkCard
from dicom_node.results.templates import Template
from dicom_node.uids import derived_uid


@dataclass(frozen=True, slots=True, eq=False)
class AnalysedFilm:
    """One film.

    ``dataset``: the source as received. ``film``: display grey levels, float32 in [0, 1], bright =
    dense, shape (Rows, Columns). ``digest``: SHA-256 of the stored source.
    """

    dataset: Dataset
    film: npt.NDArray[np.float32]
    findings: FilmFindings
    saliency: tuple[SaliencyMap, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Context:
    """Everything about a report that is not the films.

    ``revision``: 1 for the first report of a study. ``predecessors``: SOP class, SOP instance and
    series UID of the reports it replaces. ``analysed_at``: aware; start of the analysis.
    """

    node_ae_title: str
    template: Template
    series_number_base: int
    networks: Mapping[str, NetworkCard]
    revision: int
    predecessors: tuple[tuple[str, str, str], ...]
    analysed_at: datetime

    def series_uid(self, source: Dataset, kind: str) -> str:
        """Return the series of a kind of object: one a study and node, whatever the suite."""
        return derived_uid("series", str(source.StudyInstanceUID), kind, self.node_ae_title)

    def suite(self) -> str:
        """Return what names the suite in derived UIDs."""
        return "|".join(
            f"{card.id}:{card.version}:{card.weights}" for card in self.networks.values()
        )
