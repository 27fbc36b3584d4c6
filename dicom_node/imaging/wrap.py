"""Pictures wrapped as DX or CR images: what a modality would have sent, PS3.3 A.26 and A.2."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from dicom_node.errors import HeaderUnreadable, PixelDataTooLarge
from dicom_node.imaging.decode import DEFAULT_MAX_MEGAPIXELS, Pixels
from dicom_node.imaging.header import IMPORTED
from dicom_node.imaging.transfer_syntaxes import EXPLICIT_LITTLE_ENDIAN
from dicom_node.uids import derived_uid

_SOP_CLASSES = {
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
}
_VIEW_CODES = {
    "PA": ("272479007", "postero-anterior"),
    "AP": ("399348003", "antero-posterior"),
}
_DATE, _TIME = "20200101", "120000"
_NOMINAL_MM = 430.0
_IMPLEMENTATION = derived_uid("implementation")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a film is stored. ``bits``: 8 to 16 stored; DX knows no signed pixels."""

    kind: Literal["DX", "CR"] = "DX"
    bits: int = 12
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2"
    signed: bool = False
    view_position: str = "PA"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose film it is said to be; UIDs left empty are derived from the film."""

    patient_name: str = "PHANTOM^SYNTHETIC"
    patient_id: str = "PHANTOM"
    patient_birth_date: str = ""
    patient_sex: str = "O"
    specific_character_set: str | tuple[str, ...] = "ISO_IR 192"
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPicture:
    """Stored values, shape (rows, columns), with the range that is shown and their origin."""

    pixels: Pixels
    encoding: Encoding
    shown: tuple[int, int]
    manufacturer: str
    description: str
    lossy_ratio: float | None = None


def stored_pixels(film: npt.NDArray[np.float32], encoding: Encoding) -> Pixels:
    """Return the stored values of a film in [0, 1], shape (rows, columns), in this encoding.

    Raises ValueError for another number of bits than 8 to 16, or signed pixels in a DX image.
    """
    if not 8 <= encoding.bits <= 16:
        raise ValueError(f"{encoding.bits} bits cannot be stored; 8 to 16 can")
    if encoding.signed and encoding.kind == "DX":
        raise ValueError("a DX image has unsigned pixels (PS3.3 C.8.11.3.1)")
    bright = film if encoding.photometric == "MONOCHROME2" else 1 - film
    levels = np.rint(bright * np.float32((1 << encoding.bits) - 1)).astype(np.int32)
    if encoding.signed:
        levels -= 1 << (encoding.bits - 1)
    pixels: Pixels = levels.astype(
        f"{'i' if encoding.signed else 'u'}{1 if encoding.bits == 8 else 2}"
    )
    return pixels


def shown_range(encoding: Encoding) -> tuple[int, int]:
    """Return the lowest and the highest value that this encoding can store."""
    low = -(1 << (encoding.bits - 1)) if encoding.signed else 0
    return low, low + (1 << encoding.bits) - 1


def picture_dataset(picture: StoredPicture, identity: Identity) -> FileDataset:
    """Return the picture as an image object in Explicit VR Little Endian, ready to be saved."""
    file_meta = FileMetaDataset()
    file_meta.FileMetaInformationGroupLength = 0  # written as it turns out
    file_meta.FileMetaInformationVersion = b"\x00\x01"
    file_meta.MediaStorageSOPClassUID = UID(_SOP_CLASSES[picture.encoding.kind])
    file_meta.MediaStorageSOPInstanceUID = UID(identity.sop_instance_uid)
    file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE_ENDIAN)
    file_meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    dataset = FileDataset("", {}, file_meta=file_meta, preamble=bytes(128))
    character_set = identity.specific_character_set
    dataset.SpecificCharacterSet = (
        character_set if isinstance(character_set, str) else list(character_set)
    )
    _add_patient_and_study(dataset, identity)
    _add_series(dataset, picture, identity)
    _add_image(dataset, picture)
    _add_pixels(dataset, picture)
    if picture.encoding.kind == "DX":
        _add_dx_modules(dataset)
    return dataset


PICTURES = frozenset({".png", ".jpg", ".jpeg"})
"""Suffixes of what `wrap_picture` takes."""


def wrap_picture(
    path: Path,
    *,
    view_position: str = "PA",
    identity: Identity | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> FileDataset:
    """Return a PNG or JPEG chest film as a DX image; the same file gives the same UIDs.

    Grey of 8 or 16 bits stays as it is (16 bits are shown from their lowest to their highest
    value), colour becomes its luminance. A DX image must state a pixel spacing: that of a film
    43 cm long is written, which is a guess. Raises HeaderUnreadable where the file is no picture,
    PixelDataTooLarge where it is too big to be decoded.
    """
    try:
        content = path.read_bytes()
        pixels, is_jpeg = _opened(content, max_megapixels)
    except (OSError, ValueError, SyntaxError) as error:
        raise HeaderUnreadable("The file is no picture that can be read.") from error
    encoding = Encoding(bits=8 * pixels.dtype.itemsize, view_position=view_position)
    shown = shown_range(encoding) if encoding.bits == 8 else (int(pixels.min()), int(pixels.max()))
    picture = StoredPicture(
        pixels,
        encoding,
        shown,
        manufacturer=IMPORTED,
        description="Imported picture",
        lossy_ratio=round(pixels.nbytes / len(content), 2) if is_jpeg else None,
    )
    digest = hashlib.sha256(content).hexdigest()
    # A patient of its own: two pictures must never pass for films of the same person.
    identity = identity or Identity(
        patient_name="IMAGE^IMPORTED", patient_id=f"IMPORTED-{digest[:12]}"
    )
    return picture_dataset(picture, with_uids(identity, digest))


def with_uids(identity: Identity, study: str, *film: str) -> Identity:
    """Return the identity with its empty UIDs derived: of study and series from ``study`` alone."""
    return replace(
        identity,
        study_instance_uid=identity.study_instance_uid or derived_uid("study", study),
        series_instance_uid=identity.series_instance_uid or derived_uid("series", study),
        sop_instance_uid=identity.sop_instance_uid or derived_uid("instance", study, *film),
    )


def _opened(content: bytes, max_megapixels: float) -> tuple[Pixels, bool]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        if image.width * image.height > max_megapixels * 1_000_000:
            raise PixelDataTooLarge(f"{image.height} × {image.width} pixels exceed the limit.")
    except Image.DecompressionBombError as error:
        raise PixelDataTooLarge("The picture exceeds the limit; nothing was decoded.") from error
    is_jpeg = image.format == "JPEG"
    with image, ImageOps.exif_transpose(image) as upright:
        if upright.mode.startswith("I"):
            return np.asarray(upright).astype(np.uint16), is_jpeg
        return np.asarray(upright.convert("L")), is_jpeg


def _add_patient_and_study(dataset: Dataset, identity: Identity) -> None:
    dataset.PatientName = identity.patient_name
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = identity.patient_birth_date
    dataset.PatientSex = identity.patient_sex
    dataset.StudyInstanceUID = identity.study_instance_uid
    dataset.StudyDate, dataset.StudyTime = _DATE, _TIME
    dataset.StudyID = "1"
    dataset.StudyDescription = "Chest radiograph"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def _add_series(dataset: Dataset, picture: StoredPicture, identity: Identity) -> None:
    dataset.SOPClassUID = _SOP_CLASSES[picture.encoding.kind]
    dataset.SOPInstanceUID = identity.sop_instance_uid
    dataset.SeriesInstanceUID = identity.series_instance_uid
    dataset.Modality = picture.encoding.kind
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = picture.description
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = picture.encoding.view_position
    dataset.Manufacturer = picture.manufacturer
    dataset.ManufacturerModelName = picture.manufacturer
    dataset.SoftwareVersions = "1"
    dataset.DeviceSerialNumber = "0"
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ["L", "F"]


def _add_image(dataset: Dataset, picture: StoredPicture) -> None:
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = picture.description
    dataset.ContentDate, dataset.ContentTime = _DATE, _TIME
    dataset.AcquisitionDate, dataset.AcquisitionTime = _DATE, _TIME
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    if picture.lossy_ratio is not None:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = picture.lossy_ratio
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
    low, high = picture.shown
    dataset.WindowCenter = (low + high + 1) / 2
    dataset.WindowWidth = max(high - low + 1, 2)
    dataset.WindowCenterWidthExplanation = "FULL"


def _add_dx_modules(dataset: Dataset) -> None:
    """Add what PS3.3 A.26 asks of a digital radiograph for presentation."""
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverse else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = _coded("816094009", "Chest")
    view = _VIEW_CODES.get(dataset.ViewPosition)
    dataset.ViewCodeSequence = _coded(*view) if view else Sequence()
    for item in dataset.ViewCodeSequence:
        item.ViewModifierCodeSequence = Sequence()
    dataset.PositionerType = ""
    dataset.AcquisitionContextSequence = Sequence()
    dataset.DetectorType = "DIRECT"
    dataset.ImagerPixelSpacing = 2 * [round(_NOMINAL_MM / max(dataset.Rows, dataset.Columns), 6)]


def _coded(value: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return Sequence([item])


def _add_pixels(dataset: Dataset, picture: StoredPicture) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = picture.encoding.photometric
    dataset.Rows, dataset.Columns = picture.pixels.shape
    dataset.BitsAllocated = 8 * picture.pixels.dtype.itemsize
    dataset.BitsStored = picture.encoding.bits
    dataset.HighBit = picture.encoding.bits - 1
    dataset.PixelRepresentation = int(picture.encoding.signed)
    content = picture.pixels.astype(picture.pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
