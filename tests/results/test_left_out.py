"""What would make a result invalid is left out of it: no film's oddity is handed on."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from dicom_node.imaging.header import read_dataset
from dicom_node.results.modules import copy_identity, orientation_of, set_equipment
from tests.museum.exhibits import _lut_item
from tests.museum.film import Film, element, film


def copied(odd: Film) -> Dataset:
    target = Dataset()
    copy_identity(read_dataset(odd.file()), target)
    return target


VALUE, SCHEME, MEANING = (
    element("CodeValue", "SH", b"A1"),
    element("CodingSchemeDesignator", "SH", b"99X "),
    element("CodeMeaning", "LO", b"Chest "),
)


@pytest.mark.parametrize(
    "content",
    [b"plain text", _lut_item(), _lut_item(VALUE), _lut_item(VALUE, MEANING),
     _lut_item(VALUE, SCHEME), _lut_item(VALUE, SCHEME, element("CodeMeaning", "LO", b""))],
)  # fmt: skip
def test_a_code_that_is_none_is_left_out_of_the_results(content: bytes) -> None:
    assert "ProcedureCodeSequence" not in copied(film().put("ProcedureCodeSequence", "SQ", content))


def test_a_code_that_is_one_goes_into_the_results() -> None:
    target = copied(film().put("ProcedureCodeSequence", "SQ", _lut_item(VALUE, SCHEME, MEANING)))

    assert target.ProcedureCodeSequence[0].CodeValue == b"A1"


@pytest.mark.parametrize("told", ["X\\F", "l\\f", "LEFT\\FOOT", "L", "L\\", "\\F", "L\\F\\H"])
def test_an_orientation_that_is_none_is_left_out_of_the_results(told: str) -> None:
    assert orientation_of(read_dataset(film().text(PatientOrientation=told).file())) == ""


def test_a_film_without_a_maker_that_no_network_saw_has_no_list_of_equipment() -> None:
    source, target = read_dataset(film().drop("Manufacturer").file()), Dataset()

    set_equipment(source, target, (), "NODE")

    assert "ContributingEquipmentSequence" not in target
