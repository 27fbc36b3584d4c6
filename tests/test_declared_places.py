"""However a film lies and whatever part of it a network sees: what it finds lies where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.analysis.asked import EVERYTHING
from dicom_node.analysis.engine import Engine, _Loaded
from dicom_node.analysis.gate import Lie
from dicom_node.analysis.sight import SetRight, set_right
from dicom_node.brains.choice import NOBODY
from dicom_node.bundles.declared import Declared
from dicom_node.findings import TURNS, Region
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.orientation import Hanging
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.prepare import Float
from dicom_node.line.analyse import HungFilm, film_to_analyse
from tests import declared_kit as kit
from tests import mapping
from tests.engine_kit import write_bundles

SPACING = (0.2, 0.5)
SAYS = kit.BOXES.split("[template")[0] + kit.LENGTH.split("[template")[0] + kit.MASK
SAYS = SAYS.replace('measures = "points"', 'measures = "points"\noutput = "points"')
SAYS = SAYS.replace('kind = "mask"', 'kind = "mask"\noutput = "mask"\nactivation = "none"')

PIXELS = {fit: f'rows = 48\ncolumns = 40\nfit = "{fit}"' for fit in ("stretch", "pad", "crop")} | {
    f"lungs {fit}": f'rows = 48\ncolumns = 40\nfit = "{fit}"\nregion = "lungs"\nmargin = 0.1'
    for fit in ("stretch", "pad", "crop")
}


class Finds:
    """Finds what is bright: a box around it, its longer side as a line, and where it is."""

    name = "finds"

    def __init__(self, bundle: Declared) -> None:
        self.bundle = bundle

    def answer(self, films: Float) -> Mapping[str, Float]:
        each = [self._one(film[:, :, 0]) for film in films]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    def close(self) -> None:
        pass

    def _one(self, film: Float) -> Mapping[str, Float]:
        hot = film > 0.5
        rows, columns = np.flatnonzero(hot.any(1)), np.flatnonzero(hot.any(0))
        top, bottom = rows[0], rows[-1] + 1
        left, right = columns[0], columns[-1] + 1
        middle = (left + right) / 2
        found = {
            "scores": [0.9], "boxes": [[left, top, right, bottom]],
            "points": [middle, top, middle, bottom], "mask": film.clip(0, 1)[None],
        }  # fmt: skip
        return {name: np.asarray(value, np.float32) for name, value in found.items()}


class Sees:
    """Sets every film right that lies as it is told, and finds its lungs."""

    def __init__(self, lie: Lie) -> None:
        self.lie, self.lungs = lie, self

    def look(self, film: Float) -> SetRight:
        upright = set_right(film, self.lie)
        return SetRight(upright, self.find(upright), None, self.lie)

    def find(self, film: Float) -> Lungs:
        probability = np.zeros((64, 64), np.float32)
        probability[6:58, 6:58] = 1
        return lungs_from(probability, *film.shape)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What says where lungs are found; who finds them here is `Sees`."""
    return write_bundles(tmp_path_factory.mktemp("bundles"))


def engine_of(bundles: Path, net: Declared, lie: Lie) -> Engine:
    engine = Engine(bundles, (), declared=[net], apart=Finds, lungs=mapping.LUNGS)
    engine._loaded = _Loaded(NOBODY.brain, Sees(lie), 1)  # type: ignore[arg-type]
    return engine


