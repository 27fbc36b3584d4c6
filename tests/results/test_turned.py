"""Whatever way a film is stored, results place each lung where the patient has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dicom_node.findings import Explanation, LungMask, Region
from dicom_node.imaging.orientation import as_stored, hanging
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.picture import draw
from dicom_node.results.regions import Polygon, places_of, right_of
from tests.results.conftest import MakeFilm

WAYS = ["L F", "R F", "L H", "R H", "F L", "F R", "H L", "H R"]


def as_hung_film(make_film: MakeFilm) -> AnalysedFilm:
    film = make_film(rows=180, columns=140)
    mask = np.zeros((18, 14), bool)
    mask[3:15, 2:6] = mask[3:12, 8:12] = True
    film.dataset.PatientOrientation = ["L", "F"]
    return replace(film, explanation=Explanation(film.saliency, LungMask("lung-unet", mask)))


def stored(film: AnalysedFilm, way: str) -> AnalysedFilm:
    hung = hanging(way.split())
    grey = hung.store(film.film)
    film.dataset.PatientOrientation = way.split()
    film.dataset.Rows, film.dataset.Columns = grey.shape
    explanation = as_stored(film.explanation, hung, (grey.shape[0], grey.shape[1]))
    return replace(film, pixels=grey, explanation=explanation)


def box(line: Polygon) -> Region:
    (left, top), (right, bottom) = line.min(axis=0), line.max(axis=0)
    return Region(top, left, bottom, right)


@pytest.mark.parametrize("way", WAYS)
def test_each_lung_lies_on_the_stored_film_where_the_patient_has_it(
    make_film: MakeFilm, way: str
) -> None:
    truth = {side: box(line) for side, line in places_of(as_hung_film(make_film)).lungs.items()}
    film, hung = stored(as_hung_film(make_film), way), hanging(way.split())
    shape = (int(film.dataset.Rows), int(film.dataset.Columns))

    found = {side: box(line) for side, line in places_of(film).lungs.items()}

    assert set(found) == {"right", "left"}
    for side, where in found.items():
        upright = hung.hang_region(where, shape)
        for edge in ("top", "left", "bottom", "right"):
            assert getattr(upright, edge) == pytest.approx(getattr(truth[side], edge), abs=2)
    at_right = hung.hang_region(right_of(film.saliency[0].region, film), shape)
    assert (at_right.left, at_right.right) == (0, 70)


@pytest.mark.parametrize("way", ["R H", "F L", "H R"])
def test_a_turned_film_stands_upright_in_the_picture(
    make_film: MakeFilm, context: Context, way: str
) -> None:
    upright = draw(as_hung_film(make_film), context)
    turned = draw(stored(as_hung_film(make_film), way), context)
    assert np.abs(upright[:, :1000].astype(int) - turned[:, :1000]).mean() < 1
