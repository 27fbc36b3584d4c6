"""Values of foreign data sets: read so that nothing in them, and nothing in pydicom, can raise.

What cannot be read is as if it were absent; `unreadable` says which attributes were there all the
same, for the note that goes with the film.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

from pydicom import charset, datadict
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import FLOAT_VR, INT_VR, VR

CAN_RAISE = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and pynetdicom raise on hostile bytes, for instance NotImplementedError for an
unknown VR: the one list of it. No message of theirs may be shown, since it may quote the data."""

_NUMERIC = FLOAT_VR | INT_VR | {VR.DS, VR.IS}
_PADDING = " \0\r\n\t"


def text(dataset: Dataset, keyword: str) -> str:
    r"""Return the attribute as text, several values joined by ``\``; "" where there is none."""
    return "\\".join(texts(dataset, keyword))


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values as text without padding; () where absent, empty or unreadable.

    Code strings with letters outside ASCII, which PS3.5 section 6.2 forbids, are read in the
    character set of the data set, else as UTF-8 if they are that.
    """
    values = _values(dataset, keyword)
    if any(isinstance(each, bytes | Sequence | Dataset) for each in values):
        return ()
    found: tuple[str, ...] = ()
    with Guarded():
        found = tuple(str(each).strip(_PADDING) for each in values)
    return _in_script(dataset, found) if _is_code_string(keyword) else found


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value as a finite number; None where absent, empty or unreadable."""
    values = _values(dataset, keyword)
    return _finite(values[0]) if values else None


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values as finite numbers; () unless every one of them is one."""
    found = [_finite(each) for each in _values(dataset, keyword)]
    finite = tuple(each for each in found if each is not None)
    return finite if len(finite) == len(found) else ()


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return the first value as a whole number; None where absent, empty, broken or unreadable."""
    found = number(dataset, keyword)
    return int(found) if found is not None and found.is_integer() else None


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; () where it is absent, unreadable or no sequence."""
    found: tuple[Dataset, ...] = ()
    with Guarded():
        content = dataset.get(keyword)
        if isinstance(content, Sequence):
            found = tuple(each for each in content if isinstance(each, Dataset))
    return found


def value(dataset: Dataset, keyword: str) -> Any:
    """Return the value as pydicom converts it, bytes or numbers; None where it cannot."""
    with Guarded():
        return dataset.get(keyword)
    return None


def unreadable(dataset: Dataset, *keywords: str) -> tuple[str, ...]:
    """Return which of the attributes are there but cannot be read as their VR has it."""
    return tuple(each for each in keywords if _is_filled(dataset, each) and _is_lost(dataset, each))


class Guarded(AbstractContextManager[None]):
    """Swallows what pydicom raises, and its warnings; what is returned inside stands else."""

    def __enter__(self) -> None:
        self._quiet = warnings.catch_warnings(action="ignore")
        self._quiet.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> bool:
        self._quiet.__exit__(None, None, None)
        return kind is not None and issubclass(kind, CAN_RAISE)


def _values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = ()
    with Guarded():
        content = dataset.get(keyword)
        if isinstance(content, MultiValue | list | tuple):
            found = tuple(content)
        elif content is not None and content != "":
            found = (content,)
    return found


def _finite(each: Any) -> float | None:
    found = None
    with Guarded():
        if isinstance(each, str | int | float | Decimal):
            found = float(each)
    return found if found is not None and math.isfinite(found) else None


def _is_code_string(keyword: str) -> bool:
    tag = datadict.tag_for_keyword(keyword)
    return tag is not None and datadict.dictionary_VR(tag) == VR.CS


def _in_script(dataset: Dataset, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return code strings as they were meant: pydicom reads each of their bytes as a letter."""
    joined = "\\".join(found)
    if joined.isascii() and "\x1b" not in joined:
        return found
    with Guarded():
        stored = joined.encode("latin-1")
        for encodings in (_encodings(dataset), ["utf-8"]):
            decoded = charset.decode_bytes(stored, encodings, set()) if encodings else "\ufffd"
            if "\ufffd" not in decoded:
                return tuple(decoded.split("\\"))
    return found


def _encodings(dataset: Dataset) -> list[str]:
    """Return the declared encodings, or those of the data set around an item; [] for neither."""
    declared = [str(each) for each in _values(dataset, "SpecificCharacterSet")]
    if declared:
        return charset.convert_encodings(declared)
    around = dataset.original_character_set
    found = [around] if isinstance(around, str) else list(around)
    return [] if found == [charset.default_encoding] else found


def _is_filled(dataset: Dataset, keyword: str) -> bool:
    tag = datadict.tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return False
    with Guarded():
        stored = dataset.get_item(tag)
        content = None if stored is None else stored.value
        if isinstance(content, bytes):
            content = content.strip(b" \0")
        elif isinstance(content, str):
            content = content.strip(" \0")
        return content is not None and (not hasattr(content, "__len__") or len(content) > 0)
    return True


def _is_lost(dataset: Dataset, keyword: str) -> bool:
    tag = datadict.tag_for_keyword(keyword)
    vr = datadict.dictionary_VR(tag) if tag is not None else ""
    if vr == VR.SQ:
        return not items(dataset, keyword)
    if set(vr.split(" or ")) & _NUMERIC:
        content = value(dataset, keyword)
        return not numbers(dataset, keyword) and not (content and isinstance(content, bytes))
    return not texts(dataset, keyword) and not isinstance(value(dataset, keyword), bytes)
