"""The pooling layers compute their equations, learn, and survive saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from dicom_node.networks.pooling import (  # noqa: E402
    ContextGating,
    NetVLAD,
    SpatialPyramidPooling,
)

# Keras asks TensorFlow's variables for an array in a way that numpy 2 will give up.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

CHANCE = np.random.default_rng(5)


def _array(value: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(value))


def _unit(values: Any) -> Any:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.mark.parametrize("shape", [(4, 4), (7, 7), (9, 5), (15, 11)])
def test_the_pyramid_holds_the_mean_of_every_cell_of_every_level(shape: tuple[int, int]) -> None:
    x = CHANCE.random((2, *shape, 3), dtype=np.float32)
    found = _array(SpatialPyramidPooling((1, 2, 4))(x))
    assert found.shape == (2, 21, 3)
    rows, columns = shape
    expected = []
    for level in (1, 2, 4):
        down = np.floor(np.arange(level + 1) * rows / level + 0.5).astype(int)
        across = np.floor(np.arange(level + 1) * columns / level + 0.5).astype(int)
        expected += [
            x[:, down[i] : down[i + 1], across[j] : across[j + 1]].mean(axis=(1, 2))
            for i in range(level)
            for j in range(level)
        ]
    assert np.allclose(found, np.stack(expected, axis=1), atol=1e-5)


def test_the_pyramid_gives_as_many_descriptors_for_every_size_of_film() -> None:
    films = keras.Input((None, None, 3))
    network = keras.Model(films, SpatialPyramidPooling((1, 2))(films))
    for size in (6, 13):
        assert network(np.ones((1, size, size + 3, 3), np.float32)).shape == (1, 5, 3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_grid_finer_than_the_film_leaves_no_cell_empty(size: int) -> None:
    ones = np.ones((1, size, size, 1), np.float32)
    assert np.allclose(_array(SpatialPyramidPooling((1, 2, 4))(ones)), 1.0)


def test_netvlad_takes_a_descriptor_of_zeros_in_half_precision() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = NetVLAD(3)
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(_array(layer(np.zeros((1, 4, 5), np.float16)))).all()


def test_netvlad_is_the_normalised_sum_of_softly_assigned_residuals() -> None:
    x = CHANCE.normal(size=(2, 6, 4)).astype(np.float32)
    layer = NetVLAD(3)
    found = _array(layer(x))
    weights, bias, centres = (_array(w) for w in (layer.assignment, layer.bias, layer.centres))
    for film, own in zip(_unit(x), found, strict=True):
        scores = np.exp(film @ weights + bias)
        parts = scores / scores.sum(axis=1, keepdims=True)
        residuals = np.stack(
            [sum(parts[i, k] * (film[i] - centres[k]) for i in range(6)) for k in range(3)]
        )
        assert np.allclose(own, _unit(_unit(residuals).ravel()), atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_netvlad_does_not_care_about_the_order_of_descriptors() -> None:
    x = CHANCE.normal(size=(1, 6, 4)).astype(np.float32)
    layer = NetVLAD(3)
    assert np.allclose(_array(layer(x)), _array(layer(x[:, ::-1])), atol=1e-5)


def test_context_gating_weighs_each_feature_by_a_sigmoid_of_all() -> None:
    x = CHANCE.normal(size=(3, 5)).astype(np.float32)
    layer = ContextGating()
    found = _array(layer(x))
    gate = 1 / (1 + np.exp(-(x @ _array(layer.kernel) + _array(layer.bias))))
    assert np.allclose(found, gate * x, atol=1e-5)
    assert (np.abs(found) <= np.abs(x)).all()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SpatialPyramidPooling((1, 3)), (7, 8, 3)),
        (NetVLAD(2), (5, 3)),
        (ContextGating(), (4,)),
    ],
    ids=["pyramid", "vlad", "gating"],
)
def test_a_layer_learns_and_survives_saving(
    layer: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    import tensorflow as tf

    given = keras.Input(shape)
    network = keras.Model(given, layer(given))
    x = CHANCE.random((2, *shape), dtype=np.float32)
    with tf.GradientTape() as tape:
        source = tf.constant(x)
        tape.watch(source)
        loss = tf.reduce_sum(network(source) ** 2 * tf.range(1.0, network(source).shape[-1] + 1))
    for gradient in tape.gradient(loss, [source, *(v.value for v in network.trainable_variables)]):
        assert np.isfinite(gradient.numpy()).all()
        assert np.abs(gradient.numpy()).max() > 0
    network.save(tmp_path / "layer.keras")
    again = keras.models.load_model(tmp_path / "layer.keras")
    assert np.allclose(_array(network(x)), _array(again(x)), atol=1e-6)
    assert network.output_shape[1:] == _array(network(x)).shape[1:]
