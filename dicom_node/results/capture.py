"""The Secondary Capture of a film with its overlay, PS3.3 A.8.1.

Plain pydicom: highdicom's SCImage fixes the Conversion Type and drops most of what is set here.
"""

from __future__ import annotations

from pathlib import Path

import pydicom
from PIL import Image
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, SecondaryCaptureImageStorage

from dicom_node import __version__
from dicom_node.findings import TURNS, SaliencyMap
from dicom_node.imaging.header import patient_orientation_of
from dicom_node.imaging.orientation import hanging
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, part_examined
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    code_item,
    copy_identity,
    orientation_of,
    reference_to,
    set_equipment,
    set_times,
)
from dicom_node.results.picture import Layout, Picture, draw, draw_overlay, drawn
from dicom_node.results.wording import view

__all__ = ["Layout", "Picture", "capture", "draw", "overlay", "save_picture"]

SERIES_OFFSET = 2
_GRAD_CAM = ("130403", "DCM", "Gradient-weighted class activation")
_SEGMENTED = ("113076", "DCM", "Segmentation")
_ALWAYS_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit)
_JPEG_METHOD = "ISO_10918_1"


def capture(film: AnalysedFilm, context: Context, uid: str, number: int) -> Dataset:
    """Return the one-page summary of a film as a Secondary Capture data set, RGB, 8 bit."""
    document = _capture(film, context, uid, number)
    opacity = film.explanation.opacity
    if opacity is not None:
        shown, code, card = "Opacity map", _SEGMENTED, context.card(film, opacity.network)
    else:
        shown, code, card = "Grad-CAM", _GRAD_CAM, context.detector(film)
    by = (shown, code, card) if opacity or film.saliency else ("Findings", None, card)
    _derivation(film, context, document, by)
    _pixels(drawn(film, context), document)
    return document


def overlay(
    film: AnalysedFilm, context: Context, heat: SaliencyMap, uid: str, number: int
) -> Dataset:
    """Return the film with where one network looked as a Secondary Capture, RGB, 8 bit."""
    document = _capture(film, context, uid, number)
    _derivation(film, context, document, ("Grad-CAM", _GRAD_CAM, context.card(film, heat.network)))
    _pixels(draw_overlay(film, context, heat), document)
    return document


def _capture(film: AnalysedFilm, context: Context, uid: str, number: int) -> Dataset:
    """Return a capture of one film without pixels and without what they were derived by."""
    source, document = film.dataset, Dataset()
    copy_identity(source, document)
    set_times(source, document)
    set_equipment(source, document, context.cards([film]), context.node_ae_title)
    _device(document)
    document.SOPClassUID = SecondaryCaptureImageStorage
    document.SOPInstanceUID = uid
    document.SeriesInstanceUID = context.series_uid(source, "capture")
    document.SeriesNumber = context.series_number_base + SERIES_OFFSET
    document.InstanceNumber = number
    document.Modality = "OT"
    document.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    document.SeriesDescription = context.template.overlay_description
    _film_attributes(film, document)
    _compression(film, document)
    return document


def save_picture(source: Path, target: Path) -> None:
    """Write the picture of a capture file as PNG."""
    dataset = pydicom.dcmread(source)
    Image.fromarray(dataset.pixel_array).save(target)


def _device(document: Dataset) -> None:
    document.ConversionType = "WSD"
    document.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    document.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    document.SecondaryCaptureDeviceSoftwareVersions = __version__
    document.DateOfSecondaryCapture = document.ContentDate
    document.TimeOfSecondaryCapture = document.ContentTime


def _film_attributes(film: AnalysedFilm, document: Dataset) -> None:
    """Set body part and orientation. No Laterality: it excludes the unpaired body part CHEST.

    No pixel spacing: a ruler laid over film and panel would lie. Burned In Annotation speaks of
    the patient's identity, of which the panel has none: it is as the film's, or absent. Where the
    pixels lie otherwise than the header says, the orientation is stated as unknown.
    """
    source = film.dataset
    if part := part_examined([film]):
        document.BodyPartExamined = part
    turned = hanging(patient_orientation_of(source)).is_turned
    document.PatientOrientation = ["L", "F"] if turned else orientation_of(source)
    if film.findings.turned != TURNS[0]:
        document.PatientOrientation = ""
    if source.get("ViewPosition"):
        document.ViewPosition = source.ViewPosition
    document.RecognizableVisualFeatures = "NO"
    if source.get("BurnedInAnnotation") in ("YES", "NO"):
        document.BurnedInAnnotation = source.BurnedInAnnotation


def _derivation(
    film: AnalysedFilm,
    context: Context,
    document: Dataset,
    by: tuple[str, tuple[str, str, str] | None, NetworkCard],
) -> None:
    source, (shown, code, card) = film.dataset, by
    reference = reference_to(source.SOPClassUID, source.SOPInstanceUID)
    reference.PurposeOfReferenceCodeSequence = [
        code_item("121322", "DCM", "Source image for image processing operation")
    ]
    document.SourceImageSequence = [reference]
    document.DerivationDescription = (
        f"{shown} of {card.title} {card.version}, weights {card.weights}."
        f" {context.template.research_sentence} {view(film, context.template)}"
    )[:1024]
    if code is not None:
        document.DerivationCodeSequence = [code_item(*code)]


def _compression(film: AnalysedFilm, document: Dataset) -> None:
    """Copy that the film was compressed with loss; say nothing where the film says nothing."""
    source = film.dataset
    meta = getattr(source, "file_meta", None)
    by_jpeg = meta is not None and meta.get("TransferSyntaxUID") in _ALWAYS_LOSSY
    if str(source.get("LossyImageCompression") or "") != "01" and not by_jpeg:
        if source.get("LossyImageCompression") == "00":
            document.LossyImageCompression = "00"
        return
    document.LossyImageCompression = "01"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if source.get(keyword):
            document[keyword] = source[keyword]
    if by_jpeg and "LossyImageCompressionMethod" not in document:
        document.LossyImageCompressionMethod = _JPEG_METHOD
    length = film.pixel_data_bytes or len(source.get("PixelData") or b"")
    if by_jpeg and "LossyImageCompressionRatio" not in document and length:
        raw = int(source.Rows) * int(source.Columns) * int(source.BitsAllocated) // 8
        document.LossyImageCompressionRatio = f"{raw / length:.2f}"


def _pixels(picture: Image.Image, document: Dataset) -> None:
    document.SamplesPerPixel, document.PhotometricInterpretation = 3, "RGB"
    document.PlanarConfiguration = 0
    document.Columns, document.Rows = picture.size
    document.BitsAllocated = document.BitsStored = 8
    document.HighBit, document.PixelRepresentation = 7, 0
    data = picture.tobytes()
    document.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
