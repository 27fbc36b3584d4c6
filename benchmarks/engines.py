"""What each engine costs, and how far its findings lie from Keras': the default suite on the CPU.

Phantoms of 1024 x 1024, and, with ``--films``, so many real ones (DICOM_NODE_DATA: `images/` and
`cases.csv` of its sets, those of the split `test`). The engines take turns. bfloat16 is measured
whether or not the self-test would allow it. Run with: python benchmarks/engines.py --films 40
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dicom_node import resources
from dicom_node.analysis.engine import Answer, Engine
from dicom_node.brains import Brain
from dicom_node.brains.exported import read_contents
from dicom_node.brains.exporting import export
from dicom_node.brains.keras import KerasBrain
from dicom_node.brains.models import family, single
from dicom_node.brains.openvino import OpenVinoBrain, computes
from dicom_node.brains.proof import answers, deviations, questions
from dicom_node.bundles import open_bundle, with_neighbours
from dicom_node.chest import ZONES
from dicom_node.imaging.phantom import phantom
from dicom_node.imaging.prepare import Float
from dicom_node.settings.model import AnalysisSection

ROUNDS, PHANTOMS, SIZE, SEED = 5, 12, 1024, 7


def phantoms() -> Iterator[tuple[Float, str]]:
    """Yield phantoms, two thirds of them with opacities."""
    places = list(ZONES)
    for k in range(PHANTOMS):
        opaque = {places[k % 6]: 0.6, places[(2 * k + 1) % 6]: 0.3} if k % 3 else {}
        yield phantom(k, rows=SIZE, columns=SIZE, opacities=opaque).film, f"phantom {k}"


def real_films(count: int) -> Iterator[tuple[Float, str]]:
    """Yield real films, as many of each class and set as there are."""
    rng, data = random.Random(SEED), Path(os.environ["DICOM_NODE_DATA"])
    kinds: dict[tuple[str, str], list[Path]] = {}
    for cases in sorted(data.glob("*/cases.csv")):
        for row in csv.DictReader(cases.open(encoding="utf8")):
            if row.get("split") == "test" and row.get("finding"):
                path = cases.parent / "images" / f"{row['image_id']}.jpg"
                kinds.setdefault((cases.parent.name, row["finding"]), []).append(path)
    for paths in kinds.values():
        rng.shuffle(paths)
    for k in range(count):
        paths = list(kinds.values())[k % len(kinds)]
        grey = np.asarray(Image.open(path := paths.pop()).convert("L"), np.float32) / 255
        yield grey, path.stem


def engines(folder: Path) -> Mapping[str, Engine]:
    """Return the default suite as each brain answers for it."""
    defaults, models = AnalysisSection(), resources.model_bundles()
    before = [single(open_bundle(models, name)) for name in (defaults.gate, defaults.lungs)]
    names = with_neighbours(models, defaults.suite) - {defaults.lungs}
    bundles = [open_bundle(models, name) for name in (*defaults.suite, *names)]
    asked_of = [one.id for one in bundles[: len(defaults.suite)] if one.manifest.task != "map"]
    every = (*before, family(list({one.id: one for one in bundles}.values()), asked_of))
    keras, asked = KerasBrain(every, "cpu"), questions(every)
    export(keras, asked, folder)
    contents = read_contents(folder)
    assert contents is not None
    brains: dict[str, Brain] = {"keras": keras}
    for precision in filter(computes, ("f32", "bf16")):
        brain = brains[f"openvino {precision}"] = OpenVinoBrain(folder, contents, precision)  # type: ignore[arg-type]
        worst, *_ = deviations(asked, contents.expected, answers(brain, asked))
        print(f"{brain.name}: self-test {'passed' if worst.within else 'failed'}; worst: {worst}")
    found = {}
    for name, brain in brains.items():
        engine = Engine(models, defaults.suite, "cpu", gate=defaults.gate, lungs=defaults.lungs)
        engine._loaded = engine.answered_by(brain)
        engine.warm()
        found[name] = engine
    return found


def numbers(document: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what findings say, by its place in the JSON: a number, or something else."""
    for key, value in document.items():
        if key in ("suite", "sop_instance_uid"):
            continue
        if isinstance(value, dict):
            yield from numbers(value, f"{place}{key}.")
        else:
            yield place + key, value


def compared(one: Sequence[Answer], other: Sequence[Answer]) -> None:
    """Print how far findings lie apart: median and most, and what else differs."""
    apart: dict[str, list[float]] = {}
    words: list[str] = []
    for (before, seen), (after, again) in zip(one, other, strict=True):
        said, says = dict(numbers(before.to_json())), dict(numbers(after.to_json()))
        for key in sorted({*said, *says}):
            if isinstance(said.get(key), float) and isinstance(says.get(key), float):
                parts = key.split(".")
                kind = ".".join(parts[:2] if parts[0] in ("scores", "airspace") else parts[:1])
                apart.setdefault(kind, []).append(abs(said[key] - says[key]))
            elif said.get(key) != says.get(key):
                words.append(f"{before.sop_instance_uid}: {key}")
        for heat, hot in zip(seen.maps, again.maps, strict=True):
            apart.setdefault("heat, a cell", []).append(float(np.abs(heat.heat - hot.heat).max()))
    for kind, values in sorted(apart.items()):
        print(f"  {kind:28} median {statistics.median(values):.2g}, most {max(values):.2g}")
    print(f"  words, levels, classes, abstentions that differ: {words or 'none'}")


def main() -> None:
    """Print CPU-seconds a film by engine, and the distance of their findings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--films", type=int, default=0)
    wanted = parser.parse_args().films
    with tempfile.TemporaryDirectory() as folder:
        found = engines(Path(folder))
        films = list(phantoms())
        costs: dict[str, list[float]] = {name: [] for name in found}
        walls: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(ROUNDS):
            for name, engine in found.items():
                began, wall = time.process_time(), time.perf_counter()
                engine.analyse_many(films)
                costs[name].append((time.process_time() - began) / len(films))
                walls[name].append((time.perf_counter() - wall) / len(films))
        for name in found:
            cpu, wall = statistics.median(costs[name]), min(walls[name])
            print(f"{name:14} {1000 * cpu:.0f} ms CPU a film, {1000 * wall:.0f} ms at best")
        films += real_films(wanted) if wanted else ()
        told = {name: engine.analyse_many(films) for name, engine in found.items()}
        for name in list(found)[1:]:
            print(f"{name} against keras, {len(films)} films:")
            compared(told["keras"], told[name])


if __name__ == "__main__":
    sys.exit(main())
