"""What comes before the networks of a suite: the film set right, and its lungs.

The gate looks first, at the film as its header hangs it. What it says of an inverted or a turned
film is undone before the lungs are looked for, so that every other network sees an upright film,
bright = dense; what they find is then moved back to where it lies on the film as it came.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dicom_node.analysis.gate import Gate, Lie, without_picture
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.outlines import without_outlines
from dicom_node.findings import Explanation, FilmFindings
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.orientation import as_stored, observed_as_stored, turned_back
from dicom_node.imaging.prepare import Float


@dataclass(frozen=True, slots=True, eq=False)
class SetRight:
    """A film as the networks see it.

    ``film``: float32 in [0, 1], (rows, columns), upright, bright = dense. ``lungs``: None where no
    network finds them; with an empty mask where there are none. ``reason``: why it is not
    analysed; None if it is. ``lie``: what was undone, and what else is to be told.
    """

    film: Float
    lungs: Lungs | None
    reason: str | None
    lie: Lie

    def as_it_came(
        self, findings: FilmFindings, explanation: Explanation
    ) -> tuple[FilmFindings, Explanation]:
        """Return an answer with its notes, and with what it shows on the film as that came."""
        back = turned_back(self.lie.turned)
        shape = self.film.shape[::-1] if back.transposed else self.film.shape
        missing = ("no_lungs",) if self.lungs is not None and not self.lungs.found else ()
        stored = (int(shape[0]), int(shape[1]))
        return (
            replace(
                findings.with_observed(observed_as_stored(findings.observed, back, stored)),
                notes=(*findings.notes, *self.lie.notes, *missing),
            ),
            as_stored(explanation, back, stored),
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """The networks that look before all others; without a gate the lungs' outlines decline."""

    gate: Gate | None
    lungs: LungFinder | None

    def look(self, film: Float) -> SetRight:
        """Return a film, float32 in [0, 1], (rows, columns), as the networks are to see it.

        Raises `OutputNotFinite`.
        """
        if self.gate is None and self.lungs is None:
            return SetRight(film, None, None, Lie())
        if reason := without_picture(film):
            return SetRight(film, None, reason, Lie())
        lie = self.gate.look(film) if self.gate else Lie()
        if lie.reason:
            return SetRight(film, None, lie.reason, lie)
        film = set_right(film, lie)
        lungs = self.lungs.find(film) if self.lungs else None
        by_rule = without_outlines(lungs) if lungs and not self.gate else None
        return SetRight(film, lungs, by_rule, lie)


def set_right(film: Float, lie: Lie) -> Float:
    """Return a film upright and with bright = dense; the film itself where it is so."""
    upright: Float = turned_back(lie.turned).hang(film)
    return np.asarray(1 - upright, np.float32) if lie.inverted else upright
