"""Which film is it: the attributes of a data set that say so, read without its pixels."""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import filereader
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dicom_node.errors import HeaderUnreadable, PixelDataTruncated, TransferSyntaxUnsupported
from dicom_node.imaging.bounded import read_bounded
from dicom_node.imaging.explicit_vr import follow
from dicom_node.imaging.patient import patient_of
from dicom_node.imaging.received import keep_received
from dicom_node.imaging.transfer_syntaxes import (
    DEFLATED_EXPLICIT_LITTLE_ENDIAN,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
)
from dicom_node.imaging.values import CAN_RAISE, integer, items, numbers, text, texts

LAST_BEFORE_PIXELS = 0x7FE0000F
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_PIXEL_DATA_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


@dataclass(frozen=True, slots=True)
class CodedEntry:
    """A coded concept, PS3.3 section 8.8; the meaning is free text and is never shown in logs."""

    value: str
    scheme: str
    meaning: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class FilmHeader:
    """The attributes of one stored instance that decide what it is; "" or None where absent.

    Descriptions are typed by people and may name a patient: they are kept out of ``repr`` and must
    never be logged. ``pixel_spacing`` is (row, column) in mm, from Pixel Spacing or else Imager
    Pixel Spacing (at the detector, not in the patient).
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    body_part_examined: str = ""
    anatomic_regions: tuple[CodedEntry, ...] = ()
    view_position: str = ""
    view_codes: tuple[CodedEntry, ...] = ()
    patient_orientation: tuple[str, ...] = ()
    laterality: str = ""
    study_description: str = field(default="", repr=False)
    series_description: str = field(default="", repr=False)
    protocol_name: str = field(default="", repr=False)
    procedure_step_description: str = field(default="", repr=False)
    manufacturer: str = ""
    manufacturer_model_name: str = ""
    station_name: str = ""
    requested_procedure_priority: str = ""
    presentation_intent_type: str = ""
    conversion_type: str = ""
    burned_in_annotation: str = ""
    specific_character_set: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int = 1
    samples_per_pixel: int | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None
    signed: bool = False
    photometric_interpretation: str = ""
    pixel_spacing: tuple[float, float] | None = None
    patient_key: str = field(default="", repr=False)


def read_header(source: Path | bytes) -> FilmHeader:
    """Return the header of a file, or of its bytes, without reading Pixel Data.

    Files without preamble and file meta information are read as bare data sets. Raises
    HeaderUnreadable where nothing sensible can be parsed, and TransferSyntaxUnsupported for a
    deflated data set, which is not inflated.
    """
    return header_of(_read(source, last=LAST_BEFORE_PIXELS))


def read_dataset(source: Path | bytes) -> Dataset:
    """Return the whole data set of a file, or of its bytes, as pydicom reads it; errors as above.

    pydicom converts values when they are first used: use them inside `parsing`, too. Raises also
    PixelDataTruncated where the source ends within encapsulated Pixel Data.
    """
    dataset = _read(source, last=None)
    if "PixelData" not in dataset and _announces_pixel_data(source):
        raise PixelDataTruncated("The object ends within Pixel Data.")
    return dataset


def read_attributes(source: Path | bytes, *, last: int = LAST_BEFORE_PIXELS) -> Dataset:
    """Return the data set of a file, or of its bytes, up to Pixel Data; errors as above.

    ``last``: the last tag that is wanted; a report's tree, say, is then not parsed.
    """
    return _read(source, last=last)


def header_of(dataset: Dataset) -> FilmHeader:
    """Return the header of a data set. Raises HeaderUnreadable without SOP Class and Instance."""
    with parsing():
        header = _header(dataset)
    if not header.sop_class_uid or not header.sop_instance_uid:
        raise HeaderUnreadable("No SOP Class UID and SOP Instance UID: this is no DICOM object.")
    return header


def view_of(dataset: Dataset) -> tuple[str, tuple[CodedEntry, ...]]:
    """Return View Position and the codes of the view: what `header_of` says of them, alone.

    A result asks for them many times. Raises HeaderUnreadable where they cannot be parsed.
    """
    with parsing():
        return text(dataset, "ViewPosition"), _codes(dataset, "ViewCodeSequence")


def patient_orientation_of(dataset: Dataset) -> tuple[str, ...]:
    """Return Patient Orientation: what `header_of` says of it, alone; errors as `view_of`."""
    with parsing():
        return texts(dataset, "PatientOrientation")


def body_part_of(dataset: Dataset) -> tuple[str, tuple[CodedEntry, ...]]:
    """Return Body Part Examined and the codes of the region, as `view_of` does of the view."""
    with parsing():
        return text(dataset, "BodyPartExamined"), _codes(dataset, "AnatomicRegionSequence")


def matrix_of(dataset: Dataset) -> tuple[int | None, int | None, tuple[float, float] | None]:
    """Return Rows, Columns and the spacing of the pixels, as `header_of` does; errors as above."""
    with parsing():
        return integer(dataset, "Rows"), integer(dataset, "Columns"), _spacing(dataset)


def transfer_syntax_of(dataset: Dataset) -> str:
    """Return the Transfer Syntax UID: that of the file meta information, else as it was parsed.

    "" for a data set that was not read from a file and says nothing.
    """
    file_meta = getattr(dataset, "file_meta", None)
    stated = file_meta.get("TransferSyntaxUID") if file_meta is not None else None
    if stated:
        return str(stated)
    implicit, little_endian = dataset.original_encoding
    if implicit is None:
        return ""
    if implicit:
        return IMPLICIT_LITTLE_ENDIAN
    return EXPLICIT_LITTLE_ENDIAN if little_endian else EXPLICIT_BIG_ENDIAN


@contextmanager
def parsing() -> Iterator[None]:
    """Where pydicom meets foreign bytes: its warnings are dropped, its failures translated.

    A value that breaks its VR is a warning there and no news here. Raises HeaderUnreadable. The
    message holds the kind of failure only: pydicom's own text may quote the data set.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RecursionError as error:
        raise HeaderUnreadable("The data set nests sequences too deeply.") from error
    except CAN_RAISE as error:
        raise HeaderUnreadable(
            f"The data set cannot be parsed ({type(error).__name__})."
        ) from error


