"""The opacity map of a film from the answer of a bundle of the task ``map``."""

from __future__ import annotations

from collections.abc import Mapping

from dicom_node.analysis.calibration import flags
from dicom_node.bundles import Bundle
from dicom_node.findings import LungMask, OpacityMap, Region
from dicom_node.imaging.opaque import inside_lungs
from dicom_node.imaging.prepare import Float

_LEAST, _MOST = 0.01, 0.99
"""Between which ends a threshold can be drawn."""


def opacity_map(
    bundle: Bundle, values: Mapping[str, Float], region: Region, lungs: LungMask | None,
    film: tuple[int, int],
) -> OpacityMap:  # fmt: skip
    """Return the map in the outputs ``values`` of one film, inside its lungs.

    ``region``: what the network saw of the film of that shape (rows, columns). The threshold is the
    manifest's ``thresholds.least`` of the output.
    """
    (output,) = (each for each in bundle.manifest.outputs if each.kind == "mask-logits")
    found = flags(values[output.name][..., 0], *bundle.manifest.calibration.of(output.name))
    whole = Region(0.0, 0.0, float(film[0]), float(film[1]))
    inside = inside_lungs(found.astype("float32"), region, lungs, whole)
    least = bundle.manifest.thresholds.of_flag(output.name)
    return OpacityMap(bundle.id, inside, region, min(max(least, _LEAST), _MOST))
