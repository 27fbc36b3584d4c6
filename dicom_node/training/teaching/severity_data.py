"""What the severity networks learn from: shared features of films, and labels of four kinds.

The shared half of the trunk is not taught, so each film's features are made once for a number of
random changes and kept: an epoch then costs a fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.analysis.alone import lung_finder
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.bundles.network import load_network
from dicom_node.findings import Region
from dicom_node.imaging.contract import InputContract
from dicom_node.imaging.prepare import Float, prepare, resized
from dicom_node.training.datasets.cases import Box, Case, Data, read_boxes, read_film
from dicom_node.training.teaching.augment import Placement, draw_placement, moved, retouched
from dicom_node.training.teaching.recipe import Recipe

CELLS = 14
LEVELS = 3
UNKNOWN = -1.0
MIRRORED_ZONES = (3, 4, 5, 0, 1, 2)


@dataclass(frozen=True, slots=True)
class Examples:
    """Features and targets of films; row ``film * variants + variant``, variant 0 unchanged.

    ``features``: float16, (rows, 14, 14, 80). ``opacity``: the part of each cell that is opaque,
    float16, (rows, 14, 14). ``zones``: (rows, 6). Targets below 0 are unknown.
    """

    cases: tuple[Case, ...]
    variants: int
    features: npt.NDArray[np.float16]
    opacity: npt.NDArray[np.float16]
    zones: Float

    def rows_of(self, films: npt.NDArray[np.int64], variants: Any) -> npt.NDArray[np.int64]:
        """Return the rows of these films, each in its variant."""
        return np.asarray(films * self.variants + variants, dtype=np.int64)


def is_labelled(case: Case) -> bool:
    """Whether a film can teach severity: a score, zones, or drawn opacities."""
    return bool(case.geographic_extent is not None or case.zones or case.lesions)


def extent_of(case: Case, name: str) -> float:
    """Return ``geographic_extent`` or ``opacity_extent``; 0 for normal films; unknown: -1."""
    value = getattr(case, name)
    if value is not None:
        return float(value)
    return 0.0 if case.finding == "normal" else UNKNOWN


def zones_of(case: Case) -> tuple[float, ...]:
    """Return the six zones' scores; zeros for normal films; -1 where unknown."""
    if case.zones is not None:
        return case.zones
    return (0.0 if case.finding == "normal" else UNKNOWN,) * 6


def level_of(case: Case) -> int:
    """Return the airspace level; 0 for normal films; -1 where unknown."""
    if case.airspace_level is not None:
        return case.airspace_level
    return 0 if case.finding == "normal" else -1


def shared_features(bundle: Bundle, layer: str) -> Callable[[Float], Float]:
    """Return a function: prepared films → the trunk's features at ``layer``."""
    import keras

    network = load_network(bundle)
    trunk = keras.Model(network.input, network.get_layer(layer).output)
    return lambda films: np.asarray(trunk.predict_on_batch(films))


def make_examples(
    cases: Sequence[Case],
    data: Data,
    models: Path,
    recipe: Recipe,
    on_film: Callable[[int, int], None] | None = None,
) -> Examples:
    """Return the examples of these films, ``recipe.variants`` of each.

    ``on_film`` is called with (films done, films). Everything random follows from the recipe's
    seed, the film's id and the variant, not from which films come along.
    """
    trunk = open_bundle(models, recipe.trunk)
    finder = lung_finder(open_bundle(models, trunk.manifest.input.lungs))
    run, boxes = shared_features(trunk, recipe.trunk_layer), read_boxes(data)
    features, opacity, zones = [], [], []
    for index, case in enumerate(cases):
        film = read_film(case.path)
        grid, region = prepare(film, trunk.contract, finder.find(film))
        opaque = opaque_of(case, film.shape, region, boxes.get(case.image_id, ()), trunk.contract)
        shown = [_variant(grid[:, :, 0], opaque, case, recipe, k) for k in range(recipe.variants)]
        pixels = np.stack([picture for picture, _, _ in shown])
        features.append(run(np.repeat(pixels[..., None], 3, axis=-1)).astype(np.float16))
        opacity += [cells for _, cells, _ in shown]
        zones += [scores for _, _, scores in shown]
        if on_film:
            on_film(index + 1, len(cases))
    return Examples(
        tuple(cases), recipe.variants, np.concatenate(features),
        np.stack(opacity).astype(np.float16), np.array(zones, dtype=np.float32),
    )  # fmt: skip


def _variant(
    film: Float, opaque: Float | None, case: Case, recipe: Recipe, number: int
) -> tuple[Float, Float, tuple[float, ...]]:
    """Return the film changed for that variant, its opaque cells and its zones."""
    scores = zones_of(case)
    if number == 0:
        return film, cells_of(opaque), scores
    letters = [ord(letter) for letter in case.image_id]
    chance = np.random.default_rng([recipe.seed, number, *letters])
    placement = draw_placement(film.shape, recipe.augmentation, chance)
    changed = retouched(moved(film, placement), recipe.augmentation, chance)
    if placement.mirrored:
        scores = tuple(scores[k] for k in MIRRORED_ZONES)
    return changed, cells_of(_placed(opaque, placement)), scores


def _placed(opaque: Float | None, placement: Placement) -> Float | None:
    return None if opaque is None else moved(opaque, placement)


def cells_of(opaque: Float | None) -> Float:
    """Return the mean over each of the 14 × 14 cells; -1 everywhere where nothing was drawn."""
    if opaque is None:
        return np.full((CELLS, CELLS), UNKNOWN, dtype=np.float32)
    grid = Image.fromarray(opaque).resize((CELLS, CELLS), Image.Resampling.BOX)
    return np.asarray(grid, dtype=np.float32)


def opaque_of(
    case: Case,
    shape: tuple[int, ...],
    region: Region,
    boxes: Sequence[Box],
    contract: InputContract,
) -> Float | None:
    """Return what was drawn as opaque (1) on the grid of the crop; nothing drawn: None."""
    drawn = drawn_on(case, shape, boxes)
    if drawn is None:
        if case.finding != "normal":
            return None
        drawn = np.zeros(shape, dtype=np.float32)
    return resized(drawn, region, (contract.rows, contract.columns))


def drawn_on(case: Case, shape: tuple[int, ...], boxes: Sequence[Box]) -> Float | None:
    """Return the outlined, else the boxed opacities on the film's grid, 1 inside; none: None."""
    if case.lesions is not None:
        with Image.open(case.lesions) as picture:
            return (np.asarray(picture.convert("L")) > 0).astype(np.float32)
    if not boxes:
        return None
    drawn = np.zeros(shape, dtype=np.float32)
    for x, y, width, height in boxes:
        drawn[round(y) : round(y + height), round(x) : round(x + width)] = 1.0
    return drawn
