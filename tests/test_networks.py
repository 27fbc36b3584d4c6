"""Every network does what a network must, and COVID-Net is the size that its docstring says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.errors import BundleContractBroken
from dicom_node.networks import registry

keras = pytest.importorskip("keras")

# Keras asks TensorFlow's variables for an array in a way that numpy 2 will give up.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


COMPARED = ("chexnet", "resnet50", "covidnet", "covidnet-vlad")
ON_FEATURES = (
    "covidnet-cxr-s", "covidnet-s", "opacity-map", "opacity-zones", "opacity-extent",
)  # fmt: skip
CHANNELS = {"chest-gate": 1, "lung-unet": 1}


def _films(count: int = 2, size: int = 96) -> Any:
    return np.random.default_rng(7).random((count, size, size, 3), dtype=np.float32)


def _seeded(key: str, size: int = 96) -> Any:
    keras.utils.set_random_seed(3)
    if key in ON_FEATURES:
        return registry.build(key)
    return registry.build(key, rows=size, columns=size, channels=CHANNELS.get(key, 3))


def _given(network: Any) -> Any:
    shape = (2, *network.input.shape[1:])
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def _answers(network: Any, *, training: bool = False) -> list[Any]:
    """The network's outputs on fixed input, one or several."""
    found = network(_given(network), training=training)
    return list(found.values()) if isinstance(found, dict) else [found]


def _arrays(network: Any) -> list[Any]:
    return [np.asarray(keras.ops.convert_to_numpy(value)) for value in _answers(network)]


@dataclass(frozen=True)
class Built:
    """A network as its seed made it, its weights and its answers: one for all tests of it."""

    key: str
    network: Any
    weights: list[Any]
    answers: list[Any]


@pytest.fixture(
    scope="module",
    # Those compared in tables run on no node unless a site says so, and they are large.
    params=[
        pytest.param(key, marks=pytest.mark.slow if key in COMPARED else ())
        for key in registry.KEYS
    ],
)
def as_seeded(request: pytest.FixtureRequest) -> Built:
    network = _seeded(request.param)
    return Built(request.param, network, network.get_weights(), _arrays(network))


@pytest.fixture
def built(as_seeded: Built) -> Iterator[Built]:
    yield as_seeded
    as_seeded.network.set_weights(as_seeded.weights)


def test_a_network_gives_finite_outputs_for_every_film(built: Built) -> None:
    for found in built.answers:
        assert found.shape[0] == 2
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


def test_every_weight_of_a_network_gets_a_finite_gradient(built: Built) -> None:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        found = _answers(built.network, training=True)
        loss = sum(tf.reduce_sum(tf.square(value)) for value in found)
    gradients = tape.gradient(loss, [v.value for v in built.network.trainable_variables])
    assert all(g is not None and np.isfinite(g.numpy()).all() for g in gradients)


def test_a_network_is_made_by_its_seed_and_its_saved_weights_alone(
    built: Built, tmp_path: Path
) -> None:
    other = _seeded(built.key)
    for one, two in zip(built.answers, _arrays(other), strict=True):
        assert np.array_equal(one, two)
    built.network.save_weights(tmp_path / "some.weights.h5")
    other.set_weights([weights * 0.9 for weights in built.weights])
    assert any(
        not np.array_equal(one, two) for one, two in zip(built.answers, _arrays(other), strict=True)
    )
    other.load_weights(tmp_path / "some.weights.h5")
    for one, two in zip(built.answers, _arrays(other), strict=True):
        assert np.array_equal(one, two)


def test_half_precision_weights_change_an_answer_only_a_little(built: Built) -> None:
    built.network.set_weights([w.astype(np.float16).astype(np.float32) for w in built.weights])
    for one, two in zip(built.answers, _arrays(built.network), strict=True):
        assert np.abs(one - two).max() <= 0.02 * max(1.0, float(np.abs(one).max()))


def test_covidnet_costs_what_its_docstring_says() -> None:
    from dicom_node.networks import cost, covidnet

    network = registry.build("covidnet")
    assert cost.parameters(network) == 876_243
    assert round(cost.macs(network) / 1e9, 2) == 0.27
    assert "876,243 parameters, 0.27 GMAC" in (covidnet.__doc__ or "")


def test_zones_are_means_over_thirds_of_each_lung_in_the_order_of_the_report() -> None:
    from dicom_node.networks.covidnet_s import ZONES, ZoneMeans

    grid = np.zeros((1, 14, 14, 1), dtype=np.float32)
    grid[0, 10:, :7] = 1.0  # below, in the left half of the picture: the patient's right lung
    means = np.asarray(ZoneMeans()(grid))[0, :, 0]
    assert dict(zip(ZONES, means.round(2), strict=True))["right_lower"] == 0.8
    assert means.sum() == pytest.approx(0.8)


def test_both_lungs_of_an_extent_are_scored_by_the_same_weights() -> None:
    network = _seeded("covidnet-s")
    zones = np.random.default_rng(1).random((1, 6, 257), dtype=np.float32)
    swapped = zones[:, [3, 4, 5, 0, 1, 2]]
    found, other = (network(z, training=False) for z in (zones, swapped))
    assert np.allclose(found["extent"], other["extent"], atol=1e-5)
    assert np.allclose(np.asarray(found["lungs"])[:, ::-1], other["lungs"], atol=1e-5)
    assert np.allclose(np.sum(found["lungs"], axis=1), found["extent"], atol=1e-5)


def test_brightness_and_contrast_of_a_film_do_not_change_the_answer() -> None:
    network = _seeded("covidnet")
    films = np.kron(_films(size=12), np.ones((1, 8, 8, 1), dtype=np.float32))
    answers = [np.asarray(network(f, training=False)) for f in (films, films * 0.5 + 0.3)]
    assert np.allclose(*answers, atol=0.1 * np.abs(answers[0]).max())


def test_a_network_that_is_not_registered_is_refused_by_name() -> None:
    with pytest.raises(BundleContractBroken, match=r"no network 'os\.system'"):
        registry.build("os.system")


def test_asking_which_networks_exist_imports_no_keras() -> None:
    code = (
        "import sys; import dicom_node.bundles, dicom_node.networks.registry as r; r.KEYS; "
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
