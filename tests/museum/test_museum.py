"""Every exhibit comes to its end: analysed, or not and with the true reason; nothing raises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.phantom import Encoding
from tests.museum.exhibit import ALL_KINDS, Exhibit, Picture, walk
from tests.museum.exhibits import EXHIBITS, MET
from tests.museum.film import Film, film
from tests.thinned import thinned

ALIKE = 0.98
"""How much of the picture must be the same: the correlation with that of the sound film."""

SOUND = film_of(read_dataset(film().file()))


def unlike(seen: Picture) -> float | None:
    """Return the correlation with the sound film where it is too low."""
    if seen.shape != SOUND.shape:
        return 0.0
    same = float(np.corrcoef(seen.ravel(), SOUND.ravel())[0, 1])
    return None if same > ALIKE else same


def bytes_of(dataset: Dataset, keyword: str) -> bytes:
    """Return the bytes of a value as they stand in the file."""
    item = dataset.get_item(keyword)
    assert isinstance(item, RawDataElement)
    return bytes(item.value or b"")


def shown(exhibits: Iterable[Exhibit], *marks: pytest.MarkDecorator) -> list[ParameterSet]:
    """Return the exhibits as parameters."""
    return [pytest.param(one, id=one.name, marks=marks) for one in exhibits]


def made(exhibit: Exhibit) -> Film:
    return exhibit.recipe(film(exhibit.name, Encoding(**exhibit.encoding)))  # type: ignore[arg-type]


@pytest.mark.parametrize("exhibit", thinned(shown(EXHIBITS), every=3))
def test_an_exhibit_is_analysed_or_says_truly_why_not(exhibit: Exhibit, quick_folder: Path) -> None:
    end = walk(made(exhibit), quick_folder)
    assert any(wanted in end.said for wanted in exhibit.ends), end.said
    if end.said == "analysed" and exhibit.alike:
        assert end.seen is not None
        assert unlike(end.seen) is None


def check_results(exhibit: Exhibit, folder: Path, kinds: Sequence[str]) -> None:
    """Every kind of object is written of an analysed exhibit, with the film's own texts."""
    odd = made(exhibit)
    end = walk(odd, folder, kinds)
    if end.said != "analysed":
        return
    assert not end.study_reason
    assert end.results
    for keyword in exhibit.same_bytes:
        sent = odd.value(keyword).rstrip(b" ")
        assert {bytes_of(one, keyword).rstrip(b" ") for one in end.results} == {sent}


@pytest.mark.parametrize(
    "exhibit", thinned(shown(one for one in EXHIBITS if one.name in MET), every=3)
)
def test_the_results_of_an_exhibit_are_written(exhibit: Exhibit, quick_folder: Path) -> None:
    check_results(exhibit, quick_folder, exhibit.kinds)


@pytest.mark.parametrize("exhibit", shown(EXHIBITS[::3], pytest.mark.slow))
def test_every_kind_of_result_of_an_exhibit_is_written(
    exhibit: Exhibit, quick_folder: Path
) -> None:
    check_results(exhibit, quick_folder, ALL_KINDS)


def test_what_was_met_is_on_show() -> None:
    names = [one.name for one in EXHIBITS]
    assert len(set(names)) == len(names)
    assert set(names) >= MET
