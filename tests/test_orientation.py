"""A film gets the same answer however it is stored, and what was found lies on the stored film."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dicom_node.findings import (
    TURNS,
    AreaMap,
    Explanation,
    LungMask,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.geometry import heat_on_film
from dicom_node.imaging.orientation import (
    Hanging,
    as_hung,
    as_stored,
    hanging,
    observed_as_hung,
    observed_as_stored,
    turned_back,
)
from dicom_node.observations import FoundPlace, Observation, ObservationKind

HUNG = np.arange(6, dtype=np.float32).reshape(2, 3)
"""A film as it is hung: patient's left at the right, feet below."""

STORED = {
    ("L", "F"): HUNG,
    ("R", "F"): HUNG[:, ::-1],
    ("L", "H"): HUNG[::-1],
    ("R", "H"): HUNG[::-1, ::-1],
    ("F", "L"): HUNG.T,
    ("F", "R"): HUNG.T[::-1],
    ("H", "L"): HUNG.T[:, ::-1],
    ("H", "R"): HUNG.T[::-1, ::-1],
}
"""The eight ways to store it, each by the directions of its rows and of its columns."""


@pytest.mark.parametrize("said", STORED)
def test_each_of_the_eight_ways_to_store_a_film_is_hung_upright(said: tuple[str, str]) -> None:
    hung = hanging(said)

    assert hung.hang(STORED[said]).tolist() == HUNG.tolist()
    assert hung.store(HUNG).tolist() == STORED[said].tolist()


@pytest.mark.parametrize(
    ("compound", "plain"),
    [
        (("RA", "F"), ("R", "F")),
        (("LP", "FA"), ("L", "F")),
        (("R", "HA"), ("R", "H")),
        (("FP", "RA"), ("F", "R")),
        (("AL", "F"), ("L", "F")),
        (("r ", "f"), ("R", "F")),
        (("R",), ("R", "F")),
        (("R", ""), ("R", "F")),
    ],
)
def test_of_a_compound_direction_what_lies_in_the_film_counts(
    compound: tuple[str, ...], plain: tuple[str, str]
) -> None:
    assert hanging(compound) == hanging(plain)


@pytest.mark.parametrize("said", [(), ("L", "F"), ("", ""), ("",)])
def test_a_film_as_it_is_hung_stays_as_it_is(said: tuple[str, ...]) -> None:
    hung, seen = hanging(said), Explanation()

    assert hung.hang(HUNG) is HUNG
    assert as_stored(seen, hung, HUNG.shape) is seen
    assert hung.notes == ()


@pytest.mark.parametrize(
    "said", [("R", "L"), ("F", "H"), ("R", "R"), ("A", "F"), ("LE", "D"), ("RT", "CD"), ("?", "F")]
)
def test_directions_that_are_no_pair_leave_the_film_as_stored_with_a_note(
    said: tuple[str, str],
) -> None:
    assert hanging(said).hang(HUNG) is HUNG
    assert hanging(said).notes == ("orientation",)


def test_a_turned_film_is_told_apart_from_a_mirrored_one() -> None:
    assert hanging(("R", "F")).notes == ("mirrored",)
    assert hanging(("R", "H")).notes == hanging(("F", "L")).notes == ("turned",)


@pytest.mark.parametrize("said", STORED)
def test_what_was_found_lies_on_the_stored_film_where_it_is(said: tuple[str, str]) -> None:
    stored, hung = STORED[said].shape, hanging(said)
    shape = (stored[0] * 20, stored[1] * 20)
    tall = shape[::-1] if hung.transposed else shape
    heat = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    seen = SaliencyMap("n", "normal", heat, Region(6, 12, tall[0], tall[1] - 3))
    lungs = LungMask("lungs", heat > 0.5)
    area = AreaMap("n", "mask", heat, Region(0, 0, *tall), 0.5)
    found = Explanation((seen,), lungs, None, (area,))

    back = as_stored(found, hung, shape)

    np.testing.assert_allclose(
        hung.hang(heat_on_film(back.maps[0], *shape)), heat_on_film(seen, *tall), atol=1e-5
    )
    assert back.lungs is not None
    assert (hung.hang(back.lungs.mask) == lungs.mask).all()
    again = as_hung(back, hung, shape)
    assert again.maps[0].region == seen.region
    assert (again.maps[0].heat == heat).all()
    assert (again.areas[0].probability == heat).all()
    assert again.areas[0].region == area.region


@pytest.mark.parametrize("said", STORED)
def test_a_place_lies_on_the_stored_film_where_it_is(said: tuple[str, str]) -> None:
    hung, stored = hanging(said), STORED[said]
    shape = (int(stored.shape[0]), int(stored.shape[1]))
    for row, column in itertools.product(*map(range, shape)):
        at = hung.hang_place((column + 0.5, row + 0.5), shape)
        assert hung.hang(stored)[int(at[1]), int(at[0])] == stored[row, column]
        assert hung.store_place(at, shape) == (column + 0.5, row + 0.5)
    one = Observation("n", ObservationKind.REGION, "n", places=(FoundPlace(((0, 0), (1, 2))),))
    (back,) = observed_as_stored([one], hung, shape)
    assert observed_as_hung([back], hung, shape) == (one,)


def test_a_rectangle_goes_there_and_back() -> None:
    region = Region(1, 2, 9, 6)
    for flags in itertools.product((False, True), repeat=3):
        hung = Hanging(*flags)
        assert hung.store_region(hung.hang_region(region, (30, 20)), (30, 20)) == region


def test_one_hanging_after_another_is_one_hanging() -> None:
    ways = [Hanging(*flags) for flags in itertools.product((False, True), repeat=3)]
    for first, second in itertools.product(ways, repeat=2):
        both = first.then(second)
        assert (both.hang(HUNG) == second.hang(first.hang(HUNG))).all()
    assert not Hanging(stated=False).then(Hanging()).stated


@pytest.mark.parametrize(("turn", "times"), [(turn, k) for k, turn in enumerate(TURNS)])
def test_a_film_turned_clockwise_is_turned_back(turn: str, times: int) -> None:
    assert (turned_back(turn).hang(np.rot90(HUNG, -times)) == HUNG).all()
