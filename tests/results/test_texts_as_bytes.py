"""Texts of a film leave as the bytes that they came in, whatever set they are declared to be in."""

from __future__ import annotations

import io
import struct
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.imaging.header import read_attributes, read_dataset
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.received import AsItCame, stored_bytes
from dicom_node.records import ObjectKind
from dicom_node.resources import report_templates
from dicom_node.results.modules import code_item, copy_identity
from dicom_node.results.preview import preview_context
from dicom_node.results.templates import load_template
from dicom_node.results.write import AnalysedFilm, WrittenObject, write_results
from tests.conftest import debian
from tests.results.conftest import analysed
from tests.results.report_kit import errors_of
from tests.thinned import thinned

KINDS = tuple(ObjectKind)
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
TOP = (
    "PatientName", "PatientID", "IssuerOfPatientID", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "StudyDescription", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialSiteName",
)  # fmt: skip
EQUIPMENT = ("Manufacturer", "StationName", "ManufacturerModelName", "DeviceSerialNumber")
REQUEST = ("RequestedProcedureID", "RequestedProcedureDescription")


def token(number: int) -> bytes:
    """Return the text of one attribute as it is saved, before its bytes are put in."""
    return f"TEXT-{number:02}".encode()


def odd(number: int, letter: bytes) -> bytes:
    """Return the bytes that come in its place: of the same length, in no declared set."""
    return token(number).replace(b"EXT", (letter * 3)[:3])


def a_film(letter: bytes, syntax: str, charset: str | None, *, undefined: bool) -> AnalysedFilm:
    """Return a film as it comes from a sender that writes ``letter`` into every text."""
    film = phantom_dataset(rows=160, columns=160)
    if charset is None:
        del film.SpecificCharacterSet
    else:
        film.SpecificCharacterSet = charset
    names = iter(range(100))
    for keyword in TOP + EQUIPMENT:
        setattr(film, keyword, token(next(names)).decode())
    request, other = Dataset(), Dataset()
    for keyword in REQUEST:
        setattr(request, keyword, token(next(names)).decode())
    request.RequestedProcedureCodeSequence = [code_item("1", "99X", token(next(names)).decode())]
    other.PatientID, other.TypeOfPatientID = token(next(names)).decode(), "TEXT"
    film.RequestAttributesSequence, film.OtherPatientIDsSequence = [request], [other]
    film.ProcedureCodeSequence = [code_item("36643-5", "LN", token(next(names)).decode())]
    for element in film:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
    buffer = io.BytesIO()
    film.file_meta.TransferSyntaxUID = syntax
    dcmwrite(
        buffer, film, implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian, force_encoding=True,
    )  # fmt: skip
    data = buffer.getvalue()
    for number in range(next(names)):
        assert data.count(token(number)) == 1
        data = data.replace(token(number), odd(number, letter))
    return analysed(read_dataset(data))


def results_of(film: AnalysedFilm) -> tuple[WrittenObject, ...]:
    template = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
    return write_results([film], preview_context(template), KINDS)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # pydicom warns of what is tried here.
        warnings.simplefilter("ignore")
        yield


OE = "ö".encode("latin-1")


@pytest.mark.parametrize(
    ("letter", "charset", "syntax", "undefined"),
    thinned(
        [
            pytest.param(OE, "ISO_IR 192", ExplicitVRLittleEndian, False, id="utf-8"),
            pytest.param(OE, None, ExplicitVRLittleEndian, False, id="none"),
            pytest.param(
                b"\xe4\xf6\xfc", "ISO_IR 144", ExplicitVRLittleEndian, False, id="cyrillic"
            ),
            pytest.param("字".encode(), "ISO_IR 100", ExplicitVRLittleEndian, False, id="latin-1"),
            pytest.param(b"\xb2\x5c\xe5", "GB18030", ExplicitVRLittleEndian, False, id="gb18030"),
            pytest.param(OE, "ISO_IR 192", ExplicitVRLittleEndian, True, id="delimiters"),
            pytest.param(OE, "ISO_IR 192", ImplicitVRLittleEndian, True, id="implicit"),
            pytest.param(OE, "ISO_IR 192", ExplicitVRBigEndian, False, id="big-endian"),
        ],
        every=3,
    ),
)
def test_every_text_leaves_as_it_came(
    letter: bytes, charset: str | None, syntax: str, *, undefined: bool
) -> None:
    film = a_film(letter, syntax, charset, undefined=undefined)
    for item in results_of(film):
        written = read_attributes(item.data)
        for number, keyword in enumerate(TOP):
            assert stored_bytes(written, keyword) == odd(number, letter), keyword
        for number in range(len(TOP), len(TOP) + len(EQUIPMENT)):
            assert item.data.count(odd(number, letter)) == 1
        nested = len(TOP) + len(EQUIPMENT)
        assert item.data.count(odd(nested + 3, letter)) == 1
        if item.kind is ObjectKind.REPORT:
            assert all(item.data.count(odd(nested + each, letter)) == 1 for each in range(3))
        assert b"\xef\xbf\xbd" not in item.data
        assert str(written.get("SpecificCharacterSet") or "") == (charset or "")


