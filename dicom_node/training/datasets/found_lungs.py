"""The lungs of the films of a table, as the served network finds them.

Networks that see a lung crop learn from the crops that serving will give them, never from the
drawn masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dicom_node.analysis.alone import lung_finder
from dicom_node.bundles import open_bundle
from dicom_node.imaging.lungs import Lungs
from dicom_node.training.datasets.cases import Case, read_film


def lungs_of_cases(
    cases: Sequence[Case], bundle_id: str, models: Path
) -> Mapping[str, Lungs] | None:
    """Return the lungs by image id; none where the recipe names no bundle that finds them."""
    if not bundle_id:
        return None
    finder = lung_finder(open_bundle(models, bundle_id))
    return {case.image_id: finder.find(read_film(case.path)) for case in cases}
