"""The Secondary Capture of a film with its overlay, PS3.3 A.8.1.

Plain pydicom: highdicom's SCImage fixes the Conversion Type and drops most of what is set here.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    set_part_examined,
    set_times,
)
from dicom_node.results.observed_picture import colours_of
from dicom_node.results.picture import Layout, Picture, draw, draw_overlay, drawn
from dicom_node.results.regions import is_observed
from dicom_node.results.wording import view

__all__ = [
    "Layout",
    "NetworkOverlay",
    "Picture",
    "capture",
    "draw",
    "overlay",
    "overlays_of",
    "save_picture",
]

SERIES_OFFSET = 2
_GRAD_CAM = ("130403", "DCM", "Gradient-weighted class activation")
_SALIENCY = ("130404", "DCM", "Saliency")
_SEGMENTED = ("113076", "DCM", "Segmentation")
_ALWAYS_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit)
_JPEG_METHOD = "ISO_10918_1"


def capture(film: AnalysedFilm, context: Context, uid: str, number: int) -> Dataset:
    """Return the one-page summary of a film as a Secondary Capture data set, RGB, 8 bit."""
    document = _capture(film, context, uid, number)
    opacity, looked = film.explanation.opacity, next(iter(film.saliency), None)
    if opacity is not None:
        shown, code, card = "Opacity map", _SEGMENTED, context.card(film, opacity.network)
    elif looked is not None and is_observed(film, looked):
        shown, code, card = "Occlusion map", _SALIENCY, context.card(film, looked.network)
    else:
        shown, code, card = "Grad-CAM", _GRAD_CAM, context.detector(film)
    by = (shown, code, card) if opacity or film.saliency else ("Findings", None, card)
    _derivation(film, context, document, by)
    _pixels(drawn(film, context), document)
    return document


def overlay(
    film: AnalysedFilm, context: Context, of: NetworkOverlay, named: tuple[str, int]
) -> Dataset:
    """Return the film with where one network looked as a Secondary Capture, RGB, 8 bit.

    And with what it observed, where it declares itself what it says. ``named``: UID and number.
    """
    document = _capture(film, context, *named)
    card = context.card(film, of.network)
    by: tuple[str, tuple[str, str, str] | None, NetworkCard] = ("Findings", None, card)
    if of.heat is not None:
        observed = is_observed(film, of.heat)
        by = ("Occlusion map", _SALIENCY, card) if observed else ("Grad-CAM", _GRAD_CAM, card)
    _derivation(film, context, document, by)
    _pixels(draw_overlay(film, context, of.network, of.heat), document)
    return document


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOverlay:
    """Of which network an overlay is, and where it looked, if it tells that."""

    network: str
    heat: SaliencyMap | None = None


def overlays_of(film: AnalysedFilm) -> tuple[NetworkOverlay, ...]:
    """Return of which networks there are overlays: that tell where they looked, or found places.

    What an opacity map explains is in the capture.
    """
    looked = [NetworkOverlay(heat.network, heat) for heat in film.explanation.looked]
    drawn = dict.fromkeys(network for network, _ in colours_of(film))
    known = {each.network for each in looked}
    return (*looked, *(NetworkOverlay(name) for name in drawn if name not in known))


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
    set_part_examined(source, document, part_examined([film]))
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
