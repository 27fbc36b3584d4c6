"""Every exhibit comes to its end: analysed, or not and with the true reason; nothing raises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.phantom import Encoding
from tests.museum.exhibit import Exhibit, Picture, walk
from tests.museum.exhibits import EXHIBITS
from tests.museum.film import film

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


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_an_exhibit_comes_to_its_end(exhibit: Exhibit, quick_folder: Path) -> None:
    odd = exhibit.recipe(film(exhibit.name, Encoding(**exhibit.encoding)))  # type: ignore[arg-type]
    end = walk(odd, quick_folder, exhibit.kinds)
    assert any(wanted in end.said for wanted in exhibit.ends), end.said
    if end.said != "analysed":
        return
    assert end.results, end.study_reason
    if exhibit.alike:
        assert end.seen is not None
        assert unlike(end.seen) is None
    for keyword in exhibit.same_bytes:
        sent = odd.value(keyword).rstrip(b" ")
        assert [bytes_of(one, keyword).rstrip(b" ") for one in end.results] == [sent] * len(
            end.results
        )
