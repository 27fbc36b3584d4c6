"""What networks observe that declare themselves is drawn where it is, and told beside it whole."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pypdf
import pytest
from PIL import Image
from pydicom import Dataset

from dicom_node.bundles.declared import ObservationWords
from dicom_node.findings import Evidence, OpacityMap
from dicom_node.imaging.orientation import hanging
from dicom_node.observations import FoundPlace, Observation, ObservationKind
from dicom_node.records import ObjectKind
from dicom_node.results import observed_picture, panel
from dicom_node.results.capture import overlays_of
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.lettering import Colour, Face, width_of
from dicom_node.results.observed_picture import COLOURS, colours_of
from dicom_node.results.observed_words import called, unanswered
from dicom_node.results.picture import Layout, draw, draw_film, draw_overlay
from dicom_node.results.write import write_results
from tests.chest_kit import answering
from tests.results import observed_kit as kit
from tests.results.conftest import MakeFilm
from tests.results.observed_kit import AREA, BOX, COLUMNS, LINE, ROWS, WAYS, observed_film
from tests.results.report_kit import errors_of
from tests.results.told_kit import ENGLISH, GERMAN

K = ObservationKind
EVERY = tuple(ObjectKind)
FIRST, SECOND = COLOURS[:2]


@pytest.fixture(params=[ENGLISH, GERMAN], ids=["en", "de"])
def spoken(request: pytest.FixtureRequest) -> Context:
    return kit.context_in(request.param)


@pytest.fixture(name="english")
def _english() -> Context:
    return kit.context_in(ENGLISH)


def written(film: AnalysedFilm, context: Context, kind: ObjectKind) -> list[Dataset]:
    items = write_results([film], context, [kind])
    return [pydicom.dcmread(io.BytesIO(item.data)) for item in items]


def is_near(picture: Image.Image, at: tuple[float, float], colour: Colour) -> bool:
    """Whether a colour is within two pixels of a place of a picture."""
    column, row = round(at[0]), round(at[1])
    part = np.asarray(picture).astype(int)[
        max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3
    ]
    return bool((np.abs(part - colour).max(axis=-1) < 12).any())


def on_picture(at: tuple[float, float], way: str) -> tuple[float, float]:
    """Return where a place of the hung film is in the picture of one that is stored some way.

    Only a mirrored film is shown as it is stored.
    """
    hung = hanging(way.split())
    column, row = at
    if hung.mirrored and not hung.is_turned:
        column = COLUMNS - column
    layout = Layout(ROWS, COLUMNS)
    return column * layout.across, row * layout.down


@pytest.mark.parametrize("way", WAYS)
def test_places_and_lines_are_drawn_where_they_were_found(make_film: MakeFilm, way: str) -> None:
    measured = Observation("heart_width", K.MEASUREMENT, "length", 152.3, "mm",
                           places=(FoundPlace(LINE),))  # fmt: skip
    picture = draw_film(observed_film(make_film, kit.boxes(0.9), measured, way=way))
    (left, top), _, (right, bottom), _ = BOX
    middle, height = (left + right) / 2, (top + bottom) / 2
    for at in ((middle, top), (middle, bottom), (left, height), (right, height)):
        assert is_near(picture, on_picture(at, way), FIRST), at
    assert not is_near(picture, on_picture((middle, height), way), FIRST)
    (begin, row), (end, _) = LINE
    for column in (begin, (begin + end) / 2, end):
        assert is_near(picture, on_picture((column, row), way), SECOND), column
    assert is_near(picture, on_picture((begin, row + 1), way), SECOND), "the end has a tick"
    assert not is_near(picture, on_picture((begin - 2, row), way), SECOND)


@pytest.mark.parametrize("way", WAYS)
def test_a_mask_is_tinted_where_it_is_and_nowhere_else(make_film: MakeFilm, way: str) -> None:
    film = observed_film(make_film, kit.mask(0.12), way=way)
    shown = np.asarray(draw_film(film)).astype(int)
    plain = np.asarray(draw_film(observed_film(make_film, kit.mask(0.0), way=way))).astype(int)
    column, row = map(round, on_picture(
        ((AREA.left + AREA.right) / 2, (AREA.top + AREA.bottom) / 2), way
    ))  # fmt: skip
    changed = np.abs(shown - plain).max(axis=-1) > 0
    assert changed[row, column]
    rows, columns = np.nonzero(changed)
    corners = [on_picture((AREA.left - 3, AREA.top - 3), way),
               on_picture((AREA.right + 3, AREA.bottom + 3), way)]  # fmt: skip
    (first, last), (top, bottom) = (sorted(each) for each in zip(*corners, strict=True))
    assert top <= rows.min()
    assert rows.max() <= bottom
    assert first <= columns.min()
    assert columns.max() <= last


def test_what_was_observed_lies_above_the_map_of_opacity(make_film: MakeFilm) -> None:
    film = observed_film(make_film, kit.boxes(0.9), beside=True)
    opacity = OpacityMap("map", np.full((8, 8), 0.9, np.float32), kit.WHOLE, 0.5)
    film = replace(film, explanation=replace(film.explanation, opacity=opacity))
    assert is_near(draw_film(film), on_picture((65.0, 30.0), "L F"), FIRST)


def test_nothing_observed_changes_no_pixel_of_a_film(make_film: MakeFilm, context: Context) -> None:
    film = make_film()
    said = kit.boxes()
    findings = answering(film.findings, observed=(said,))
    assert np.array_equal(draw_film(film), draw_film(replace(film, findings=findings)))


@pytest.mark.parametrize(
    "corner", [(0.0, 0.0), (90.0, 0.0), (0.0, 140.0), (90.0, 140.0), (45.0, 60.0)], ids=str
)
def test_words_lie_on_the_film_beside_their_place_and_beside_one_another(
    make_film: MakeFilm,
    english: Context,
    monkeypatch: pytest.MonkeyPatch,
    corner: tuple[float, float],
) -> None:
    found: list[tuple[float, float, float, float]] = []

    def write(_: Image.Image, at: tuple[int, int], text: str, face: Face, __: object) -> None:
        found.append((at[0], at[1], at[0] + width_of(text, face), at[1] + face.size))

    monkeypatch.setattr(observed_picture, "write", write)
    left, top = corner
    boxes = [(left, top, left + 50, top + 40), (left, top + 40, left + 50, top + 40)]
    places = tuple(FoundPlace(((a, b), (c, b), (c, d), (a, d)), "", 0.9) for a, b, c, d in boxes)
    draw(observed_film(make_film, replace(kit.boxes(0.9), places=places)), english)
    layout = Layout(ROWS, COLUMNS)
    one, other = found
    for word in found:
        assert min(word) >= 0
        assert word[2] <= layout.film_size[0]
        assert word[3] <= layout.film_size[1]
        assert apart(word, tuple(each * layout.across for each in boxes[0]))
    assert apart(one, other)


def apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two rectangles (left, top, right, bottom) have nothing in common."""
    beside = one[2] <= other[0] or other[2] <= one[0]
    return beside or one[3] <= other[1] or other[3] <= one[1]


