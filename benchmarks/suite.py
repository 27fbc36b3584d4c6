"""What a suite costs: the default four networks against the detection network alone, a film.

Both find the lungs, explain every network and ask again with what it looked at hidden. The films
are phantoms at the size of a detector. Run with: make bench, or python benchmarks/suite.py.
"""

from __future__ import annotations

import statistics
import time

from dicom_node import resources
from dicom_node.analysis.engine import Engine
from dicom_node.imaging.phantom import phantom
from dicom_node.imaging.prepare import Float
from dicom_node.settings.model import AnalysisSection

ROUNDS, FILMS = 5, 8


def seconds_a_film(engine: Engine, films: list[Float]) -> float:
    """Return the median over rounds of the mean seconds a film."""
    engine.warm()
    engine.analyse(films[0], "warm")
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        engine.analyse_many([(film, str(k)) for k, film in enumerate(films)])
        rounds.append((time.perf_counter() - began) / len(films))
    return statistics.median(rounds)


def main() -> None:
    """Print seconds a film and their ratio."""
    defaults = AnalysisSection()
    films = [phantom(k, rows=2048, columns=2048).film for k in range(FILMS)]
    suites = {"detection alone": defaults.suite[:1], "the default suite": defaults.suite}
    found = {}
    for name, suite in suites.items():
        engine = Engine(resources.model_bundles(), suite, "cpu", lungs=defaults.lungs)
        found[name] = seconds_a_film(engine, films)
        print(f"{name:20} {', '.join(suite)}: {1000 * found[name]:.0f} ms a film")
    one, all_ = found.values()
    print(f"ratio {all_ / one:.2f} (the aim: at most 1.6)")


if __name__ == "__main__":
    main()
