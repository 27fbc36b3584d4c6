"""The gate: what is no frontal chest film is declined, what lies wrong is set right and shown."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_node import resources
from dicom_node.analysis.engine import Engine
from dicom_node.analysis.gate import FLAGS, KINDS, Lie, lie_of
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.sight import set_right
from dicom_node.brains.keras import KerasBrain
from dicom_node.bundles import Bundle, open_bundle, with_neighbours
from dicom_node.bundles.network import verify
from dicom_node.errors import BundleContractBroken
from dicom_node.findings import (
    TURNS,
    FilmFindings,
    Outcome,
    Region,
)
from dicom_node.imaging.geometry import heat_on_film
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.phantom import phantom, phantom_dataset
from dicom_node.line.analyse import film_to_analyse
from dicom_node.networks import chest_gate
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.picture import draw_film
from dicom_node.results.reading import findings_from_report
from dicom_node.results.regions import places_of
from dicom_node.results.templates import load_template
from dicom_node.results.write import write_results
from dicom_node.settings.model import AnalysisSection
from tests.gate_kit import say, write_gate
from tests.thinned import thinned

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SUITE = ("covidnet-lite", "covidnet-cxr-s")
SICK = {"right_lower": 0.9, "right_middle": 0.8}
TIMES = dict(zip(TURNS, range(4), strict=True))
"""How many quarters a film is turned clockwise."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundles that a suite needs, and a gate that lets every film pass."""
    folder, shipped = tmp_path_factory.mktemp("models"), resources.model_bundles()
    for name in with_neighbours(shipped, [*SUITE, AnalysisSection().lungs]):
        (folder / name).symlink_to(shipped / name)
    write_gate(folder)
    return folder


@pytest.fixture(scope="module")
def engine(models: Path) -> Engine:
    """A suite behind a gate that lets every film pass, warm."""
    engine = Engine(models, SUITE, "cpu", lungs=AnalysisSection().lungs, gate="chest-gate")
    engine.warm()
    return engine


class FindsNothing(LungFinder):
    """What the lung network gives where no place is likelier lung than not."""

    def __init__(self) -> None:
        pass

    def find(self, film: Any) -> Lungs:
        return lungs_from(np.full((256, 256), 0.3, np.float32), *film.shape)


@dataclass
class Node:
    """What analyses films and writes reports, behind a gate that a test words."""

    engine: Engine
    context: Context

    def behind(self, **says: Any) -> Node:
        """Let the gate say so of every film; see `tests.gate_kit.say`."""
        brain = self.engine._load().brain
        assert isinstance(brain, KerasBrain)
        say(brain.network("chest-gate"), **says)
        return self

    def without_lungs(self) -> Node:
        """Let the lungs be looked for in vain."""
        loaded = self.engine._load()
        self.engine._loaded = replace(loaded, sight=replace(loaded.sight, lungs=FindsNothing()))
        return self

    def answer(self, dataset: Dataset) -> AnalysedFilm:
        """Return what the analysing role makes of a film."""
        return answered(self.engine, dataset)

    def report(self, *films: AnalysedFilm) -> Dataset:
        """Return the report of films, as a PACS gets it."""
        return pydicom.dcmread(io.BytesIO(write_results(films, self.context)[0].data))


@pytest.fixture(scope="module")
def truth(engine: Engine) -> AnalysedFilm:
    """What is found on the phantom as it is hung."""
    return answered(engine, film())


@pytest.fixture
def node(engine: Engine) -> Iterator[Node]:
    loaded = engine._load()
    template = load_template(
        resources.report_templates() / "chest-radiograph-measurement-report.toml"
    )
    node = Node(engine, Context("DICOMNODE", template, 9000, {}, 1, ()))
    yield node
    engine._loaded = loaded
    node.behind()


def film(change: Any = None, **attributes: Any) -> Dataset:
    """Return a sick phantom as a DICOM file of it reads, its stored pixels changed."""
    made = phantom_dataset(seed=3, rows=560, columns=480, opacities=SICK)
    if change is not None:
        pixels = np.ascontiguousarray(change(made.pixel_array))
        made.Rows, made.Columns = pixels.shape
        made.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return read_dataset(buffer.getvalue())


def answered(engine: Engine, dataset: Dataset) -> AnalysedFilm:
    given = film_to_analyse(dataset, 200)
    findings, explanation = given.answer(engine.analyse(given.hung, str(dataset.SOPInstanceUID)))
    grey = given.hanging.store(given.hung)
    return AnalysedFilm(dataset, grey, findings, explanation, "d" * 64)


