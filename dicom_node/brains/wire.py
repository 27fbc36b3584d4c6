"""How questions and answers cross between a node and its brain elsewhere: arrays, and words.

A body is NumPy's ``.npz``, read without pickle: nothing that crosses is code. What is said of an
answer beside its arrays (which functions, which replica, which engine) is in headers.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_node.brains import Answers
from dicom_node.imaging.prepare import Float
from dicom_node.imaging.values import CAN_RAISE

PATH = "/dicom-node"
"""Where the functions are asked below the address of the brain."""

FUNCTIONS, REPLICA, ENGINE = "dicom-node-functions", "dicom-node-replica", "dicom-node-engine"
"""Headers: the digest of the functions (`dicom_node.brains.exported.digest`), wanted and used; a
token of the process that answered, new at each start; what computed, and how precisely."""

OTHER_FUNCTIONS, FAILED = 409, 422
"""Statuses: other functions are deployed than those wanted; the functions failed on these films."""

_UNREADABLE = (*CAN_RAISE, zipfile.BadZipFile)
"""What reading an archive of arrays can raise, whatever its bytes are."""


class BodyUnreadable(ValueError):
    """A body that is not what it should be."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function that is called, with its films as `Brain.answer` takes them."""

    function: str
    films: Float


def pack_calls(calls: Sequence[Call]) -> bytes:
    """Return the body that asks for several functions, all of them in one place."""
    return _packed({f"{place}:{call.function}": call.films for place, call in enumerate(calls)})


def unpack_calls(body: bytes) -> tuple[Call, ...]:
    """Return what a body asks for, in its order. Raises `BodyUnreadable`."""
    return tuple(
        Call(name.partition(":")[2], _float(values)) for name, values in _unpacked(body).items()
    )


def pack_answers(found: Sequence[Answers]) -> bytes:
    """Return the body that answers calls, in their order."""
    return _packed(
        {
            f"{place}:{name}": values
            for place, answers in enumerate(found)
            for name, values in answers.items()
        }
    )


def unpack_answers(body: bytes, calls: int) -> tuple[Answers, ...]:
    """Return the answers to so many calls, in their order. Raises `BodyUnreadable`."""
    found: tuple[dict[str, Float], ...] = tuple({} for _ in range(calls))
    try:
        for key, values in _unpacked(body).items():
            place, _, name = key.partition(":")
            found[int(place)][name] = _float(values)
    except (ValueError, IndexError) as fault:
        raise BodyUnreadable(str(fault)) from fault
    return found


def _packed(arrays: Mapping[str, Float]) -> bytes:
    body = io.BytesIO()
    np.savez(body, **arrays)  # type: ignore[arg-type]
    return body.getvalue()


def _unpacked(body: bytes) -> Mapping[str, object]:
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _UNREADABLE as fault:
        raise BodyUnreadable(str(fault)) from fault


def _float(values: object) -> Float:
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        raise BodyUnreadable("An array is not float32.")
    return values
