"""A private element whose VR is none derails nothing, wherever it stands."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.errors import HeaderUnreadable
from dicom_node.imaging.decode import decode
from dicom_node.imaging.explicit_vr import follow
from dicom_node.imaging.header import read_dataset, read_header
from dicom_node.intake.identify import identify
from tests.museum.film import film

LITTLE = "1.2.840.10008.1.2.1"
VRS = [b"??", b"--", b"ob", b"lo", b"ZZ", b"\0\0", b"  ", b"\xff\xff", b"12"]


def data_set() -> bytes:
    whole = film().file()
    start = 132 + 12 + struct.unpack_from("<I", whole, 140)[0]
    return whole[start:]


SOUND = data_set()


def element(vr: bytes, value: bytes, *, long: bool) -> bytes:
    tag = struct.pack("<HH", 0x0009, 0x1001)
    length = struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))
    return tag + vr + length + value


def with_elements(odd: bytes) -> bytes:
    place = SOUND.index(struct.pack("<HH", 0x0010, 0x0010) + b"PN")
    return SOUND[:place] + odd + SOUND[place:]


@pytest.mark.parametrize("vr", VRS)
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("size", [0, 2, 10, 300])
def test_what_follows_an_element_of_no_vr_is_read(vr: bytes, long: bool, size: int) -> None:
    data = with_elements(element(vr, b"x" * size, long=long))

    assert identify(data, LITTLE) == identify(SOUND, LITTLE)
    assert read_header(data).body_part_examined == read_header(SOUND).body_part_examined
    assert (decode(data) == decode(SOUND)).all()


def test_several_such_elements_in_a_row_are_read() -> None:
    odd = element(b"??", b"one ", long=False)
    more = odd.replace(b"\x01\x10", b"\x02\x10") + odd.replace(b"\x01\x10", b"\x03\x10")
    assert (decode(with_elements(odd + more)) == decode(SOUND)).all()


def test_where_the_track_is_lost_the_reason_is_the_true_one() -> None:
    broken = element(b"??", b"x" * 10, long=False)[:-4] + b"\x11"
    for read in (read_header, read_dataset):
        with pytest.raises(HeaderUnreadable, match=r"past element \(0009,1001\)"):
            read(with_elements(broken))


def test_a_sound_data_set_is_not_touched() -> None:
    assert follow(SOUND).data is SOUND
    assert follow(SOUND).lost == ""


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    st.integers(0, 4000),
)
def test_following_never_raises_and_keeps_every_place(
    changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(SOUND[:end])
    for place, byte in changes:
        if data:
            data[place % len(data)] = byte
    assert len(follow(bytes(data)).data) == len(data)
