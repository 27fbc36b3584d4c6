"""The network of a bundle: loaded with its weights, and proved against its stored self-test."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from dicom_node.bundles import (
    REQUIRED,
    SELF_TEST,
    Bundle,
    Cost,
    Manifest,
    check_weights,
    open_bundle,
)
from dicom_node.errors import BundleContractBroken, BundleDamaged
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.networks import registry


def load_network(bundle: Bundle, *, tested: bool = False) -> Any:
    """Return the Keras model with the bundle's weights, digest checked before they are read.

    Input (films, rows, columns, channels) in [0, 1] by the contract, or the features of the
    trunk's layer. ``tested``: it must give the stored answer to the self-test input, on this
    machine, now. Raises `BundleDamaged` or `BundleContractBroken`.
    """
    path = check_weights(bundle)
    network = registry.build(bundle.manifest.network, **_shape(bundle.manifest))
    try:
        network.load_weights(path)
    except (ValueError, KeyError, OSError) as fault:
        raise BundleContractBroken(
            f"Bundle {bundle.id}: the weights do not fit network {bundle.manifest.network!r}."
        ) from fault
    if tested:
        self_test(bundle, network)
    return network


def _shape(manifest: Manifest) -> dict[str, Any]:
    """Return the builder's arguments; a network on a trunk knows the shape of its features."""
    shape: dict[str, Any] = dict(manifest.options)
    if classes := len(manifest.outputs[0].classes):
        shape["classes"] = classes
    if not manifest.trunk:
        found = manifest.input
        shape |= {"rows": found.rows, "columns": found.columns, "channels": found.channels}
    return shape


def verify(bundle: Bundle) -> Any:
    """Check files, digest, shapes, cost, neighbours, and the answer to the self-test input.

    Returns the network that was checked. Raises `BundleDamaged`, `BundleMissing` or
    `BundleContractBroken` at the first fault.
    """
    from dicom_node.networks import cost

    for name in REQUIRED:
        if not (bundle.folder / name).is_file():
            raise BundleDamaged(f"Bundle {bundle.id}: {name} is missing.")
    for neighbour in filter(None, (bundle.manifest.trunk, bundle.manifest.input.lungs)):
        open_bundle(bundle.folder.parent, neighbour)
    network = load_network(bundle, tested=True)
    counted = cost.parameters(network), cost.macs(network)
    stated = bundle.manifest.weights.parameters, bundle.manifest.weights.macs
    if counted != stated:
        raise BundleContractBroken(
            f"Bundle {bundle.id}: parameters and MACs are {counted}, the manifest says {stated}."
        )
    if bundle.manifest.cost is not None and (whole := cost_of(bundle)) != bundle.manifest.cost:
        raise BundleContractBroken(
            f"Bundle {bundle.id}: with its trunk it costs {whole}, the manifest says "
            f"{bundle.manifest.cost}."
        )
    return network


def cost_of(bundle: Bundle) -> Cost:
    """Return what the network costs that runs alone. Raises `BundleMissing` without its trunk."""
    from dicom_node.networks.cost import Link, of_chain

    links: list[Link] = []
    lower, layer = bundle, ""
    while True:
        links.insert(0, Link(lower.manifest.network, _shape(lower.manifest), layer))
        if not (trunk := lower.manifest.trunk):
            break
        layer, lower = lower.manifest.trunk_layer, open_bundle(bundle.folder.parent, trunk)
    seen, paper = lower.contract, bundle.manifest.paper
    parameters, macs = of_chain(links, (seen.rows, seen.columns, seen.channels))
    size = paper.size if paper else 0
    at_paper = of_chain(links, (size, size, seen.channels))[1] if size else 0
    return Cost(parameters=parameters, macs=macs, macs_at_paper=at_paper)


