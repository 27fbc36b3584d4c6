"""What writing costs: the report and the capture of one film, in CPU-seconds.

``python benchmarks/writing.py [--films 5]`` has the engine of the default suite analyse phantoms
with opacities, then writes report and capture of each, apart, and prints the median of the films by
size. Every film is written once, after another one has warmed what the process keeps. Beside it a
yardstick, by which runs on other machines, and busier ones, can be compared: 60 passes of a Keras
ResNet-50 at 224 x 224.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dicom_node.analysis.engine import Engine
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.line.networks import engine_of
from dicom_node.line.wiring import network_cards, template_of
from dicom_node.records import ObjectKind
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.write import write_each
from dicom_node.settings import Settings

SIZES = (1024, 1536)
PASSES = 60
OPACITIES = {"right_lower": 0.8, "left_lower": 0.6, "right_middle": 0.4}
_WARMING = 1000
"""The seed of the film that warms."""


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return what ``work`` costs in all threads of the process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def yardstick() -> float:
    """Return what `PASSES` passes of a ResNet-50 cost, one film a call."""
    import keras
    import numpy as np

    network = keras.applications.ResNet50(weights=None)
    film = np.zeros((1, 224, 224, 3), np.float32)
    network.predict_on_batch(film)
    return cpu_seconds(lambda: [network.predict_on_batch(film) for _ in range(PASSES)])


def analysed(engine: Engine, seed: int, size: int) -> AnalysedFilm:
    """Return a phantom of ``size`` x ``size`` with what the networks answer."""
    dataset = phantom_dataset(seed=seed, rows=size, columns=size, opacities=OPACITIES)
    film = film_of(dataset)
    findings, explanation = engine.analyse(film, str(dataset.SOPInstanceUID))
    return AnalysedFilm(dataset, film, findings, explanation, f"{seed:064x}")


def context_of(settings: Settings) -> Context:
    """Return the circumstances of a first report under the default configuration."""
    return Context(
        node_ae_title=settings.node.ae_title,
        template=template_of(settings),
        series_number_base=settings.results.series_number_base,
        networks=network_cards(settings),
        revision=1,
        predecessors=(),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=5)
    count = parser.parse_args().films
    settings = Settings()
    engine, context = engine_of(settings), context_of(settings)
    engine.warm()
    for size in SIZES:
        kinds = (ObjectKind.REPORT, ObjectKind.CAPTURE)
        list(write_each([analysed(engine, _WARMING, size)], context, kinds))
        films = [analysed(engine, seed, size) for seed in range(count)]
        said = []
        for kind in kinds:
            costs = [
                cpu_seconds(lambda film=film, kind=kind: list(write_each([film], context, {kind})))
                for film in films
            ]
            said.append((kind, statistics.median(costs)))
        whole = sum(cost for _, cost in said)
        parts = ", ".join(f"{kind} {cost:.3f}" for kind, cost in said)
        print(f"{size} x {size}: {parts}, both {whole:.3f} CPU-seconds (median of {count} films)")
    print(f"yardstick: {yardstick():.1f} CPU-seconds ({PASSES} passes of a ResNet-50)")


if __name__ == "__main__":
    main()
