"""Content items that highdicom has made once, as bytes with gaps for what differs between films.

The content of a report is some hundred items of which a film changes a few: numbers, places, UIDs,
sentences. highdicom makes each kind of group and judges it; here its items are encoded as pydicom
encodes them (Explicit VR Little Endian, PS3.5 7.1), and what was marked in them is left open.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, default_encoding, encode_string
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import VR

from dicom_node.errors import IdentityNotPreserved, ResultError
from dicom_node.results.regions import Polygon

Encodings = tuple[str, ...]
"""Python's codecs of a Specific Character Set."""

Value = str | float | Polygon
"""What goes into a gap: text, a number, or a closed line."""

Key = str | tuple[str, int]
"""What a gap is for."""

CONTENT = Tag("ContentSequence")
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_NUMBER = re.compile(rb"[-+0-9eE.]{1,16}")
_LONG_HEAD = frozenset({VR.SQ, VR.UT})


@dataclass(frozen=True, slots=True)
class Gap:
    """An element whose value is put in later."""

    tag: BaseTag
    vr: str
    key: Key


@dataclass(frozen=True, slots=True)
class Nested:
    """A sequence with gaps in its items."""

    tag: BaseTag
    items: tuple[Stencil, ...]


Stencil = tuple[bytes | Gap | Nested, ...]
"""A data set: its elements in order, those without gaps encoded."""


def encodings_of(document: Dataset) -> Encodings:
    """Return how the texts of a data set are written."""
    declared = document.get("SpecificCharacterSet") or default_encoding
    with warnings.catch_warnings():
        # Of a set that nobody knows: what it cannot hold is said where it is written.
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(declared))


def cut(item: Dataset, marks: Mapping[Any, Key], encodings: Encodings) -> Stencil:
    """Return a data set encoded, with gaps where its values are among ``marks``.

    Lines are marked by the tuple of their numbers. Raises `IdentityNotPreserved` where a text
    cannot be written whole.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Failed to encode", UserWarning)
        try:
            return _cut(item, marks, encodings)
        except UserWarning:
            raise _lost() from None


def fill(stencil: Stencil, values: Mapping[Key, Value], encodings: Encodings) -> bytes:
    """Return the data set with its gaps filled; errors as of `cut`."""
    return b"".join(_filled(stencil, values, encodings))


def sequence(tag: BaseTag, items: Sequence[bytes]) -> bytes:
    """Return a sequence of items that are encoded already."""
    framed = [part for item in items for part in (_ITEM, struct.pack("<L", len(item)), item)]
    length = sum(map(len, framed))
    return b"".join([_head(tag, VR.SQ, length), *framed])


def content_of(items: Sequence[bytes]) -> RawDataElement:
    """Return a Content Sequence that pydicom writes as it is, and reads when it is looked at."""
    framed = sequence(CONTENT, items)[len(_head(CONTENT, VR.SQ, 0)) :]
    return RawDataElement(
        CONTENT, VR.SQ, len(framed), framed, 0, is_implicit_VR=False, is_little_endian=True
    )


def _cut(item: Dataset, marks: Mapping[Any, Key], encodings: Encodings) -> Stencil:
    parts: list[bytes | Gap | Nested] = []
    for element in item:
        part = _part(element, marks, encodings)
        if isinstance(part, bytes) and parts and isinstance(parts[-1], bytes):
            parts[-1] += part
        else:
            parts.append(part)
    return tuple(parts)


def _part(
    element: DataElement, marks: Mapping[Any, Key], encodings: Encodings
) -> bytes | Gap | Nested:
    if element.VR == VR.SQ:
        items = tuple(_cut(each, marks, encodings) for each in element.value)
        if all(isinstance(part, bytes) for stencil in items for part in stencil):
            return sequence(element.tag, [b"".join(map(_whole, stencil)) for stencil in items])
        return Nested(element.tag, items)
    key = marks.get(_marked(element))
    return _encoded(element, encodings) if key is None else Gap(element.tag, element.VR, key)


def _whole(part: bytes | Gap | Nested) -> bytes:
    assert isinstance(part, bytes)
    return part


def _marked(element: DataElement) -> Any:
    """Return the value of an element as it is marked."""
    if element.VR == VR.FL and element.VM > 1:
        return tuple(element.value)
    return element.value if element.VR == VR.FD else str(element.value)


def _encoded(element: DataElement, encodings: Encodings) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element, list(encodings))
    return buffer.getvalue()


def _filled(stencil: Stencil, values: Mapping[Key, Value], encodings: Encodings) -> list[bytes]:
    found = []
    for part in stencil:
        if isinstance(part, bytes):
            found.append(part)
        elif isinstance(part, Nested):
            inner = [b"".join(_filled(each, values, encodings)) for each in part.items]
            found.append(sequence(part.tag, inner))
        else:
            value = _value(part.vr, values[part.key], encodings)
            found += [_head(part.tag, part.vr, len(value)), value]
    return found


def _head(tag: BaseTag, vr: str, length: int) -> bytes:
    name = vr.encode()
    if vr in _LONG_HEAD:
        return struct.pack("<HH2sHL", tag.group, tag.element, name, 0, length)
    if length > 0xFFFF:
        raise ResultError("A value of a report is longer than its VR can be.")
    return struct.pack("<HH2sH", tag.group, tag.element, name, length)


def _value(vr: str, value: Value, encodings: Encodings) -> bytes:
    """Return a value encoded, to an even length."""
    match vr:
        case VR.FL:
            return _line(value)
        case VR.FD:
            return struct.pack("<d", _finite(value))
        case VR.UI:
            return _even(str(value).encode("ascii"), b"\0")
        case VR.DS:
            return _even(_decimal(str(value)), b" ")
    return _even(_text(str(value), encodings), b" ")


def _line(value: Value) -> bytes:
    assert not isinstance(value, str | int | float)
    if value.ndim != 2 or value.shape[1] != 2 or len(value) < 2 or not math.isfinite(value.sum()):
        raise ResultError("A place of a report is no line.")
    return value.astype("<f4").tobytes()


def _finite(value: Value) -> float:
    assert isinstance(value, int | float)
    if not math.isfinite(value):
        raise ResultError("A number of a report is none.")
    return float(value)


def _decimal(value: str) -> bytes:
    written = value.encode("ascii", "replace")
    if not _NUMBER.fullmatch(written):
        raise ResultError(f"{value!r} is no Decimal String (PS3.5 6.2).")
    return written


def _text(value: str, encodings: Encodings) -> bytes:
    if value.isascii():
        return value.encode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return encode_string(value, list(encodings))
        except (UserWarning, UnicodeError):
            raise _lost() from None


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding * (len(value) % 2)


def _lost() -> IdentityNotPreserved:
    return IdentityNotPreserved(
        "The film's Specific Character Set cannot hold the texts of its result."
    )
