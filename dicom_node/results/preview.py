"""A template on made-up findings, to look at its words."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pydicom

from dicom_node.findings import (
    Detection,
    Evidence,
    FilmFindings,
    NetworkVersion,
    Outcome,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.narrative import report_text
from dicom_node.results.templates import Template
from dicom_node.results.write import write_results

_SIZE = 256
_WEIGHTS = "sha256:" + "0" * 64


def preview_text(template: Template) -> str:
    """Return the report on a phantom with invented numbers, in the words of ``template``."""
    dataset = phantom_dataset(rows=_SIZE, columns=_SIZE)
    heat = np.zeros((15, 15), np.float32)
    heat[8:12, 3:6] = 1
    findings = FilmFindings(
        str(dataset.SOPInstanceUID),
        Outcome.ANALYSED,
        finding=Detection({"normal": 0.04, "pneumonia": 0.13, "covid19": 0.83}, 0.5, True),  # noqa: FBT003
        evidence=Evidence(change_when_hidden=0.41),
        suite={"covidnet": NetworkVersion("0.0.0", _WEIGHTS)},
    )
    film = AnalysedFilm(
        dataset=dataset,
        film=np.zeros((_SIZE, _SIZE), np.float32),
        findings=findings,
        saliency=(SaliencyMap("covidnet", "covid19", heat, Region(0, 0, _SIZE, _SIZE)),),
        digest="0" * 64,
    )
    card = NetworkCard("covidnet", "COVID-Net (preview)", "0.0.0", _WEIGHTS, "")
    context = Context(
        "DICOMNODE", template, 9000, {"covidnet": card}, 1, (), datetime(2026, 1, 1, tzinfo=UTC)
    )
    report, *_ = write_results([film], context)
    return report_text(pydicom.dcmread(io.BytesIO(report.data)))
