"""A header of a million elements is not read to its end, wherever they are; a long one is."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

from dicom_node.errors import DataSetUnreadable, HeaderUnreadable
from dicom_node.imaging.header import read_attributes, read_dataset, read_header
from dicom_node.intake.identify import identify
from dicom_node.intake.rules import load_rules
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import open_ledger
from dicom_node.line.admit import admit_received
from dicom_node.logs import Log
from dicom_node.records import InstanceState, Origin
from dicom_node.resources import default_configuration
from dicom_node.spool import Spool
from tests.museum.film import film

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
MILLION = 1_000_000
VIEW_CODES, PRIVATE = 0x00540220, 0x00291001
UNDEFINED = 0xFFFFFFFF


def named(tag: int) -> bytes:
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"SQ", b"UN"):
        return named(tag) + vr + struct.pack("<HI", 0, len(value)) + value
    return named(tag) + vr + struct.pack("<H", len(value)) + value


def implicit(tag: int, value: bytes) -> bytes:
    return named(tag) + struct.pack("<I", len(value)) + value


def item(value: bytes = b"") -> bytes:
    return implicit(0xFFFEE000, value)


def unended(tag: int, vr: bytes, items: bytes) -> bytes:
    return named(tag) + vr + struct.pack("<HI", 0, UNDEFINED) + items + implicit(0xFFFEE0DD, b"")


def tags(count: int, group: int = 0x0029) -> Iterator[int]:
    return ((group + 2 * (n // 0xE000) << 16) | (0x1000 + n % 0xE000) for n in range(count))


def sound(transfer_syntax: str = EXPLICIT) -> tuple[bytes, bytes]:
    """Return a film's file in two parts, between which the elements of group 0029 have room."""
    whole = film().file()
    if transfer_syntax == IMPLICIT:
        header = b"".join(
            implicit(tag, value)
            for tag, value in (
                (0x00080016, b"1.2.840.10008.5.1.4.1.1.1\0"), (0x00080018, b"1.2.34"),
                (0x0020000D, b"1.2.36"), (0x0020000E, b"1.2.38"),
            )
        )  # fmt: skip
        return header, implicit(0x7FE00010, bytes(2))
    place = whole.index(named(0x7FE00010) + b"OW")
    return whole[:place], whole[place:]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "elements": lambda: b"".join(explicit(tag, b"LO", b"") for tag in tags(MILLION)),
    "elements of no VR": lambda: b"".join(explicit(tag, b"??", b"") for tag in tags(MILLION)),
    "items": lambda: explicit(VIEW_CODES, b"SQ", item() * MILLION),
    "items without an end": lambda: unended(PRIVATE, b"SQ", item() * MILLION),
    "items of what is no sequence by its VR": lambda: unended(PRIVATE, b"UN", item() * MILLION),
    "items of what should be a text": lambda: explicit(0x00400254, b"SQ", item() * MILLION),
    "sequences in a sequence": lambda: explicit(
        VIEW_CODES, b"SQ", item(explicit(0x00080100, b"SQ", item() * 7500)) * 30
    ),
    "elements of an item in the other VR": lambda: explicit(
        VIEW_CODES, b"SQ", item(b"".join(implicit(tag, b"") for tag in tags(MILLION)))
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_million_behind_the_identifiers_are_refused_where_the_header_is_read(what: str) -> None:
    begin, end = sound()
    data = begin + HOSTILE[what]() + end
    for read in (read_header, read_attributes, read_dataset):
        with pytest.raises(HeaderUnreadable, match="more elements than any film needs"):
            read(data)


@pytest.mark.parametrize("what", ["elements", "items"])
def test_a_million_in_implicit_vr_are_refused_where_the_header_is_read(what: str) -> None:
    begin, end = sound(IMPLICIT)
    many = {
        "elements": lambda: b"".join(implicit(tag, b"") for tag in tags(MILLION)),
        "items": lambda: implicit(VIEW_CODES, item() * MILLION),
    }
    with pytest.raises(HeaderUnreadable, match="more elements than any film needs"):
        read_header(begin + many[what]() + end)


def test_a_million_behind_the_pixels_are_refused_where_all_is_read() -> None:
    begin, end = sound()
    data = begin + end + b"".join(explicit(tag, b"LO", b"") for tag in tags(MILLION, 0x8001))
    assert read_header(data).rows
    with pytest.raises(HeaderUnreadable, match="more elements than any film needs"):
        read_dataset(data)


@pytest.mark.parametrize(
    "many",
    [
        lambda: b"".join(explicit(tag, b"LO", b"") for tag in tags(400_000, 0x0009)),
        lambda: b"".join(explicit(tag, b"??", b"") for tag in tags(400_000, 0x0009)),
        lambda: unended(0x00091001, b"SQ", item() * MILLION),
        lambda: unended(0x00091001, b"UN", item() * MILLION),
    ],
    ids=["elements", "elements of no VR", "items", "items of no sequence"],
)
def test_a_million_before_the_identifiers_are_refused_at_the_door(
    many: Callable[[], bytes],
) -> None:
    uids = explicit(0x00080016, b"UI", b"1.2.34") + explicit(0x00080018, b"UI", b"1.2.34")
    with pytest.raises(DataSetUnreadable, match="too many elements before its identifiers"):
        identify(uids + many(), EXPLICIT)


def test_a_film_with_too_many_elements_fails_with_that_reason_and_the_next_is_admitted(
    tmp_path: Path,
) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="intake")
    spool, log = Spool(tmp_path / "spool"), Log("intake")
    door, origin = FrontDoor(spool, ledger, log, 50_000_000), Origin("PACS", "NODE", "127.0.0.1")
    begin, end = sound()
    door.take_file(begin + HOSTILE["items"]() + end, origin)
    other = film().text(SOPInstanceUID="1.2.77").file()
    door.take_file(other, origin)
    rules = load_rules(default_configuration() / "admission.toml")
    assert admit_received(ledger, spool, rules, "intake", log) == 2
    (study,) = ledger.studies()
    failed, well = ledger.instances(study.id)
    assert failed.state is InstanceState.FAILED
    assert "more elements than any film needs" in str(failed.reason)
    assert well.state is InstanceState.ADMITTED
    ledger.close()


