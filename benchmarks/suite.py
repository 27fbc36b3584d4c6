"""What a suite costs: the default one, the one of the first edition, detection alone, a film.

All find the lungs, explain every network and ask again with what it looked at hidden; the default
one looks through its gate first. The films are phantoms at the size of a detector. Run with: make
bench, or python benchmarks/suite.py.
"""

from __future__ import annotations

import argparse
import statistics
import time

from dicom_node import resources
from dicom_node.analysis.engine import Engine
from dicom_node.imaging.phantom import phantom
from dicom_node.imaging.prepare import Float
from dicom_node.settings.model import AnalysisSection

FILMS = 8
FIRST = ("covidnet-lite", "covidnet-s-geographic", "covidnet-s-opacity", "covidnet-cxr-s")


def seconds_a_film(engine: Engine, films: list[Float]) -> float:
    """Return the mean CPU-seconds a film of one round."""
    began = time.process_time()
    engine.analyse_many([(film, str(k)) for k, film in enumerate(films)])
    return (time.process_time() - began) / len(films)


def main() -> None:
    """Print seconds a film, medians over rounds, and the median of the rounds' ratios.

    The suites take turns, so that what else the machine does meets both alike.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    count = parser.parse_args().rounds
    defaults = AnalysisSection()
    films = [phantom(k, rows=2048, columns=2048).film for k in range(FILMS)]
    suites = {
        "detection alone": (defaults.suite[:1], ""),
        "the first edition": (FIRST, ""),
        "the default suite": (defaults.suite, defaults.gate),
    }
    engines = {
        name: Engine(resources.model_bundles(), suite, "cpu", lungs=defaults.lungs, gate=gate)
        for name, (suite, gate) in suites.items()
    }
    for engine in engines.values():
        engine.warm()
        engine.analyse(films[0], "warm")
    rounds = [[seconds_a_film(engine, films) for engine in engines.values()] for _ in range(count)]
    for (name, (suite, gate)), found in zip(suites.items(), zip(*rounds, strict=True), strict=True):
        median = 1000 * statistics.median(found)
        print(f"{name:20} {', '.join(filter(None, (gate, *suite)))}: {median:.0f} ms CPU a film")
    for place, name in enumerate(list(suites)[:-1]):
        ratio = statistics.median(times[-1] / times[place] for times in rounds)
        print(f"the default suite costs {ratio:.2f} times {name}")


if __name__ == "__main__":
    main()
