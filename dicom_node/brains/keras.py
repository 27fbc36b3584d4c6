"""The brain that is Keras: TensorFlow's graph of each model, on its GPU or CPU.

A model (trunk, heads and the gradient of Grad-CAM) is traced into two functions of films, each
called with one shape: ``explained`` and ``plain``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicom_node.brains import KERAS, Answers, ComputedOn
from dicom_node.brains.devices import Device, make_deterministic, use_device
from dicom_node.brains.explained import explained_layer
from dicom_node.brains.models import HEAT, SEGMENTATION, Model, key, single
from dicom_node.bundles import Bundle
from dicom_node.bundles.network import load_network
from dicom_node.errors import BundleContractBroken
from dicom_node.imaging.prepare import Float

Traced = Callable[[Any], dict[str, Any]]
"""A traced function: films, as a tensor, to outputs by `key`."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A loaded network, cut where it is explained.

    ``network``: the whole. ``lower``: input → (explained features, layers before them that others
    begin with); ``upper``: explained features → outputs. A network without rows and columns has no
    ``lower``, nor has one that is not explained or that a map explains.
    """

    bundle: Bundle
    network: Any
    lower: Any
    upper: Any


class KerasBrain:
    """Loads the networks of the models, each proved by its stored self-test.

    ``device``, ``memory_growth``: see `use_device`. Raises `DeviceUnavailable`, `BundleDamaged` or
    `BundleContractBroken`.
    """

    name = KERAS

    def __init__(
        self, models: Sequence[Model], device: Device = "auto", *, memory_growth: bool = True
    ) -> None:
        self.device: ComputedOn = use_device(device, memory_growth=memory_growth)
        make_deterministic()
        loaded = [(model, _members(model)) for model in models]
        self._networks = {name: one.network for _, found in loaded for name, one in found.items()}
        self._traced = {
            (model.id, explain): _traced(model, members, explain=explain)
            for model, members in loaded
            for explain in (False, True)
        }
        self._graphs: dict[tuple[str, bool, tuple[int, ...]], Traced] = {}

    def answer(self, model: str, films: Float, *, explain: bool) -> Answers:
        """Return what a model says of films; see `Brain`."""
        found = self._concrete(model, films.shape, explain=explain)(_tensor(films))
        return {name: np.asarray(value, dtype=np.float32) for name, value in found.items()}

    def _concrete(self, model: str, shape: tuple[int, ...], *, explain: bool) -> Traced:
        """Return the graph for films of a shape: it is not looked for anew in each call."""
        import tensorflow as tf

        asked = (model, explain, shape)
        if asked not in self._graphs:
            traced: Any = self.traced(model, explain=explain)
            self._graphs[asked] = traced.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        return self._graphs[asked]

    def traced(self, model: str, *, explain: bool) -> Traced:
        """Return the function of a model, for engines that take its graph."""
        return self._traced[model, explain]

    def network(self, bundle_id: str) -> Any:
        """Return the Keras network of a bundle."""
        return self._networks[bundle_id]


def _tensor(films: Float) -> Any:
    import tensorflow as tf

    return tf.constant(films, tf.float32)


def alone(bundle: Bundle) -> KerasBrain:
    """Return the brain of one network that takes films and is not explained."""
    return KerasBrain([single(bundle)])


def _traced(model: Model, members: Mapping[str, _Member], *, explain: bool) -> Traced:
    import tensorflow as tf

    answered = sorted(model.answered(explain=explain))
    heated = model.heated() if explain else ()
    needed = [members[bundle.id] for bundle in model.needed(answered)]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def run(films: Any) -> Any:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            known, features = _forward(needed, films, tape if heated else None)
            targets = {name: _target(members[name].bundle, known[name]) for name in sorted(heated)}
        found = {
            key(name, output): value
            for name in answered
            for output, value in _named(members[name].bundle, known[name]).items()
        }
        return found | {
            key(name, HEAT): _heat(tape, target, features[_explained_by(name, members)])
            for name, target in targets.items()
        }

    return run  # type: ignore[no-any-return]


def _explained_by(bundle_id: str, members: Mapping[str, _Member]) -> str:
    """Return the network whose features explain this one: itself, or up the trunk."""
    member = members[bundle_id]
    return bundle_id if member.lower else _explained_by(member.bundle.manifest.trunk, members)


def _members(model: Model) -> dict[str, _Member]:
    return {
        bundle.id: _member(
            bundle, model.bundles, is_cut=model.explains and bundle.id not in model.mapped
        )
        for bundle in model.bundles
    }


def _member(bundle: Bundle, bundles: Sequence[Bundle], *, is_cut: bool) -> _Member:
    """Load a network and cut it at its explained layer, if it is explained by one."""
    import keras

    network = load_network(bundle, tested=True)
    layer = explained_layer(network) if is_cut else None
    if layer is None:
        return _Member(bundle, network, None, network)
    # Not all that others begin with follows from the explained layer: a pyramid joins it with
    # earlier ones. Such layers are read off on the way to it.
    above = _following(layer, network) if isinstance(network.output, dict) else network.output
    taps = {
        other.manifest.trunk_layer
        for other in bundles
        if other.manifest.trunk == bundle.id
        and not (isinstance(above, dict) and other.manifest.trunk_layer in above)
    }
    try:
        before = {name: network.get_layer(name).output for name in sorted(taps)}
    except ValueError as missing:
        raise BundleContractBroken(f"Bundle {bundle.id}: {missing}") from missing
    lower = keras.Model(network.input, {"explained": layer.output, **before})
    return _Member(bundle, network, lower, keras.Model(layer.output, above))


def _following(layer: Any, network: Any) -> dict[str, Any]:
    """Return the network's outputs, by name, that follow from one of its layers alone."""
    import keras

    found = {}
    for name, output in network.output.items():
        try:
            keras.Model(layer.output, output)
        except ValueError:  # Keras: the output cannot be reached from these inputs alone
            continue
        found[name] = output
    return found


