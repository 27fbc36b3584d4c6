"""Films on which networks observed something that declare themselves what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dicom_node.findings import (
    AreaMap,
    Explanation,
    FilmFindings,
    LungMask,
    NetworkVersion,
    Outcome,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.orientation import as_stored, hanging, observed_as_stored
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.preview import preview_context
from dicom_node.results.templates import Template
from tests.chest_kit import answering
from tests.declared_kit import OUTPUTS, declaration
from tests.results.conftest import MakeFilm

K = ObservationKind
ROWS, COLUMNS = 180, 140
BOX = ((40.0, 30.0), (90.0, 30.0), (90.0, 70.0), (40.0, 70.0))
LINE = ((20.0, 150.0), (120.0, 150.0))
AREA = Region(100.0, 20.0, 140.0, 60.0)
WHOLE = Region(0, 0, ROWS, COLUMNS)
WAYS = ("L F", "R F", "L H", "R H", "F L", "F R", "H L", "H R")

MANY = 18
EIGHTEEN = "".join(
    ['\n[[says]]\nkey = "findings"\nkind = "labels"\nheadline = true\nfitted_on = "validation"\n']
    + [f'[[says.classes]]\nkey = "sign_{number}"\n' for number in range(MANY)]
    + ['[template.en.findings]\nname = "Signs"\n[template.en.findings.classes]\n']
    + [
        f'sign_{number} = "Sign {number} of disease of the lung, the pleura or heart"\n'
        for number in range(MANY)
    ]
)
NETWORKS = {name: declaration(name, says) for name, (says, _) in OUTPUTS.items()} | {
    "many": declaration("many", EIGHTEEN)
}


def every_kind() -> tuple[Observation, ...]:
    """Return an observation of each kind that says that something is there."""
    return (
        _labels("labels", "findings", {"effusion": 0.81, "pneumothorax": 0.3, "cardiomegaly": 0.1}),
        boxes(0.91),
        Observation(
            "heart_width", K.MEASUREMENT, "length", 152.3, "mm", 140.1, 164.5, threshold=150.0,
            places=(FoundPlace(LINE),),
        ),
        _one_of("class", "projection", {"standing": 0.7, "lying": 0.3}),
        _one_of("level", "oedema", {"none": 0.1, "vascular": 0.7, "alveolar": 0.2}),
        Observation("congestion", K.SCORE, "score", 6.2, "{0:10}", 5.2, 7.2, 5.0),
        mask(0.12),
    )  # fmt: skip


def _labels(network: str, key: str, said: dict[str, float]) -> Observation:
    told = tuple(Candidate(name, value, 0.5) for name, value in said.items())
    return Observation(key, K.LABELS, network, labels=told, calibrated=True)


def _one_of(network: str, key: str, said: dict[str, float]) -> Observation:
    told = tuple(Candidate(name, value, 0.0) for name, value in said.items())
    return Observation(key, K.CLASS if key == "projection" else K.LEVEL, network, labels=told)


def boxes(*probabilities: float) -> Observation:
    """Return places that were found, all of them the `BOX`."""
    places = tuple(FoundPlace(BOX, "", each) for each in probabilities)
    return Observation("nodules", K.REGION, "boxes", threshold=0.5, places=places, calibrated=True)


def mask(part: float) -> Observation:
    """Return a mask that covers so much of the film; it is the `AREA`."""
    return Observation("consolidation", K.MASK, "mask", part, threshold=0.001)


def eighteen(*found: int) -> Observation:
    """Return eighteen labels with long names, of which these are found."""
    return _labels(
        "many", "findings", {f"sign_{n}": 0.9 if n in found else 0.01 * n for n in range(MANY)}
    )


def area_map() -> AreaMap:
    """Return where `mask` is, on the film as it is hung."""
    values = np.zeros((9, 7), np.float32)
    values[5:7, 1:3] = 0.9
    return AreaMap("mask", "consolidation", values, WHOLE, 0.5)


def occlusion(network: str, target: str) -> SaliencyMap:
    """Return where a network looked that was asked with parts of the film hidden."""
    heat = np.zeros((8, 8), np.float32)
    heat[3:5, 5:7] = 1.0
    return SaliencyMap(network, target, heat, WHOLE)


def observed_film(
    make_film: MakeFilm, *observations: Observation, way: str = "L F", beside: bool = False
) -> AnalysedFilm:
    """Return a film of `ROWS` and `COLUMNS`, as it is hung, of which networks say so.

    ``way``: how it is stored; what was observed lies where it does as it is hung. ``beside``: a
    detection network named a class, too.
    """
    film = make_film(rows=ROWS, columns=COLUMNS)
    suite = {
        one.network: NetworkVersion("1.0.0", NETWORKS[one.network].weights_digest, "onnx")
        for one in observations
    }
    if beside:
        suite = {**film.findings.suite, **suite}
        findings = answering(film.findings, observed=observations, suite=suite)
    else:
        uid = film.findings.sop_instance_uid
        findings = FilmFindings(uid, Outcome.ANALYSED, observations=observations, suite=suite)
    lungs = np.zeros((18, 14), bool)
    lungs[3:15, 2:6] = lungs[3:12, 8:12] = True
    areas = tuple(area_map() for one in observations if one.kind is K.MASK and one.value)
    maps = film.saliency if beside else ()
    explanation = Explanation(maps, LungMask("lung-unet", lungs) if beside else None, areas=areas)
    return stored(replace(film, findings=findings, explanation=explanation), way)


def stored(film: AnalysedFilm, way: str) -> AnalysedFilm:
    """Return a film that is as it is hung, stored another way (Patient Orientation)."""
    hung = hanging(way.split())
    grey = hung.store(film.film)
    shape = (int(grey.shape[0]), int(grey.shape[1]))
    film.dataset.PatientOrientation = way.split()
    film.dataset.Rows, film.dataset.Columns = shape
    observed = observed_as_stored(film.findings.observed, hung, shape)
    return replace(
        film,
        pixels=grey,
        findings=answering(film.findings, observed=observed),
        explanation=as_stored(film.explanation, hung, shape),
    )


def context_in(template: Template) -> Context:
    """Return the circumstances of a report in a language, with every network installed."""
    cards = {
        name: NetworkCard(name, each.title, each.version, each.weights_digest, "Tests.", each)
        for name, each in NETWORKS.items()
    }
    whole = preview_context(template)
    covidnet = NetworkCard("covidnet", "COVID-Net", "1.0.0", "sha256:" + "ab" * 32, "Research.")
    networks = {**whole.networks, **cards, "covidnet": covidnet}
    return replace(whole, networks=networks, earlier=())
