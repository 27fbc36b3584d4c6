"""A node whose suite has bundles that declare what they say, and a film with their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from dicom_node.bundles.declared import Declaration, open_declared
from dicom_node.findings import (
    AreaMap,
    Explanation,
    FilmFindings,
    NetworkVersion,
    Outcome,
    Region,
)
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.preview import preview_film
from tests import declared_kit as kit
from tests.chest_kit import answering
from tests.web.conftest import Site

BUNDLES = {
    "chest-labels": (kit.LABELS, kit.LABELS_OUTPUTS), "nodules": (kit.BOXES, kit.BOXES_OUTPUTS),
    "heart": (kit.LENGTH, kit.LENGTH_OUTPUTS), "congestion": (kit.SCORE, kit.SCORE_OUTPUTS),
    "patches": (kit.MASK, kit.MASK_OUTPUTS),
}  # fmt: skip


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Declaration]:
    folder = tmp_path_factory.mktemp("models")
    for name, (says, outputs) in BUNDLES.items():
        kit.declared_bundle(folder, name, says, outputs)
    return {name: open_declared(folder, name).manifest for name in BUNDLES}


@pytest.fixture
def observing(site: Site, manifests: Mapping[str, Declaration]) -> Site:
    """Pages of a node whose suite has bundles that declare what they say."""
    cards = {
        said.id: NetworkCard(said.id, said.title, said.version, said.weights_digest, "Tests.", said)
        for said in manifests.values()
    }
    site.house = replace(site.house, cards={**site.house.cards, **cards})
    site.node.manifests = manifests
    site.node.invented = observed_film
    return site


def observed(effusion: float = 0.9, width: float | None = 151.25) -> tuple[Observation, ...]:
    names = ("effusion", "pneumothorax", "cardiomegaly")
    said = zip(names, (effusion, 0.04, 0.2), strict=True)
    box = FoundPlace(((10.0, 20.0), (30.0, 20.0), (30.0, 40.0), (10.0, 40.0)), "", 0.8)
    line = FoundPlace(((5.0, 60.0), (55.0, 60.0)))
    return (
        Observation("findings", ObservationKind.LABELS, "chest-labels",
                    labels=tuple(Candidate(name, p, 0.5) for name, p in said)),
        Observation("nodules", ObservationKind.REGION, "nodules", places=(box,)),
        Observation("heart_width", ObservationKind.MEASUREMENT, "heart", width, "mm",
                    threshold=150.0, places=() if width is None else (line,),
                    absent="the film states no spacing" if width is None else ""),
        Observation("congestion", ObservationKind.SCORE, "congestion", 4.0, "{0:10}",
                    2.5, 5.5, 5.0),
        Observation("consolidation", ObservationKind.MASK, "patches", 0.25, threshold=0.01),
    )  # fmt: skip


def observed_film(*, alone: bool = True, **said: float | None) -> AnalysedFilm:
    """Return a film on which declared bundles answered; ``alone``: and no other network."""
    film, told = preview_film(), observed(**said)  # type: ignore[arg-type]
    if not alone:
        return replace(film, findings=answering(film.findings, observed=told))
    grid = np.zeros((16, 16), np.float32)
    grid[4:8, 4:8] = 0.9
    area = AreaMap("patches", "consolidation", grid, Region(0, 0, 256, 256), 0.5)
    uid = film.findings.sop_instance_uid
    suite = dict.fromkeys(BUNDLES, NetworkVersion("1.0.0", "sha256:" + "0" * 64))
    findings = FilmFindings(
        uid,
        Outcome.ANALYSED,
        observations=told,
        suite=suite,
        unanswered={"gone": "it took too long"},
    )
    return replace(film, findings=findings, explanation=Explanation(areas=(area,)))
