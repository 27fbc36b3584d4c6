"""Which files beside it an ONNX file wants its weights from, found without any engine.

Engines differ in what they allow (paths out of the folder, addresses in memory), and none of them
knows which files the manifest vouches for. The structure of `onnx.proto` is walked, no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dicom_node.brains.not_computable import NotComputable

_WITHIN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Messages by what they are within: field number to what its value is."""
_DEEPEST = 100


def wanted_files(data: bytes) -> frozenset[str]:
    """Return the places of external data in an ONNX file. Raises `NotComputable` if it is none."""
    try:
        return frozenset(_places(memoryview(data), "model", 0))
    except (IndexError, ValueError):
        raise NotComputable("the network cannot be loaded: it is no ONNX file") from None


def _places(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError
    for field, value in _fields(message):
        within = _WITHIN[kind].get(field)
        if within == "entry":
            entry = dict(_fields(value))
            if bytes(entry.get(1, b"")) == b"location":
                yield bytes(entry.get(2, b"")).decode("utf-8")
        elif within is not None:
            yield from _places(value, within, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of what has a length; the rest is stepped over."""
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        # As engines do: what does not fit into 32 bits is cut off.
        kind, field = key & 7, (key & 0xFFFFFFFF) >> 3
        if kind == 0:
            _, place = _number(message, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            length, place = _number(message, place)
            if length > len(message) - place:
                raise ValueError
            yield field, message[place : place + length]
            place += length
        else:
            raise ValueError


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """Return a base 128 number, least first, and where it ends."""
    number = shift = 0
    while True:
        byte = message[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
        if shift > 63:
            raise ValueError
