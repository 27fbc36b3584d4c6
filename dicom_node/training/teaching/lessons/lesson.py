"""What is taught: which films, which targets, which loss, and how an epoch is judged.

`dicom_node.training.teaching.loop` runs a lesson; it knows nothing of classes, masks or scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from dicom_node.training.teaching.batches import Batch
from dicom_node.training.teaching.recipe import Recipe

Check = tuple[float, Mapping[str, float]]
"""What epochs are chosen by (lower is better), and figures by name."""


class Lesson(Protocol):
    """One task on one table of films. Everything random follows from (seed, epoch, step)."""

    @property
    def recipe(self) -> Recipe:
        """How it is taught."""

    @property
    def chosen_by(self) -> str:
        """What `check` judges an epoch by, in the words of a recipe's ``choose_by``."""

    def network(self) -> Any:
        """Return the network to begin with, not compiled."""

    def losses(self) -> dict[str, Any]:
        """Return ``loss`` and, with several outputs, ``loss_weights``: what ``compile`` takes."""

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (from 0)."""

    def check(self, network: Any, size: int, /) -> Check:
        """Judge the network on the split ``val``, at that input size."""
