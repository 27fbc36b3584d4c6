"""Reading of foreign data sets within bounds: millions of tiny elements must not take minutes.

Nor may large ones take the memory of all films. What devices send stays far below.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_partial, read_sequence
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import VR

from dicom_node.errors import HeaderUnreadable
from dicom_node.imaging.values import CAN_RAISE

MOST_READS = 50_000
"""An element costs pydicom one to three, an item three or so, each up to 20 microseconds. What
devices send has some hundred elements, with private ones thousands."""

_COUNTED_BYTES = 4096
"""A larger read is no small element: such are bounded by the size of what is read."""

_SMALL, _MOST_IN_SEQUENCES = 1 << 16, 1 << 26
_TREE = 0x0040A730
"""Content Sequence: the tree of a report, which no film has, and our own may be long."""


@dataclass(slots=True)
class ReadBudget:
    """What may be read of one data set; ``spent``: of which there was too much, "" of nothing."""

    reads: int = MOST_READS
    most_bytes: int | None = None
    spent: Literal["", "elements", "bytes"] = ""

    def take(self, size: int) -> None:
        """Count one read. Raises OSError from the first on that is too many."""
        if 0 <= size < _COUNTED_BYTES:
            self.reads -= 1
            if self.reads < 0:
                self.spent = self.spent or "elements"
        if self.most_bytes is not None:
            # Without a size all is asked for.
            self.most_bytes -= size if size >= 0 else self.most_bytes + 1
            if self.most_bytes < 0:
                self.spent = self.spent or "bytes"
        if self.spent:
            # pydicom swallows some errors and reads on: it gets nothing any more.
            raise OSError(f"too many {self.spent}")


class BoundedFile:
    """A file for pydicom that may be read as much as its budget has, and no more."""

    def __init__(self, file: BinaryIO, budget: ReadBudget) -> None:
        self._file, self._at, self._budget = file, file.tell(), budget

    def tell(self) -> int:
        """Return where the file stands: known here, since a file asks the system each time."""
        return self._at

    def seek(self, at: int, whence: int = io.SEEK_SET) -> int:
        """Move the file."""
        self._at = self._file.seek(at, whence)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer at the end. Raises OSError where the budget is spent."""
        self._budget.take(size)
        data = self._file.read(size)
        self._at += len(data)
        return data


def read_bounded(
    stream: BinaryIO, stop_when: Callable[[BaseTag, str | None, int], bool] | None
) -> Dataset:
    """Return a file's data set up to where ``stop_when`` says, which the stream stands before then.

    Raises HeaderUnreadable where reading it, or its sequences when they are asked for, would take
    more than a moment; and what pydicom raises.
    """
    budget = ReadBudget()
    try:
        dataset = read_partial(cast("BinaryIO", BoundedFile(stream, budget)), stop_when, force=True)
        budget.most_bytes = _MOST_IN_SEQUENCES
        _count_sequences(dataset, budget)
    except CAN_RAISE:
        if not budget.spent:
            raise
    if budget.spent:
        raise HeaderUnreadable(
            "The data set has more elements than any film needs: it is not read to its end.",
            remedy="If a device wrote it, let its maker say what all of them are for.",
        )
    # Nothing is read later: the stream is not kept beside the data set.
    dataset.buffer = None
    return dataset


def _count_sequences(dataset: Dataset, budget: ReadBudget) -> None:
    """Read what pydicom will convert when somebody asks for it, to know how long it takes.

    Only where it is not small; its items are thrown away.
    """
    waiting = [each for each in _unconverted(dataset) if each.tag != _TREE]
    if sum(len(each.value or b"") for each in waiting) <= _SMALL:
        return
    while waiting and not budget.spent:
        element = waiting.pop()
        value = element.value or b""
        file = cast("BinaryIO", BoundedFile(io.BytesIO(value), budget))
        implicit, little_endian = element.is_implicit_VR, element.is_little_endian
        with suppress(*CAN_RAISE):
            found = read_sequence(file, implicit, little_endian, len(value), default_encoding)
            waiting += [each for item in found for each in _unconverted(item)]


def _unconverted(dataset: Dataset) -> Iterator[RawDataElement]:
    """Yield the sequences of which the items were not read yet, also those in items that were."""
    for element in dataset.values():
        if isinstance(element, RawDataElement):
            if element.value and _vr(element) == VR.SQ:
                yield element
        elif isinstance(element.value, Sequence):
            for item in element.value:
                yield from _unconverted(item)


def _vr(element: RawDataElement) -> str:
    if element.VR not in (None, VR.UN):
        return str(element.VR)
    return dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else ""
