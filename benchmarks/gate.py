"""How many films the input gate declines and sets right: the table of docs/input-gate.md.

``python benchmarks/gate.py --data DIR`` looks at real films: of the sets ``cxr`` and ``cxr2``
below DIR every ``--every``-th recommended film of ``--split``, as it is, turned, rotated, inverted,
and with a lung whited out, and the most opaque ones; of the set ``gate`` every picture of that
split. ``--gate`` names the bundle; without one the rule on the lungs' outlines is looked at alone.
Nothing is printed but counts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dicom_node import resources
from dicom_node.analysis.alone import gate, lung_finder
from dicom_node.analysis.sight import Sight
from dicom_node.bundles import open_bundle
from dicom_node.settings.model import AnalysisSection
from dicom_node.training.datasets.cases import SPLITS
from dicom_node.training.evaluation.gates import looked_at, rows_of


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("DICOM_NODE_DATA", "."))
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--models", type=Path, default=resources.model_bundles())
    parser.add_argument("--gate", default=AnalysisSection().gate)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--every", type=int, default=4)
    asked = parser.parse_known_args()[0]
    finder = lung_finder(open_bundle(asked.models, AnalysisSection().lungs))
    sights = {"lung outlines": Sight(None, finder)}
    if asked.gate:
        sights[asked.gate] = Sight(gate(open_bundle(asked.models, asked.gate)), None)
    rows = rows_of(asked.data, asked.split, asked.every, finder)
    heads = [f"{name}: {what}" for name in sights for what in ("declined", "lies as said")]
    print(f"| films | number | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}", flush=True)
    for row in rows:
        counts = looked_at(row, tuple(sights.values()))
        cells = [f"{n:,}" for each in counts for n in (each.declined, each.right)]
        print(f"| {row.name} | {len(row.films):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
