"""The report as text says of when it is, and in which zone."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from dicom_node.results.modules import UNDATED
from dicom_node.results.narrative import report_text


@pytest.mark.parametrize(
    ("date", "time", "offset", "said"),
    [
        ("20261125", "235000.000000", "+0100", ", on films until 2026-11-25 23:50 UTC+01:00"),
        ("20261125", "2350", "", ", on films until 2026-11-25 23:50"),
        (*UNDATED, "", ""),
    ],
)
def test_a_report_as_text_is_dated_by_its_films_with_their_zone(
    date: str, time: str, offset: str, said: str
) -> None:
    document = Dataset()
    document.SOPClassUID = BasicTextSRStorage
    document.InstanceNumber = "3"
    document.ContentDate, document.ContentTime = date, time
    if offset:
        document.TimezoneOffsetFromUTC = offset
    lines = report_text(document).splitlines()
    assert f"Report          number 3{said}" in lines
