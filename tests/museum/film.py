"""A phantom's data set element by element, so that any of them can be any bytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info

from dicom_node.imaging.decode import Pixels
from dicom_node.imaging.phantom import Encoding, phantom
from dicom_node.imaging.wrap import (
    Identity,
    StoredPicture,
    picture_dataset,
    shown_range,
    stored_pixels,
    with_uids,
)

EXPLICIT = "1.2.840.10008.1.2.1"
SIZE = 256
SICK = {"right_lower": 0.9, "right_middle": 0.7}
_LONG = {"OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UT", "UN", "UC", "UR"}
_DRAWN = phantom(11, rows=SIZE, columns=SIZE - 16, opacities=SICK).film


def tag_of(name: str) -> int:
    """Return the tag of a keyword, or of ``gggg,eeee``."""
    known = tag_for_keyword(name)
    return int(known) if known is not None else int(name.replace(",", ""), 16)


def element(name: str, vr: str, value: bytes, *, long: bool | None = None) -> bytes:
    """Return an element in Explicit VR Little Endian with exactly these bytes."""
    tag = tag_of(name)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("latin-1")
    if vr in _LONG if long is None else long:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def encoded(dataset: Dataset) -> bytes:
    """Return a well-formed data set in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@dataclass
class Film:
    """A film that can be made odd; every method returns it, so that recipes are one line."""

    pixels: Pixels
    encoding: Encoding
    transfer_syntax: str = EXPLICIT
    elements: dict[int, bytes] = field(default_factory=dict)

    def set(self, **values: object) -> Film:
        """Give attributes well-formed values."""
        for keyword, value in values.items():
            one = Dataset()
            setattr(one, keyword, value)
            self.elements[tag_of(keyword)] = encoded(one)
        return self

    def put(self, name: str, vr: str, value: bytes, *, long: bool | None = None) -> Film:
        """Give an element exactly these bytes."""
        self.elements[tag_of(name)] = element(name, vr, value, long=long)
        return self

    def text(self, **values: bytes | str) -> Film:
        """Give text attributes exactly these bytes, padded to an even length with a space."""
        for keyword, value in values.items():
            one = value.encode("ascii") if isinstance(value, str) else value
            self.put(keyword, dictionary_VR(keyword)[:2], one + b" " * (len(one) % 2))
        return self

    def drop(self, *names: str) -> Film:
        for name in names:
            self.elements.pop(tag_of(name), None)
        return self

    def turned(self, rows_to: str, columns_to: str) -> Film:
        """Store the same film so that rows and columns run to these sides."""
        turned = self.pixels if rows_to in "LR" else self.pixels.T
        across, down = (rows_to, columns_to) if rows_to in "LR" else (columns_to, rows_to)
        if across == "R":
            turned = turned[:, ::-1] if rows_to in "LR" else turned[::-1]
        if down == "H":
            turned = turned[::-1] if rows_to in "LR" else turned[:, ::-1]
        self.store(np.ascontiguousarray(turned))
        return self.set(PatientOrientation=[rows_to, columns_to])

    def store(self, pixels: Pixels) -> Film:
        """Store other pixels, of any matrix."""
        self.pixels = pixels
        content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        vr = "OB" if pixels.dtype.itemsize == 1 else "OW"
        self.set(Rows=pixels.shape[0], Columns=pixels.shape[1])
        return self.put("PixelData", vr, content + b"\0" * (len(content) % 2))

    def stream(
        self, transfer_syntax: str, *fragments: bytes, table: Sequence[int] | None = None
    ) -> Film:
        """Store compressed pixels; ``table``: the Basic Offset Table, empty if there is none."""
        self.transfer_syntax = transfer_syntax
        items = [struct.pack(f"<{len(table or ())}I", *(table or ())), *fragments]
        body = b"".join(
            struct.pack("<HHI", 0xFFFE, 0xE000, len(item) + len(item) % 2)
            + item
            + b"\0" * (len(item) % 2)
            for item in items
        )
        head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
        self.elements[0x7FE00010] = head + body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        return self

    @property
    def data(self) -> bytes:
        """The data set as it is sent."""
        return b"".join(self.elements[tag] for tag in sorted(self.elements))

    def file(self) -> bytes:
        """The data set as a Part 10 file."""
        read, meta, buffer = self.identity, FileMetaDataset(), io.BytesIO()
        buffer.write(bytes(128) + b"DICM")
        meta.MediaStorageSOPClassUID = read["SOPClassUID"]
        meta.MediaStorageSOPInstanceUID = read["SOPInstanceUID"]
        meta.TransferSyntaxUID = self.transfer_syntax
        write_file_meta_info(buffer, meta, enforce_standard=True)
        return buffer.getvalue() + self.data

    @property
    def identity(self) -> dict[str, str]:
        """The identifiers that the sender means."""
        wanted = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        return {name: self.value(name).decode().strip("\0 ") for name in wanted}

    def value(self, keyword: str) -> bytes:
        """Return the bytes of a value."""
        content = self.elements[tag_of(keyword)]
        return content[12 if content[4:6].decode("latin-1") in _LONG else 8 :]


def film(name: str = "baseline", encoding: Encoding | None = None, **identity: str) -> Film:
    """Return the museum's one film, upright, with disease in the right lung; UIDs by ``name``."""
    encoding = encoding or Encoding()
    pixels = stored_pixels(_DRAWN, encoding)
    picture = StoredPicture(pixels, encoding, shown_range(encoding), "SYNTHETIC PHANTOM", "Museum")
    who = replace(Identity(), patient_id="M1", patient_birth_date="19500101", **identity)  # type: ignore[arg-type]
    dataset = picture_dataset(picture, with_uids(who, f"museum {name}", name))
    made = Film(pixels, encoding)
    for item in dataset:
        one = Dataset()
        one.add(item)
        made.elements[int(item.tag)] = encoded(one)
    return made
