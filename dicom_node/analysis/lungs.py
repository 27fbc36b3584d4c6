"""Finding the lungs of a film with the segmentation network of a bundle."""

from __future__ import annotations

from dicom_node.brains import Brain
from dicom_node.brains.models import key
from dicom_node.bundles import Bundle
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.prepare import Float, prepare


class LungFinder:
    """A segmentation bundle that a brain answers for: film in, lungs out."""

    def __init__(self, bundle: Bundle, brain: Brain) -> None:
        self.bundle, self._brain = bundle, brain
        self._output = key(bundle.id, bundle.manifest.outputs[0].name)

    def find(self, film: Float) -> Lungs:
        """Return the lungs of a film, float32 in [0, 1], (rows, columns), bright = dense."""
        grid, _ = prepare(film, self.bundle.contract)
        answers = self._brain.answer(self.bundle.id, grid[None], explain=False)
        return lungs_from(answers[self._output][0], *film.shape)
