"""Every network does what a network must, and COVID-Net is the size that its docstring says."""

from __future__ import annotations

import subprocess
import sys
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


def _films(count: int = 2, size: int = 96) -> Any:
    return np.random.default_rng(7).random((count, size, size, 3), dtype=np.float32)


def _seeded(key: str, size: int = 96) -> Any:
    keras.utils.set_random_seed(3)
    return registry.build(key, rows=size, columns=size)


@pytest.mark.parametrize("key", registry.KEYS)
def test_a_network_gives_one_finite_logit_a_class_for_every_film(key: str) -> None:
    logits = keras.ops.convert_to_numpy(_seeded(key)(_films(), training=False))
    assert logits.shape == (2, 3)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("key", registry.KEYS)
def test_every_weight_of_a_network_gets_a_finite_gradient(key: str) -> None:
    import tensorflow as tf

    network = _seeded(key)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(network(_films(), training=True)))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    assert all(g is not None and np.isfinite(g.numpy()).all() for g in gradients)


@pytest.mark.parametrize("key", registry.KEYS)
def test_a_network_whose_weights_were_saved_and_loaded_answers_the_same(
    key: str, tmp_path: Path
) -> None:
    network = _seeded(key)
    network.save_weights(tmp_path / "some.weights.h5")
    other = registry.build(key, rows=96, columns=96)
    other.load_weights(tmp_path / "some.weights.h5")
    assert np.array_equal(network(_films(), training=False), other(_films(), training=False))


@pytest.mark.parametrize("key", registry.KEYS)
def test_the_same_seed_gives_the_same_network(key: str) -> None:
    assert np.array_equal(_seeded(key)(_films()), _seeded(key)(_films()))


@pytest.mark.parametrize("key", registry.KEYS)
def test_half_precision_weights_change_an_answer_only_a_little(key: str) -> None:
    network = _seeded(key)
    exact = np.asarray(network(_films(), training=False))
    network.set_weights([w.astype(np.float16).astype(np.float32) for w in network.get_weights()])
    assert np.allclose(exact, network(_films(), training=False), atol=0.05)


def test_covidnet_costs_what_its_docstring_says() -> None:
    from dicom_node.networks import cost, covidnet

    network = registry.build("covidnet")
    assert cost.parameters(network) == 876_243
    assert round(cost.macs(network) / 1e9, 2) == 0.27
    assert "876,243 parameters, 0.27 GMAC" in (covidnet.__doc__ or "")


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