def self_test(bundle: Bundle, network: Any) -> None:
    """Compare a network's answer to the self-test input with the stored one.

    ``network``: what is called as the Keras model is. Raises `BundleDamaged` or
    `BundleContractBroken`.
    """
    path = bundle.folder / SELF_TEST
    if not path.is_file():
        raise BundleDamaged(f"Bundle {bundle.id}: {SELF_TEST} is missing.")
    stored = json.loads(path.read_text(encoding="utf8"))
    if stored["film"] != film_digest(self_test_film()):
        raise BundleContractBroken(f"Bundle {bundle.id}: {SELF_TEST} was made with another film.")
    answer = self_test_answer(bundle, network)
    gap = float(np.max(np.abs(answer - stored["answer"]))) if len(answer) == len(
        stored["answer"]
    ) else float("inf")  # fmt: skip
    if not gap <= stored["tolerance"]:
        raise BundleContractBroken(
            f"Bundle {bundle.id}: the self-test is off by {gap:.4g} (tolerance "
            f"{stored['tolerance']:.4g})."
        )


def self_test_document(bundle: Bundle, network: Any) -> dict[str, Any]:
    """Return what ``self_test.json`` stores: film digest, the network's answer, the tolerance."""
    return {
        "film": film_digest(self_test_film()),
        "answer": [round(float(value), 6) for value in self_test_answer(bundle, network)],
        "tolerance": 0.05,
    }


def self_test_answer(bundle: Bundle, network: Any) -> Float:
    """Return the network's answer to the self-test input, float32, one-dimensional.

    The named outputs of the manifest one after the other; of an output with rows and columns, the
    means of 4 × 4 parts. A network on a trunk is given fixed features instead of a film, one that
    sees the lungs those of the self-test film: the test is of this network alone.
    """
    import keras

    if bundle.manifest.trunk:
        shape = network.input.shape[1:]
        given = (np.arange(np.prod(shape)).reshape(shape) * 37 % 101 / 50).astype(np.float32)
    else:
        given, _ = prepare(self_test_film(), bundle.contract, self_test_lungs())
    found = network(given[None], training=False)
    found = found if isinstance(found, dict) else {bundle.manifest.outputs[0].name: found}
    parts = [
        summary(np.asarray(keras.ops.convert_to_numpy(found[output.name])[0]))
        for output in bundle.manifest.outputs
    ]
    return np.concatenate(parts)


def summary(values: Float) -> Float:
    """Return a few values as they are, and 4 × 4 means of what has rows and columns."""
    if values.ndim < 2 or min(values.shape[:2]) < 4:
        return values.ravel()
    rows, columns = (np.array_split(np.arange(size), 4) for size in values.shape[:2])
    return np.array([values[np.ix_(r, c)].mean() for r in rows for c in columns], np.float32)


def self_test_lungs() -> Lungs:
    """Return the lungs of the self-test film, exactly as it is drawn."""
    row, column = np.mgrid[0:256, 0:224]
    inside = [
        ((2 * row - 270) * 5) ** 2 + ((2 * column - centre) * 11) ** 2 < 880**2
        for centre in (132, 316)
    ]
    return lungs_from((inside[0] | inside[1]).astype(np.float32), 512, 448)


def self_test_film() -> Float:
    """Return a crude chest of whole numbers / 255, float32, 512 × 448, the same on any machine.

    Integer arithmetic only, so that no version of numpy can change a bit of it.
    """
    row, column = np.mgrid[0:512, 0:448]
    grey = 150 + (row * 7 + column * 13) % 11
    for centre in (132, 316):
        inside = ((row - 270) * 5) ** 2 + ((column - centre) * 11) ** 2 < 880**2
        grey = np.where(inside, 60 + (row // 23 % 2) * 18 + (row * column) % 7, grey)
    heart = ((row - 340) * 4) ** 2 + ((column - 250) * 5) ** 2 < 340**2
    patch = (row - 330) ** 2 + (column - 120) ** 2 < 45**2
    grey = np.where(heart, 190, np.where(patch, grey + 60, grey))
    return (grey / 255).astype(np.float32)


def film_digest(film: Float) -> str:
    """Return the digest of a film's values as whole 1/255ths, ``sha256:…``."""
    return f"sha256:{hashlib.sha256(np.rint(film * 255).astype(np.uint8).tobytes()).hexdigest()}"
