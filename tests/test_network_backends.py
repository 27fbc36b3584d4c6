"""A network gives the same answers on TensorFlow and on JAX: it is only Keras, as it says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.networks.keys import KEYS

SECONDS = 500

# Two minutes: every network on two backends, and the first test waits for all of them.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS + 60)]

# A backend is chosen once a process, when Keras is imported.
ANSWERING = '''
import sys
import keras
import numpy as np
from dicom_node.networks import registry
from dicom_node.networks.keys import KEYS

assert keras.backend.backend() == sys.argv[1], keras.backend.backend()


def small(key):
    network = registry.build(key)
    if network.input.name != "films":
        return network  # begins at features, which are small already
    channels = network.input.shape[-1]
    return registry.build(key, rows=64, columns=64, channels=channels)


def seeded(chance, weight):
    """Values that keep every layer's answer of the size of its input, so that none saturates."""
    shape = weight.shape
    if weight.name in ("gamma", "moving_variance"):
        return chance.uniform(0.5, 1.5, shape)
    if weight.name == "centres":  # among descriptors of length 1, else they hide them
        return chance.normal(0.0, 0.3 / np.sqrt(shape[-1]), shape)
    if len(shape) < 2:  # the bias of a dense layer may not drown a vector of length 1
        return chance.normal(0.0, 0.02 if weight.name == "bias" else 0.3, shape)
    depthwise = shape[-1] == 1
    return chance.normal(0.0, np.sqrt(2.0 / np.prod(shape[: 2 if depthwise else -1])), shape)


def unlike(chance, shape):
    """Two inputs that a network must tell apart: one half dark, one even."""
    given = chance.random((2, *shape), dtype=np.float32)
    given[0, : shape[0] // 2] *= 0.1
    return given


answers = {}
for key in KEYS:
    network = small(key)
    chance = np.random.default_rng(17)
    network.set_weights([seeded(chance, weight).astype("float32") for weight in network.weights])
    found = network(unlike(chance, network.input.shape[1:]), training=False)
    found = found if isinstance(found, dict) else {"answer": found}
    for name, value in found.items():
        answers[f"{key}/{name}"] = keras.ops.convert_to_numpy(value)
np.savez(sys.argv[2], **answers)
'''


def _answers(backend: str, folder: Path) -> dict[str, Any]:
    """Return every output of every network on that backend, by ``key/output``."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install {backend}")
    file = folder / f"{backend}.npz"
    own = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", ANSWERING, backend, str(file)],
        env={**os.environ, **own, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(file) as found:
        return dict(found)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answers on TensorFlow and on JAX, to the same weights and the same input."""
    folder = tmp_path_factory.mktemp("backends")
    jax, tensorflow = _answers("jax", folder), _answers("tensorflow", folder)
    assert jax.keys() == tensorflow.keys()
    return tensorflow, jax


@pytest.mark.parametrize("key", KEYS)
def test_a_network_answers_the_same_on_every_backend(
    key: str, answers: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    expected, found = answers
    own = [name for name in expected if name.startswith(f"{key}/")]
    assert own
    for name in own:
        scale = float(np.abs(expected[name]).max())
        # An answer that hardly depends on the input would be equal whatever the backends do.
        assert np.ptp(expected[name], axis=0).max() > 1e-2 * scale, name
        assert np.allclose(found[name], expected[name], rtol=1e-3, atol=1e-4 * scale), name
