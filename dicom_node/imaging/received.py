"""Values as the bytes that they came in, which pydicom loses as soon as it has decoded them.

Text that its Specific Character Set cannot hold, or whose set nobody knows, can be passed on so
alone (PS3.5 6.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import STR_VR, VR

from dicom_node.imaging.values import Guarded

_NO_MORE = b" \0"
_KEPT = "as_received"
_CHARACTER_SET = Tag("SpecificCharacterSet")
_PIXEL_DATA = Tag("PixelData")
_OVERLAYS = (0x50, 0x60)
"""The first byte of the groups of curves and overlays (PS3.5 7.6)."""

_LONG = 1 << 16


class AsItCame(DataElement):
    """An element of text whose bytes pydicom writes as they are, whatever the character set."""

    is_raw = True
    length = 0  # not undefined: of raw elements the writer asks

    def __init__(self, tag: BaseTag, vr: str, stored: bytes) -> None:
        """Make the element; ``stored`` gets the padding of its VR to an even length."""
        padding = b"\0" if vr == VR.UI else b" "
        even = stored + padding * (len(stored) % 2)
        super().__init__(tag, vr, even, already_converted=True)


def keep_received(dataset: Dataset) -> None:
    """Note the values of a data set that was just read, before anybody looks at one."""
    kept: dict[BaseTag, RawDataElement] = {}
    for tag in dataset.keys():  # noqa: SIM118 - iterating a data set converts its values
        element: Any = dataset.get_item(tag)
        if isinstance(element, RawDataElement):
            kept[tag] = element
        elif element is not None and isinstance(element.value, Sequence):
            for item in element.value:
                keep_received(item)
    setattr(dataset, _KEPT, kept)


def drop_bulk(dataset: Dataset) -> int:
    """Take Pixel Data, overlays and long private elements out; return the length of Pixel Data.

    What is left of a film of any size is small, and says all that is asked of a header.
    """
    length = 0
    for tag in list(dataset.keys()):
        element: Any = dataset.get_item(tag)
        value = element.value if isinstance(element, RawDataElement) else b""
        long = len(value or b"") > _LONG and tag.is_private
        if tag == _PIXEL_DATA:
            length = len(dataset.get_item(tag).value or b"")
        if long or tag == _PIXEL_DATA or tag.group >> 8 in _OVERLAYS:
            del dataset[tag]
            getattr(dataset, _KEPT, {}).pop(tag, None)
    return length


def part_of(dataset: Dataset, keywords: Iterable[str]) -> Dataset:
    """Return a data set of some of the attributes, as they were received."""
    tags = [tag for tag in map(Tag, keywords) if tag in dataset]
    part = Dataset({tag: dataset.get_item(tag) for tag in tags})
    implicit, little_endian = dataset.original_encoding
    part.set_original_encoding(implicit, little_endian, dataset.original_character_set)
    setattr(part, _KEPT, getattr(dataset, _KEPT, {}))
    return part


def stored_bytes(dataset: Dataset, keyword: str) -> bytes | None:
    """Return the bytes of a value without padding, b"" where it is empty.

    None where it is absent, was changed since it was received, or is a sequence without a length.
    """
    tag = tag_for_keyword(keyword)
    element = None if tag is None else _received(dataset, Tag(tag))
    return None if element is None else (element.value or b"").rstrip(_NO_MORE)


def can_hold(dataset: Dataset, text: str) -> bool:
    """Whether the Specific Character Set of a data set or item can hold a text whole."""
    declared = dataset.original_character_set
    encodings = [declared] if isinstance(declared, str) else list(declared)
    with Guarded():
        return decode_bytes(encode_string(text, encodings), encodings, set()) == text
    return False


def as_it_came(dataset: Dataset, keyword: str) -> DataElement | None:
    """Return a copy of an attribute to put into another data set, text byte by byte as it came.

    Also in the items of a sequence. None where it is absent, or not to be read as its VR has it.
    """
    tag = tag_for_keyword(keyword)
    return None if tag is None or tag not in dataset else _copied(dataset, Tag(tag))


def _copied(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    vr = _vr(dataset, tag)
    kept = _received(dataset, tag)
    if vr in STR_VR and kept is not None:
        return AsItCame(tag, vr, kept.value or b"")
    with Guarded():
        # A sequence from its bytes anew: of the items that others have read, the bytes are lost.
        element = dataset[tag] if kept is None else _converted(dataset, kept)
        if vr != VR.SQ:
            return deepcopy(element) if (vr in STR_VR) == (element.VR in STR_VR) else None
        if isinstance(element.value, Sequence):
            return DataElement(tag, VR.SQ, Sequence([_item(each) for each in element.value]))
    return None


def _converted(dataset: Dataset, kept: RawDataElement) -> DataElement:
    return convert_raw_data_element(kept, encoding=dataset.original_character_set, ds=dataset)


def _item(item: Dataset) -> Dataset:
    copied = Dataset()
    for tag in item.keys():  # noqa: SIM118 - see above
        element = _copied(item, tag)
        if element is not None:
            copied[tag] = element
    return copied


def _vr(dataset: Dataset, tag: BaseTag) -> str:
    element = dataset.get_item(tag)
    stated = str(element.VR or "") if element is not None else ""
    with Guarded():
        known = dictionary_VR(tag)
        return stated if "or" in known.split() else known
    return stated


def _received(dataset: Dataset, tag: BaseTag) -> RawDataElement | None:
    """Return an element as it came, if it still says the same."""
    now: Any = dataset.get_item(tag)
    if isinstance(now, RawDataElement):
        return now
    kept: Mapping[BaseTag, RawDataElement] = getattr(dataset, _KEPT, {})
    found = kept.get(tag)
    if now is None or found is None or not _says(dataset, found, now.value):
        return None
    return found


def _says(dataset: Dataset, kept: RawDataElement, value: Any) -> bool:
    with Guarded():
        came_in = dataset.original_character_set
        declared = dataset.get("SpecificCharacterSet")
        if kept.tag != _CHARACTER_SET and declared and convert_encodings(declared) != came_in:
            return False
        return bool(_converted(dataset, kept).value == value)
    return False
