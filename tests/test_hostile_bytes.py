"""Random and mutated bytes at the front door and at the header: nothing leaves our own errors."""

from __future__ import annotations

import ast
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import logs
from dicom_node.errors import NodeError
from dicom_node.imaging.header import read_header
from dicom_node.imaging.phantom import Encoding, phantom_dataset
from dicom_node.imaging.values import CAN_RAISE
from dicom_node.intake.take import FrontDoor, split
from dicom_node.ledger import open_ledger
from dicom_node.logs import Log
from dicom_node.records import Origin
from dicom_node.spool import Spool

PACKAGE = Path(logs.__file__).parent
SENDER = Origin("MOD1", "DICOMNODE", "127.0.0.1")
TRIES = 300
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[FrontDoor]:
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="receive")
    yield FrontDoor(Spool(tmp_path / "spool"), ledger, Log("receive"), 20_000_000)
    ledger.close()


def film_file() -> bytes:
    buffer = io.BytesIO()
    dataset = phantom_dataset(rows=64, columns=64, encoding=Encoding(kind="CR", bits=16))
    dataset.save_as(buffer, enforce_file_format=True)
    # Pixels are no header: what is changed is read.
    return buffer.getvalue()[:4096]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some changed, cut out, or put in twice."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"SQ\0\0", b"UN\0\0"))
            case 2:
                del changed[at : at + chance.randint(1, 40)]
            case 3:
                changed[at:at] = changed[at : at + chance.randint(1, 200)]
            case _:
                changed[at : at + 8] = chance.randbytes(8)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_films_raise_nothing_but_our_errors_at_any_door(door: FrontDoor, seed: int) -> None:
    chance, whole = random.Random(seed), film_file()
    _, begin = split(io.BytesIO(whole))
    for _ in range(TRIES):
        data = mutated(whole, chance)
        for act in (
            lambda data: door.take_file(data, SENDER),
            lambda data: door.take(data[begin:], chance.choice(SYNTAXES), SENDER),
            read_header,
        ):
            try:
                act(data)
            except NodeError:
                continue


@pytest.mark.parametrize("seed", range(2))
def test_random_bytes_raise_nothing_but_our_errors_at_any_door(door: FrontDoor, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(TRIES):
        data = chance.randbytes(chance.randint(1, 400))
        with pytest.raises(NodeError):
            door.take_file(bytes(128) + b"DICM" + data, SENDER)
        for syntax in SYNTAXES:
            with pytest.raises(NodeError):
                door.take(data, syntax, SENDER)
        with pytest.raises(NodeError):
            read_header(bytes(128) + b"DICM" + data)


def test_what_a_library_can_raise_is_listed_once() -> None:
    """A second list would forget what the first has learned."""
    names = {error.__name__ for error in CAN_RAISE}
    lists = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Tuple)
        and sum(ast.unparse(each).rpartition(".")[2] in names for each in node.elts) >= 4
    ]
    assert [each.partition(":")[0] for each in lists] == ["imaging/values.py"]
