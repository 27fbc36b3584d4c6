"""How many films the input gate declines: the table of docs/input-gate.md, from real films.

``python benchmarks/gate.py --data DIR`` looks at the recommended films of every split of DIR (its
``cases.csv``), and at every seventh of them inverted. Nothing is printed but counts and, for the
declined films, sources.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dicom_node import resources
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.sight import Sight
from dicom_node.bundles import open_bundle
from dicom_node.settings.model import AnalysisSection
from dicom_node.training.datasets.cases import SPLITS, Case, of_split, read_cases, read_film

EVERY = 7


def declined(sight: Sight, cases: Sequence[Case], *, inverted: bool = False) -> list[Case]:
    """Return the films that the gate declines, as they are or inverted."""
    refused = []
    for case in cases:
        film = read_film(case.path)
        film = 1 - film if inverted else film
        if sight.look(film).reason:
            refused.append(case)
    return refused


def main() -> None:
    """Print the rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DICOM_NODE_DATA", ".")) / "cxr"
    )
    data = parser.parse_known_args()[0].data
    if not (data / "cases.csv").is_file():
        print(f"No cases.csv in {data}: nothing to look at.")
        return
    finder = LungFinder(open_bundle(resources.model_bundles(), AnalysisSection().lungs))
    sight = Sight(None, finder)
    cases = read_cases(data)
    rows = [(f"chest radiographs, `{split}`", of_split(cases, split), False) for split in SPLITS]
    rows.append(("the same, inverted (every seventh)", cases[::EVERY], True))
    print("| films | number | declined |\n|---|---|---|")
    for name, films, inverted in rows:
        refused = declined(sight, films, inverted=inverted)
        sources = "" if inverted else ", ".join(sorted(Counter(case.source for case in refused)))
        print(f"| {name} | {len(films):,} | {len(refused)}{sources and f' ({sources})'} |")


if __name__ == "__main__":
    main()
