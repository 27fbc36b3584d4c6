"""A suite whose networks are a few lines each: what is bright in the lungs is opaque.

As the second edition's: a trunk with a pyramid that joins an early layer with the explained one, a
map on the pyramid, zones on the map, extents on the zones. Their answers can be told by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.bundles import Bundle

SIDE, CELLS = 64, 16
TRUNK, MAP, ZONES, EXTENT, LUNGS = "trunk", "map", "zones", "extent", "lungs"
SUITE = (TRUNK, EXTENT, ZONES)
BRIGHT, STEEP = 0.6, 40.0
"""From this grey on a place is opaque, and how sure the map is of it."""

SPREAD = 0.75

_INPUT = """
[input]
rows = 64
columns = 64
channels = 3
crop_top = 0.0
intensity = "unit"
region = "{region}"
margin = 0.1
lungs = "{lungs}"
"""
_OUTPUTS = {
    TRUNK: [("finding", "class-logits", 1, ["normal", "pneumonia", "covid19"])],
    MAP: [("opacity_map", "mask-logits", 1, [])],
    ZONES: [
        ("airspace", "class-logits", 1, ["level-0", "level-1", "level-2"]),
        ("zones", "scores", 3, ["right_upper", "right_middle", "right_lower", "left_upper",
                                "left_middle", "left_lower"]),
    ],
    EXTENT: [
        ("extent", "scores", 8, []), ("lungs", "scores", 4, ["right", "left"]),
        ("spread", "scores", 8, []),
    ],
    LUNGS: [("lungs", "mask-logits", 1, [])],
}  # fmt: skip
_KINDS = {
    TRUNK: ("detection", "covidnet-pyramid", "", ""),
    MAP: ("map", "opacity-map", TRUNK, "pyramid"),
    ZONES: ("airspace", "opacity-zones", MAP, "mapped"),
    EXTENT: ("score", "opacity-extent", ZONES, "zone_features"),
    LUNGS: ("segmentation", "lung-unet", "", ""),
}


def write_manifests(folder: Path, threshold: float = 0.5) -> Path:
    """Write the manifests of the suite below ``folder``; weights are `network_of`'s."""
    for name in _KINDS:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.toml").write_text(_manifest(name, threshold), "utf-8")
    return folder


def _manifest(name: str, threshold: float) -> str:
    task, network, trunk, layer = _KINDS[name]
    lungs = "" if name == LUNGS else LUNGS
    lines = [
        f'id = "{name}"\ntitle = "{name}"\nversion = "1.0.0"\ntask = "{task}"',
        f'network = "{network}"\ntrunk = "{trunk}"\ntrunk_layer = "{layer}"',
        'intended_use = "tests"\nlicence = "none"',
        _INPUT.format(region="lungs" if lungs else "film", lungs=lungs),
    ]
    for output, kind, high, classes in _OUTPUTS[name]:
        named = "\nreported_as = 'opacity_extent'" if output == "extent" else ""
        lines.append(
            f'[[outputs]]\nname = "{output}"\nkind = "{kind}"\nrange = [0, {high}]\n'
            f"classes = {classes}{named}"
        )
    lines += [
        f"[thresholds.least]\nopacity_map = {threshold}",
        '[calibration]\nfitted_on = "val"' + ("\nspread_factor = 2.0" if name == EXTENT else ""),
        f'[weights]\nfile = "1.0.0-00000000.weights.h5"\ndigest = "sha256:{"0" * 64}"',
        "parameters = 1\nmacs = 1",
        '[training]\ndata = "none"\nfilms = 1\npatients = 1\nvalidation_films = 1',
        "epochs = 1\nbest_epoch = 1",
    ]
    return "\n".join(lines)


def network_of(bundle: Bundle, *, tested: bool = False) -> Any:
    """Return the network of a bundle, in the place of `dicom_node.bundles.network.load_network`."""
    return {TRUNK: _trunk, MAP: _map, ZONES: _zones, EXTENT: _extent, LUNGS: _lungs}[bundle.id]()


