"""Whether values are what their Value Representation allows: PS3.5 section 6.2."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_has_tag
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.valuerep import VR

from dicom_node.imaging.received import AsItCame
from dicom_node.imaging.values import Guarded, texts

_CLOCK = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
_FORMS = {
    VR.AE: r"[\x20-\x5b\x5d-\x7e]{0,16}",
    VR.AS: r"\d{3}[DWMY]",
    VR.CS: r"[A-Z0-9 _]{0,16}",
    VR.DA: r"\d{8}",
    VR.DS: r"[-+0-9eE.]{1,16}",
    VR.DT: rf"\d{{4}}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])({_CLOCK})?)?)?([-+]\d{{4}})?",
    VR.IS: r"[-+]?\d{1,12}",
    VR.TM: _CLOCK,
    VR.UI: r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*",
}
_LONGEST = {VR.LO: 64, VR.SH: 16, VR.ST: 1024, VR.LT: 10240, VR.PN: 64, VR.UI: 64}
_OF_ONE_VALUE = frozenset({VR.ST, VR.LT, VR.UT, VR.UR})
_DELIMITERS = set(b"\t\r\n\f\\^=")


def keeps_its_vr(element: DataElement, around: Dataset) -> bool:
    """Whether an element is valid, in the items of a sequence too; an empty one is.

    ``around``: the data set whose Specific Character Set it is in. Letters that the set does not
    have break nothing here: they are passed on as bytes.
    """
    if element.VR == VR.SQ:
        return all(
            _is_item_of(element.keyword, item) and all(keeps_its_vr(each, around) for each in item)
            for item in element.value
        )
    return all(_is_valid(each, element.VR) for each in _values(element, around))


def _is_item_of(keyword: str, item: Dataset) -> bool:
    """Whether an item is one at all: bytes that are none give elements that nobody knows.

    A code has a value, its scheme and its meaning (PS3.3 section 8.8).
    """
    if not all(tag.is_private or dictionary_has_tag(tag) for tag in map(Tag, item.keys())):
        return False
    if keyword == "OtherPatientIDsSequence":
        return _says(item, "PatientID")
    if not keyword.endswith("CodeSequence"):
        return True
    short = _says(item, "CodeValue") and _says(item, "CodingSchemeDesignator")
    has_value = short or _says(item, "LongCodeValue") or _says(item, "URNCodeValue")
    return has_value and _says(item, "CodeMeaning")


def _says(item: Dataset, keyword: str) -> bool:
    return keyword in item and bool(item[keyword].value)


def _values(element: DataElement, around: Dataset) -> Sequence[str]:
    content = element.value
    if isinstance(element, AsItCame):
        content = _decoded(content, around)
        if element.VR not in _OF_ONE_VALUE:
            content = content.split("\\")
    several = isinstance(content, list | tuple | MultiValue)
    values = content if several else [content]
    return [str(each).strip(" \0") for each in values if each is not None]


def _decoded(stored: bytes, around: Dataset) -> str:
    with Guarded():
        encodings = convert_encodings(list(texts(around, "SpecificCharacterSet")) or None)
        return decode_bytes(stored, encodings, _DELIMITERS)
    return stored.decode("latin-1")


def _is_valid(value: str, vr: str) -> bool:
    longest = _LONGEST.get(VR(vr)) if vr in VR.__members__ else None
    parts = value.split("=") if vr == VR.PN else [value]
    if longest is not None and any(len(part) > longest for part in parts):
        return False
    form = _FORMS.get(VR(vr)) if vr in VR.__members__ else None
    if not value or form is None:
        return True
    return re.fullmatch(form, value) is not None and _is_possible(value, vr)


def _is_possible(value: str, vr: str) -> bool:
    """Whether a value of the right form is also a day, or a number."""
    try:
        match vr:
            case VR.DA:
                date.fromisoformat(value)
            case VR.DS:
                return math.isfinite(float(value))
            case VR.IS:
                return -(2**31) <= int(value) < 2**31
    except ValueError:
        return False
    return True
