"""Phantoms in the places of the shared films: the same names, encodings, headers and defects.

A clone without the shared data runs the same tests on these. What only a real film can show (that
the lungs of a patient are found, that a network answers as published) is not shown by them.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    SegmentationStorage,
    UltrasoundMultiFrameImageStorage,
    XRayAngiographicImageStorage,
)

from dicom_node.imaging import transfer_syntaxes as syntaxes
from dicom_node.imaging.phantom import Encoding, Identity, phantom_dataset

SIZE = 192
DEFLATED = "1.2.840.10008.1.2.1.99"


def film(seed: int, bits: int = 12, photometric: Any = "MONOCHROME2", **attributes: Any) -> Any:
    """Return a CR film of an otherwise silent header; None takes an attribute away."""
    encoding = Encoding(kind="CR", bits=bits, photometric=photometric)
    who = Identity(patient_id=f"STANDIN-{seed}", patient_birth_date="19500101")
    made = phantom_dataset(seed, rows=SIZE, columns=SIZE - 12, encoding=encoding, identity=who)
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def array(dataset: FileDataset) -> np.ndarray[Any, Any]:
    shape = dataset.Rows, dataset.Columns
    kind = np.uint8 if dataset.BitsAllocated == 8 else np.dtype("<u2")
    return np.frombuffer(dataset.PixelData, kind, count=shape[0] * shape[1]).reshape(shape)


def encapsulated(dataset: FileDataset, stream: bytes, transfer_syntax_uid: str) -> FileDataset:
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(transfer_syntax_uid)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def j2k(dataset: FileDataset) -> FileDataset:
    bits = dataset.BitsStored
    stream = encode_array(array(dataset), bits_stored=bits, photometric_interpretation=2)
    return encapsulated(dataset, bytes(stream), syntaxes.JPEG_2000_LOSSLESS)


def jpeg_ls(dataset: FileDataset) -> FileDataset:
    stream = imagecodecs.jpegls_encode(array(dataset))
    return encapsulated(dataset, bytes(stream), syntaxes.JPEG_LS_LOSSLESS)


def jpeg_lossless(dataset: FileDataset) -> FileDataset:
    stream = imagecodecs.ljpeg_encode(array(dataset), bitspersample=dataset.BitsStored)
    return encapsulated(dataset, bytes(stream), syntaxes.JPEG_LOSSLESS_SV1)


def baseline(dataset: FileDataset) -> FileDataset:
    buffer = io.BytesIO()
    Image.fromarray(array(dataset)).save(buffer, "JPEG", quality=95)
    return encapsulated(dataset, buffer.getvalue(), syntaxes.JPEG_BASELINE)


def rle(dataset: FileDataset) -> FileDataset:
    dataset.compress(syntaxes.RLE_LOSSLESS, generate_instance_uid=False)
    return dataset


def big_endian(dataset: FileDataset) -> FileDataset:
    dataset.PixelData = array(dataset).byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntaxes.EXPLICIT_BIG_ENDIAN)
    return dataset


def inverted(dataset: FileDataset) -> FileDataset:
    """The same picture as MONOCHROME2."""
    top = (1 << dataset.BitsStored) - 1
    dataset.PixelData = (top - array(dataset)).astype("<u2").tobytes()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.WindowCenter = top - float(dataset.WindowCenter) + 1
    return dataset


def with_table(dataset: FileDataset) -> FileDataset:
    dataset = without_window(inverted(dataset))
    item = Dataset()
    item.add_new(0x00283002, "US", [4096, 0, 16])
    item.add_new(0x00283006, "OW", np.linspace(0, 65535, 4096).astype("<u2").tobytes())
    dataset.VOILUTSequence = Sequence([item])
    return dataset


def without_window(dataset: FileDataset) -> FileDataset:
    del dataset.WindowCenter, dataset.WindowWidth
    return dataset


def other(
    sop_class: str, modality: str, make: Callable[[FileDataset], FileDataset] = lambda one: one
) -> FileDataset:
    made = film(61, Modality=modality, BodyPartExamined=None, ViewPosition=None)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    return make(made)


def signed(dataset: FileDataset) -> FileDataset:
    """A CT image: signed values in Hounsfield units, with a window."""
    values = array(dataset).astype(np.int32) - 1024
    dataset.PixelData = values.astype("<i2").tobytes()
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -10
    dataset.WindowCenter, dataset.WindowWidth = 1000, 3000
    return dataset


def frames(count: int, photometric: str) -> Callable[[FileDataset], FileDataset]:
    def make(dataset: FileDataset) -> FileDataset:
        dataset.NumberOfFrames, dataset.PhotometricInterpretation = count, photometric
        if photometric != "MONOCHROME2":
            dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        return dataset

    return make


def damaged(dataset: FileDataset, **attributes: Any) -> FileDataset:
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _derived() -> Mapping[str, FileDataset]:
    def one() -> Any:
        return film(51, photometric="MONOCHROME1", Modality="RG")

    deflated = one()
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.UID(DEFLATED)
    return {
        "rg1_explicit_le": one(), "rg1_explicit_be": big_endian(one()), "rg1_rle": rle(one()),
        "rg1_jpegls_lossless": jpeg_ls(one()), "rg1_j2k_lossless": j2k(one()),
        "rg1_mono2_inverted_pixels": inverted(one()), "rg1_deflated": deflated,
        "rg1_mono2_voi_lut_sequence": with_table(one()),
        "rg1_mono2_no_window": without_window(inverted(one())),
    }  # fmt: skip


def _not_chest() -> Mapping[str, FileDataset]:
    extremity = {"BodyPartExamined": "EXTREMITY", "ViewPosition": "", "StudyDescription": "Ankle"}
    dental = film(
        34, BodyPartExamined=None, ViewPosition=None, StudyDescription="Dental", Modality="CR",
        SOPInstanceUID="1.2.03.4",
    )  # fmt: skip
    dental.file_meta.MediaStorageSOPInstanceUID = "1.2.03.4"
    hip = film(31, BodyPartExamined="HIP", StudyDescription="Hip")
    return {
        "cr_hip_mono2_jpeglossless": jpeg_lossless(hip),
        "cr_ankle_mono1_jpegls": jpeg_ls(film(32, photometric="MONOCHROME1", **extremity)),
        "cr_ankle_mono1_jpeg12bit": film(33, photometric="MONOCHROME1", **extremity),
        "cr_dental_mono1_modality_lut_sequence": dental,
    }


def _awkward() -> Mapping[str, FileDataset]:
    elbow = film(43, BodyPartExamined="EXTREMITY", PixelData=None)
    elbow.PatientName = "Люкceмбypг"
    flat = film(46)
    flat.PixelData = bytes(len(flat.PixelData))
    return {
        "cr_view_position_says_lateral": film(41, ViewPosition="LL"),
        "cr_rows_larger_than_pixel_data": damaged(film(42), Rows=SIZE * 2),
        "dx_elbow_no_pixel_data_cyrillic": elbow,
        "cr_chest_pa_multibyte_charset_no_pixel_data": film(
            44, PixelData=None, SpecificCharacterSet=["", "ISO 2022 IR 87"],
            PatientName="Yamada^Tarou",
        ),
        "script_injection_in_patient_name": film(45, PatientName="<script>alert(1)</script>"),
        "cr_constant_image": flat,
    }  # fmt: skip


def _write(dataset: FileDataset, path: Path) -> None:
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_standins(folder: Path) -> Path:
    """Write every stand-in below ``folder``/dicom; return ``folder``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are wrong on purpose
        _write_all(folder)
    return folder


