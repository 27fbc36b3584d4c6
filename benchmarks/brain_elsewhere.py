"""What asking a Ray cluster costs: the default suite by OpenVINO here, and by replicas on Ray.

All on this machine, so that the difference is what crossing costs. Phantoms of 1024 x 1024; who
answers takes turns. Needs the extra ``ray``. Run with: python benchmarks/brain_elsewhere.py
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dicom_node import resources
from dicom_node.analysis.engine import Answer, Engine
from dicom_node.brains.choice import Elsewhere, EngineName, Wanted, functions_of
from dicom_node.brains.deploying import Cluster, deploy
from dicom_node.imaging.phantom import phantom
from dicom_node.settings.model import AnalysisSection

ROUNDS, PHANTOMS, SIZE, PATIENCE_SECONDS = 5, 12, 1024, 120.0


def suite(engine: EngineName, shelf: Path, address: str = "") -> Engine:
    """Return the default suite as an engine computes it."""
    defaults = AnalysisSection()
    return Engine(
        resources.model_bundles(), defaults.suite, "cpu", gate=defaults.gate, lungs=defaults.lungs,
        engine=engine, shelf=shelf, elsewhere=Elsewhere(address, PATIENCE_SECONDS),
    )  # fmt: skip


@contextmanager
def ray_of(cores: int) -> Iterator[str]:
    """Give the address of a cluster of one machine with so many cores."""
    from ray.cluster_utils import Cluster as Machines

    machines = Machines(
        initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False}
    )
    yield machines.address
    machines.shutdown()


def apart(one: Mapping[str, Answer], other: Mapping[str, Answer]) -> float:
    """Return the most by which a cell of the heat differs; findings must be equal."""
    worst = 0.0
    for name, (findings, explanation) in one.items():
        again, seen = other[name]
        said, says = findings.to_json() | {"suite": None}, again.to_json() | {"suite": None}
        if said != says:
            print(f"  {name}: findings differ")
        for heat, hot in zip(explanation.maps, seen.maps, strict=True):
            worst = max(worst, float(np.abs(heat.heat - hot.heat).max()))
    return worst


def main() -> None:
    """Print films a second by who answers, and the distance of their answers."""
    films = [(phantom(k, rows=SIZE, columns=SIZE).film, str(k)) for k in range(PHANTOMS)]
    cores = len(os.sched_getaffinity(0))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as made, ray_of(cores) as cluster, socket.socket() as probe:
        shelf = Path(made) / "engines"
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        here = suite("openvino", shelf)
        here.warm()
        for replicas, each in ((cores, 1), (1, cores)):
            with functions_of(here.models, Wanted("ray", "cpu", shelf=shelf)) as (folder, contents):
                deploy(folder, contents, Cluster(cluster, replicas, each, port=port))
            engines = {"here": here, "on Ray": suite("ray", shelf, f"http://127.0.0.1:{port}")}
            walls: dict[str, list[float]] = {name: [] for name in engines}
            for engine in engines.values():
                engine.analyse_many(films)
            for _ in range(ROUNDS):
                for name, engine in engines.items():
                    began = time.perf_counter()
                    engine.analyse_many(films)
                    walls[name].append(time.perf_counter() - began)
            for name, engine in engines.items():
                rate = PHANTOMS / statistics.median(walls[name])
                one = statistics.median(_one(engine, films[0][0]) for _ in range(ROUNDS))
                print(f"{replicas} x {each} cores, {name:6} ({engine.computed_by}):"
                      f" {rate:.2f} films/s, one film {1000 * one:.0f} ms")  # fmt: skip
            told = {name: {uid: found for (_, uid), found in zip(films, one.analyse_many(films),
                                                                 strict=True)}
                    for name, one in engines.items()}  # fmt: skip
            print(f"  heat differs by at most {apart(told['here'], told['on Ray']):.2g}")


def _one(engine: Engine, film: np.ndarray) -> float:  # type: ignore[type-arg]
    began = time.perf_counter()
    engine.analyse(film, "one")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
