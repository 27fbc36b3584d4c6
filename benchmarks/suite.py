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

ROUNDS, FILMS = 9, 8


def seconds_a_film(engine: Engine, films: list[Float]) -> float:
    """Return the mean seconds a film of one round."""
    began = time.perf_counter()
    engine.analyse_many([(film, str(k)) for k, film in enumerate(films)])
    return (time.perf_counter() - began) / len(films)


def main() -> None:
    """Print seconds a film, medians over rounds, and the median of the rounds' ratios.

    The suites take turns, so that what else the machine does meets both alike.
    """
    defaults = AnalysisSection()
    films = [phantom(k, rows=2048, columns=2048).film for k in range(FILMS)]
    suites = {"detection alone": defaults.suite[:1], "the default suite": defaults.suite}
    engines = {
        name: Engine(resources.model_bundles(), suite, "cpu", lungs=defaults.lungs)
        for name, suite in suites.items()
    }
    for engine in engines.values():
        engine.warm()
        engine.analyse(films[0], "warm")
    rounds = [[seconds_a_film(engine, films) for engine in engines.values()] for _ in range(ROUNDS)]
    for (name, suite), found in zip(suites.items(), zip(*rounds, strict=True), strict=True):
        median = 1000 * statistics.median(found)
        print(f"{name:20} {', '.join(suite)}: {median:.0f} ms a film")
    ratio = statistics.median(all_ / one for one, all_ in rounds)
    print(f"ratio {ratio:.2f} (the aim: at most 1.6)")


if __name__ == "__main__":
    main()
