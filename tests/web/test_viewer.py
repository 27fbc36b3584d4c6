"""The viewer's first picture is the film that the networks saw, whatever made its greys."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.wrap import Encoding, Identity
from dicom_node.records import Arrival, Origin
from dicom_node.results.preview import preview_film_with_map
from dicom_node.web import charts
from dicom_node.web.arrivals import file_bytes_of
from tests.web.conftest import Site

Change = Callable[[Dataset], None]


def lut(dataset: Dataset, keyword: str, shape: Callable[[Any], Any]) -> None:
    item = Dataset()
    entries = 4096
    item.LUTDescriptor = [entries, 0, 12]
    item.LUTData = np.rint(4095 * shape(np.linspace(0, 1, entries))).astype("<u2").tobytes()
    item["LUTData"].VR = item["LUTDescriptor"].VR = "OW" if keyword else "US"
    item["LUTDescriptor"].VR = "US"
    item.ModalityLUTType = "US"
    setattr(dataset, keyword, Sequence([item]))


def without_window(dataset: Dataset) -> None:
    del dataset.WindowCenter, dataset.WindowWidth


def sigmoid(dataset: Dataset) -> None:
    dataset.VOILUTFunction, dataset.WindowCenter, dataset.WindowWidth = "SIGMOID", 2000, 1200


def voi(dataset: Dataset) -> None:
    lut(dataset, "VOILUTSequence", np.sqrt)


def modality(dataset: Dataset) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept
    lut(dataset, "ModalityLUTSequence", np.square)


def padded(dataset: Dataset) -> None:
    pixels = dataset.pixel_array.copy()
    pixels[:10] = 4095
    dataset.PixelPaddingValue, dataset.PixelData = 4095, pixels.tobytes()


def steep(dataset: Dataset) -> None:
    dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -100
    dataset.WindowCenter, dataset.WindowWidth = 800, 900


def plain(dataset: Dataset) -> None:
    pass


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "change", [plain, without_window, sigmoid, voi, modality, padded, steep],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_the_viewer_begins_with_the_film_that_the_networks_saw(
    site: Site, change: Change, photometric: str
) -> None:
    dataset = phantom_dataset(
        1, rows=64, columns=64, encoding=Encoding(photometric=photometric),  # type: ignore[arg-type]
        identity=Identity(study_instance_uid="1.2.8"),
    )  # fmt: skip
    change(dataset)
    data = file_bytes_of(dataset)
    stored = site.house.spool.write(data)
    received = site.house.ledger.received(
        Arrival(str(dataset.SOPInstanceUID), str(dataset.SOPClassUID), "1.2.840.10008.1.2.1",
                "1.2.8", str(dataset.SeriesInstanceUID), stored.digest, stored.size_bytes,
                Origin("PACS", "NODE", "127.0.0.1"))
    )  # fmt: skip
    client = site.client("reader")
    about = client.get(f"/films/{received.instance_id}/film.json").json()
    values = np.frombuffer(client.get(f"/films/{received.instance_id}/pixels").content, "<u2")
    greys = np.frombuffer(base64.b64decode(about["greys"]), np.uint8)
    film = np.rint(film_of(data) * 255).astype(int).ravel()
    shown = greys[values].astype(int)
    if about["padding"]:
        first, last = about["padding"]
        shown[(values >= first) & (values <= last)] = 0
    assert np.abs(shown - film).max() <= 1
    assert film.max() - film.min() > 100


def test_a_film_of_one_value_is_shown_as_one_grey(site: Site) -> None:
    _, film = site.receive_odd(1, PixelData=bytes(2 * 64 * 64))
    about = site.client("reader").get(f"/films/{film}/film.json")
    assert about.status_code == 200
    assert len(set(base64.b64decode(about.json()["greys"]))) == 1


def test_charts_drawn_at_the_same_time_leave_no_style_behind() -> None:
    before = dict(mpl.rcParams)
    row = {"received_at": "2026-01-01", "outcome": "analysed", "finding": None, "delivery": "sent",
           "abstained": 0}  # fmt: skip
    alone = charts.draw("films", [row])
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: charts.draw("films", [row]), range(24)))
    assert set(drawn) == {alone}
    assert dict(mpl.rcParams) == before


def test_the_viewer_gets_the_opacity_map_first_and_what_weighed_for_the_class_behind_it(
    site: Site,
) -> None:
    site.node.invented = preview_film_with_map
    case = site.receive()
    client = site.client("reader")
    (film,) = re.findall(r'data-film="(\d+)"', client.get(f"/cases/{case}").text)
    first, *others = client.get(f"/films/{film}/film.json").json()["maps"]
    assert (first["kind"], first["label"], first["threshold"]) == ("opacity", "opacity map", 0.5)
    assert np.array(first["grid"]).shape == (28, 28)
    assert len(first["contours"]) == 2
    assert first["drawn"] is True
    # What the map explains is drawn once.
    assert [(each["kind"], each["network"]) for each in others] == [("looked", "covidnet-lite")]


def test_the_page_tells_how_much_of_each_lung_is_mapped(site: Site) -> None:
    site.node.invented = preview_film_with_map
    found = preview_film_with_map().findings.opacity_map
    assert found is not None
    assert found.right is not None
    text = site.client("reader").get(f"/cases/{site.receive()}").text
    assert "Mapped opaque:" in text
    assert f"right {round(100 * found.right)} %" in text


def test_a_case_without_a_map_has_no_word_of_it(site: Site) -> None:
    assert "apped opaque" not in site.client("reader").get(f"/cases/{site.receive()}").text
