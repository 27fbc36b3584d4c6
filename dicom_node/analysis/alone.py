"""A gate, or what finds lungs, without a suite around it: for figures, teaching and tests."""

from __future__ import annotations

from dicom_node.analysis.gate import Gate
from dicom_node.analysis.lungs import LungFinder
from dicom_node.brains.keras import alone
from dicom_node.bundles import Bundle


def lung_finder(bundle: Bundle) -> LungFinder:
    """Load a segmentation bundle. Raises as `KerasBrain`."""
    return LungFinder(bundle, alone(bundle))


def gate(bundle: Bundle) -> Gate:
    """Load a gate. Raises as `Gate` and `KerasBrain`."""
    return Gate(bundle, alone(bundle))
