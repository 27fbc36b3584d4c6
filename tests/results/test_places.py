"""Contour, heat and coordinates lie on the same place of the film, to a pixel."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_node.chest import Detection
from dicom_node.findings import (
    Explanation,
    LungMask,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.phantom import Encoding
from dicom_node.records import ObjectKind
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.picture import Layout, draw, draw_film
from dicom_node.results.regions import heat_on_picture, places_of, simplified
from dicom_node.results.write import write_results
from tests.results.conftest import MakeFilm

CONTOUR = np.array((255, 196, 0))
SHAPES = [(440, 440), (300, 160), (160, 300), (2048, 1536)]


def with_square(film: AnalysedFilm, cells: int = 48) -> tuple[AnalysedFilm, Region]:
    """Return the film, black, with a hot square of 8 x 8 cells of a grid under the top 8 %."""
    rows, columns = film.film.shape
    region = Region(rows * 0.08, 0, rows, columns)
    heat = np.zeros((cells, cells), np.float32)
    heat[20:28, 30:38] = 1
    high, wide = (rows - region.top) / cells, columns / cells
    square = Region(region.top + 20 * high, 30 * wide, region.top + 28 * high, 38 * wide)
    saliency = (SaliencyMap("covidnet", "covid19", heat, region),)
    return replace_film(film, saliency), square


def replace_film(film: AnalysedFilm, saliency: tuple[SaliencyMap, ...]) -> AnalysedFilm:
    return AnalysedFilm(
        film.dataset, np.zeros_like(film.film), film.findings, Explanation(saliency), film.digest
    )


def box(line: np.ndarray) -> Region:
    (left, top), (right, bottom) = line.min(axis=0), line.max(axis=0)
    return Region(top, left, bottom, right)


def assert_near(found: Region, wanted: Region, tolerance: float) -> None:
    for side in ("top", "left", "bottom", "right"):
        assert abs(getattr(found, side) - getattr(wanted, side)) <= tolerance, side


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_contour_of_a_planted_square_is_the_square(
    make_film: MakeFilm, shape: tuple[int, int]
) -> None:
    # Half the heat is reached on the edge between a hot and a cold cell: exactly on the square.
    film, square = with_square(make_film(rows=shape[0], columns=shape[1]))
    (line,) = places_of(film).salient
    assert (line[0] == line[-1]).all()
    assert_near(box(line), square, 1.0)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_drawn_contour_lies_on_the_square(
    make_film: MakeFilm, context: Context, shape: tuple[int, int]
) -> None:
    film, square = with_square(make_film(rows=shape[0], columns=shape[1]))
    layout = Layout(*shape)
    width, height = layout.film_size
    picture = draw(film, context)[
        layout.top : layout.top + height, layout.left : layout.left + width
    ].astype(int)
    rows, columns = np.nonzero(np.abs(picture - CONTOUR).sum(axis=2) < 60)
    found = Region(
        (rows.min() + 0.5) / layout.down,
        (columns.min() + 0.5) / layout.across,
        (rows.max() + 0.5) / layout.down,
        (columns.max() + 0.5) / layout.across,
    )
    # The line is 2.5 pixels of the picture wide: its own half lies outside.
    assert_near(found, square, max(1.0, 1.5 / layout.scale))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_report_s_coordinates_are_those_of_the_stored_matrix(
    make_film: MakeFilm, context: Context, photometric: str
) -> None:
    encoding = Encoding(photometric=photometric)  # type: ignore[arg-type]
    film, square = with_square(make_film(rows=300, columns=160, encoding=encoding))
    report = pydicom.dcmread(io.BytesIO(write_results([film], context)[0].data))
    regions = scoords(report)
    assert_near(box(regions[1]), square, 1.0)
    seen = box(regions[-1])
    assert_near(seen, Region(24, 0, 300, 160), 0.01)
    for line in regions:
        assert (line[0] == line[-1]).all()
        assert line.min() >= 0
        assert (line.max(axis=0) <= (160, 300)).all()


def scoords(node: Dataset) -> list[np.ndarray]:
    found = []
    for child in node.get("ContentSequence") or ():
        if child.ValueType == "SCOORD":
            found.append(np.array(child.GraphicData).reshape(-1, 2))
        found += scoords(child)
    return found


def test_heat_stops_exactly_at_the_edge_of_what_the_network_saw() -> None:
    saliency = SaliencyMap("n", "normal", np.ones((5, 5), np.float32), Region(25, 0, 100, 100))
    heat = heat_on_picture(saliency, (100, 100), (200, 200))
    assert (heat[:50] == 0).all()
    assert (heat[50:] == 1).all()


def test_heat_never_hides_the_film(make_film: MakeFilm, context: Context) -> None:
    film, _ = with_square(make_film())
    hot, cold = draw(film, context).astype(float), draw(replace_film(film, ()), context)
    white = AnalysedFilm(
        film.dataset, np.ones_like(film.film), film.findings, film.explanation, film.digest
    )
    layout = Layout(*film.film.shape)
    row, column = round(layout.top + layout.down * 0.54 * 160), round(layout.left + 0.7 * 1000)
    black_there, white_there = hot[row, column], draw(white, context)[row, column].astype(float)
    assert (black_there > cold[row, column]).any()
    assert (white_there - black_there >= 0.6 * 255 - 2).all()


def test_what_runs_out_of_the_area_seen_has_no_contour_where_no_lungs_are_known(
    make_film: MakeFilm,
) -> None:
    heat = np.zeros((10, 10), np.float32)
    heat[:2, :2] = 1
    assert places_of(make_film(heat=heat)).salient == ()
    heat[4:7, 4:7] = 1
    (line,) = places_of(make_film(heat=heat)).salient
    assert_near(box(line), Region(0.08 * 160 + 0.4 * 0.92 * 160, 64, 147.2 * 0.7 + 12.8, 112), 1.0)


def lungs_over(film: AnalysedFilm, mask: np.ndarray) -> AnalysedFilm:
    explanation = Explanation(film.saliency, LungMask("lung-unet", mask))
    return replace(film, explanation=explanation)


def test_contours_lie_inside_the_lungs_alone(make_film: MakeFilm) -> None:
    mask = np.zeros((16, 16), bool)
    mask[3:13, 2:7] = mask[3:13, 9:14] = True
    film = lungs_over(make_film(heat=np.ones((15, 15), np.float32)), mask)
    found = places_of(film)
    assert len(found.salient) == 2
    for line, (left, right) in zip(
        sorted(found.salient, key=lambda each: each[:, 0].min()), ((20, 70), (90, 140)), strict=True
    ):
        assert_near(box(line), Region(30, left, 130, right), 5.0)


def test_specks_below_a_hundredth_of_the_lungs_are_left_out(make_film: MakeFilm) -> None:
    mask = np.ones((16, 16), bool)
    heat = np.zeros((80, 80), np.float32)
    heat[10:14, 10:14] = 1  # 16 of 6,400 cells
    assert places_of(lungs_over(make_film(heat=heat), mask)).salient == ()
    heat[30:50, 30:50] = 1
    assert len(places_of(lungs_over(make_film(heat=heat), mask)).salient) == 1


def test_a_hole_below_a_hundredth_of_the_lungs_has_no_line_of_its_own(make_film: MakeFilm) -> None:
    mask = np.ones((16, 16), bool)
    heat = np.zeros((80, 80), np.float32)
    heat[20:60, 20:60] = 1
    heat[30:34, 30:34] = 0  # 16 of 6,400 cells
    assert len(places_of(lungs_over(make_film(heat=heat), mask)).salient) == 1
    heat[30:45, 30:45] = 0
    assert len(places_of(lungs_over(make_film(heat=heat), mask)).salient) == 2


@pytest.mark.parametrize(
    "probabilities",
    [
        {"normal": 0.9, "pneumonia": 0.06, "covid19": 0.04},
        {"normal": 0.3, "pneumonia": 0.36, "covid19": 0.34},
    ],
    ids=["no finding", "undetermined"],
)
def test_no_object_draws_what_was_not_found(
    make_film: MakeFilm, context: Context, probabilities: dict[str, float]
) -> None:
    film = make_film(detection=Detection(probabilities, 0.5, calibrated=True))
    mask = np.zeros((16, 16), bool)
    mask[3:13, 2:7] = mask[3:13, 9:14] = True
    film = lungs_over(film, mask)
    assert places_of(film).salient == ()
    written = write_results([film], context, [*ObjectKind])
    objects = {item.kind: item for item in reversed(written)}
    state = pydicom.dcmread(io.BytesIO(objects[ObjectKind.PRESENTATION].data))
    lines = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert len(lines) == 2  # the lungs
    segments = [
        pydicom.dcmread(io.BytesIO(item.data)).SegmentationType
        for item in write_results([film], context, [ObjectKind.SEGMENTATION])
    ]
    assert segments == ["BINARY"]
    report = pydicom.dcmread(io.BytesIO(objects[ObjectKind.REPORT].data))
    both = np.array(scoords(report)[0])
    for line in scoords(report):
        assert {tuple(corner) for corner in line} == {tuple(corner) for corner in both}
    for kind in (ObjectKind.CAPTURE, ObjectKind.OVERLAYS):
        picture = pydicom.dcmread(io.BytesIO(objects[kind].data)).pixel_array[:1000, :1000]
        assert (picture.max(axis=2) == picture.min(axis=2)).all(), kind


def test_colour_fades_at_the_edge_of_what_the_network_saw(make_film: MakeFilm) -> None:
    film = make_film(heat=np.ones((15, 15), np.float32))
    picture = np.asarray(draw_film(film)).astype(int)
    coloured = picture.max(axis=2) - picture.min(axis=2)
    assert coloured[500, 500] > 20
    top = round(0.08 * picture.shape[0])
    assert coloured[top - 3 : top + 3, 500].max() < 8


def test_the_largest_area_comes_first(make_film: MakeFilm) -> None:
    heat = np.zeros((20, 20), np.float32)
    heat[2:3, 2:18] = 1
    heat[8:16, 8:16] = 1
    first, second = places_of(make_film(heat=heat)).salient
    assert box(first).top > box(second).top


def test_without_heat_there_is_no_contour_and_the_report_says_so(
    make_film: MakeFilm, context: Context
) -> None:
    film = make_film(heat=np.zeros((15, 15), np.float32))
    assert places_of(film).salient == ()
    assert b"there is no contour" in write_results([film], context)[0].data


def test_a_simplified_line_stays_within_half_a_pixel() -> None:
    angle = np.linspace(0, 2 * np.pi, 2001)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 300 + 500
    circle[-1] = circle[0]
    kept = simplified(circle)
    assert len(kept) < 100
    assert (kept[0] == kept[-1]).all()
    middles = (kept[:-1] + kept[1:]) / 2
    assert np.abs(np.linalg.norm(middles - 500, axis=1) - 300).max() <= 0.51


def test_a_line_of_many_corners_is_cut_down_to_a_few() -> None:
    noise = np.random.default_rng(7).uniform(0, 4000, (5000, 2))
    assert len(simplified(np.concatenate([noise, noise[:1]]))) <= 400
