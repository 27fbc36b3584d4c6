"""The opacity map is what a reader sees first, in every object, and says the same in each."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pypdf
import pytest
from pydicom import Dataset

from dicom_node.findings import (
    Explanation,
    LungMask,
    OpacityMap,
    Outcome,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.opaque import mapped
from dicom_node.imaging.orientation import as_stored, hanging
from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.narrative import report_text
from dicom_node.results.picture import draw_film, draw_weighed
from dicom_node.results.preview import preview_context, preview_film_with_map
from dicom_node.results.reading import findings_from_report
from dicom_node.results.regions import places_of
from dicom_node.results.templates import load_template
from dicom_node.results.wording import conclusion
from dicom_node.results.write import write_results
from tests.chest_kit import answering
from tests.results.conftest import MakeFilm
from tests.results.report_kit import errors_of

SHAPES = [(160, 160), (300, 120), (120, 301), (700, 513)]
CELL = 1 / 16
"""The map's cell, of the film's side."""

Box = tuple[float, float, float, float]
"""Top, left, bottom, right, of the film as it is hung, in [0, 1]."""

RIGHT, LEFT = (0.2, 0.1, 0.8, 0.4), (0.2, 0.6, 0.8, 0.9)
OPAQUE: Box = (0.5, 0.125, 0.75, 0.375)
"""In the right lung."""


def grid(shape: tuple[int, int], *boxes: Box) -> np.ndarray:
    plane = np.zeros(shape, np.float32)
    for top, left, bottom, right in boxes:
        rows, columns = (slice(round(a * n), round(b * n)) for a, b, n in (
            (top, bottom, shape[0]), (left, right, shape[1])))  # fmt: skip
        plane[rows, columns] = 1
    return plane


def with_map(
    film: AnalysedFilm, *opaque: Box, lungs: bool = True, sure: float = 0.9
) -> AnalysedFilm:
    """Return the film with both lungs and a map of rectangles, as the engine would store them."""
    rows, columns = film.film.shape
    hung = hanging(film.dataset.get("PatientOrientation") or ())
    tall, wide = (columns, rows) if hung.transposed else (rows, columns)
    whole = Region(0.0, 0.0, tall, wide)
    found = LungMask("lung-unet", grid((40, 40), *((RIGHT, LEFT) if lungs else ())).astype(bool))
    opacity = OpacityMap("opacity-map", sure * grid((16, 16), *opaque), whole, 0.5)
    heat = replace(film.saliency[0], region=whole)
    graded = SaliencyMap("zones", "airspace", opacity.probability, whole, "opacity-map")
    explanation = as_stored(Explanation((heat, graded), found, opacity), hung, (rows, columns))
    findings = answering(film.findings, opacity_map=mapped(opacity, found, whole))
    return replace(film, findings=findings, explanation=explanation)


def written(film: AnalysedFilm, context: Context, kind: ObjectKind) -> list[Dataset]:
    items = write_results([film], context, {kind})
    return [pydicom.dcmread(io.BytesIO(item.data)) for item in items]


def report_of(film: AnalysedFilm, context: Context) -> Dataset:
    return written(film, context, ObjectKind.REPORT)[0]


def groups_of(report: Dataset) -> dict[str, Dataset]:
    """Return the measurement groups of a report by what viewers call them."""
    (measurements,) = (
        item for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].get("CodeValue") == "126010"
    )  # fmt: skip
    return {
        next(c.TextValue for c in group.ContentSequence
             if c.ConceptNameCodeSequence[0].CodeValue == "112039"): group
        for group in measurements.ContentSequence
    }  # fmt: skip


def coded(group: Dataset, code: str) -> list[str]:
    return [
        item.ConceptCodeSequence[0].CodeMeaning
        for item in group.ContentSequence
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].get("CodeValue") == code
    ]


def number_in(group: Dataset) -> float:
    number = next(item for item in group.ContentSequence if item.ValueType == "NUM")
    value = number.MeasuredValueSequence[0]
    return float(value.get("FloatingPointValue", value.NumericValue))


def line_in(group: Dataset) -> np.ndarray:
    item = next(item for item in group.ContentSequence if item.ValueType == "SCOORD")
    return np.array(item.GraphicData).reshape(-1, 2)


def box_of(line: np.ndarray) -> list[float]:
    (left, top), (right, bottom) = line.min(axis=0), line.max(axis=0)
    return [top, left, bottom, right]


FINDING, SITE = "121071", "363698007"


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_the_report_draws_the_mapped_area_of_a_lung_with_its_part(
    make_film: MakeFilm, context: Context, rows: int, columns: int
) -> None:
    film = with_map(make_film(rows=rows, columns=columns), OPAQUE)
    groups = groups_of(report_of(film, context))
    right, left = groups["Mapped opacity, right lung"], groups["Mapped opacity, left lung"]
    found = film.findings.opacity_map
    assert found is not None
    assert found.right is not None
    assert number_in(right) == pytest.approx(100 * found.right)
    assert number_in(groups["Opacity map"]) == pytest.approx(100 * found.lungs)  # type: ignore[operator]
    assert number_in(left) == 0.0
    assert coded(right, FINDING) == ["Opacity"]
    assert coded(left, FINDING) == []
    sides = np.array([rows, columns, rows, columns])
    away = np.abs(box_of(line_in(right)) - np.array(OPAQUE) * sides) / sides
    assert away.max() <= CELL / 2
    # The other lung is drawn as a lung.
    assert (np.abs(box_of(line_in(left)) - np.array(LEFT) * sides) / sides).max() <= CELL / 2


def test_the_map_stands_behind_the_impression_and_before_what_weighed_for_the_class(
    make_film: MakeFilm, context: Context
) -> None:
    names = list(groups_of(report_of(with_map(make_film(), OPAQUE), context)))
    assert names[0].startswith("AI impression")
    assert names[1:4] == [
        "Opacity map", "Mapped opacity, right lung", "Mapped opacity, left lung",
    ]  # fmt: skip
    assert names[4] == "COVID-19 pneumonia: what weighed most"


def test_areas_of_one_lung_are_one_line_and_holes_are_none_of_it(
    make_film: MakeFilm, context: Context
) -> None:
    two = with_map(make_film(), (0.25, 0.125, 0.375, 0.375), (0.625, 0.125, 0.75, 0.375))
    line = line_in(groups_of(report_of(two, context))["Mapped opacity, right lung"])
    assert (line[0] == line[-1]).all()
    top, _, bottom, _ = np.array(box_of(line)) / 160
    assert (top, bottom) == (pytest.approx(0.25, abs=CELL), pytest.approx(0.75, abs=CELL))
    assert len(places_of(two).opaque) == 2


@pytest.mark.parametrize("orientation", [["L", "F"], ["R", "F"], ["R", "H"]])
def test_the_lungs_of_the_map_are_the_patient_s_however_the_film_is_stored(
    make_film: MakeFilm, context: Context, orientation: list[str]
) -> None:
    film = make_film(rows=200, columns=160)
    film.dataset.PatientOrientation = orientation
    turned = with_map(film, OPAQUE)
    groups = groups_of(report_of(turned, context))
    assert coded(groups["Mapped opacity, right lung"], FINDING) == ["Opacity"]
    assert coded(groups["Mapped opacity, left lung"], FINDING) == []
    middle = line_in(groups["Mapped opacity, right lung"])[:, 0].mean()
    assert (middle > 80) == (orientation[0] == "R")


def test_the_segmentation_has_the_mapped_area_beside_the_lungs(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    film = with_map(make_film(rows=240, columns=200), OPAQUE)
    first = write_results([film], context, {ObjectKind.SEGMENTATION})[0]
    assert errors_of(first.data, tmp_path) == []
    document = pydicom.dcmread(io.BytesIO(first.data))
    assert [item.SegmentLabel for item in document.SegmentSequence] == [
        "Right lung", "Left lung", "Opacity",
    ]  # fmt: skip
    kind = document.SegmentSequence[2].SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("112001", "DCM")
    right, left, opaque = hd.seg.segread(io.BytesIO(first.data)).pixel_array.astype(bool)
    assert not (opaque & ~right).any()
    assert not left[:, :100].any()
    found = film.findings.opacity_map
    assert found is not None
    assert opaque.sum() / right.sum() == pytest.approx(found.right, abs=0.01)


def test_a_map_without_lungs_is_a_segment_of_its_own_and_said_to_lie_anywhere(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    film = with_map(make_film(), OPAQUE, lungs=False)
    first = write_results([film], context, {ObjectKind.SEGMENTATION})[0]
    assert errors_of(first.data, tmp_path) == []
    segments = pydicom.dcmread(io.BytesIO(first.data)).SegmentSequence
    assert [item.SegmentLabel for item in segments] == ["Opacity"]
    report = report_of(film, context)
    assert "No lungs were found" in report_text(report)
    groups = groups_of(report)
    assert "Mapped opacity, right lung" not in groups
    assert coded(groups["Opacity map"], FINDING) == ["Opacity"]
    assert (np.abs(np.array(box_of(line_in(groups["Opacity map"]))) / 160 - OPAQUE)).max() <= CELL


def test_colour_and_contour_lie_on_the_mapped_area_and_nowhere_else(make_film: MakeFilm) -> None:
    film = make_film(rows=500, columns=500)
    plain = np.asarray(draw_film(with_map(film))).astype(int)
    shown = np.asarray(draw_film(with_map(film, OPAQUE))).astype(int)
    changed = (np.abs(shown - plain) > 3).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    found = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / 1000
    assert np.abs(found - OPAQUE).max() <= CELL / 2 + 0.005
    assert changed[500:750, 125:375].mean() > 0.95


def test_the_surer_the_network_the_stronger_the_colour(make_film: MakeFilm) -> None:
    film = make_film(rows=500, columns=500)
    middle = (slice(600, 650), slice(200, 300))
    greens = [
        (np.asarray(draw_film(with_map(film, OPAQUE, sure=sure)))[middle].astype(int)
         - np.asarray(draw_film(with_map(film)))[middle])[..., 1].mean()
        for sure in (0.55, 0.75, 1.0)
    ]  # fmt: skip
    assert 0 < greens[0] < greens[1] < greens[2]


def test_what_weighed_for_the_class_is_a_picture_of_its_own(make_film: MakeFilm) -> None:
    film, context = preview_film_with_map(), preview_context(template_in("en"))
    (capture,) = written(film, context, ObjectKind.CAPTURE)
    (overlay,) = written(film, context, ObjectKind.OVERLAYS)
    assert capture.DerivationDescription.startswith("Opacity map of opacity-map")
    assert capture.DerivationCodeSequence[0].CodeValue == "113076"
    assert overlay.DerivationDescription.startswith("Grad-CAM of covidnet-lite")
    assert overlay.DerivationCodeSequence[0].CodeValue == "130403"
    assert (capture.InstanceNumber, overlay.InstanceNumber) == (1, 101)
    shown = with_map(make_film(rows=300, columns=300), OPAQUE)
    assert not np.array_equal(draw_film(shown), draw_weighed(shown))


def test_the_presentation_state_draws_the_map_first(make_film: MakeFilm, context: Context) -> None:
    film = with_map(make_film(), OPAQUE)
    (state,) = written(film, context, ObjectKind.PRESENTATION)
    annotation = state.GraphicAnnotationSequence[0]
    first = np.array(annotation.GraphicObjectSequence[0].GraphicData).reshape(-1, 2)
    assert (np.abs(np.array(box_of(first)) / 160 - OPAQUE)).max() <= CELL / 2
    # Both lungs follow: what weighed for the class is not among the lines.
    assert len(annotation.GraphicObjectSequence) == 3
    assert "mapped opaque" in annotation.TextObjectSequence[0].UnformattedTextValue


NOTHING = {"en": "No opacity mapped", "de": "Keine Verschattung kartiert"}
MEANS = {
    "en": "The contour surrounds what is mapped opaque inside the lungs",
    "de": "Die Kontur umgibt, was in der Lunge als verschattet kartiert ist",
}


def template_in(language: str):  # type: ignore[no-untyped-def]
    every = (load_template(path) for path in report_templates().glob("*.toml"))
    return next(each for each in every if each.language.value.startswith(language))


@pytest.mark.parametrize("language", ["en", "de"])
def test_where_nothing_is_mapped_there_is_no_contour_and_every_object_says_so(
    make_film: MakeFilm, context: Context, language: str
) -> None:
    template = template_in(language)
    context = replace(context, template=template)
    film = with_map(make_film())
    report = report_of(film, context)
    text = " ".join(report_text(report).split())
    assert NOTHING[language] in text
    assert MEANS[language] not in text
    groups = groups_of(report)
    assert coded(groups[template.opacity_map.wording], FINDING) == []
    assert places_of(film).opaque == ()
    (lungs, *_) = written(film, context, ObjectKind.SEGMENTATION)
    assert len(lungs.SegmentSequence) == 2
    (state,) = written(film, context, ObjectKind.PRESENTATION)
    said = state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
    assert NOTHING[language] in said
    assert NOTHING[language] in pdf_text(film, context)


@pytest.mark.parametrize("language", ["en", "de"])
def test_report_and_pdf_say_what_the_contour_means_and_how_much_of_each_lung_it_is(
    make_film: MakeFilm, context: Context, language: str
) -> None:
    context = replace(context, template=template_in(language))
    film = with_map(make_film(), OPAQUE)
    found = film.findings.opacity_map
    assert found is not None
    parts = f"{round(100 * (found.right or 0))} %"
    for text in (report_text(report_of(film, context)), pdf_text(film, context)):
        words = " ".join(text.split())
        assert MEANS[language] in words
        assert parts in words


def pdf_text(film: AnalysedFilm, context: Context) -> str:
    (document,) = written(film, context, ObjectKind.DOCUMENT)
    pages = pypdf.PdfReader(io.BytesIO(document.EncapsulatedDocument)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_a_report_with_a_map_is_valid_in_all_classes_and_read_back(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    film = with_map(make_film(), OPAQUE, (0.25, 0.625, 0.5, 0.75))
    for item in write_results([film], context, {ObjectKind.REPORT}):
        assert errors_of(item.data, tmp_path) == []
    assert findings_from_report(report_of(film, context)) == [film.findings]


def test_a_map_that_contradicts_the_class_is_told_in_the_headline(make_film: MakeFilm) -> None:
    template = template_in("en")
    clear = with_map(make_film()).findings
    assert clear.outcome is Outcome.ANALYSED
    assert clear.contradictions == (("finding", "opacity_map"),)
    assert "mapped opaque: 0 % of the lungs" in conclusion(clear, template)
    assert with_map(make_film(), OPAQUE).findings.contradictions == ()


def test_a_grade_that_a_map_explains_is_told_by_what_is_mapped() -> None:
    film, context = preview_film_with_map(), preview_context(template_in("en"))
    said = " ".join(report_text(report_of(film, context)).split())
    assert "Hiding what is mapped opaque lowers the score by 2.6 points." in said
    assert "Hiding what weighed most lowers the score" not in said