def _write_all(folder: Path) -> None:
    rooms: Mapping[str, Mapping[str, FileDataset]] = {
        "chest": {
            "cr_philips_pa_mono1_15bit_j2k": j2k(film(22, 15, "MONOCHROME1")),
            "cr_rsna_pa_jpegbaseline_mono2": baseline(without_window(film(23, 8))),
            "cr_rsna_pa_jpegbaseline_wrong_mono1_tag": damaged(
                baseline(without_window(film(24, 8))), PhotometricInterpretation="MONOCHROME1"
            ),
        },
        "chest_derived": _derived(),
        "not_chest": _not_chest(),
        "not_radiograph": {
            "ct_scout_chest_jpeglossless": jpeg_lossless(other(CTImageStorage, "CT")),
            "ct_head_j2k": other(CTImageStorage, "CT", signed),
            "seg_liver": other(SegmentationStorage, "SEG"),
            "us_multiframe_jpeg_ybr": frames(30, "YBR_FULL_422")(
                baseline(other(UltrasoundMultiFrameImageStorage, "US", _eight_bits))
            ),
            "xa_multiframe_96": other(
                XRayAngiographicImageStorage, "XA", frames(96, "MONOCHROME2")
            ),
        },
        "awkward": _awkward(),
    }  # fmt: skip
    for room, films in rooms.items():
        (folder / "dicom" / room).mkdir(parents=True)
        for name, dataset in films.items():
            _write(dataset, folder / "dicom" / room / f"{name}.dcm")
    _write_odd_files(folder / "dicom")


def _eight_bits(dataset: FileDataset) -> FileDataset:
    dataset.PixelData = (array(dataset) >> 4).astype(np.uint8).tobytes()
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    return dataset


def _write_odd_files(folder: Path) -> None:
    bare = film(21, 10, "MONOCHROME1")
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer, Dataset({item.tag: item for item in bare}), implicit_vr=True, little_endian=True
    )
    (folder / "chest" / "cr_fuji_mono1_10bit_noheader.dcm").write_bytes(buffer.getvalue())
    (folder / "awkward" / "not_dicom.dcm").write_bytes(b"This is a text, not an image.\n" * 20)
    whole = (folder / "chest_derived" / "rg1_explicit_le.dcm").read_bytes()
    cut = folder / "awkward" / "truncated_cr_chest.dcm"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
