"""A template on made-up findings, to look at its words."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pydicom

from dicom_node.chest import (
    FINDING_CLASSES,
    SCORES,
    ZONES,
    Airspace,
    Appearance,
    ChestAnswers,
    Detection,
    OpacityPresence,
    Score,
)
from dicom_node.findings import (
    Evidence,
    Explanation,
    FilmFindings,
    LungMask,
    NetworkVersion,
    OpacityMap,
    Outcome,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.opaque import mapped
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.records import ObjectKind
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, EarlierFilm
from dicom_node.results.narrative import report_text
from dicom_node.results.templates import Template
from dicom_node.results.write import write_each, write_results

_SIZE = 256
_WEIGHTS = "sha256:" + "0" * 64
_TARGETS = {
    "covidnet-lite": FINDING_CLASSES[-1],
    "covidnet-s-geographic": SCORES[0],
    "covidnet-s-opacity": SCORES[1],
    "covidnet-cxr-s": "airspace",
}
_MAP = "opacity-map"
_WHOLE = Region(0, 0, _SIZE, _SIZE)
_ZONES = (0.2, 1.4, 2.1, 0.1, 0.8, 1.9)


def preview_text(template: Template) -> str:
    """Return the report on a phantom with invented numbers, in the words of ``template``."""
    report, *_ = write_results([preview_film_with_map()], preview_context(template))
    return report_text(pydicom.dcmread(io.BytesIO(report.data)))


def rehearse(template: Template) -> None:
    """Write a preview's report and capture to nowhere: what is made once a process is then made."""
    kinds = (ObjectKind.REPORT, ObjectKind.CAPTURE)
    list(write_each([preview_film_with_map()], preview_context(template), kinds))


def preview_film() -> AnalysedFilm:
    """Return a phantom on which every kind of finding was invented, by a suite without a map."""
    dataset = phantom_dataset(rows=_SIZE, columns=_SIZE)
    heat = np.zeros((14, 14), np.float32)
    heat[8:11, 3:6] = 1
    maps = tuple(SaliencyMap(name, target, heat, _WHOLE) for name, target in _TARGETS.items())
    mask = np.zeros((32, 32), bool)
    mask[5:26, 5:14] = mask[5:26, 18:27] = True
    return AnalysedFilm(
        dataset=dataset,
        pixels=np.zeros((_SIZE, _SIZE), np.float32),
        findings=_findings(str(dataset.SOPInstanceUID)),
        explanation=Explanation(maps, LungMask("lung-unet", mask)),
        digest="0" * 64,
    )


def preview_film_with_map() -> AnalysedFilm:
    """Return the same with an invented opacity map, which explains the grades."""
    film = preview_film()
    probability = np.zeros((28, 28), np.float32)
    probability[14:22, 5:12] = probability[17:22, 16:22] = 0.9
    opacity = OpacityMap(_MAP, probability, _WHOLE, 0.5)
    looked, *graded = film.saliency
    explained = (replace(heat, heat=probability, mapped_by=_MAP) for heat in graded)
    checks = {heat.network: Evidence(change_when_hidden=2.6) for heat in graded}
    chest = replace(
        film.findings.chest,
        opacity_map=mapped(opacity, film.lungs, _WHOLE),
        network=looked.network,
    )
    findings = replace(
        film.findings.with_chest(chest),
        checks={**film.findings.checks, **checks},
        suite={**film.findings.suite, _MAP: NetworkVersion("0.0.0", _WEIGHTS)},
    )
    explanation = Explanation((looked, *explained), film.lungs, opacity)
    return replace(film, findings=findings, explanation=explanation)


def _findings(sop_instance_uid: str) -> FilmFindings:
    evidence = Evidence(0.86, 0.41, chance=0.45, peak_in_lungs=True)
    networks = (*_TARGETS, "lung-unet")
    chest = ChestAnswers(
        finding=Detection(
            dict(zip(FINDING_CLASSES, (0.04, 0.13, 0.83), strict=True)), 0.5, calibrated=True
        ),
        opacity=OpacityPresence(0.93, 0.5, calibrated=True),
        appearance=Appearance(
            {"negative": 0.03, "typical": 0.74, "indeterminate": 0.19, "atypical": 0.04},
            0.45,
            calibrated=True,
        ),
        scores={
            SCORES[0]: Score(4.2, 3.1, 5.4, 2.3, 1.9),
            SCORES[1]: Score(3.0, 2.1, 3.9, 1.6, 1.4),
        },
        airspace=Airspace(2, 0.91, dict(zip(ZONES, _ZONES, strict=True))),
    )
    return FilmFindings(
        sop_instance_uid,
        Outcome.ANALYSED,
        observations=tuple(chest.observations()),
        evidence=evidence,
        checks=dict.fromkeys(_TARGETS, evidence),
        suite=dict.fromkeys(networks, NetworkVersion("0.0.0", _WEIGHTS)),
        quality=("positioning",),
    )


def preview_context(template: Template) -> Context:
    """Return the circumstances of an invented report, with an earlier film of the patient."""
    before = _findings("2.25.1")
    return Context(
        node_ae_title="DICOMNODE",
        template=template,
        series_number_base=9000,
        networks={
            name: NetworkCard(name, f"{name} (preview)", "0.0.0", _WEIGHTS, "Preview.")
            for name in (*_TARGETS, _MAP, "lung-unet")
        },
        revision=1,
        predecessors=(),
        earlier=(EarlierFilm("2019-12-20 09:15", before),),
    )