def _trunk() -> Any:
    """The class is COVID-19 where much of the crop is bright; the pyramid's grid is the early one.

    Its explained layer sees brightness at an eighth of the side.
    """
    import keras

    films = keras.Input((SIDE, SIDE, 3), name="films")
    early = keras.layers.AveragePooling2D(SIDE // CELLS, name="early")(films)
    coarse = keras.layers.AveragePooling2D(2, name="coarse")(early)
    last = keras.layers.Conv2D(1, 1, activation="relu", name="last_relu")(coarse)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(last)
    finding = keras.layers.Dense(3, name="finding")(pooled)
    spread = keras.layers.UpSampling2D(2, name="spread_out")(last)
    pyramid = keras.layers.Concatenate(name="pyramid")([early, spread])
    network = keras.Model(films, {"finding": finding, "pyramid": pyramid})
    network.get_layer("last_relu").set_weights(
        [np.full((1, 1, 3, 1), 1 / 3, np.float32), np.full(1, -BRIGHT, np.float32)]
    )
    network.get_layer("finding").set_weights(
        [np.array([[0.0, 0.0, 400.0]], np.float32), np.array([2.0, 0.0, 0.0], np.float32)]
    )
    return network


def _map() -> Any:
    import keras

    pyramid = keras.Input((CELLS, CELLS, 4), name="pyramid")
    logits = keras.layers.Conv2D(1, 1, name="opacity_map")(pyramid)
    probability = keras.layers.Activation("sigmoid", name="mapped")(logits)
    network = keras.Model(pyramid, {"opacity_map": logits, "mapped": probability})
    kernel = np.array([STEEP / 3] * 3 + [0.0], np.float32).reshape(1, 1, 4, 1)
    network.get_layer("opacity_map").set_weights([kernel, np.full(1, -STEEP * BRIGHT, np.float32)])
    return network


def _zones() -> Any:
    """A zone's score is three times its mapped part; the level is 2 where anything is mapped."""
    import keras

    from dicom_node.networks.covidnet_s import ZoneMeans

    mapped = keras.Input((CELLS, CELLS, 1), name="mapped")
    zones = ZoneMeans(name="zone_features")(mapped)
    row = keras.layers.Reshape((6,), name="row")(zones)
    scores = keras.layers.Rescaling(3.0, name="zones")(row)
    airspace = keras.layers.Dense(3, name="airspace")(row)
    network = keras.Model(mapped, {"airspace": airspace, "zones": scores, "zone_features": zones})
    kernel = np.zeros((6, 3), np.float32)
    kernel[:, 2] = 400.0
    network.get_layer("airspace").set_weights([kernel, np.array([4.0, 0.0, 0.0], np.float32)])
    return network


def _extent() -> Any:
    """The extent is eight times the mapped part of the crop, a lung's four times that of its."""
    import keras

    zones = keras.Input((6, 1), name="zone_features")
    by_lung = keras.layers.Reshape((2, 3), name="by_lung")(zones)
    part = keras.ops.mean(by_lung, axis=-1)
    lungs = keras.layers.Rescaling(4.0, name="lungs")(part)
    extent = keras.ops.sum(lungs, axis=-1, keepdims=True)
    spread = 0.0 * extent + SPREAD
    return keras.Model(zones, {"extent": extent, "lungs": lungs, "spread": spread})


LUNG_ROWS, LUNG_COLUMNS = (16, 48), ((12, 28), (36, 52))
"""Where both lungs are on a film, in 64ths of its height and width; the patient's right first."""


def _lungs() -> Any:
    """Both lungs are rectangles, of whatever film has any light at all."""
    import keras

    films = keras.Input((SIDE, SIDE, 3), name="films")
    inside = np.full((1, SIDE, SIDE, 1), -9.0, np.float32)
    for left, right in LUNG_COLUMNS:
        inside[:, slice(*LUNG_ROWS), left:right] = 9.0
    lit = keras.ops.sign(keras.ops.max(films, axis=(1, 2, 3), keepdims=True))
    return keras.Model(films, keras.ops.multiply(lit, inside) - 9.0 * (1.0 - lit))
