"""How inputs are made odd: bytes, elements of a data set, text with a grammar."""

from __future__ import annotations

import random
import struct

from pydicom.datadict import DicomDictionary

from tests.museum.film import Film, element, tag_of

_ODD_BYTES = (b"\xff" * 4, bytes(4), b"SQ\0\0", b"UN\0\0", b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0")
_VRS = (
    "AE",
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "DT",
    "FD",
    "FL",
    "IS",
    "LO",
    "LT",
    "OB",
    "OF",
    "OW",
    "PN",
    "SH",
    "SL",
    "SQ",
    "SS",
    "ST",
    "SV",
    "TM",
    "UC",
    "UI",
    "UL",
    "UN",
    "UR",
    "US",
    "UT",
    "UV",
    "ZZ",
    "\0\0",
    "??",
)
_ODD_VALUES = (
    b"",
    b"\0",
    b" ",
    b"\\" * 40,
    b"-",
    b"1e400",
    b"nan ",
    b"-1",
    b"0" * 64,
    b"9" * 400,
    b"\xff" * 8,
    b"\x1b$B\x1b(B",
    b"1.2.3\0",
    b"../../etc/passwd",
    b"${jndi:x}",
    b"<script>alert(1)</script>",
    b"\x00\xd8\x00\xdc",
    b"19000101-",
    b"99999999",
    b"A" * 70_000,
    struct.pack("<d", float("nan")),
)
_ODD_TEXTS = (
    "",
    "0",
    "-1",
    "1e999",
    "nan",
    "true",
    "[]",
    "{}",
    '""',
    "[[[[[[[[[[",
    "'''",
    "9" * 400,
    "\u202e",
    "\x00",
    "é" * 50,
    "../../..",
    "%00",
    "%",
    "{x}",
    "{0.__class__}",
    "2026-02-30",
    "*",
    "\\",
    "\r\n",
)
_TAGS = tuple(sorted(tag for tag in DicomDictionary if tag >> 16 > 0x0002))


def bytes_changed(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some changed, cut out, put in twice, or made a length that lies."""
    changed = bytearray(data or b"\0")
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed))
        match chance.randrange(6):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at : at + 4] = chance.choice(_ODD_BYTES)
            case 2 if len(changed) > 1:
                del changed[at : at + min(len(changed) - 1, chance.randint(1, 40))]
            case 3:
                changed[at:at] = changed[at : at + chance.randint(1, 200)]
            case 4:
                changed[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2**31, 2**32 - 2)))
            case _:
                changed[at : at + 8] = chance.randbytes(8)
    return bytes(changed)


def elements_changed(film: Film, chance: random.Random) -> Film:
    """Return the film with some elements odd: VR, length, value, missing, or not its own.

    Most films stay parsable, with values that nobody expects; some have lengths that lie.
    """
    is_torn = chance.random() < 0.2
    for _ in range(chance.randint(1, 4)):
        own = chance.choice(sorted(film.elements))
        tag = own if chance.random() < 0.7 else chance.choice(_TAGS)
        name = f"{tag >> 16:04x},{tag & 0xFFFF:04x}"
        whole = film.elements.get(tag, element(name, "LO", b"1 "))
        vr = chance.choice((whole[4:6].decode("latin-1"), chance.choice(_VRS)))
        match chance.randrange(3) + (3 if is_torn else 0):
            case 0:
                film.drop(name)
            case 1:
                film.put(name, vr, chance.choice(_ODD_VALUES)[:65_534])
            case 2:
                film.put(name, vr, chance.randbytes(2 * chance.randint(0, 20)))
            case 3:
                film.elements[tag_of(name)] = bytes_changed(whole, chance)
            case 4:
                value = chance.randbytes(chance.randint(0, 40))
                film.put(name, vr, value, long=chance.random() < 0.5)
            case _:
                # A length that runs into its neighbour, or out of the data set.
                lies = struct.pack("<H", chance.choice((0, 1, 65_535)))
                film.elements[tag_of(name)] = whole[:6] + lies + whole[8:]
    return film


def text_changed(text: str, chance: random.Random) -> str:
    """Return a text with some lines, words or signs changed."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        line = lines[at]
        match chance.randrange(6):
            case 0:
                lines[at:at] = [line]
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                key, equals, _ = line.partition("=")
                lines[at] = f"{key}{equals} {chance.choice(_ODD_TEXTS)}"
            case 3:
                cut = chance.randint(0, len(line))
                lines[at] = line[:cut] + chance.choice(_ODD_TEXTS) + line[cut:]
            case 4:
                lines[at] = line.swapcase() if chance.random() < 0.5 else line[::-1]
            case _:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], line
    return "\n".join(lines)
