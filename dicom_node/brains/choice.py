"""Which brain answers: as it is configured, on what this machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dicom_node.brains import Brain
from dicom_node.brains.devices import Device
from dicom_node.brains.models import Model

EngineName = Literal["auto", "keras"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a brain. ``device``, ``memory_growth``: see `use_device`."""

    engine: EngineName = "keras"
    device: Device = "auto"
    memory_growth: bool = True


def brain_for(models: Sequence[Model], wanted: Wanted) -> Brain:
    """Load the models into the wanted brain. Raises as `KerasBrain`."""
    from dicom_node.brains.keras import KerasBrain

    return KerasBrain(models, wanted.device, memory_growth=wanted.memory_growth)