def _forward(
    members: Sequence[_Member], films: Any, tape: Any
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return every network's outputs with its shared layers, and its explained features."""
    known: dict[str, dict[str, Any]] = {}
    features: dict[str, Any] = {}
    for member in members:
        manifest = member.bundle.manifest
        given = known[manifest.trunk][manifest.trunk_layer] if manifest.trunk else films
        shared: dict[str, Any] = {}
        if member.lower is not None:
            shared = dict(member.lower(given, training=False))
            given = features[manifest.id] = shared.pop("explained")
            if tape is not None:
                tape.watch(given)
        found = member.upper(given, training=False)
        found = found if isinstance(found, dict) else {manifest.outputs[0].name: found}
        known[manifest.id] = {**found, **shared}
    return known, features


def _named(bundle: Bundle, found: Mapping[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    if bundle.manifest.task == SEGMENTATION:
        return {one.name: tf.sigmoid(found[one.name])[..., 0] for one in bundle.manifest.outputs}
    return {output.name: found[output.name] for output in bundle.manifest.outputs}


def _target(bundle: Bundle, found: Mapping[str, Any]) -> Any:
    """Return what is explained, (films,): the named class, or the sum of the scores."""
    import tensorflow as tf

    scores = [output for output in bundle.manifest.outputs if output.kind == "scores"]
    if scores:
        return tf.reduce_sum(found[scores[0].name], axis=-1)
    name, calibration = bundle.manifest.outputs[0].name, bundle.manifest.calibration
    logits = found[name]
    if name not in calibration.offsets:
        return tf.reduce_max(logits, axis=-1)
    temperature, offsets = calibration.of(name)
    named = tf.argmax(logits / temperature + tf.constant(offsets, tf.float32), axis=-1)
    return tf.gather(logits, named, axis=-1, batch_dims=1)


def _heat(tape: Any, target: Any, features: Any) -> Any:
    """Return Grad-CAM of the target on the features; see `dicom_node.analysis.saliency`."""
    import tensorflow as tf

    weights = tf.reduce_mean(tape.gradient(target, features), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True))