def turned(turn: str) -> Any:
    return lambda pixels: np.rot90(pixels, -TIMES[turn])


def inverted(pixels: Any) -> Any:
    top = np.uint16(pixels.max()) + pixels.min()
    return (top - pixels).astype(pixels.dtype)


def items(node: Dataset) -> Iterator[Dataset]:
    for child in node.get("ContentSequence") or ():
        yield child
        yield from items(child)


def regions_in(document: Dataset) -> list[np.ndarray[Any, Any]]:
    """Return the corners of every region of a report, (corners, 2): column, row."""
    found = [item.GraphicData for item in items(document) if item.ValueType == "SCOORD"]
    return [np.array(data).reshape(-1, 2) for data in found]


def text_of(document: Dataset) -> str:
    return " ".join(str(item.TextValue) for item in items(document) if "TextValue" in item)


def box(line: np.ndarray[Any, Any]) -> list[float]:
    """Return left, top, right, bottom."""
    return [*line.min(axis=0), *line.max(axis=0)]


def corners_turned(line: np.ndarray[Any, Any], turn: str, shape: Sequence[int]) -> Any:
    """Return where corners on a film of (rows, columns) lie on the film turned clockwise."""
    rows, columns = shape
    for _ in range(TIMES[turn]):
        line = np.stack([rows - line[:, 1], line[:, 0]], axis=1)
        rows, columns = columns, rows
    return line


# What a gate says


def logits(**sure: float) -> dict[str, Any]:
    """Return a gate's outputs with these probabilities, of an upright frontal chest film else."""

    def log(classes: Sequence[str], usual: str) -> Any:
        given = {name: sure[name] for name in classes if name in sure} or {usual: 0.99}
        rest = (1 - sum(given.values())) / max(1, len(classes) - len(given))
        return np.log([max(given.get(name, rest), 1e-9) for name in classes])

    odds = [sure.get(name, 0.01) for name in FLAGS]
    return {
        "kind": log(tuple(KINDS), "frontal_chest"),
        "turned": log(TURNS, "upright"),
        "flags": np.log([p / (1 - p) for p in odds]),
    }


@pytest.fixture(scope="module")
def gate(models: Path) -> Bundle:
    return open_bundle(models, "chest-gate")


def test_what_a_gate_tells_apart_is_named_alike_where_it_is_taught_and_where_it_is_asked() -> None:
    assert tuple(KINDS) == chest_gate.KINDS
    assert TURNS == chest_gate.TURNS
    assert FLAGS == chest_gate.FLAGS


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("lateral_chest", "taken for a lateral chest radiograph (97 %)."),
        ("other_radiograph", "taken for a radiograph of another body part (97 %)."),
        ("no_radiograph", "taken for a picture that is no radiograph (97 %)."),
    ],
)
def test_what_a_declined_film_was_taken_for_is_said_and_how_surely(
    gate: Bundle, kind: str, words: str
) -> None:
    reason = lie_of(gate, logits(**{kind: 0.97})).reason
    assert reason == f"Not a frontal chest radiograph by its pixels: {words}"


def test_a_film_that_is_hardly_a_frontal_chest_radiograph_is_told_as_such(gate: Bundle) -> None:
    lie = lie_of(gate, logits(frontal_chest=0.45, lateral_chest=0.4))
    assert lie.reason == (
        "Not surely a frontal chest radiograph by its pixels (45 %): it may be a lateral chest "
        "radiograph (40 %)."
    )
    assert lie_of(gate, logits(lateral_chest=0.999)).reason is not None
    assert "more than 99 %" in str(lie_of(gate, logits(lateral_chest=0.999)).reason)


def test_a_chest_film_that_lies_as_it_should_is_left_alone(gate: Bundle) -> None:
    assert lie_of(gate, logits()) == Lie()
    assert lie_of(gate, logits()).notes == ()


@pytest.mark.parametrize("turn", TURNS[1:])
def test_a_film_is_turned_back_only_where_the_gate_is_sure(gate: Bundle, turn: str) -> None:
    assert lie_of(gate, logits(**{turn: 0.95})).turned == turn
    assert lie_of(gate, logits(**{turn: 0.95})).notes == (f"found_{turn}",)
    assert lie_of(gate, logits(**{turn: 0.85})) == Lie()


@pytest.mark.parametrize(
    ("flag", "note"),
    [("inverted", "found_inverted"), ("mirrored", "found_mirrored"), ("child", "child")],
)
def test_each_flag_is_noted_from_its_own_probability_on(gate: Bundle, flag: str, note: str) -> None:
    assert lie_of(gate, logits(**{flag: 0.95})).notes == (note,)
    assert lie_of(gate, logits(**{flag: 0.85})).notes == ()


