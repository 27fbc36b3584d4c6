"""Finding the lungs of a film with the segmentation network of a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np

from dicom_node.bundles import Bundle
from dicom_node.bundles.network import load_network
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.prepare import Float, prepare


class LungFinder:
    """A loaded segmentation bundle: film in, lungs out. Raises as `load_network` does."""

    def __init__(self, bundle: Bundle) -> None:
        import tensorflow as tf

        self.bundle = bundle
        network = load_network(bundle, tested=True)

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def answer(films: Any) -> Any:
            return tf.sigmoid(network(films, training=False))[..., 0]

        self._answer = answer

    def find(self, film: Float) -> Lungs:
        """Return the lungs of a film, float32 in [0, 1], (rows, columns), bright = dense."""
        grid, _ = prepare(film, self.bundle.contract)
        probability = np.asarray(self._answer(grid[None])[0], dtype=np.float32)
        return lungs_from(probability, *film.shape)
