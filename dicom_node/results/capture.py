"""The Secondary Capture: film, contour and heat beside a panel that explains itself alone.

PS3.3 A.8.1. The film lies at a known place and scale of the picture, so that what is drawn on it
lies where it belongs: see `Layout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.findings import SaliencyMap
from dicom_node.imaging.geometry import contours, heat_on_film
from dicom_node.results import panel
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.modules import copy_identity, set_equipment, set_times
from dicom_node.results.panel import Panel
from dicom_node.results.report import detection_card

SERIES_OFFSET = 2
_FILM_WIDTH, _FILM_HEIGHT = 1016, 1000
_PANEL_WIDTH, _MARGIN, _BANNER_HEIGHT = 520, 28, 52
_BANNER: panel.Colour = (112, 20, 24)
_CONTOUR: panel.Colour = (255, 176, 0)
_CONTOUR_LEVEL, _HEAT_FROM, _HEAT_ALPHA = 0.5, 0.2, 0.4
_COLOUR_MAP = "inferno"

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the film of ``rows`` x ``columns`` lies in the picture.

    Film place (column, row), counted from the corner, is at (left + column * scale,
    top + row * scale) of the picture.
    """

    rows: int
    columns: int

    @property
    def scale(self) -> float:
        """Picture pixels a film pixel, the same in both directions."""
        return min(_FILM_WIDTH / self.columns, _FILM_HEIGHT / self.rows)

    @property
    def film_size(self) -> tuple[int, int]:
        """Width and height of the film in the picture, in pixels."""
        return (
            max(round(self.columns * self.scale), 1),
            max(round(self.rows * self.scale), 1),
        )

    @property
    def left(self) -> int:
        """Left edge of the film in the picture."""
        return (_FILM_WIDTH - self.film_size[0]) // 2

    @property
    def top(self) -> int:
        """Top edge of the film in the picture."""
        return (_FILM_HEIGHT - self.film_size[1]) // 2


def capture(film: AnalysedFilm, context: Context, uid: str, number: int) -> Dataset:
    """Return the capture of one film as a Secondary Capture data set, RGB, 8 bit."""
    source, document = film.dataset, Dataset()
    copy_identity(source, document)
    set_times(source, document, context.analysed_at)
    set_equipment(source, document, list(context.networks.values()))
    document.SOPClassUID = SecondaryCaptureImageStorage
    document.SOPInstanceUID = uid
    document.SeriesInstanceUID = context.series_uid(source, "capture")
    document.SeriesNumber = context.series_number_base + SERIES_OFFSET
    document.InstanceNumber = number
    document.Modality = "OT"
    document.ConversionType = "WSD"
    document.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    document.SeriesDescription = context.template.overlay_description
    document.BodyPartExamined = "CHEST"
    document.PatientOrientation = source.get("PatientOrientation") or ""
    if source.get("ViewPosition"):
        document.ViewPosition = source.ViewPosition
    document.RecognizableVisualFeatures = "NO"
    if source.get("BurnedInAnnotation"):
        document.BurnedInAnnotation = source.BurnedInAnnotation
    _derivation(film, context, document)
    _pixels(draw(film, context), document)
    return document


def draw(film: AnalysedFilm, context: Context) -> Picture:
    """Return the picture, uint8 RGB, shape (height, width, 3), long edge at most 1536."""
    size = (_FILM_WIDTH + _PANEL_WIDTH, _FILM_HEIGHT + _BANNER_HEIGHT)
    image = Image.new("RGB", size, panel.BACKGROUND)
    layout = Layout(*film.film.shape)
    image.paste(_film_with_heat(film, layout), (layout.left, layout.top))
    _explain(image, film, context)
    _banner(image, context.template.research_sentence)
    return np.asarray(image)


def save_picture(source: Path, target: Path) -> None:
    """Write the picture of a capture file as PNG."""
    dataset = pydicom.dcmread(source)
    Image.fromarray(dataset.pixel_array).save(target)


def _film_with_heat(film: AnalysedFilm, layout: Layout) -> Image.Image:
    grey = Image.fromarray((film.film * 255 + 0.5).astype(np.uint8))
    picture = grey.resize(layout.film_size, Image.Resampling.LANCZOS).convert("RGB")
    if not film.saliency:
        return picture
    heat = heat_on_film(film.saliency[0], layout.rows, layout.columns)
    picture = _heated(picture, heat)
    _draw_contours(picture, film.saliency[0], layout)
    return picture


def _heated(picture: Image.Image, heat: npt.NDArray[np.float32]) -> Image.Image:
    small = Image.fromarray(heat).resize(picture.size, Image.Resampling.BILINEAR)
    values = np.clip(np.asarray(small), 0, 1)
    colour = matplotlib.colormaps[_COLOUR_MAP](values)[..., :3] * 255
    alpha = _HEAT_ALPHA * np.clip((values - _HEAT_FROM) / (1 - _HEAT_FROM), 0, 1)[..., None]
    mixed = np.asarray(picture) * (1 - alpha) + colour * alpha
    return Image.fromarray((mixed + 0.5).astype(np.uint8))


def _draw_contours(picture: Image.Image, saliency: SaliencyMap, layout: Layout) -> None:
    pen = ImageDraw.Draw(picture)
    heat = heat_on_film(saliency, layout.rows, layout.columns)
    for line in contours(heat, _CONTOUR_LEVEL):
        points = [(float(x) * layout.scale, float(y) * layout.scale) for x, y in line]
        points.append(points[0])
        pen.line(points, fill=(0, 0, 0), width=5, joint="curve")
        pen.line(points, fill=_CONTOUR, width=2, joint="curve")


