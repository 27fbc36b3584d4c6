"""Networks that share a trunk, run as one: a pass of the trunk serves all of them.

A family is a network that takes films and all networks of the suite that begin, directly or not,
with its features (``trunk`` in their manifests). Each is explained by Grad-CAM on features of its
own or of its trunk; those that begin with an opacity map (`MAP`) by that map, without a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dicom_node.analysis.saliency import explained_layer
from dicom_node.bundles import Bundle
from dicom_node.bundles.network import load_network
from dicom_node.errors import BundleContractBroken
from dicom_node.imaging.prepare import Float

MAP = "map"
"""The task of bundles that map where the lungs are opaque."""

Values = Mapping[str, Float]
"""A network's outputs by name, each with the films first."""


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """One network's answer: its outputs and, if asked for, where it looked.

    ``heat``: float32 in [0, 1], (films, rows, columns) of the grid that is explained; (films, 0, 0)
    where it was not asked for, and of networks that a map explains.
    """

    values: Values
    heat: Float


@dataclass(frozen=True, slots=True)
class _Member:
    """A loaded network, cut where it is explained.

    ``lower``: input → (explained features, layers before them that others begin with); ``upper``:
    explained features → outputs. A network without rows and columns has no ``lower``, nor has one
    that a map explains.
    """

    bundle: Bundle
    lower: Any
    upper: Any


class Family:
    """The networks of one trunk. ``bundles``: the trunk first, then in any order.

    Raises `BundleDamaged` or `BundleContractBroken`.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        ordered = _parents_first(bundles)
        self._maps = _maps(ordered)
        self._members = {
            bundle.id: _member(bundle, ordered, is_cut=bundle.id not in self._maps)
            for bundle in ordered
        }
        self._functions: dict[tuple[frozenset[str], bool], Callable[[Any], Any]] = {}

    @property
    def maps(self) -> tuple[str, ...]:
        """Ids of the networks that map opacity, in the order of the family."""
        return tuple(name for name, of in self._maps.items() if name == of)

    def map_of(self, bundle_id: str) -> str:
        """Return the map that a network is, or begins with, itself or up the trunk; "" if none."""
        return self._maps.get(bundle_id, "")

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Ids of networks that are asked in one call what hiding does, in the family's order.

        Those that are explained on the same features; with a map, all of the family.
        """
        if self._maps:
            return (tuple(self._members),)
        found: dict[str, list[str]] = {}
        for bundle_id in self._members:
            found.setdefault(self._explained_by(bundle_id), []).append(bundle_id)
        return tuple(map(tuple, found.values()))

    def _explained_by(self, bundle_id: str) -> str:
        """Return the network whose features explain this one: itself, or up the trunk."""
        member = self._members[bundle_id]
        return bundle_id if member.lower else self._explained_by(member.bundle.manifest.trunk)

    def answer(
        self, films: Float, wanted: Sequence[str], *, explain: bool
    ) -> dict[str, NetworkAnswer]:
        """Return the answers of the ``wanted`` networks; without ``explain`` heat is empty.

        ``films``: float32, (films, rows, columns, channels), by the trunk's contract.
        """
        key = (frozenset(wanted), explain)
        if key not in self._functions:
            self._functions[key] = self._compiled(frozenset(wanted), explain=explain)
        found = self._functions[key](films)
        return {
            bundle_id: NetworkAnswer(
                {name: np.asarray(value, dtype=np.float32) for name, value in values.items()},
                np.asarray(heat, dtype=np.float32),
            )
            for bundle_id, (values, heat) in found.items()
        }

    def _compiled(self, wanted: frozenset[str], *, explain: bool) -> Callable[[Any], Any]:
        import tensorflow as tf

        members = [self._members[name] for name in self._needed(wanted)]

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def run(films: Any) -> Any:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                known, features = _forward(members, films, tape if explain else None)
                targets = {name: _target(self._members[name].bundle, known[name])
                           for name in sorted(wanted)
                           if explain and name not in self._maps}  # fmt: skip
            return {
                name: (_named(self._members[name].bundle, known[name]),
                       _heat(tape, targets[name], features[self._explained_by(name)])
                       if name in targets else tf.zeros((tf.shape(films)[0], 0, 0)))
                for name in sorted(wanted)
            }  # fmt: skip

        return run  # type: ignore[no-any-return]

    def _needed(self, wanted: frozenset[str]) -> list[str]:
        """Return the wanted networks and all that they begin with, parents first."""
        needed = set(wanted)
        for name in reversed(list(self._members)):
            if name in needed and (trunk := self._members[name].bundle.manifest.trunk):
                needed.add(trunk)
        return [name for name in self._members if name in needed]


def _parents_first(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return the bundles so that each follows its trunk."""
    known = {bundle.id: bundle for bundle in bundles}
    ordered: dict[str, Bundle] = {}

    def place(bundle: Bundle) -> None:
        if bundle.id in ordered:
            return
        if trunk := bundle.manifest.trunk:
            place(known[trunk])
        ordered[bundle.id] = bundle

    for bundle in bundles:
        place(bundle)
    return list(ordered.values())


def _maps(ordered: Sequence[Bundle]) -> dict[str, str]:
    """Return of each network that is a map, or begins with one, which map that is."""
    found: dict[str, str] = {}
    for bundle in ordered:
        if bundle.manifest.task == MAP:
            found[bundle.id] = bundle.id
        elif bundle.manifest.trunk in found:
            found[bundle.id] = found[bundle.manifest.trunk]
    return found


def _member(bundle: Bundle, bundles: Sequence[Bundle], *, is_cut: bool) -> _Member:
    """Load a network and cut it at its explained layer, if it is explained by one."""
    import keras

    network = load_network(bundle, tested=True)
    layer = explained_layer(network) if is_cut else None
    if layer is None:
        return _Member(bundle, None, network)
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
    return _Member(bundle, lower, keras.Model(layer.output, above))


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
