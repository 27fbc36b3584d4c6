"""The engine: films in, findings and saliency maps out, the same for the same pixels.

One engine a process, one inference at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.calibration import probabilities
from dicom_node.analysis.devices import Device, make_deterministic, use_device
from dicom_node.analysis.evidence import hide_salient
from dicom_node.analysis.saliency import Explain, explained, explainer
from dicom_node.bundles import Bundle, load_network, open_bundle, self_test_film
from dicom_node.errors import OutputNotFinite
from dicom_node.findings import (
    Detection,
    Evidence,
    FilmFindings,
    NetworkVersion,
    Outcome,
    SaliencyMap,
)
from dicom_node.imaging.prepare import Float, prepare

Answer = tuple[FilmFindings, tuple[SaliencyMap, ...]]
Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Detector:
    """A loaded detection bundle."""

    bundle: Bundle
    explain: Explain


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The suite in memory; ``lanes``: films a call."""

    detectors: tuple[_Detector, ...]
    lanes: int
    device: str


class Engine:
    """The networks of a suite: manifests read at once, weights loaded when first wanted.

    ``bundles_folder`` holds the model bundles, ``suite`` names those to run, the first detection
    network gives the finding. ``device``: auto, gpu or cpu. ``batch``: how many films a GPU takes
    at once. So that a film's findings never depend on which films came with it, every call has
    the same shape: ``batch`` films on a GPU (filled up with zeros), one on the CPU, where more at
    once is no faster. Raises `BundleMissing` or `BundleContractBroken`.
    """

    def __init__(
        self,
        bundles_folder: Path,
        suite: Sequence[str],
        device: Device = "auto",
        batch: int = 8,
        *,
        memory_growth: bool = True,
    ) -> None:
        self._bundles = tuple(open_bundle(bundles_folder, bundle_id) for bundle_id in suite)
        self._wanted: Device = device
        self._batch = max(1, batch)
        self._memory_growth = memory_growth
        self._loaded: _Loaded | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def suite_version(self) -> Mapping[str, NetworkVersion]:
        """Bundle id → version and weights digest, of all that run."""
        return {bundle.id: bundle.network_version for bundle in self._bundles}

    @property
    def device(self) -> str:
        """Where the networks run: gpu or cpu; not loaded before the first use."""
        return self._loaded.device if self._loaded else "not loaded"

    def warm(self) -> None:
        """Load and run every network once, so that the first film does not wait for that.

        Raises `DeviceUnavailable`, `BundleDamaged` or `BundleContractBroken`.
        """
        self.analyse(self_test_film(), "")

    def analyse(self, film: Float, sop_instance_uid: str) -> Answer:
        """Return what was found on one film, and a saliency map a network.

        ``film``: float32 in [0, 1], (rows, columns), bright = dense. Raises `OutputNotFinite` if
        the film or an answer holds a value that is no number or out of its range.
        """
        return self.analyse_many([(film, sop_instance_uid)])[0]

    def analyse_many(self, films: Sequence[tuple[Float, str]]) -> list[Answer]:
        """Return the answers to (film, SOP Instance UID) pairs, in their order; see `analyse`."""
        for film, uid in films:
            _check_film(film, uid)
        with self._one_at_a_time:
            found = [self._detect(detector, films) for detector in self._load().detectors]
        return [
            self._answer(uid, [answers[index] for answers in found])
            for index, (_, uid) in enumerate(films)
        ]

    def _load(self) -> _Loaded:
        """Return the networks, on their device; loads them the first time."""
        if self._loaded is None:
            device = use_device(self._wanted, memory_growth=self._memory_growth)
            make_deterministic()
            self._loaded = _Loaded(
                tuple(_Detector(found, explainer(load_network(found))) for found in self._bundles),
                lanes=self._batch if device == "gpu" else 1,
                device=device,
            )
        return self._loaded

    def _answer(self, uid: str, found: Sequence[tuple[Detection, Evidence, SaliencyMap]]) -> Answer:
        finding, evidence = (found[0][0], found[0][1]) if found else (None, None)
        findings = FilmFindings(
            uid, Outcome.ANALYSED, finding=finding, evidence=evidence, suite=self.suite_version
        )
        return findings, tuple(heat for _, _, heat in found)

    def _detect(
        self, detector: _Detector, films: Sequence[tuple[Float, str]]
    ) -> list[tuple[Detection, Evidence, SaliencyMap]]:
        """Run one network on the films, then again with the salient area hidden."""
        bundle = detector.bundle
        prepared = [prepare(film, bundle.contract) for film, _ in films]
        grids = np.stack([grid for grid, _ in prepared])
        before, heats = self._probabilities(detector, grids)
        hidden = np.stack(
            [hide_salient(grid, heat) for grid, heat in zip(grids, heats, strict=True)]
        )
        after, _ = self._probabilities(detector, hidden)
        answers = []
        for index, (_, region) in enumerate(prepared):
            _check_output(before[index], heats[index], films[index][1])
            target = int(before[index].argmax())
            named = dict(zip(bundle.classes, map(float, before[index]), strict=True))
            answers.append(
                (
                    Detection(named, bundle.threshold, bundle.calibrated),
                    Evidence(
                        change_when_hidden=float(before[index, target] - after[index, target])
                    ),
                    SaliencyMap(bundle.id, bundle.classes[target], heats[index], region),
                )
            )
        return answers

    def _probabilities(self, detector: _Detector, grids: Float) -> tuple[Probabilities, Float]:
        """Return (probabilities, heat) of the prepared films, in calls of one shape."""
        logits, heats, lanes = [], [], self._load().lanes
        for start in range(0, len(grids), lanes):
            part = grids[start : start + lanes]
            filled = np.zeros((lanes, *part.shape[1:]), dtype=np.float32)
            filled[: len(part)] = part
            scores, heat = explained(detector.explain, filled)
            logits.append(scores[: len(part)])
            heats.append(heat[: len(part)])
        temperature = detector.bundle.manifest.calibration.temperature
        found = probabilities(np.concatenate(logits), temperature)
        return found, np.concatenate(heats)


def _check_film(film: Float, uid: str) -> None:
    if not (np.isfinite(film).all() and film.min() >= 0.0 and film.max() <= 1.0):
        raise OutputNotFinite(f"Film {uid} holds values that are no numbers or not in [0, 1].")


def _check_output(found: Probabilities, heat: Float, uid: str) -> None:
    if not (np.isfinite(found).all() and np.isfinite(heat).all()):
        raise OutputNotFinite(f"A network's answer to film {uid} is not a number.")
    if abs(float(found.sum()) - 1.0) > 1e-6 or heat.min() < 0.0 or heat.max() > 1.0:
        raise OutputNotFinite(f"A network's answer to film {uid} is out of its range.")