def _header(dataset: Dataset) -> FilmHeader:
    return FilmHeader(
        sop_class_uid=text(dataset, "SOPClassUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        study_instance_uid=text(dataset, "StudyInstanceUID"),
        series_instance_uid=text(dataset, "SeriesInstanceUID"),
        transfer_syntax_uid=transfer_syntax_of(dataset),
        modality=text(dataset, "Modality"),
        image_type=texts(dataset, "ImageType"),
        body_part_examined=text(dataset, "BodyPartExamined"),
        anatomic_regions=_codes(dataset, "AnatomicRegionSequence"),
        view_position=text(dataset, "ViewPosition"),
        view_codes=_codes(dataset, "ViewCodeSequence"),
        patient_orientation=texts(dataset, "PatientOrientation"),
        laterality=text(dataset, "ImageLaterality") or text(dataset, "Laterality"),
        study_description=text(dataset, "StudyDescription"),
        series_description=text(dataset, "SeriesDescription"),
        protocol_name=text(dataset, "ProtocolName"),
        procedure_step_description=text(dataset, "PerformedProcedureStepDescription"),
        manufacturer=text(dataset, "Manufacturer"),
        manufacturer_model_name=text(dataset, "ManufacturerModelName"),
        station_name=text(dataset, "StationName"),
        requested_procedure_priority=text(dataset, "RequestedProcedurePriority"),
        presentation_intent_type=text(dataset, "PresentationIntentType"),
        conversion_type=text(dataset, "ConversionType"),
        burned_in_annotation=text(dataset, "BurnedInAnnotation"),
        specific_character_set=texts(dataset, "SpecificCharacterSet"),
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        number_of_frames=integer(dataset, "NumberOfFrames") or 1,
        samples_per_pixel=integer(dataset, "SamplesPerPixel"),
        bits_allocated=integer(dataset, "BitsAllocated"),
        bits_stored=integer(dataset, "BitsStored"),
        signed=integer(dataset, "PixelRepresentation") == 1,
        photometric_interpretation=text(dataset, "PhotometricInterpretation"),
        pixel_spacing=_spacing(dataset),
        patient_key=patient_of(dataset).key,
    )


def _read(source: Path | bytes, *, last: int | None) -> Dataset:
    dataset = None
    with parsing(), _stream(source) as stream:
        stated, start = _stated_transfer_syntax(stream)
        if stated != DEFLATED_EXPLICIT_LITTLE_ENDIAN:
            readable, lost = _followed(source, stream, start, stated, last or LAST_BEFORE_PIXELS)
            dataset = read_bounded(readable, _after(last))
            keep_received(dataset)
    if dataset is None:
        raise TransferSyntaxUnsupported("A deflated data set is not inflated.")
    if lost and ("PixelData" if last is None else "Rows") not in dataset:
        raise HeaderUnreadable(
            f"The data set cannot be parsed past element ({lost}), whose VR or length is none: "
            "what comes after it, Pixel Data too, is lost.",
            remedy="Let the maker of the device mend how it writes this element.",
        )
    return dataset


def _after(last: int | None) -> Callable[[BaseTag, str | None, int], bool] | None:
    if last is None:
        return None
    if last == LAST_BEFORE_PIXELS:
        # Not simply by number: some files have elements out of their order.
        return lambda tag, _vr, _length: tag in _PIXELS
    return lambda tag, _vr, _length: tag > last


def _followed(
    source: Path | bytes, stream: BinaryIO, start: int, transfer_syntax_uid: str, last: int
) -> tuple[BinaryIO, str]:
    """Return the stream, with elements of no VR mended, and the tag where the track is lost."""
    whole: Any = source
    if isinstance(source, Path):
        whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    followed = follow(
        whole,
        start,
        little_endian=transfer_syntax_uid != EXPLICIT_BIG_ENDIAN,
        last=last,
    )
    return stream if followed.data is whole else io.BytesIO(followed.data), followed.lost


def _announces_pixel_data(source: Path | bytes) -> bool:
    """Whether the source goes on with Pixel Data: where it ends within, pydicom drops all of it."""
    with parsing(), _stream(source) as stream:
        stated, start = _stated_transfer_syntax(stream)
        readable, _ = _followed(source, stream, start, stated, LAST_BEFORE_PIXELS)
        read_bounded(readable, _after(LAST_BEFORE_PIXELS))
        return readable.read(4) in _PIXEL_DATA_TAGS


def _stream(source: Path | bytes) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


def _stated_transfer_syntax(stream: BinaryIO) -> tuple[str, int]:
    """Return the Transfer Syntax UID of the file meta information, "" without, and where it ends.

    Rewinds.
    """
    filereader.read_preamble(stream, force=True)
    file_meta = filereader.read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=_after_file_meta
    )
    start = stream.tell()
    stream.seek(0)
    return text(file_meta, "TransferSyntaxUID"), start


