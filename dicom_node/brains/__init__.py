"""Who answers for the networks: one question, *model, films, explain?*, whoever computes it.

A model (`dicom_node.brains.models`) is what answers in one call: a family of networks on one trunk,
a gate, or what finds the lungs. A brain knows no findings: what an answer means is said above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from dicom_node.imaging.prepare import Float

KERAS: Literal["keras"] = "keras"
"""The name of the brain that results do not name: its answers are what bundles were proved by."""

ComputedOn = Literal["gpu", "cpu", "cluster"]
"""Where networks are computed: on this machine's GPU or CPU, or on other machines."""

CLUSTER: Literal["cluster"] = "cluster"

Answers = Mapping[str, Float]
"""A model's outputs by `models.key`, each float32 with the films first."""


class Brain(Protocol):
    """What answers for models. Safe for several threads."""

    @property
    def name(self) -> str:
        """Which engine computes, and how precisely; joins the provenance of findings."""

    @property
    def device(self) -> ComputedOn:
        """Where it computes."""

    def answer(self, model: str, films: Float, *, explain: bool) -> Answers:
        """Return what a model says of films, with its heat if that is to be explained.

        ``films``: float32, (films, rows, columns, channels), by the contract of the model, as many
        in each call: then no film's answer depends on what came with it. Raises `Unavailable`.
        """