def test_each_observation_that_is_drawn_has_its_colour(make_film: MakeFilm) -> None:
    film = observed_film(make_film, *kit.every_kind())
    assert list(colours_of(film)) == [
        ("boxes", "nodules"), ("length", "heart_width"), ("mask", "consolidation"),
    ]  # fmt: skip
    assert len(set(colours_of(film).values())) == 3


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
def test_the_validator_has_no_fault_to_find_in_any_kind_of_object(
    make_film: MakeFilm, spoken: Context, tmp_path: Path, beside: bool
) -> None:
    film = observed_film(make_film, *kit.every_kind(), beside=beside)
    found = set()
    for item in write_results([film], spoken, EVERY):
        assert errors_of(item.data, tmp_path) == [], item.kind
        found.add(item.kind)
    assert found == set(EVERY)


@pytest.mark.parametrize("number", range(7))
def test_a_film_of_which_one_thing_is_known_has_its_report_and_picture(
    make_film: MakeFilm, english: Context, number: int
) -> None:
    film = observed_film(make_film, kit.every_kind()[number])
    kinds = (ObjectKind.REPORT, ObjectKind.CAPTURE, ObjectKind.PRESENTATION, ObjectKind.DOCUMENT)
    assert {item.kind for item in write_results([film], english, kinds)} == set(kinds)