def _after_file_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 0x0002


def _codes(dataset: Dataset, keyword: str) -> tuple[CodedEntry, ...]:
    return tuple(
        CodedEntry(
            text(item, "CodeValue") or text(item, "LongCodeValue"),
            text(item, "CodingSchemeDesignator"),
            text(item, "CodeMeaning"),
        )
        for item in items(dataset, keyword)
    )


def spacing_in_patient(dataset: Dataset) -> tuple[float, float] | None:
    """Return mm between rows and between columns as lengths in the patient are measured.

    Pixel Spacing as it stands; of Imager Pixel Spacing, which is at the detector, what is left of
    it by the Estimated Radiographic Magnification Factor where the film states one (PS3.3
    10.7.1.3, C.8.11.7). Without that a length at the detector is somewhat too long. None where the
    film states no spacing.
    """
    if text(dataset, "Manufacturer") == IMPORTED:
        return None
    if (spacing := _stated(dataset, "PixelSpacing")) is not None:
        return spacing
    spacing = _stated(dataset, "ImagerPixelSpacing")
    factor = numbers(dataset, "EstimatedRadiographicMagnificationFactor")
    if spacing is None or not factor or factor[0] < 1.0:
        return spacing
    return spacing[0] / factor[0], spacing[1] / factor[0]


IMPORTED = "IMAGE IMPORT"
"""Manufacturer of pictures that were wrapped as films: their spacing is nominal, a DX image must
have one, and nothing may be measured by it."""


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    if text(dataset, "Manufacturer") == IMPORTED:
        return None
    return _stated(dataset, "PixelSpacing") or _stated(dataset, "ImagerPixelSpacing")


def _stated(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    spacing = numbers(dataset, keyword)
    return (spacing[0], spacing[1]) if len(spacing) == 2 and min(spacing) > 0 else None