@pytest.mark.parametrize("size", [0, 10, 2000])
def test_ten_thousand_private_elements_are_no_obstacle(size: int) -> None:
    begin, end = sound()
    many = b"".join(explicit(tag, b"LO", b"x" * size) for tag in tags(10_000))
    read = read_dataset(begin + many + end)
    assert len(read) > 10_000
    assert read.pixel_array.size


def test_private_sequences_of_thousands_of_items_are_no_obstacle() -> None:
    begin, end = sound()
    one = item(explicit(0x00291002, b"LO", b"some") + explicit(0x00291003, b"LO", b"more"))
    read = read_dataset(begin + explicit(PRIVATE, b"SQ", one * 5000) + end)
    assert len(read[PRIVATE].value) == 5000


def test_the_tree_of_a_long_report_is_read(tmp_path: Path) -> None:
    def container(children: list[Dataset]) -> Dataset:
        node = Dataset()
        node.ValueType, node.RelationshipType = "CONTAINER", "CONTAINS"
        node.ContentSequence = children
        return node

    leaf = Dataset()
    leaf.ValueType, leaf.TextValue = "TEXT", "x"
    report = container([container([leaf] * 100) for _ in range(400)])
    report.SOPClassUID, report.SOPInstanceUID = ComprehensiveSRStorage, "1.2.3"
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    read = read_dataset(tmp_path / "report.dcm")
    assert len(read.ContentSequence) == 400
    assert len(read.ContentSequence[0].ContentSequence) == 100
