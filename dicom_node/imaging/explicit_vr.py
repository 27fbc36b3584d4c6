"""Elements whose value representation is none, mended before pydicom reads them (PS3.5 7.1.2).

Some devices write private elements with the VR ``??``, ``--``, ``ob`` or two NULs. pydicom takes
such an element for an implicit one, whose length is then nonsense: it runs off the track, and what
follows, Pixel Data too, seems to be absent. How long the element is tells the place where the next
one begins.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydicom import datadict
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

_SHORT = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_16)
_LONG = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32)
_PIXEL_DATA, _DELIMITERS = 0x7FE00010, 0xFFFE0000
_UNDEFINED = 0xFFFFFFFF
_MOST_ELEMENTS, _DEEPEST = 50_000, 32
"""How many elements and items together are followed, how deep: more than any device writes."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A data set that was followed: its bytes, mended, and where the track was lost.

    ``lost``: the tag of the element after which no other is found, "gggg,eeee"; "" where none is.
    """

    data: bytes
    lost: str = ""


def follow(
    data: bytes, start: int = 0, *, little_endian: bool = True, last: int = _PIXEL_DATA - 1
) -> Followed:
    """Return the data set that begins at ``start``, every element with a VR that can be read.

    Elements up to the tag ``last`` are looked at. The same bytes come back where all is well, and
    for data sets in implicit VR, which say no VR. Lengths and places stay as they are.
    """
    walk = _Walk(data, "<" if little_endian else ">", last)
    if data[start + 4 : start + 6] in _SHORT | _LONG:
        walk.elements(start, len(data), 0)
    if not walk.patches:
        return Followed(data, walk.lost)
    mended = bytearray(data)
    for place, vr in walk.patches:
        mended[place : place + 2] = vr
    return Followed(bytes(mended), walk.lost)


class _Form(NamedTuple):
    """What an element can be: its VR, how long its tag, VR and length are, how long its value."""

    vr: bytes
    header: int
    length: int


class _Walk:
    """One walk over a data set: what is to be patched, and where the track was lost."""

    def __init__(self, data: bytes, order: str, last: int) -> None:
        self.patches: list[tuple[int, bytes]] = []
        self.lost = ""
        self._data, self._last = data, last
        self._two, self._four = struct.Struct(f"{order}H"), struct.Struct(f"{order}I")
        self._left = _MOST_ELEMENTS

    def elements(self, position: int, end: int, depth: int) -> int | None:
        """Follow the elements of a data set or item; return where it ends, None where unknown."""
        while position + 8 <= end:
            tag, self._left = self._tag(position), self._left - 1
            if tag & 0xFFFF0000 == _DELIMITERS:
                return position
            if (depth == 0 and tag > self._last) or self._left < 0:
                return None
            form = next(self._forms(position, tag, end), None)
            if form is None:
                self.lost = self.lost or f"{tag >> 16:04X},{tag & 0xFFFF:04X}"
                return None
            if form.vr != self._data[position + 4 : position + 6]:
                self.patches.append((position + 4, form.vr))
            begin = position + form.header
            if form.vr == b"SQ" and depth < _DEEPEST:
                after = self._items(begin, form.length, end, depth + 1)
            else:
                after = None if form.length == _UNDEFINED else begin + form.length
            if after is None:
                return None
            position = after
        return position

    def _items(self, position: int, length: int, end: int, depth: int) -> int | None:
        """Follow the items of a sequence; return where it ends."""
        stop = end if length == _UNDEFINED else min(position + length, end)
        while position + 8 <= stop:
            tag, size, self._left = self._tag(position), self._long(position + 4), self._left - 1
            position += 8
            if tag != _DELIMITERS | 0xE000:
                break
            if self._left < 0:
                return None
            if size != _UNDEFINED:
                self.elements(position, min(position + size, stop), depth)
                position += size
                continue
            after = self.elements(position, stop, depth)
            if after is None:
                break
            position = after + 8
        if length != _UNDEFINED:
            return stop
        found_end = self._tag(position - 8) == _DELIMITERS | 0xE0DD
        return position if found_end else None

    def _forms(self, position: int, tag: int, end: int) -> Iterator[_Form]:
        """Yield the VR, header and value length that an element can have, the likeliest first.

        That is what its VR says, unless no element follows there, and one does elsewhere.
        """
        stated = self._data[position + 4 : position + 6]
        short, long = (
            self._short(position + 6),
            self._long(position + 8),
        )
        own = _Form(stated, 12, long) if stated in _LONG else _Form(stated, 8, short)
        is_known = stated in _SHORT | _LONG
        if is_known and (own.length == _UNDEFINED or self._follows(own, position, tag, end)):
            yield own
            return
        for form in (
            _Form(self._vr(tag, _SHORT, b"LT"), 8, short),
            _Form(self._vr(tag, _LONG, b"UN"), 12, long),
            _Form(stated, 8, self._long(position + 4)),
        ):
            is_own = is_known and (form.header, form.length) == (own.header, own.length)
            if not is_own and self._follows(form, position, tag, end):
                yield form
        if is_known:
            yield own

    def _vr(self, tag: int, of_length: frozenset[bytes], other: bytes) -> bytes:
        known = datadict.dictionary_VR(tag) if datadict.dictionary_has_tag(tag) else ""
        vr = known[:2].encode()
        return vr if vr in of_length and vr != b"SQ" else other

    def _follows(self, form: _Form, position: int, tag: int, end: int) -> bool:
        """Whether an element of that form is followed by another, or by the end."""
        after = position + form.header + form.length
        if after >= end - 7:
            return after == end
        following = self._tag(after)
        if following & 0xFFFF0000 == _DELIMITERS:
            return form.length != 0 or following != _DELIMITERS
        vr, stated = self._data[after + 4 : after + 6], self._data[position + 4 : position + 6]
        return following > tag and (vr in _SHORT or vr in _LONG or vr == stated)

    def _tag(self, position: int) -> int:
        return (self._short(position) << 16) | self._short(position + 2)

    def _short(self, position: int) -> int:
        return self._number(self._two, position)

    def _long(self, position: int) -> int:
        return self._number(self._four, position)

    def _number(self, kind: struct.Struct, position: int) -> int:
        if position + kind.size > len(self._data):
            return 0
        return int(kind.unpack_from(self._data, position)[0])
