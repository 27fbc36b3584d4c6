"""Presentation states, segmentations, PDF, key objects: valid, in place, of the patient."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pypdf
import pytest
from pydicom import Dataset

from dicom_node.chest import Detection
from dicom_node.findings import (
    Explanation,
    LungMask,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.phantom import Encoding, Identity
from dicom_node.records import ObjectKind
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.key_objects import RejectionNote, RetractedObject, rejection_note
from dicom_node.results.modules import file_bytes
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.write import WrittenObject, write_results
from tests.conftest import debian
from tests.results.conftest import MakeFilm
from tests.results.report_kit import errors_of

OTHERS = (
    ObjectKind.OVERLAYS,
    ObjectKind.PRESENTATION,
    ObjectKind.SEGMENTATION,
    ObjectKind.DOCUMENT,
    ObjectKind.KEY_OBJECTS,
)
SHAPES = [(160, 160), (300, 120), (120, 301), (700, 513)]


def parsed(item: WrittenObject) -> Dataset:
    return pydicom.dcmread(io.BytesIO(item.data))


def written(film: AnalysedFilm, context: Context, kind: ObjectKind) -> list[Dataset]:
    return [parsed(item) for item in write_results([film], context, {kind})]


def planted(film: AnalysedFilm) -> tuple[AnalysedFilm, Region]:
    """Return the film with one hot cell and one lung of the same cells, and where they are."""
    rows, columns = film.film.shape
    heat = np.zeros((10, 10), np.float32)
    heat[4:7, 2:4] = 1
    mask = np.zeros((10, 10), bool)
    mask[4:7, 2:4] = True
    whole = Region(0, 0, rows, columns)
    explanation = Explanation(
        (SaliencyMap("covidnet", "covid19", heat, whole),), LungMask("lung-unet", mask)
    )
    where = Region(rows * 0.4, columns * 0.2, rows * 0.7, columns * 0.4)
    return replace(film, explanation=explanation), where


def lungs_of(film: AnalysedFilm) -> AnalysedFilm:
    """Return the film with two lungs."""
    mask = np.zeros((16, 16), bool)
    mask[3:13, 2:7] = mask[3:13, 9:14] = True
    return replace(film, explanation=replace(film.explanation, lungs=LungMask("lung-unet", mask)))


@pytest.mark.parametrize(("given", "shown"), [([2, 1], [2, 1]), (None, [1, 1]), ("1", [1, 1])])
def test_a_pixel_aspect_ratio_that_says_nothing_is_taken_as_square(
    make_film: MakeFilm, context: Context, given: object, shown: list[int]
) -> None:
    film = make_film()
    if given is not None:
        film.dataset.PixelAspectRatio = given
    (state,) = written(film, context, ObjectKind.PRESENTATION)
    assert state.DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio == shown


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_kind_of_object_is_valid(
    make_film: MakeFilm, context: Context, tmp_path: Path, photometric: str, bits: int
) -> None:
    film = lungs_of(make_film(encoding=Encoding(bits=bits, photometric=photometric)))
    for item in write_results([film], context, OTHERS):
        assert errors_of(item.data, tmp_path) == [], item.kind


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_objects_of_films_without_spacing_and_orientation_are_valid(
    make_film: MakeFilm, context: Context, tmp_path: Path, shape: tuple[int, int]
) -> None:
    film = lungs_of(make_film(rows=shape[0], columns=shape[1]))
    film.dataset.ImagerPixelSpacing = [0.0, 0.0]
    film.dataset.PatientOrientation = None
    for item in write_results([film], context, OTHERS):
        assert errors_of(item.data, tmp_path) == [], item.kind


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
    ids=str,
)
def test_the_patient_s_name_comes_back_in_every_kind_of_object(
    make_film: MakeFilm, context: Context, tmp_path: Path, character_set: str, name: str
) -> None:
    identity = Identity(patient_name=name, patient_id="4711")
    film = lungs_of(make_film(identity=identity))
    film.dataset.SpecificCharacterSet = character_set
    film.dataset.PatientName = name
    film = replace(film, dataset=pydicom.dcmread(io.BytesIO(_file(film.dataset))))
    for item in write_results([film], context, tuple(ObjectKind)):
        assert parsed(item).PatientName == name, item.kind
        assert errors_of(item.data, tmp_path) == [], item.kind


def _file(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_same_input_gives_the_same_bytes_of_every_kind() -> None:
    film = preview_film()
    context = preview_context(_english())
    first = write_results([film], context, tuple(ObjectKind))
    assert first == write_results([film], context, tuple(ObjectKind))
    assert {item.kind for item in first} == set(ObjectKind)
    assert len({item.sop_instance_uid for item in first}) == len(first)


def _english():  # type: ignore[no-untyped-def]
    from dicom_node.resources import report_templates
    from dicom_node.results.templates import load_template

    return load_template(report_templates() / "chest-radiograph-measurement-report.toml")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_contours_of_the_presentation_state_lie_on_what_stood_out(
    make_film: MakeFilm, context: Context, shape: tuple[int, int]
) -> None:
    film, where = planted(make_film(rows=shape[0], columns=shape[1]))
    (state,) = written(film, context, ObjectKind.PRESENTATION)
    line = state.GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    assert line.GraphicAnnotationUnits == "PIXEL"
    points = np.array(line.GraphicData).reshape(-1, 2)
    # At half of the heat the contour runs through the cells' edges.
    assert np.abs(points[:, 0].min() - where.left) <= 1
    assert np.abs(points[:, 0].max() - where.right) <= 1
    assert np.abs(points[:, 1].min() - where.top) <= 1
    assert np.abs(points[:, 1].max() - where.bottom) <= 1
    assert (points[0] == points[-1]).all()


@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")]
)
def test_the_presentation_state_leaves_the_reader_s_window_alone(
    make_film: MakeFilm, context: Context, photometric: str, shape: str
) -> None:
    film = make_film(encoding=Encoding(photometric=photometric))
    (state,) = written(film, context, ObjectKind.PRESENTATION)
    assert state.PresentationLUTShape == shape
    assert "SoftcopyVOILUTSequence" not in state
    area = state.DisplayedAreaSelectionSequence[0]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [160, 160]
    text = state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
    assert "Resembles COVID-19 films (65 %)" in text
    assert "View: PA" in text
    assert "RESEARCH USE ONLY" in text


@pytest.mark.pacs("dcmpschk")
def test_dcmtk_finds_the_presentation_state_well(
    make_film: MakeFilm, context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "state.dcm"
    (item,) = write_results([lungs_of(make_film())], context, {ObjectKind.PRESENTATION})
    path.write_bytes(item.data)
    done = subprocess.run([debian("dcmpschk"), str(path)], capture_output=True, check=True)
    assert b"Test passed" in done.stdout + done.stderr


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_segmentation_has_the_film_s_matrix_and_lies_on_the_lung(
    make_film: MakeFilm, context: Context, shape: tuple[int, int]
) -> None:
    film, where = planted(make_film(rows=shape[0], columns=shape[1]))
    lungs, heat = written(film, context, ObjectKind.SEGMENTATION)
    assert (lungs.SegmentationType, heat.SegmentationType) == ("BINARY", "FRACTIONAL")
    assert heat.SegmentationFractionalType == "PROBABILITY"
    for document, level in ((lungs, 1), (heat, 128)):
        assert (document.Rows, document.Columns) == shape
        pixels = np.atleast_3d(document.pixel_array).reshape(shape)
        rows, columns = np.nonzero(pixels >= level)
        assert abs(rows.min() - where.top) <= 1
        assert abs(rows.max() + 1 - where.bottom) <= 1
        assert abs(columns.min() - where.left) <= 1
        assert abs(columns.max() + 1 - where.right) <= 1
    (segment,) = lungs.SegmentSequence
    assert segment.SegmentLabel == "Right lung"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"


def test_highdicom_reads_our_segmentations_and_each_names_its_film(
    make_film: MakeFilm, context: Context
) -> None:
    film = lungs_of(make_film())
    for item in write_results([film], context, {ObjectKind.SEGMENTATION}):
        read = hd.seg.segread(io.BytesIO(item.data))
        assert film.dataset.SOPInstanceUID in {uid for _, _, uid in read.get_source_image_uids()}
    labels = [segment.SegmentLabel for segment in parsed(
        write_results([film], context, {ObjectKind.SEGMENTATION})[0]).SegmentSequence]  # fmt: skip
    assert labels == ["Right lung", "Left lung"]


def test_a_mirrored_film_has_its_right_lung_at_the_right_of_the_picture(
    make_film: MakeFilm, context: Context
) -> None:
    film, _ = planted(make_film())
    film.dataset.PatientOrientation = ["R", "F"]
    lungs, _ = written(film, context, ObjectKind.SEGMENTATION)
    assert lungs.SegmentSequence[0].SegmentLabel == "Left lung"


def test_without_lungs_and_heat_there_is_no_segmentation(
    make_film: MakeFilm, context: Context
) -> None:
    film = replace(make_film(), explanation=Explanation())
    assert written(film, context, ObjectKind.SEGMENTATION) == []


@pytest.mark.pacs("dcm2pdf")
def test_the_pdf_says_what_the_report_says(tmp_path: Path) -> None:
    film, context = preview_film(), preview_context(_english())
    (item,) = write_results([film], context, {ObjectKind.DOCUMENT})
    source, target = tmp_path / "document.dcm", tmp_path / "document.pdf"
    source.write_bytes(item.data)
    subprocess.run([debian("dcm2pdf"), str(source), str(target)], capture_output=True, check=True)
    pages = pypdf.PdfReader(target).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    for words in (
        "Resembles COVID-19 films (83 %)",
        "View PA",
        "Geographic extent (0-8) 4.2 (3.1 to 5.4)",
        "Level 2: opacities in 3 or more lung zones (91 %)",
        "Right lower zone 2.1",
        "Film quality: Positioning.",
        "Course: 2019-12-20 09:15",
        "covidnet-lite (preview) 0.0.0, weights 00000000",
        "FOR RESEARCH USE ONLY",
        str(film.dataset.PatientID),
    ):
        assert words in text, words
    assert parsed(item).BurnedInAnnotation == "YES"


@pytest.mark.parametrize(
    "name",
    ["Люкceмбypг", "Yamada^Tarou=山田^太郎=やまだ^たろう", "王^小东",
     "Hong^Gildong=洪^吉洞=홍^길동", "مريم", "A<b>&^B"],
)  # fmt: skip
def test_the_pdf_shows_any_name(make_film: MakeFilm, context: Context, name: str) -> None:
    film = make_film()
    film.dataset.SpecificCharacterSet = "ISO_IR 192"
    film.dataset.PatientName = name
    (document,) = written(film, context, ObjectKind.DOCUMENT)
    page = pypdf.PdfReader(io.BytesIO(document.EncapsulatedDocument)).pages[0]
    shown = "".join(page.extract_text().split())
    assert "".join(name.replace("^", " ").split()) in shown


def test_key_objects_name_the_films_with_a_finding(make_film: MakeFilm, context: Context) -> None:
    (selection,) = written(make_film(), context, ObjectKind.KEY_OBJECTS)
    assert selection.ConceptNameCodeSequence[0].CodeValue == "113000"
    named = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in selection.ContentSequence
        if item.ValueType == "IMAGE"
    ]
    assert named == [make_film().dataset.SOPInstanceUID]


def test_a_normal_film_is_no_key_object(make_film: MakeFilm, context: Context) -> None:
    normal = Detection({"normal": 0.9, "pneumonia": 0.06, "covid19": 0.04}, 0.5, calibrated=True)
    assert written(make_film(detection=normal), context, ObjectKind.KEY_OBJECTS) == []


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize(("reason", "code"), [("quality", "113001"), ("patient-safety", "113037")])
def test_a_rejection_note_names_the_results_and_why(
    make_film: MakeFilm, tmp_path: Path, reason: str, code: str
) -> None:
    source = make_film().dataset
    rejected = [
        RetractedObject("1.2.840.10008.5.1.4.1.1.88.33", "2.25.5", "2.25.6"),
        RetractedObject("1.2.840.10008.5.1.4.1.1.7", "2.25.7", "2.25.8"),
    ]
    note = RejectionNote(reason, "DICOMNODE", 9000)  # type: ignore[arg-type]
    document = rejection_note(source, rejected, note, "2.25.9")
    assert document.ConceptNameCodeSequence[0].CodeValue == code
    named = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in document.ContentSequence
        if item.ValueType in ("IMAGE", "COMPOSITE")
    }
    assert named == {"2.25.5", "2.25.7"}
    assert errors_of(file_bytes(document, source), tmp_path) == []


def test_each_network_has_its_overlay_with_its_own_answer() -> None:
    film, context = preview_film(), preview_context(_english())
    overlays = written(film, context, ObjectKind.OVERLAYS)
    assert [item.InstanceNumber for item in overlays] == [101, 102, 103, 104]
    assert len({item.SOPInstanceUID for item in overlays}) == 4
    assert len({item.SeriesInstanceUID for item in overlays}) == 1
    said = [item.DerivationDescription for item in overlays]
    assert "covidnet-s-opacity (preview)" in said[2]
    assert len({item.PixelData for item in overlays}) == 4