class Written:
    """What was written on a panel, and where."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words: list[tuple[float, float, float, float, str]] = []
        real = panel.write

        def write(
            image: Image.Image, at: tuple[int, int], text: str, face: Face, ink: tuple[Colour, str]
        ) -> None:
            wide = width_of(text, face)
            left = at[0] - wide * {"l": 0.0, "m": 0.5, "r": 1.0}[ink[1][0]]
            top = at[1] - (face.size / 2 if ink[1][1] == "m" else 0)
            self.words.append((left, top, left + wide, top + face.size, text))
            real(image, at, text, face, ink)

        monkeypatch.setattr(panel, "write", write)

    @property
    def text(self) -> str:
        return " ".join(word[4] for word in self.words).replace("\N{NO-BREAK SPACE}", " ")

    def check(self) -> None:
        """Assert that everything is on the panel, and nothing on something else."""
        for left, top, right, bottom, text in self.words:
            assert left >= 0, text
            assert right <= 536, text
            assert top >= 0, text
            assert bottom <= 1000, text
        for place, one in enumerate(self.words):
            for other in self.words[place + 1 :]:
                assert apart(one[:4], other[:4]), (one, other)


@pytest.mark.parametrize("found", [(), (3,), (0, 5, 9, 17), tuple(range(18))], ids=len)
def test_eighteen_labels_with_long_names_fit(
    make_film: MakeFilm, spoken: Context, monkeypatch: pytest.MonkeyPatch, found: tuple[int, ...]
) -> None:
    words, said = Written(monkeypatch), kit.eighteen(*found)
    draw(observed_film(make_film, said), spoken)
    words.check()
    for number in found:
        assert called(said, f"sign_{number}", spoken) in words.text


@pytest.mark.parametrize("found", [(3,), (0, 5, 9, 17), tuple(range(18))], ids=len)
def test_beside_all_of_ours_and_all_kinds_nothing_is_left_out_unsaid(
    make_film: MakeFilm, spoken: Context, monkeypatch: pytest.MonkeyPatch, found: tuple[int, ...]
) -> None:
    film = observed_film(make_film, kit.eighteen(*found), *kit.every_kind(), beside=True)
    film = replace(film, findings=replace(film.findings, unanswered={"slow": "it took too long"}))
    words = Written(monkeypatch)
    draw(film, spoken)
    words.check()
    first = film.findings.observed[0]
    for number in found:
        assert called(first, f"sign_{number}", spoken) in words.text
    for sentence in unanswered(film.findings, spoken):
        assert sentence in words.text


@pytest.mark.parametrize("observed", [kit.every_kind(), ()], ids=["observed", "silent"])
def test_networks_that_gave_no_answer_push_nothing_off_the_panel(
    make_film: MakeFilm,
    spoken: Context,
    monkeypatch: pytest.MonkeyPatch,
    observed: tuple[Observation, ...],
) -> None:
    film = observed_film(make_film, *observed, beside=True)
    silent = {f"slow-{number}": "it took too long, and was stopped " * 6 for number in range(40)}
    film = replace(film, findings=replace(film.findings, unanswered=silent))
    words = Written(monkeypatch)
    draw(film, spoken)
    words.check()
    said = unanswered(film.findings, spoken)
    assert said[0] in words.text
    assert said[-1] not in words.text
    assert spoken.template.panel.unverified in words.text


def test_the_picture_names_the_view_that_the_header_names(
    make_film: MakeFilm, english: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = replace(observed_film(make_film, *kit.every_kind()[:1]), admitted_view="")
    film.dataset.ViewPosition = "LL"
    film.dataset.pop("ViewCodeSequence", None)
    words = Written(monkeypatch)
    draw(film, english)
    assert "LL" in words.text
    assert english.template.view.names["unknown"] not in words.text


def test_a_name_that_needs_a_line_of_its_own_does_not_lie_on_its_number(
    make_film: MakeFilm, english: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = english.networks["length"]
    assert network.declaration is not None
    long = "Transverse width of the heart at the level of the dome of the diaphragm, inside"
    words = network.declaration.template["en"]["heart_width"].model_copy(update={"name": long})
    told = network.declaration.model_copy(update={"template": {"en": {"heart_width": words}}})
    networks = {**english.networks, "length": replace(network, declaration=told)}
    found = Written(monkeypatch)
    draw(observed_film(make_film, kit.every_kind()[2]), replace(english, networks=networks))
    found.check()
    assert "152.3 mm (140.1 to 164.5)" in found.text


def test_there_is_an_overlay_of_each_network_that_found_places_or_tells_where_it_looked(
    make_film: MakeFilm, english: Context
) -> None:
    film = observed_film(make_film, *kit.every_kind())
    looked = kit.occlusion("labels", "findings:effusion")
    film = replace(film, explanation=replace(film.explanation, maps=(looked,)))
    assert [each.network for each in overlays_of(film)] == ["labels", "boxes", "length", "mask"]
    overlays = written(film, english, ObjectKind.OVERLAYS)
    assert [document.InstanceNumber for document in overlays] == [101, 102, 103, 104]
    codes = [[item.CodeMeaning for item in document.get("DerivationCodeSequence", ())]
             for document in overlays]  # fmt: skip
    assert codes == [["Saliency"], [], [], []]
    assert overlays[1].DerivationDescription.startswith("Findings of Boxes 1.0.0")


def test_an_overlay_shows_one_network_alone_in_its_colour(
    make_film: MakeFilm, english: Context
) -> None:
    film = observed_film(make_film, *kit.every_kind())
    layout = Layout(ROWS, COLUMNS)
    both = [on_picture((65.0, 30.0), "L F"), on_picture((70.0, 150.0), "L F")]
    box, line = ((column + layout.left, row + layout.top) for column, row in both)
    shown = draw_overlay(film, english, "length", None)
    assert is_near(shown, line, SECOND)
    assert not is_near(shown, box, FIRST)


def test_where_a_network_looked_is_drawn_in_its_capture_and_explained(
    make_film: MakeFilm, english: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = observed_film(make_film, kit.every_kind()[0])
    plain, looked = draw_film(film), kit.occlusion("labels", "findings:effusion")
    evidence = {"labels": Evidence(change_when_hidden=0.4)}
    film = replace(
        film,
        findings=replace(film.findings, checks=evidence),
        explanation=replace(film.explanation, maps=(looked,)),
    )
    changed = np.abs(np.asarray(draw_film(film)).astype(int) - np.asarray(plain)).max(axis=-1) > 8
    column, row = map(round, on_picture((COLUMNS * 6 / 8, ROWS * 4 / 8), "L F"))
    assert changed[row, column]
    assert not changed[:100].any()
    words = Written(monkeypatch)
    draw(film, english)
    words.check()
    assert "weighed most for Pleural effusion" in words.text


@pytest.mark.parametrize("way", WAYS)
def test_a_mask_is_a_segment_on_the_stored_film(
    make_film: MakeFilm, english: Context, way: str
) -> None:
    film = observed_film(make_film, kit.mask(0.12), way=way)
    (document,) = written(film, english, ObjectKind.SEGMENTATION)
    (segment,) = document.SegmentSequence
    assert segment.SegmentLabel == "Consolidation"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "95436008"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    hung = hanging(way.split()).hang(document.pixel_array > 0)
    truth = np.zeros((ROWS, COLUMNS), bool)
    truth[100:140, 20:60] = True
    assert (hung != truth).mean() < 0.04


def test_segments_stand_beside_those_of_the_lungs(make_film: MakeFilm, english: Context) -> None:
    film = observed_film(make_film, kit.mask(0.12), kit.boxes(0.9), beside=True)
    (document, *_) = written(film, english, ObjectKind.SEGMENTATION)
    labels = [segment.SegmentLabel for segment in document.SegmentSequence]
    assert labels == ["Right lung", "Left lung", "Consolidation"]
    assert document.ContentLabel == "AI_AREAS"


@pytest.mark.parametrize("said", [kit.mask(0.0), kit.mask(0.0001), kit.boxes(0.9)], ids=str)
def test_what_is_no_area_or_reaches_no_threshold_is_no_segment(
    make_film: MakeFilm, english: Context, said: Observation
) -> None:
    assert not written(observed_film(make_film, said), english, ObjectKind.SEGMENTATION)


@pytest.mark.pacs("dciodvfy")
def test_a_mask_without_a_code_has_one_of_ours_and_its_place_in_the_body(
    make_film: MakeFilm, english: Context, tmp_path: Path
) -> None:
    says = (
        '\n[[says]]\nkey = "free_air"\nkind = "mask"\nlaterality = "right"\n'
        'site = { value = "39607008", scheme = "SCT", meaning = "Lung" }\n'
    )
    card = replace(english.networks["mask"], declaration=kit.declaration("mask", says))
    context = replace(english, networks={**english.networks, "mask": card})
    film = observed_film(make_film, replace(kit.mask(0.12), key="free_air"))
    areas = (replace(kit.area_map(), key="free_air"),)
    film = replace(film, explanation=replace(film.explanation, areas=areas))
    (item,) = write_results([film], context, [ObjectKind.SEGMENTATION])
    assert errors_of(item.data, tmp_path) == []
    document = pydicom.dcmread(io.BytesIO(item.data))
    (segment,) = document.SegmentSequence
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("free-air", "99DICOMNODE")
    assert document.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99DICOMNODE"
    region = segment.AnatomicRegionSequence[0]
    assert region.CodeMeaning == "Lung"
    assert region.AnatomicRegionModifierSequence[0].CodeMeaning == "Right"


def test_a_presentation_state_has_each_place_in_the_stored_matrix(
    make_film: MakeFilm, english: Context
) -> None:
    film = observed_film(make_film, *kit.every_kind(), way="F R")
    (state,) = written(film, english, ObjectKind.PRESENTATION)
    layers = [layer.GraphicLayer for layer in state.GraphicLayerSequence]
    assert layers == ["AI_FINDINGS", "AI_OBSERVED_1", "AI_OBSERVED_2", "AI_OBSERVED_3"]
    _, box, line, area = state.GraphicAnnotationSequence
    for annotation, place in zip((box, line), (1, 2), strict=True):
        (graphic,) = annotation.GraphicObjectSequence
        points = [list(each) for each in film.findings.observed[place].places[0].points]
        drawn = np.reshape(graphic.GraphicData, (-1, 2)).tolist()
        assert drawn == (points if len(points) == 2 else [*points, points[0]])
        (text,) = annotation.TextObjectSequence
        assert text.AnchorPoint == np.min(points, axis=0).tolist()
    assert line.TextObjectSequence[0].UnformattedTextValue == "152.3 mm (140.1 to 164.5)"
    assert area.TextObjectSequence[0].UnformattedTextValue == "Consolidation: 12 % of the film"


def test_a_presentation_state_says_the_conclusion_of_both_and_keeps_its_warning(
    make_film: MakeFilm, english: Context
) -> None:
    film = observed_film(make_film, *kit.every_kind(), kit.eighteen(*range(18)), beside=True)
    (state,) = written(film, english, ObjectKind.PRESENTATION)
    text = state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
    assert "Pleural effusion (81 %)" in text
    assert text.endswith(english.template.research_sentence)
    assert len(text) <= 1024


def test_a_mask_without_an_outline_has_no_layer(make_film: MakeFilm, english: Context) -> None:
    film = observed_film(make_film, kit.mask(0.12))
    areas = (replace(kit.area_map(), probability=np.zeros((9, 7), np.float32)),)
    film = replace(film, explanation=replace(film.explanation, areas=areas))
    (state,) = written(film, english, ObjectKind.PRESENTATION)
    assert len(state.GraphicLayerSequence) == len(state.GraphicAnnotationSequence) == 1


@pytest.mark.pacs("dciodvfy")
@pytest.mark.parametrize("far", [-500.0, 90.0, 500.0])
def test_places_that_reach_beyond_the_film_are_written(
    make_film: MakeFilm, english: Context, tmp_path: Path, far: float
) -> None:
    place = FoundPlace(tuple((column + far, row + far) for column, row in BOX), "", 0.9)
    film = observed_film(make_film, replace(kit.boxes(0.9), places=(place,)))
    for item in write_results([film], english, (ObjectKind.CAPTURE, ObjectKind.PRESENTATION)):
        assert errors_of(item.data, tmp_path) == [], item.kind


def test_a_line_without_a_value_has_its_name(make_film: MakeFilm, english: Context) -> None:
    measured = replace(kit.every_kind()[2], value=None, low=None, high=None, absent="no spacing")
    (state,) = written(observed_film(make_film, measured), english, ObjectKind.PRESENTATION)
    text = state.GraphicAnnotationSequence[1].TextObjectSequence[0].UnformattedTextValue
    assert text == "Transverse width of the heart"


def test_what_is_cut_at_a_place_is_cut_in_letters_of_every_character_set(
    make_film: MakeFilm, english: Context
) -> None:
    film = observed_film(make_film, kit.boxes(0.9))
    film.dataset.SpecificCharacterSet = ""
    template = english.template
    words = ObservationWords(name="Nodules of the lung that nobody has seen before")
    own = {"boxes": {"nodules": words}}
    context = replace(english, template=template.model_copy(update={"networks": own}))
    (state,) = written(film, context, ObjectKind.PRESENTATION)
    text = state.GraphicAnnotationSequence[1].TextObjectSequence[0].UnformattedTextValue
    assert text == "Nodules of the lung that... 90 %"


def test_without_observations_a_presentation_state_has_one_layer(
    make_film: MakeFilm, context: Context
) -> None:
    (state,) = written(make_film(), context, ObjectKind.PRESENTATION)
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == ["AI_FINDINGS"]


def test_the_page_says_what_is_found_first_and_who_gave_no_answer(
    make_film: MakeFilm, english: Context
) -> None:
    film = observed_film(make_film, kit.eighteen(17), *kit.every_kind(), beside=True)
    film = replace(film, findings=replace(film.findings, unanswered={"mask": "it took too long"}))
    (document,) = written(film, english, ObjectKind.DOCUMENT)
    pages = pypdf.PdfReader(io.BytesIO(document.EncapsulatedDocument)).pages
    text = " ".join(" ".join(page.extract_text().split()) for page in pages)
    for number in range(18):
        assert f"Sign {number} of disease" in text
    assert text.index("Sign 17 of") < text.index("Sign 0 of")
    assert "it took too long" in text
    assert "COVID-Net" in text


@pytest.mark.pacs("dciodvfy")
def test_of_a_hand_nothing_says_that_it_is_a_chest(
    make_film: MakeFilm, english: Context, tmp_path: Path
) -> None:
    film = observed_film(make_film, *kit.every_kind())
    film.dataset.BodyPartExamined, film.dataset.Laterality = "HAND", "L"
    for item in write_results([film], english, EVERY):
        document = pydicom.dcmread(io.BytesIO(item.data))
        assert document.get("BodyPartExamined", "HAND") == "HAND", item.kind
        assert errors_of(item.data, tmp_path) == [], item.kind


def test_two_hundred_places_are_drawn(make_film: MakeFilm, english: Context) -> None:
    many = kit.boxes(*(round(0.999 - 0.001 * number, 3) for number in range(200)))
    picture = draw(observed_film(make_film, many), english)
    assert picture.shape == (1056, 1536, 3)
