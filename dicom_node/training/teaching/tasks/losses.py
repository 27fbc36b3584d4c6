"""Losses that count only what is known of a film. Targets below 0 are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops


def on_device(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as tensors where the networks are; PyTorch gets batches elsewhere."""
    return {name: ops.convert_to_tensor(value) for name, value in values.items()}


def mean_of_known(values: Any, known: Any) -> Any:
    """Return the mean of ``values`` where ``known`` (weights of the same shape) is above 0."""
    return ops.sum(values * known) / (ops.sum(known) + 1e-3)


def allowed_classes(logits: Any, allowed: Any, smoothing: float) -> Any:
    """Return −log of the probability of all classes that a label allows, (films,).

    ``allowed``: (films, classes) in [0, 1]; all ones: nothing is known, and nothing is lost. A
    label that is doubted allows the other class by a part. ``smoothing``: the part of the loss
    that asks for every class alike.
    """
    logits = ops.cast(logits, "float32")
    logs = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
    loss = -ops.logsumexp(logs + ops.log(allowed + 1e-6), axis=-1)
    even = -ops.mean(logs, axis=-1) * ops.cast(ops.min(allowed, axis=-1) < 0.99, "float32")
    return (1.0 - smoothing) * ops.maximum(loss, 0.0) + smoothing * even


def yes_or_no(logits: Any, targets: Any) -> Any:
    """Return the cross-entropy of each logit with its target in [0, 1], same shape."""
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - targets * logits


def absolute(error: Any, ease: float = 0.3) -> Any:
    """Return |error|, rounded off below ``ease`` (Huber), same shape."""
    size = ops.abs(error)
    return ops.where(size < ease, 0.5 * size * size / ease, size - 0.5 * ease)


def expected_error(spread: Any, error: Any) -> Any:
    """Return the loss that is least where ``spread`` is the expected |error| (Laplace)."""
    spread = spread + 0.05
    return ops.log(spread) + ops.stop_gradient(ops.abs(error)) / spread


def order(values: Any, references: Any, known: Any, least: float = 0.05) -> Any:
    """Return how badly ``values`` (films,) follow the order of ``references``, logistic.

    Pairs whose references differ by less than ``least`` count nothing.
    """
    further = references[:, None] - references[None, :]
    apart = values[:, None] - values[None, :]
    counted = ops.cast(further > least, "float32") * known[:, None] * known[None, :]
    return mean_of_known(ops.softplus(-2.0 * apart), counted)


def overlap(probability: Any, targets: Any, weights: Any) -> Any:
    """Return 1 − Dice of each film, (films,); all (films, rows, columns, 1), weights in [0, 1]."""
    both = ops.sum(probability * targets * weights, axis=(1, 2, 3))
    either = ops.sum((probability + targets) * weights, axis=(1, 2, 3))
    return 1.0 - (2.0 * both + 1.0) / (either + 1.0)