def test_a_name_that_its_declared_set_does_not_have_is_answered(tmp_path: Path) -> None:
    film = a_film(b"\xf6", ExplicitVRLittleEndian, "ISO_IR 192", undefined=False)
    path = tmp_path / "report.dcm"
    path.write_bytes(results_of(film)[0].data)
    dump = subprocess.run([debian("dcmdump"), "+P", "0010,0010", path], capture_output=True)
    assert b"PN [T\xf6\xf6\xf6-00]" in dump.stdout


@pytest.mark.parametrize(
    ("keyword", "broken", "sound"),
    [
        ("PatientWeight", b"70,5", b"70.5"),
        ("PatientSize", b"1,75", b"1.75"),
        ("PatientAge", b"62", b"062Y"),
        ("PatientBirthTime", b"9:15", b"0915"),
        ("ClinicalTrialSubjectID", b"S" * 70, b"S-1"),
        ("StudyDescription", b"D" * 65, b"Thorax"),
        ("LongitudinalTemporalEventType", b"first day", b"ENROLLMENT"),
        ("QualityControlSubject", b"perhaps", b"NO"),
    ],
)
def test_an_optional_value_that_breaks_its_vr_is_left_out(
    keyword: str, broken: bytes, sound: bytes
) -> None:
    for stored in (broken, sound):
        result = Dataset()
        copy_identity(with_bytes({keyword: stored}).dataset, result)
        assert (keyword in result) is (stored == sound)


def test_objects_of_a_film_with_broken_facts_are_valid(tmp_path: Path) -> None:
    broken = {"PatientWeight": b"70,5", "PatientSize": b"1,75", "PatientAge": b"62"}
    for item in results_of(with_bytes(broken)):
        assert errors_of(item.data, tmp_path) == []


def test_identity_goes_as_it_came_even_where_it_breaks_its_vr() -> None:
    said = {"PatientBirthDate": b"1962.05.07", "PatientSex": b"female, I think ",
            "StudyDate": b"01.03.2026", "AccessionNumber": b"A" * 40,
            "PatientID": b"I" * 80}  # fmt: skip
    for item in results_of(with_bytes(said)):
        written = read_attributes(item.data)
        for keyword, stored in said.items():
            assert stored_bytes(written, keyword) == stored.rstrip()


@pytest.mark.parametrize("keyword", ["RequestAttributesSequence", "ProcedureCodeSequence"])
def test_a_sequence_that_is_text_stops_no_result(keyword: str) -> None:
    buffer = io.BytesIO()
    film = phantom_dataset(rows=160, columns=160)
    tag = Tag(keyword)
    film[tag] = AsItCame(tag, "UT", b"CHEST ")
    film.save_as(buffer, enforce_file_format=True)
    head = struct.pack("<HH", tag.group, tag.element)
    data = buffer.getvalue()
    assert data.count(head + b"UT") == 1
    odd_one = analysed(read_dataset(data.replace(head + b"UT", head + b"SQ")))
    assert len(results_of(odd_one)) == len(results_of(with_bytes({})))


def with_bytes(values: Mapping[str, bytes]) -> AnalysedFilm:
    """Return a film whose attributes hold these bytes."""
    film = phantom_dataset(rows=160, columns=160)
    for keyword, stored in values.items():
        tag = Tag(keyword)
        film[tag] = AsItCame(tag, dictionary_VR(tag), stored)
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return analysed(read_dataset(buffer.getvalue()))
