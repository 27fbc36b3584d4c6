"""The opacity map: inside the lungs by construction, and one with the numbers beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from dicom_node.analysis.engine import Engine
from dicom_node.brains.keras import KerasBrain
from dicom_node.chest import MappedOpacity
from dicom_node.findings import (
    Explanation,
    FilmFindings,
    LungMask,
    OpacityMap,
    Region,
    SaliencyMap,
    pack_explanation,
    unpack_explanation,
)
from dicom_node.imaging.opaque import LEVEL, drawn, inside_lungs, mapped
from dicom_node.imaging.orientation import Hanging, as_hung, as_stored
from tests import mapping
from tests.chest_kit import answering, with_answers

SIDE = 640
FILM = Region(0.0, 0.0, SIDE, SIDE)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The suite of `tests.mapping`."""
    monkeypatch.setattr("dicom_node.brains.keras.load_network", mapping.network_of)
    # Lungs of rectangles, on films of a few greys.
    for rule in ("without_picture", "without_outlines"):
        monkeypatch.setattr(f"dicom_node.analysis.sight.{rule}", lambda *_: None)
    return Engine(mapping.write_manifests(tmp_path / "models"), mapping.SUITE, "cpu")


def film_with(*bright: tuple[int, int, int, int]) -> Any:
    """Return a film, grey 0.3, with bright rectangles: top, left, bottom, right in 64ths."""
    film = np.full((SIDE, SIDE), 0.3, np.float32)
    for top, left, bottom, right in bright:
        film[top * 10 : bottom * 10, left * 10 : right * 10] = 0.9
    return film


RIGHT_LOWER = (36, 12, 48, 28)
"""Three eighths of the right lung: its lowest twelve of 32 64ths."""

BETWEEN = (16, 29, 48, 35)


def test_what_is_opaque_in_the_lungs_is_mapped_and_counted_a_lung(engine: Engine) -> None:
    findings, explanation = engine.analyse(film_with(RIGHT_LOWER), "2.25.1")
    found, opacity = findings.opacity_map, explanation.opacity
    assert found is not None
    assert opacity is not None
    assert opacity.network == mapping.MAP
    assert opacity.probability.shape == (mapping.CELLS, mapping.CELLS)
    assert found.right == pytest.approx(3 / 8, abs=0.04)
    assert found.left == 0.0
    assert found.lungs == pytest.approx(3 / 16, abs=0.02)
    assert findings.to_json()["opacity_map"] == {
        "threshold": 0.5, "lungs": found.lungs, "right": found.right, "left": 0.0,
    }  # fmt: skip
    assert FilmFindings.from_json(findings.to_json()) == findings


def test_what_is_bright_between_the_lungs_is_on_no_map(engine: Engine) -> None:
    findings, explanation = engine.analyse(film_with(BETWEEN), "2.25.1")
    assert explanation.opacity is not None
    assert findings.opacity_map is not None
    assert findings.opacity_map.lungs == 0.0
    assert drawn(explanation.opacity, explanation.lungs, FILM, FILM, (256, 256)).max() <= LEVEL


