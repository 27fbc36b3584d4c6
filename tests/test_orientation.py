"""A film that is stored mirrored gets the same answer, on the side where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_node.findings import Explanation, LungMask, Region, SaliencyMap
from dicom_node.imaging.header import FilmHeader
from dicom_node.imaging.orientation import as_hung, as_stored


def header(*orientation: str) -> FilmHeader:
    """Return the header of a film with that Patient Orientation."""
    return FilmHeader("1", "2", patient_orientation=orientation)


def test_a_mirrored_film_is_turned_for_the_networks() -> None:
    film = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_hung(film, header("R", "F")).tolist() == [[2, 1, 0], [5, 4, 3]]


@pytest.mark.parametrize("orientation", [(), ("L", "F"), ("", "")])
def test_a_film_as_it_is_hung_stays_as_it_is(orientation: tuple[str, ...]) -> None:
    film = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_hung(film, header(*orientation)) is film
    seen = Explanation()
    assert as_stored(seen, header(*orientation), 3) is seen


def test_what_was_found_on_a_turned_film_lies_where_it_is_on_the_stored_one() -> None:
    heat = np.array([[1, 0], [0, 0]], np.float32)
    mask = np.array([[True, False, False]])
    seen = Explanation(
        (SaliencyMap("n", "normal", heat, Region(1, 2, 9, 6)),), LungMask("lungs", mask)
    )
    stored = as_stored(seen, header("R", "F"), columns=10)
    assert stored.maps[0].region == Region(1, 4, 9, 8)
    assert stored.maps[0].heat.tolist() == [[0, 1], [0, 0]]
    assert stored.lungs is not None
    assert stored.lungs.mask.tolist() == [[False, False, True]]
