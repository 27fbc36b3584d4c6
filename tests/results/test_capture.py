"""The overlay lies where it belongs, and names nobody."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_node.findings import Explanation, Region, SaliencyMap
from dicom_node.imaging.phantom import Encoding, Identity
from dicom_node.results.capture import Layout, draw, save_picture
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.write import write_results
from tests.results.conftest import MakeFilm

SHAPES = [(160, 160), (300, 120), (120, 300), (1200, 1000)]


def planted(film: AnalysedFilm, *, cells: tuple[int, int]) -> tuple[AnalysedFilm, Region]:
    """Return the film, black, with one hot cell on a grid that covers all but the top 8 %."""
    rows, columns = film.film.shape
    region = Region(rows * 0.08, 0, rows, columns)
    heat = np.zeros((12, 12), np.float32)
    heat[cells] = 1
    black = np.zeros_like(film.film)
    height, width = (region.bottom - region.top) / 12, columns / 12
    top, left = region.top + cells[0] * height, cells[1] * width
    saliency = (SaliencyMap("covidnet", "covid19", heat, region),)
    made = AnalysedFilm(film.dataset, black, film.findings, Explanation(saliency), film.digest)
    return made, Region(top, left, top + height, left + width)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cells", [(3, 4), (8, 9)], ids=str)
def test_a_planted_hot_square_is_drawn_at_its_own_place(
    make_film: MakeFilm, context: Context, shape: tuple[int, int], cells: tuple[int, int]
) -> None:
    film, where = planted(make_film(rows=shape[0], columns=shape[1]), cells=cells)
    layout = Layout(*shape)
    width, height = layout.film_size
    picture = draw(film, context)[
        layout.top : layout.top + height, layout.left : layout.left + width
    ]
    glow = picture.astype(int).sum(axis=2)
    rows, columns = np.nonzero(glow > 0)
    # The hot cell's centre is the centre of what glows, within one pixel of the film.
    found = (rows.mean() + 0.5) / layout.scale, (columns.mean() + 0.5) / layout.scale
    middle = (where.top + where.bottom) / 2, (where.left + where.right) / 2
    tolerance = max(1.0, 1.0 / layout.scale)
    assert abs(found[0] - middle[0]) <= tolerance
    assert abs(found[1] - middle[1]) <= tolerance


def test_the_film_keeps_its_aspect_and_the_picture_its_size(
    make_film: MakeFilm, context: Context
) -> None:
    for rows, columns in SHAPES:
        layout = Layout(rows, columns)
        assert layout.film_size[0] / columns == pytest.approx(layout.film_size[1] / rows, rel=0.01)
    assert max(draw(make_film(), context).shape) <= 1536


def test_monochrome1_looks_like_monochrome2(make_film: MakeFilm, context: Context) -> None:
    one = draw(make_film(encoding=Encoding(photometric="MONOCHROME1")), context)
    two = draw(make_film(encoding=Encoding(photometric="MONOCHROME2")), context)
    assert np.abs(one.astype(int) - two).mean() < 1


def test_nothing_in_the_pixels_tells_who_it_is(make_film: MakeFilm, context: Context) -> None:
    somebody = make_film(identity=Identity(patient_name="CANARY^YELLOW", patient_id="4711"))
    assert (draw(make_film(), context) == draw(somebody, context)).all()


def test_the_capture_says_what_it_is_and_what_it_was_made_from(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    film = make_film()
    *_, item = write_results([film], context)
    capture = pydicom.dcmread(io.BytesIO(item.data))
    assert capture.ConversionType == "WSD"
    assert list(capture.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert capture.Modality == "OT"
    reference = capture.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == film.dataset.SOPInstanceUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert capture.DerivationCodeSequence[0].CodeValue == "130403"
    assert "RESEARCH USE ONLY" in capture.DerivationDescription
    assert "RESEARCH USE ONLY" in capture.SeriesDescription
    assert "PixelSpacing" not in capture
    path = tmp_path / "capture.dcm"
    path.write_bytes(item.data)
    save_picture(path, tmp_path / "capture.png")
    assert (tmp_path / "capture.png").stat().st_size > 10_000


def test_once_lossy_always_lossy(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    film.dataset.LossyImageCompression = "01"
    film.dataset.LossyImageCompressionRatio = "10"
    *_, item = write_results([film], context)
    capture = pydicom.dcmread(io.BytesIO(item.data))
    assert capture.LossyImageCompression == "01"
    assert capture.LossyImageCompressionRatio == 10


def test_a_film_without_explanation_is_drawn_without_heat(
    make_film: MakeFilm, context: Context
) -> None:
    film = make_film()
    plain = AnalysedFilm(film.dataset, film.film, film.findings, Explanation(), film.digest)
    picture = draw(plain, context)
    layout = Layout(*film.film.shape)
    inside = picture[layout.top + 5 : layout.top + 900, layout.left + 5 : layout.left + 900]
    assert (inside[..., 0] == inside[..., 2]).all()
