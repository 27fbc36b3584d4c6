"""A header says what a film is, and foreign or hostile bytes end in one kind of error."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from dicom_node.errors import HeaderUnreadable, ImageError, TransferSyntaxUnsupported
from dicom_node.imaging.header import CodedEntry, header_of, read_dataset, read_header
from dicom_node.imaging.phantom import Identity, phantom_dataset


def small() -> FileDataset:
    return phantom_dataset(rows=96, columns=80)


def saved(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def with_element(content: bytes, element: bytes) -> bytes:
    """Put raw bytes before Pixel Data."""
    at = content.rindex(b"\xe0\x7f\x10\x00OW")
    return content[:at] + element + content[at:]


def nested(depth: int, *, defined: bool) -> bytes:
    inner = b""
    for _ in range(depth):
        if defined:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
            inner = b"\x11\x00\x10\x10SQ\0\0" + struct.pack("<I", len(item)) + item
        else:
            head = b"\x11\x00\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
            tail = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
            inner = head + inner + tail
    return inner


def test_the_header_holds_what_decides_about_a_film() -> None:
    header = read_header(saved(small()))
    assert header.modality == "DX"
    assert header.body_part_examined == "CHEST"
    assert header.view_position == "PA"
    assert header.view_codes == (CodedEntry("272479007", "SCT", "postero-anterior"),)
    assert header.patient_orientation == ("L", "F")
    assert (header.rows, header.columns, header.number_of_frames) == (96, 80, 1)
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert header.pixel_spacing == pytest.approx((430 / 96, 430 / 96), rel=1e-4)


def test_a_path_and_its_bytes_give_the_same_header(tmp_path: Path) -> None:
    file = tmp_path / "film.dcm"
    small().save_as(file)
    assert read_header(file) == read_header(file.read_bytes()) == header_of(read_dataset(file))


def test_descriptions_are_kept_out_of_the_representation() -> None:
    dataset = small()
    dataset.StudyDescription = dataset.SeriesDescription = dataset.ProtocolName = "CANARY Mueller"
    header = header_of(dataset)
    assert header.series_description == "CANARY Mueller"
    assert "CANARY" not in repr(header)


@pytest.mark.data
def test_every_shared_file_has_a_header_or_a_reason(shared_data: Path) -> None:
    unreadable = {"not_dicom.dcm": HeaderUnreadable, "rg1_deflated.dcm": TransferSyntaxUnsupported}
    for file in sorted((shared_data / "dicom").glob("*/*.dcm")):
        if error := unreadable.get(file.name):
            with pytest.raises(error):
                read_header(file)
        else:
            assert read_header(file).sop_class_uid, file.name


@pytest.mark.data
def test_a_file_without_preamble_and_file_meta_is_read(shared_data: Path) -> None:
    header = read_header(shared_data / "dicom" / "chest" / "cr_fuji_mono1_10bit_noheader.dcm")
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2"
    assert header.body_part_examined == "CHEST"


def test_a_data_set_without_file_meta_states_its_own_transfer_syntax() -> None:
    content = saved(small())
    dataset = pydicom.dcmread(io.BytesIO(content))
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, dataset, enforce_file_format=False)
    start = content.index(b"\x08\x00\x05\x00CS")
    assert read_header(content[start:]).transfer_syntax_uid == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("defined", [True, False])
def test_thousands_of_nested_sequences_end_in_an_error_or_a_header(defined: bool) -> None:
    content = with_element(saved(small()), nested(3000, defined=defined))
    with suppress(HeaderUnreadable):
        assert read_header(content).modality == "DX"


def test_an_unknown_vr_in_an_element_that_nobody_needs_does_no_harm() -> None:
    content = with_element(saved(small()), b"\x11\x00\x01\x10ZZ\x04\x00ABCD")
    assert read_header(content).modality == "DX"


def test_a_number_that_is_none_is_absent_and_the_rest_of_the_header_stands() -> None:
    content = saved(small()).replace(b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x10\x00LO\x02\x00")
    header = read_header(content)
    assert header.rows is None
    assert header.modality == "DX"


@pytest.mark.parametrize("character_set", ["ISO_IR 999", "\\ISO 2022 IR 999", "nonsense", ""])
def test_an_unknown_character_set_is_no_obstacle(character_set: str) -> None:
    content = saved(phantom_dataset(rows=96, columns=80, identity=Identity(patient_name="A^B")))
    old = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192"
    value = character_set.encode() + b" " * (len(character_set) % 2)
    new = b"\x08\x00\x05\x00CS" + struct.pack("<H", len(value)) + value
    assert old in content
    assert read_header(content.replace(old, new)).modality == "DX"


@pytest.mark.parametrize("part", [0.0, 0.001, 0.01, 0.03, 0.06])
def test_a_file_cut_within_its_header_is_an_image_error_or_a_shorter_header(part: float) -> None:
    content = saved(small())
    with suppress(ImageError):
        assert read_header(content[: int(len(content) * part)]).sop_instance_uid


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"DICM" * 100, b"\xff" * 5000, b"<html>"])
def test_what_is_no_dicom_says_so(content: bytes) -> None:
    with pytest.raises(HeaderUnreadable):
        read_header(content)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(HeaderUnreadable):
        read_header(tmp_path / "none.dcm")


def test_mutated_headers_raise_image_errors_only() -> None:
    rng = np.random.default_rng(11)
    content = saved(small())
    end = content.rindex(b"\xe0\x7f\x10\x00OW") + 12
    for _ in range(400):
        mutated = bytearray(content)
        for at in rng.integers(0, end, 6):
            mutated[at] = rng.integers(0, 256)
        with suppress(ImageError):
            assert read_header(bytes(mutated)).sop_instance_uid


def test_the_message_of_an_unreadable_header_quotes_nothing_of_the_data_set() -> None:
    dataset = small()
    dataset.PatientName = "CANARY^NAME"
    content = saved(dataset).replace(b"\x08\x00\x18\x00UI", b"\x08\x00\x17\x00UI")
    with pytest.raises(HeaderUnreadable) as caught:
        read_header(content)
    assert "CANARY" not in caught.value.message
