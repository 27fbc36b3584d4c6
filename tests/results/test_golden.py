"""Pictures that leave the node, compared with the ones that were looked at and found good.

Compared as an eye compares: both made small and blurred by that, so that another hinting of a
letter is nothing and a number, a contour or a colour that moves is much. Where a change is wanted,
look at the new picture in build/golden/ and copy it over the one in tests/results/golden/.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image

from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.preview import preview_context, preview_film_with_map
from dicom_node.results.templates import load_template
from dicom_node.results.write import write_results
from tests.chest_kit import answering

GOLDEN = Path(__file__).parent / "golden"
BUILD = Path(__file__).parents[2] / "build" / "golden"
WIDTH = 720
"""Pixels across which pictures are compared."""

MEAN_TOLERANCE = 2.0
"""Mean difference of grey levels, of 255: half of it is the JPEG that the golden one is kept as."""

LOCAL_TOLERANCE = 8.0
"""Difference of grey levels, of 255, that no block of 8 x 8 pixels may pass."""

BLOCK = 8


def picture(film: AnalysedFilm, language: str, kind: ObjectKind) -> Image.Image:
    """Return the first picture of a kind that is written for a film."""
    templates = [load_template(path) for path in sorted(report_templates().glob("*.toml"))]
    (template,) = (each for each in templates if each.language.value.startswith(language))
    context = preview_context(template)
    item = next(each for each in write_results([film], context, {kind}) if each.kind is kind)
    return Image.fromarray(pydicom.dcmread(io.BytesIO(item.data)).pixel_array)


def film_of_a_phantom() -> AnalysedFilm:
    """Return the preview's film with the phantom visible under the invented findings."""
    film = preview_film_with_map()
    stored = film.dataset.pixel_array.astype(np.float32)
    return replace(film, pixels=stored / stored.max())


def small(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize(
        (WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.BOX
    )


def difference(one: Image.Image, other: Image.Image) -> tuple[float, float]:
    """Return the mean difference, and that of the block that differs most, of 255."""
    a, b = (np.asarray(image).astype(np.float64).mean(axis=2) for image in (one, other))
    away: npt.NDArray[np.float64] = np.abs(a - b)
    rows, columns = (side // BLOCK * BLOCK for side in away.shape)
    blocks = away[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return float(away.mean()), float(blocks.mean(axis=(1, 3)).max())


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", [ObjectKind.CAPTURE, ObjectKind.OVERLAYS])
def test_a_picture_looks_as_it_was_found_good(language: str, kind: ObjectKind) -> None:
    made = small(picture(film_of_a_phantom(), language, kind))
    BUILD.mkdir(parents=True, exist_ok=True)
    name = f"{kind.value}-{language}.jpg"
    made.save(BUILD / name, quality=90, subsampling=0)
    mean, local = difference(made, Image.open(GOLDEN / name))
    assert mean <= MEAN_TOLERANCE, f"look at build/golden/{name}"
    assert local <= LOCAL_TOLERANCE, f"look at build/golden/{name}"


def test_the_comparison_sees_a_number_that_changed() -> None:
    film = film_of_a_phantom()
    scores = {
        name: replace(score, value=score.value / 2) for name, score in film.findings.scores.items()
    }
    other = replace(film, findings=answering(film.findings, scores=scores))
    golden = Image.open(GOLDEN / f"{ObjectKind.CAPTURE.value}-en.jpg")
    _, local = difference(small(picture(other, "en", ObjectKind.CAPTURE)), golden)
    assert local > LOCAL_TOLERANCE