@pytest.mark.parametrize("turn", TURNS)
def test_a_film_turned_clockwise_is_upright_again_and_bright_is_dense(turn: str) -> None:
    upright = phantom(2, rows=96, columns=80).film
    lies = 1 - np.rot90(upright, -TIMES[turn])
    again = set_right(lies, Lie(turned=turn, inverted=True))
    assert np.allclose(again, upright, atol=1e-6)
    assert again.dtype == np.float32


# Bundles


def test_a_gate_of_the_right_form_is_well(gate: Bundle) -> None:
    verify(gate)


def test_a_network_that_is_no_gate_guards_no_suite(models: Path) -> None:
    with pytest.raises(BundleContractBroken, match="no gate"):
        Engine(models, SUITE, gate="lung-unet")


def test_a_gate_is_no_member_of_a_suite(models: Path) -> None:
    with pytest.raises(BundleContractBroken, match="names no finding"):
        Engine(models, [*SUITE, "chest-gate"])


def test_the_gate_joins_the_versions_that_a_result_quotes(engine: Engine, gate: Bundle) -> None:
    assert engine.suite_version["chest-gate"] == gate.network_version
    assert next(iter(engine.suite_version)) == SUITE[0]


# Films in, reports out


def test_a_lateral_film_is_declined_and_the_report_of_its_study_says_so(
    node: Node, truth: AnalysedFilm
) -> None:
    lateral = node.behind(kind="lateral_chest", sure=0.97).answer(film(turned("upside_down")))
    assert truth.findings.outcome is Outcome.ANALYSED
    assert lateral.findings.outcome is Outcome.DECLINED
    assert lateral.findings.finding is None
    assert lateral.explanation.maps == ()
    assert "taken for a lateral chest radiograph (97 %)" in text_of(node.report(truth, lateral))


def test_a_film_inverted_against_its_tag_is_answered_as_upright_and_shown_as_stored(
    node: Node,
    truth: AnalysedFilm,
) -> None:
    found = node.behind(flags=("inverted",)).answer(film(inverted))
    assert found.findings.notes == ("found_inverted",)
    assert close(found.findings, truth.findings)
    for ours, theirs in zip(found.saliency, truth.saliency, strict=True):
        assert ours.region == theirs.region
        assert np.abs(ours.heat - theirs.heat).max() < 0.05
    assert np.corrcoef(found.film.ravel(), truth.film.ravel())[0, 1] < -0.99
    report = node.report(found)
    assert "By its pixels the film is inverted" in text_of(report)
    assert findings_from_report(report)[0].notes == ("found_inverted",)
    for line, expected in zip(regions_in(report), regions_in(node.report(truth)), strict=True):
        assert box(line) == pytest.approx(box(expected), abs=3)


@pytest.mark.parametrize("turn", TURNS[1:])
def test_a_film_that_lies_turned_is_answered_as_upright_and_everything_lies_on_the_stored_film(
    node: Node, truth: AnalysedFilm, turn: str
) -> None:
    found = node.behind(turned=turn).answer(film(turned(turn)))
    assert found.findings.notes == (f"found_{turn}",)
    assert found.findings.turned == turn
    assert replace(found.findings, notes=()) == replace(
        truth.findings, notes=(), sop_instance_uid=found.findings.sop_instance_uid
    )
    shape = truth.film.shape
    for ours, theirs in zip(found.saliency, truth.saliency, strict=True):
        heat = np.rot90(heat_on_film(theirs, *shape), -TIMES[turn])
        assert np.abs(heat_on_film(ours, *heat.shape) - heat).max() < 1e-4
    assert found.lungs is not None
    assert truth.lungs is not None
    assert np.array_equal(found.lungs.mask, np.rot90(truth.lungs.mask, -TIMES[turn]))
    places, expected = places_of(found), places_of(truth)
    assert set(places.parts) == set(expected.parts) != set()
    for name, line in (*expected.parts.items(), *expected.lungs.items()):
        ours = {**places.parts, **places.lungs}[name]
        assert box(ours) == pytest.approx(box(corners_turned(line, turn, shape)), abs=2), name


@pytest.mark.parametrize("turn", thinned(TURNS[1:], every=3))
def test_the_regions_of_a_report_lie_on_the_turned_film_as_it_is_stored(
    node: Node, truth: AnalysedFilm, turn: str
) -> None:
    upright = regions_in(node.report(truth))
    report = node.report(node.behind(turned=turn).answer(film(turned(turn))))
    assert "and is shown as stored" in text_of(report)
    assert len(upright) > 0
    for line, true in zip(regions_in(report), upright, strict=True):
        wanted = box(corners_turned(true, turn, truth.film.shape))
        assert box(line) == pytest.approx(wanted, abs=2)


