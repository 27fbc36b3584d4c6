"""Controls of a suite for short cuts: its detection network on films with parts greyed out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.alone import lung_finder
from dicom_node.analysis.calibration import flags, probabilities
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.bundles.network import load_network
from dicom_node.chest import FINDING_CLASSES
from dicom_node.imaging.prepare import prepare
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, read_film
from dicom_node.training.evaluation.answers import OnFilm
from dicom_node.training.evaluation.classes import ALTERED
from dicom_node.training.evaluation.rows import Row, mean, row

MOST = 400
WHOLE = "the film as it is, the same films"
Values = npt.NDArray[np.float64]


def controlled(cases: Sequence[Case]) -> list[Case]:
    """Return at most `MOST` films of the three classes, evenly spread over these."""
    films = [case for case in cases if case.finding in FINDING_CLASSES]
    return films[:: max(1, -(-len(films) // MOST))]


def of_controls(bundle: Bundle, cases: Sequence[Case], on_film: OnFilm | None = None) -> list[Row]:
    """Return what the detection network names where parts of the films are greyed out.

    The crop stays that of the film as it is. Raises `BundleError` leaves.
    """
    network = load_network(bundle)
    finder = lung_finder(open_bundle(bundle.folder.parent, bundle.manifest.input.lungs))
    told: dict[str, list[tuple[Values, float]]] = {}
    for number, case in enumerate(cases, start=1):
        film = read_film(case.path)
        lungs = finder.find(film)
        shown = {WHOLE: film} | {name: change(film, lungs) for name, (_, change) in ALTERED.items()}
        grids = np.stack([prepare(each, bundle.contract, lungs)[0] for each in shown.values()])
        found = network.predict_on_batch(grids)
        for place, name in enumerate(shown):
            told.setdefault(name, []).append(_answer(bundle, found, place))
        if on_film:
            on_film(number, len(cases))
    return [line for name in told for line in _rows(bundle, cases, name, told[name])]


def _answer(bundle: Bundle, found: dict[str, Values], place: int) -> tuple[Values, float]:
    calibration = bundle.manifest.calibration
    classes = probabilities(found["finding"][place], *calibration.of("finding"))
    opacity = flags(found["opacity"][place].ravel(), *calibration.of("opacity"))
    return np.asarray(classes, np.float64), float(opacity[0])


def _rows(
    bundle: Bundle, cases: Sequence[Case], name: str, told: Sequence[tuple[Values, float]]
) -> list[Row]:
    films = [(case, None) for case in cases]
    labels = np.array([FINDING_CLASSES.index(case.finding) for case in cases])
    found = np.stack([classes for classes, _ in told])
    question = ALTERED[name][0] if name in ALTERED else name
    rows = [
        row(f"{question}: three classes, balanced accuracy (chance 0.33)", films,
            metrics.balanced_accuracy, labels, found)
    ]  # fmt: skip
    if name == "lungs_hidden":
        unsure = found.max(axis=1) < bundle.threshold
        opaque = np.array([opacity for _, opacity in told]) >= 0.5
        rows += [
            mean(f"{question}: undetermined", films, unsure.astype(float)),
            mean(f"{question}: opacity is said", films, opaque.astype(float)),
        ]
    return rows
