"""Foreign values are read in one place, which raises nothing, whatever stands there."""

from __future__ import annotations

import io
import math
import struct
import warnings

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_node.imaging import values
from dicom_node.imaging.header import header_of

KEYWORDS = {
    "PatientName": 0x00100010,
    "PatientSize": 0x00101020,
    "ImagerPixelSpacing": 0x00181164,
    "WindowCenter": 0x00281050,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "BodyPartExamined": 0x00180015,
    "AnatomicRegionSequence": 0x00082218,
    "RequestAttributesSequence": 0x00400275,
    "StudyDate": 0x00080020,
    "SOPInstanceUID": 0x00080018,
    "VOILUTSequence": 0x00283010,
}
LONG = {"OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC", "UR"}
SHORT = {"DS", "IS", "US", "SS", "UL", "FL", "FD", "CS", "LO", "PN", "DA", "AT", "??"}
VRS = sorted(LONG | SHORT)
ODD = [
    *(
        b"1,5 ",
        b"[00400, 00400]",
        b"1e400 ",
        b"NaN ",
        b"",
        b"\\\\",
        b"0.2\0\\0.20000",
        b"six chars ",
    ),
    *(b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xd0\x93\xd0\xa0", b"\x1b$B0!", b"9" * 20),
]


def element(tag: int, vr: str, content: bytes) -> bytes:
    """Return one element in Explicit VR Little Endian."""
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    length = struct.pack("<HI", 0, len(content)) if vr in LONG else struct.pack("<H", len(content))
    return start + length + content


def read(data: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.filereader.read_dataset(
            io.BytesIO(data), is_implicit_VR=False, is_little_endian=True
        )


def ask_everything(dataset: Dataset) -> None:
    for keyword in KEYWORDS:
        assert isinstance(values.text(dataset, keyword), str)
        assert all(isinstance(each, str) for each in values.texts(dataset, keyword))
        found = values.number(dataset, keyword)
        assert found is None or math.isfinite(found)
        assert all(math.isfinite(each) for each in values.numbers(dataset, keyword))
        assert values.integer(dataset, keyword) is None or found is not None
        assert all(isinstance(each, Dataset) for each in values.items(dataset, keyword))
        values.value(dataset, keyword)
    values.unreadable(dataset, *KEYWORDS)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(sorted(KEYWORDS)),
        st.tuples(st.sampled_from(VRS), st.sampled_from(ODD) | st.binary(max_size=40)),
        max_size=5,
    )
)
def test_no_value_whatever_raises(content: dict[str, tuple[str, bytes]]) -> None:
    data = b"".join(
        element(tag, *content[keyword])
        for keyword, tag in sorted(KEYWORDS.items(), key=lambda pair: pair[1])
        if keyword in content
    )
    try:
        dataset = read(data)
    except values.CAN_RAISE:
        return
    ask_everything(dataset)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_no_mutated_film_makes_a_reader_raise(changes: list[tuple[int, int]]) -> None:
    data = bytearray(whole_film())
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    except values.CAN_RAISE:
        return
    ask_everything(dataset)


def whole_film() -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    dataset.PatientName, dataset.PatientSize = "A^B", "1.75"
    dataset.ImagerPixelSpacing, dataset.WindowCenter = ["0.1", "0.1"], ["1", "2"]
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "SCT", "x"
    dataset.AnatomicRegionSequence, dataset.RequestAttributesSequence = [item], [item]
    dataset.Rows, dataset.NumberOfFrames, dataset.BodyPartExamined = 4, "1", "CHEST"
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    "content", [b"2048,5", b"[00400, 00400]", b"1e400 ", b"NaN ", b"wide", b"1.2.3 "]
)
def test_a_number_that_is_none_is_absent_and_named(content: bytes) -> None:
    dataset = read(element(0x00281050, "DS", content))

    assert values.number(dataset, "WindowCenter") is None
    assert values.numbers(dataset, "WindowCenter") == ()
    assert values.unreadable(dataset, "WindowCenter", "WindowWidth") == ("WindowCenter",)


@pytest.mark.parametrize(("keyword", "vr"), [("AnatomicRegionSequence", "SQ"), ("Rows", "LO")])
def test_text_where_items_or_numbers_belong_is_absent_and_named(keyword: str, vr: str) -> None:
    dataset = read(element(KEYWORDS[keyword], vr, b"chest!"))

    assert values.items(dataset, keyword) == ()
    assert values.integer(dataset, keyword) is None
    assert values.unreadable(dataset, keyword) == (keyword,)


@pytest.mark.parametrize("content", [b"", b"    ", b"\0\0"])
def test_an_empty_value_is_no_unreadable_one(content: bytes) -> None:
    dataset = read(element(0x00281050, "DS", content))

    assert values.numbers(dataset, "WindowCenter") == ()
    assert values.unreadable(dataset, "WindowCenter") == ()


def test_good_values_come_as_they_are() -> None:
    dataset = read(
        element(0x00080020, "DA", b"20260301")
        + element(0x00181164, "DS", b"0.2\0\\0.20000")
        + element(0x00280008, "IS", b"12")
        + element(0x00281050, "DS", b"400\\500 ")
    )

    assert values.text(dataset, "StudyDate") == "20260301"
    assert values.numbers(dataset, "ImagerPixelSpacing") == (0.2, 0.2)
    assert values.number(dataset, "WindowCenter") == 400
    assert values.text(dataset, "WindowCenter") == "400\\500"
    assert values.integer(dataset, "NumberOfFrames") == 12
    assert values.unreadable(dataset, *KEYWORDS) == ()


@pytest.mark.parametrize(
    ("declared", "encoding", "words"),
    [
        ("ISO_IR 192", "utf-8", "ГРУДНАЯ КЛЕТКА"),
        ("ISO_IR 144", "iso8859-5", "ГРУДНАЯ КЛЕТКА"),
        ("ISO_IR 100", "latin-1", "THORAX-ÜBERSICHT"),
        ("GB18030", "gb18030", "胸部正位"),
        ("", "utf-8", "흉부"),
        ("ISO_IR 192", "latin-1", "TÓRAX"),
        (r"\ISO 2022 IR 87", "iso2022_jp", "胸部"),
    ],
)
def test_a_code_string_is_read_in_the_script_it_was_written_in(
    declared: str, encoding: str, words: str
) -> None:
    dataset = read(
        (element(0x00080005, "CS", declared.encode()) if declared else b"")
        + element(0x00180015, "CS", words.encode(encoding))
    )

    assert values.text(dataset, "BodyPartExamined") == words


def test_a_header_with_unreadable_values_is_one_without_them() -> None:
    dataset = read(
        element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.1\0")
        + element(0x00080018, "UI", b"1.2.3\0")
        + element(0x00082218, "SQ", b"chest!")
        + element(0x00181164, "DS", b"0,143\\0,143 ")
        + element(0x00280008, "IS", b"1,5 ")
    )

    header = header_of(dataset)

    assert header.sop_instance_uid == "1.2.3"
    assert header.anatomic_regions == ()
    assert header.pixel_spacing is None
    assert header.number_of_frames == 1