@settings(max_examples=120, deadline=None)
@given(
    shape=st.tuples(st.integers(90, 400), st.integers(90, 400)),
    pixels=st.sampled_from(sorted(PIXELS)),
    hung=st.builds(
        Hanging, transposed=st.booleans(), upside_down=st.booleans(), mirrored=st.booleans()
    ),
    turned=st.sampled_from(TURNS),
    gated=st.booleans(),
)
def test_what_is_found_lies_on_the_stored_film_where_it_is(
    bundles: Path, shape: tuple[int, int], pixels: str, hung: Hanging, turned: str, gated: bool
) -> None:
    rows, columns = shape
    stored = np.zeros(shape, np.float32)
    tall, wide = rows // 6, columns // 8
    top, left = rows * 5 // 11, columns * 6 // 13
    stored[top : top + tall, left : left + wide] = 1
    lie = Lie(turned=turned) if gated else Lie()
    net = bundle_of(pixels, gated=gated)
    film = HungFilm(hung.hang(stored), hung, shape, (), SPACING)
    findings, shown = film.answer(
        engine_of(bundles, net, lie).analyse(film.hung, "1", film.asked(None))
    )
    boxes, length, mask = findings.observed
    near = 2.2 * max(shape) / 40
    corners = np.array(boxes.places[0].points)
    found = (*corners.min(0), *corners.max(0))
    assert found == pytest.approx((left, top, left + wide, top + tall), abs=near)
    (first, second) = np.array(length.places[0].points)
    assert (first + second) / 2 == pytest.approx((left + wide / 2, top + tall / 2), abs=near)
    extent = np.abs(second - first) * SPACING[::-1]
    assert length.value == pytest.approx(float(np.hypot(*extent)), rel=1e-4)
    (area,) = shown.areas
    assert within(area.region, shape)
    assert centre(area.probability, area.region) == pytest.approx(
        (left + wide / 2, top + tall / 2), abs=near
    )
    assert mask.value == pytest.approx(tall * wide / (rows * columns), rel=0.5)


def bundle_of(pixels: str, *, gated: bool) -> Declared:
    net = kit.manifest_alone(SAYS, PIXELS[pixels])
    eats = net.manifest.eats.model_copy(update={"gate": gated})
    return replace(net, manifest=net.manifest.model_copy(update={"eats": eats}))


def within(region: Region, shape: tuple[int, int]) -> bool:
    rows, columns = shape
    return 0 <= region.top < region.bottom <= rows and 0 <= region.left < region.right <= columns


def centre(plane: Float, region: Region) -> tuple[float, float]:
    """Where the middle of what is in a plane lies on the film: column, row."""
    rows, columns = plane.shape
    weight = np.where(plane > 0.5, 1.0, 0.0)
    row = (weight.sum(1) * (np.arange(rows) + 0.5)).sum() / weight.sum() / rows
    column = (weight.sum(0) * (np.arange(columns) + 0.5)).sum() / weight.sum() / columns
    return (
        region.left + column * (region.right - region.left),
        region.top + row * (region.bottom - region.top),
    )


@pytest.mark.parametrize("pixels", sorted(PIXELS))
@pytest.mark.parametrize("shape", [(640, 320), (321, 640), (900, 60), (8, 8)])
def test_where_a_network_looked_lies_on_the_film_and_is_held_against_its_lungs(
    bundles: Path, pixels: str, shape: tuple[int, int]
) -> None:
    net = bundle_of(pixels, gated=True)
    manifest = net.manifest.model_copy(update={"explain": "occlusion"})
    film = np.zeros(shape, np.float32)
    rows, columns = shape
    film[rows // 4 : 3 * rows // 4, columns // 4 : 3 * columns // 4] = 1
    net = replace(net, manifest=manifest)
    _, shown = engine_of(bundles, net, Lie()).analyse(film, "1", EVERYTHING)
    (heat,) = shown.maps
    assert within(heat.region, shape)


@pytest.mark.parametrize("orientation", ["LF", "RF", "LH", "RH", "FL", "FR", "HL", "HR"])
def test_a_stored_film_keeps_its_places_however_its_header_hangs_it(
    bundles: Path, orientation: str
) -> None:
    dataset = phantom_dataset(seed=1, rows=120, columns=200)
    pixels = np.zeros((120, 200), np.uint16)
    pixels[20:50, 130:180] = 2**dataset.BitsStored - 1
    dataset.PixelData = pixels.tobytes()
    dataset.PatientOrientation = list(orientation)
    dataset.PixelSpacing = list(SPACING)
    film = film_to_analyse(dataset, 200)
    assert (film.hung.shape == (200, 120)) is (orientation[0] in "FH")
    engine = engine_of(bundles, bundle_of("pad", gated=False), Lie())
    findings, _ = film.answer(engine.analyse(film.hung, "1", film.asked(None)))
    boxes, length, _ = findings.observed
    corners = np.array(boxes.places[0].points)
    assert (*corners.min(0), *corners.max(0)) == pytest.approx((130, 20, 180, 50), abs=6)
    # The line runs down the film as it is hung.
    along = 50 * SPACING[1] if film.hanging.transposed else 30 * SPACING[0]
    assert length.value == pytest.approx(along, rel=0.25)