def test_the_picture_of_a_film_that_lies_on_its_side_is_that_of_the_stored_film(
    node: Node,
    truth: AnalysedFilm,
) -> None:
    found = node.behind(turned="quarter_right").answer(film(turned("quarter_right")))
    shown = np.asarray(draw_film(found).convert("L"), float)
    upright = np.rot90(np.asarray(draw_film(truth).convert("L"), float), -1)
    assert shown.shape[1] > shown.shape[0]
    rows, columns = (np.linspace(0, size - 1, 64).astype(int) for size in shown.shape)
    down, across = (np.linspace(0, size - 1, 64).astype(int) for size in upright.shape)
    alike = np.corrcoef(shown[np.ix_(rows, columns)].ravel(),
                        upright[np.ix_(down, across)].ravel())[0, 1]  # fmt: skip
    assert alike > 0.97


def test_a_header_that_turns_a_film_wrongly_is_put_right_by_the_pixels(
    node: Node, truth: AnalysedFilm
) -> None:
    # The film is stored as it is hung; its Patient Orientation says that it stands on its head.
    found = node.behind(turned="upside_down").answer(film(PatientOrientation=["R", "H"]))
    assert found.findings.notes == ("turned", "found_upside_down")
    assert found.findings.finding == truth.findings.finding
    assert found.explanation.maps[0].region == truth.explanation.maps[0].region
    for side, line in places_of(truth).lungs.items():
        assert box(places_of(found).lungs[side]) == pytest.approx(box(line), abs=1)


@pytest.mark.parametrize(("flag", "note"), [("mirrored", "found_mirrored"), ("child", "child")])
def test_a_mirrored_film_or_a_child_s_is_answered_as_it_is_and_said(
    node: Node, truth: AnalysedFilm, flag: str, note: str
) -> None:
    found = node.behind(flags=(flag,)).answer(film())
    assert found.findings == replace(truth.findings, notes=(note,))
    sentence = getattr(node.context.template.notes, note)
    assert sentence in text_of(node.report(found))


def test_a_film_without_lungs_is_looked_at_as_a_whole_and_said(node: Node) -> None:
    found = node.without_lungs().answer(film())
    assert found.findings.outcome is Outcome.ANALYSED
    assert found.findings.notes == ("no_lungs",)
    assert found.lungs is None
    assert {heat.region for heat in found.saliency} == {Region(0, 0, *found.film.shape)}
    assert found.findings.evidence is not None
    assert found.findings.evidence.saliency_in_lungs is None
    assert "No lungs were found" in text_of(node.report(found))


def test_what_shows_nothing_is_declined_before_the_gate_is_asked(node: Node) -> None:
    findings, _ = node.engine.analyse(np.full((300, 300), 0.5, np.float32), "2.25.8")
    assert findings.outcome is Outcome.DECLINED
    assert findings.reason == "The film is uniform: there is nothing to analyse."


def test_a_film_behind_a_gate_gets_the_same_findings_whatever_films_come_with_it(
    node: Node,
) -> None:
    node.behind(turned="quarter_left")
    films = [np.rot90(phantom(k, rows=400, columns=360).film, 1).copy() for k in range(3)]
    flat = np.full((300, 300), 0.5, np.float32)
    given = [(films[0], "2.25.1"), (flat, "2.25.4"), (films[1], "2.25.2"), (films[2], "2.25.3")]
    together = node.engine.analyse_many(given)
    for (one, uid), (findings, _) in zip(given, together, strict=True):
        assert node.engine.analyse(one, uid)[0] == findings


@pytest.mark.slow
def test_an_engine_is_warm_though_its_gate_declines_the_self_test_film(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.behind(kind="no_radiograph")
    asked, answer = set(), KerasBrain.answer

    def noted(brain: KerasBrain, model: str, films: Any, *, explain: bool) -> Any:
        asked.add((model, explain))
        return answer(brain, model, films, explain=explain)

    monkeypatch.setattr(KerasBrain, "answer", noted)
    node.engine.warm()
    assert {(SUITE[0], True), (SUITE[0], False), ("lung-unet", False)} < asked


def close(one: FilmFindings, other: FilmFindings) -> bool:
    """Whether two answers differ by no more than the rounding of stored pixels."""
    assert one.finding is not None
    assert other.finding is not None
    gaps = [abs(one.finding.probabilities[k] - p) for k, p in other.finding.probabilities.items()]
    return max(gaps) < 0.02