def _explain(image: Image.Image, film: AnalysedFilm, context: Context) -> None:
    column = Panel(image, _FILM_WIDTH + _MARGIN, image.width - _MARGIN, _MARGIN)
    detection, template = film.findings.finding, context.template
    column.text("AI chest radiograph analysis", 18, panel.QUIET)
    column.gap(8)
    if detection is None:
        column.text(film.findings.reason or "No network named a finding.", 22, panel.BRIGHT)
        return
    _headline(column, film, context)
    for name in sorted(detection.probabilities, key=lambda key: -detection.probabilities[key]):
        found = name == detection.finding_class and not detection.abstained
        column.bar(
            template.classes[name].wording,
            detection.probabilities[name],
            f"{template.percent(detection.probabilities[name])} %",
            panel.BAR_FOUND if found else panel.BAR,
            detection.threshold,
        )
    column.text(f"Tick: threshold {template.percent(detection.threshold)} %.", 15, panel.QUIET)
    calibrated = template.impression.calibrated
    column.text(calibrated if detection.calibrated else template.impression.uncalibrated, 15,
                panel.QUIET)  # fmt: skip
    column.gap(14)
    _legend(column, film, context)
    column.gap(14)
    _provenance(column, film, context)


def _headline(column: Panel, film: AnalysedFilm, context: Context) -> None:
    detection, template = film.findings.finding, context.template
    assert detection is not None
    words = {
        "finding": template.classes[detection.finding_class].wording,
        "probability": template.percent(detection.probability),
        "threshold": template.percent(detection.threshold),
        "network": "", "version": "", "calibration": "", "explanation": "", "research": "",
    }  # fmt: skip
    form = template.impression.abstained if detection.abstained else template.impression.headline
    column.text(form.format(**words), 30, panel.BRIGHT, bold=True)
    column.text(template.classes[detection.finding_class].comment, 15, panel.QUIET)
    column.gap(12)


def _legend(column: Panel, film: AnalysedFilm, context: Context) -> None:
    evidence, template = film.findings.evidence, context.template
    if not film.saliency:
        column.text(template.evidence.missing, 16)
        return
    column.text(template.explanation(evidence.change_when_hidden if evidence else None), 16)
    column.gap(6)
    ramp = np.linspace(0, 1, column.right - column.left, dtype=np.float32)[None].repeat(14, 0)
    colours = matplotlib.colormaps[_COLOUR_MAP](ramp)[..., :3]
    column.paste(Image.fromarray((colours * 255 + 0.5).astype(np.uint8)))
    column.text("little weight  →  most weight; contour at half of it", 14, panel.QUIET)


def _provenance(column: Panel, film: AnalysedFilm, context: Context) -> None:
    card, source = detection_card(film, context), film.dataset
    digest = card.weights.removeprefix("sha256:")[:8]
    taken = _when(source)
    column.text(f"{card.title} {card.version}, weights {digest}", 15, panel.PLAIN)
    if taken:
        column.text(f"Film of {taken}", 15, panel.PLAIN)
    column.text(f"Analysed {context.analysed_at:%Y-%m-%d %H:%M} UTC", 15, panel.PLAIN)
    column.text("AI result, not verified by a physician.", 15, panel.BRIGHT, bold=True)


def _when(source: Dataset) -> str:
    for prefix in ("Acquisition", "Content", "Series", "Study"):
        date = str(source.get(f"{prefix}Date") or "")
        if len(date) == 8 and date.isdigit():
            time = str(source.get(f"{prefix}Time") or "")
            clock = f" {time[:2]}:{time[2:4]}" if len(time) >= 4 and time[:4].isdigit() else ""
            return f"{date[:4]}-{date[4:6]}-{date[6:]}{clock}"
    return ""


def _banner(image: Image.Image, sentence: str) -> None:
    pen = ImageDraw.Draw(image)
    top = image.height - _BANNER_HEIGHT
    pen.rectangle((0, top, image.width, image.height), fill=_BANNER)
    middle = (image.width // 2, top + _BANNER_HEIGHT // 2)
    pen.text(middle, sentence, font=panel.font(22, bold=True), fill=panel.BRIGHT, anchor="mm")


def _derivation(film: AnalysedFilm, context: Context, document: Dataset) -> None:
    source, reference = film.dataset, Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [
        _code("121322", "DCM", "Source image for image processing operation")
    ]
    document.SourceImageSequence = [reference]
    if film.saliency:
        card = detection_card(film, context)
        document.DerivationDescription = (
            f"Grad-CAM of {card.title} {card.version}. {context.template.research_sentence}"
        )[:1024]
        document.DerivationCodeSequence = [
            _code("130403", "DCM", "Gradient-weighted class activation")
        ]
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if source.get(keyword):
            document[keyword] = source[keyword]
    document.LossyImageCompression = "01" if source.get("LossyImageCompression") == "01" else "00"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _pixels(picture: Picture, document: Dataset) -> None:
    document.SamplesPerPixel, document.PhotometricInterpretation = 3, "RGB"
    document.PlanarConfiguration = 0
    document.Rows, document.Columns = picture.shape[:2]
    document.BitsAllocated = document.BitsStored = 8
    document.HighBit, document.PixelRepresentation = 7, 0
    data = picture.tobytes()
    document.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
