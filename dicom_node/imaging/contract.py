"""What a network expects to see of a film: a plain value, so that manifests load no codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class InputContract:
    """What a network expects to see.

    ``rows`` × ``columns`` × ``channels`` values. ``region``: the ``"film"``, of which ``crop_top``,
    a part of the height in [0, 1), is cut off above (burned-in text, neck); or the ``"lungs"``, a
    square around them with ``margin``, a part of its side, on each side. ``outside``: what lies
    outside the lungs is ``"kept"`` or ``"hidden"`` (0; the mask is dilated first). ``intensity``:
    ``"unit"``, grey values in [0, 1], bright = dense; or ``"equalised"``, with a flat histogram,
    of the lungs only where the rest is hidden.
    """

    rows: int = 480
    columns: int = 480
    channels: int = 3
    crop_top: float = 0.08
    intensity: Literal["unit", "equalised"] = "unit"
    region: Literal["film", "lungs"] = "film"
    margin: float = 0.0
    outside: Literal["kept", "hidden"] = "kept"

    @property
    def needs_lungs(self) -> bool:
        """Whether the lungs must be known before a film can be made ready."""
        return self.region == "lungs" or self.outside == "hidden"