def test_severity_is_explained_by_the_map_and_the_class_by_what_weighed_for_it(
    engine: Engine,
) -> None:
    findings, explanation = engine.analyse(film_with(RIGHT_LOWER), "2.25.1")
    by = {heat.network: heat for heat in explanation.maps}
    assert explanation.opacity is not None
    assert {name: heat.mapped_by for name, heat in by.items()} == {
        mapping.TRUNK: "", mapping.EXTENT: mapping.MAP, mapping.ZONES: mapping.MAP,
    }  # fmt: skip
    assert np.array_equal(by[mapping.ZONES].heat, explanation.opacity.probability)
    assert [heat.network for heat in explanation.looked] == [mapping.TRUNK]
    # The trunk's explained layer is half as fine as the map's grid, and not bound to the lungs.
    assert by[mapping.TRUNK].heat.shape == (mapping.CELLS // 2, mapping.CELLS // 2)
    assert findings.checks[mapping.TRUNK].saliency_in_lungs is not None
    assert findings.checks[mapping.ZONES].saliency_in_lungs is None


def test_hiding_what_is_mapped_takes_the_severity_away_and_what_weighed_the_class(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A film of rectangles has little but structure: all of it goes, not what is finer than a blur.
    monkeypatch.setattr("dicom_node.analysis.engine.without_structure", np.zeros_like)
    findings, _ = engine.analyse(film_with(RIGHT_LOWER), "2.25.1")
    assert findings.finding is not None
    assert findings.airspace is not None
    assert findings.finding.finding_class == "covid19"
    changes = {name: check.change_when_hidden for name, check in findings.checks.items()}
    score = findings.scores["opacity_extent"].value
    assert changes[mapping.TRUNK] == pytest.approx(findings.finding.probability, abs=0.2)
    assert changes[mapping.EXTENT] == pytest.approx(score, abs=0.1)
    assert changes[mapping.ZONES] == pytest.approx(sum(findings.airspace.parts.values()), abs=0.2)


def test_where_nothing_is_mapped_nothing_is_hidden_from_the_severity_networks(
    engine: Engine,
) -> None:
    findings, _ = engine.analyse(film_with(BETWEEN), "2.25.1")
    assert findings.checks[mapping.EXTENT].change_when_hidden == pytest.approx(0.0, abs=1e-4)


def test_a_film_goes_through_the_trunk_twice_whatever_is_explained(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.analyse(film_with(), "2.25.0")
    calls: list[tuple[str, int, bool]] = []
    answer = KerasBrain.answer

    def counted(brain: KerasBrain, model: str, films: Any, *, explain: bool) -> Any:
        calls.append((model, len(films), explain))
        return answer(brain, model, films, explain=explain)

    monkeypatch.setattr(KerasBrain, "answer", counted)
    engine.analyse(film_with(RIGHT_LOWER), "2.25.1")
    assert calls == [
        (mapping.LUNGS, 1, False), (mapping.TRUNK, 1, True), (mapping.TRUNK, 2, False)
    ]  # fmt: skip


def test_the_interval_of_a_score_is_as_wide_as_the_network_expects_itself_to_err(
    engine: Engine,
) -> None:
    findings, _ = engine.analyse(film_with((16, 12, 48, 28), (16, 36, 48, 52)), "2.25.1")
    score = findings.scores["opacity_extent"]
    assert score.low == pytest.approx(score.value - 2.0 * mapping.SPREAD)
    assert score.high == pytest.approx(min(8.0, score.value + 2.0 * mapping.SPREAD))
    clear = engine.analyse(film_with(), "2.25.2")[0].scores["opacity_extent"]
    assert (clear.low, clear.high) == (0.0, pytest.approx(2.0 * mapping.SPREAD, abs=0.1))


def test_a_film_gets_the_same_map_whatever_films_come_with_it(engine: Engine) -> None:
    film = film_with(RIGHT_LOWER)
    alone = engine.analyse(film, "2.25.1")
    together = engine.analyse_many([(film_with(BETWEEN), "2.25.2"), (film, "2.25.1")])[1]
    assert together[0] == alone[0]
    assert pack_explanation(together[1]) == pack_explanation(alone[1])


def test_a_map_that_no_finding_of_the_suite_begins_with_is_shown_all_the_same(
    engine: Engine, tmp_path: Path
) -> None:
    only = Engine(tmp_path / "models", [mapping.MAP], "cpu")
    findings, explanation = only.analyse(film_with(RIGHT_LOWER), "2.25.1")
    assert findings.finding is None
    assert findings.opacity_map == engine.analyse(film_with(RIGHT_LOWER), "2.25.1")[0].opacity_map
    assert explanation.maps == ()
    assert explanation.opacity is not None


def test_a_higher_threshold_maps_less(tmp_path: Path, engine: Engine) -> None:
    film = film_with()
    film[160:480, 120:280] = np.linspace(0.5, 0.75, 160, dtype=np.float32)
    strict = Engine(mapping.write_manifests(tmp_path / "strict", 0.9), mapping.SUITE, "cpu")
    parts = [each.analyse(film, "2.25.1")[0].opacity_map for each in (engine, strict)]
    even, less = parts
    assert even is not None
    assert less is not None
    assert less.threshold == 0.9
    assert 0.0 < (less.lungs or 0.0) < (even.lungs or 0.0)


# The geometry alone.

LUNGS = LungMask("lungs", np.zeros((64, 64), bool))
for _left, _right in mapping.LUNG_COLUMNS:
    LUNGS.mask[slice(*mapping.LUNG_ROWS), _left:_right] = True
SEEN = Region(120.0, 120.0, 520.0, 520.0)


def opacity_of(probability: Any, threshold: float = 0.5) -> OpacityMap:
    inside = inside_lungs(np.asarray(probability, np.float32), SEEN, LUNGS, FILM)
    return OpacityMap("map", inside, SEEN, threshold)


def test_a_map_of_everything_is_drawn_in_the_lungs_alone_and_fills_them() -> None:
    opacity = opacity_of(np.ones((28, 28)))
    area = drawn(opacity, LUNGS, FILM, FILM, (640, 640)) > LEVEL
    lung = np.kron(LUNGS.mask, np.ones((10, 10), bool))
    assert (area & ~lung).sum() <= 0.01 * lung.sum()
    assert (area & lung).sum() >= 0.98 * lung.sum()
    assert mapped(opacity, LUNGS, FILM).lungs == pytest.approx(1.0, abs=0.01)


def test_a_map_reaches_at_most_one_cell_beyond_the_lungs() -> None:
    opacity = opacity_of(np.ones((40, 40)))  # cells of ten pixels: those of the lungs' mask
    wider = binary_dilation(LUNGS.mask[12:52, 12:52], np.ones((3, 3), bool))
    assert np.array_equal(opacity.probability, wider.astype(np.float32))


def test_a_speck_is_neither_drawn_nor_counted_and_a_hole_of_its_size_is_filled() -> None:
    probability = np.zeros((40, 40), np.float32)
    probability[20, 5] = 1.0  # one of 1024 cells of the lungs
    assert mapped(opacity_of(probability), LUNGS, FILM).lungs == 0.0
    holed = opacity_of(1.0 - probability)
    assert mapped(holed, LUNGS, FILM).lungs == pytest.approx(1.0, abs=0.01)


def test_what_lies_exactly_at_the_threshold_is_opaque() -> None:
    assert mapped(opacity_of(np.full((28, 28), 0.5)), LUNGS, FILM).right == pytest.approx(1.0)
    assert mapped(opacity_of(np.full((28, 28), 0.499)), LUNGS, FILM).right == 0.0


def test_without_lungs_a_map_stays_as_it_is_and_no_part_is_told() -> None:
    none = LungMask("lungs", np.zeros((64, 64), bool))
    probability = np.full((28, 28), 0.8, np.float32)
    for lungs in (None, none):
        assert np.array_equal(inside_lungs(probability, SEEN, lungs, FILM), probability)
        opacity = OpacityMap("map", probability, SEEN, 0.5)
        assert mapped(opacity, lungs, FILM) == MappedOpacity(0.5)
        assert (drawn(opacity, lungs, FILM, SEEN, (64, 64)) > LEVEL).all()


def test_a_lung_that_was_not_found_has_no_part() -> None:
    one = LungMask("lungs", LUNGS.mask.copy())
    one.mask[:, 32:] = False
    opacity = OpacityMap("map", np.ones((28, 28), np.float32), SEEN, 0.5)
    found = mapped(opacity, one, FILM)
    assert (found.right, found.left) == (1.0, None)


def test_an_explanation_with_a_map_is_read_back_and_one_of_an_older_release_too() -> None:
    opacity = opacity_of(np.linspace(0, 1, 784).reshape(28, 28), 0.375)
    heat = SaliencyMap("zones", "airspace", opacity.probability, SEEN, "map")
    told = unpack_explanation(pack_explanation(Explanation((heat,), LUNGS, opacity)))
    assert told.opacity is not None
    assert (told.opacity.network, told.opacity.region) == ("map", SEEN)
    assert told.opacity.threshold == 0.375
    assert np.array_equal(told.opacity.probability, opacity.probability)
    assert told.maps[0].mapped_by == "map"
    older = unpack_explanation(pack_explanation(Explanation((replace(heat, mapped_by=""),), LUNGS)))
    assert older.opacity is None
    assert older.maps[0].mapped_by == ""


@pytest.mark.parametrize(
    "hung",
    [Hanging(mirrored=True), Hanging(upside_down=True), Hanging(transposed=True)],
    ids=["mirrored", "upside down", "transposed"],
)
def test_a_map_is_turned_with_its_film_and_back(hung: Hanging) -> None:
    probability = np.zeros((28, 28), np.float32)
    probability[2:9, 3:12] = 0.9
    opacity = OpacityMap("map", probability, Region(120.0, 100.0, 520.0, 500.0), 0.5)
    stored = as_stored(Explanation((), LUNGS, opacity), hung, (SIDE, SIDE))
    assert stored.opacity is not None
    assert not np.array_equal(stored.opacity.probability, probability)
    back = as_hung(stored, hung, (SIDE, SIDE)).opacity
    assert back is not None
    assert np.array_equal(back.probability, probability)
    assert back.region == opacity.region


@pytest.mark.parametrize(
    ("part", "opaque"),
    [(0.0, False), (0.009, False), (0.01, None), (0.049, None), (0.05, True), (None, None)],
)
def test_a_map_is_held_against_a_level_by_the_part_of_the_lungs(
    part: float | None, opaque: bool | None
) -> None:
    from dicom_node.chest import Airspace

    clear = with_answers("2.25.1", airspace=Airspace(0, 0.9), opacity_map=MappedOpacity(0.5, part))
    grave = answering(clear, airspace=Airspace(2, 0.9))
    pair = (("airspace.level", "opacity_map"),)
    assert clear.contradictions == (pair if opaque is True else ())
    assert grave.contradictions == (pair if opaque is False else ())
