"""Segmentations of a film: lungs and mapped opacity (binary), what weighed (fractional).

PS3.3 A.51. Each has the film's own matrix, so that whoever lays it over the film needs no geometry
(projection radiographs have no frame of reference). Results leave uncompressed: only the heat of
the network that named the finding is one, a byte a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node import __version__
from dicom_node.findings import Region, SaliencyMap
from dicom_node.imaging.geometry import heat_on_film
from dicom_node.imaging.opaque import LEVEL
from dicom_node.imaging.values import numbers, value
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    copy_identity,
    evidence_of,
    orientation_of,
    set_equipment,
    set_times,
)
from dicom_node.results.regions import heat_drawn, opaque_on, right_of
from dicom_node.results.wording import view
from dicom_node.uids import derived_uid

SERIES_OFFSET, SALIENCY_SERIES_OFFSET = 4, 8
"""A series each: viewers show one segmentation of a series."""

_LUNGS = "AI CXR lungs - RESEARCH USE ONLY"
_LUNGS_AND_OPACITY = "AI CXR lungs, opacity - RESEARCH USE ONLY"
_SALIENCY = "AI CXR saliency - RESEARCH USE ONLY"
_FAMILY = CodedConcept("123110", "DCM", "Artificial Intelligence")
_ANATOMY = CodedConcept("91723000", "SCT", "Anatomical structure")
_LUNG = CodedConcept("39607008", "SCT", "Lung")
_ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
_OPACITY = CodedConcept("112001", "DCM", "Opacity")
# Where a network looked is no opacity, least of all for "normal": neutral (CID 7150, CID 217).
_RELATIONAL = CodedConcept("309825002", "SCT", "Spatial and Relational Concept")
_EXPLANATION = CodedConcept("130403", "DCM", "Gradient-weighted class activation")
_SIDES = {
    "right": CodedConcept("24028007", "SCT", "Right"),
    "left": CodedConcept("7771000", "SCT", "Left"),
}
_SERIES = {
    "BINARY": ("segmentation", SERIES_OFFSET),
    "FRACTIONAL": ("saliency", SALIENCY_SERIES_OFFSET),
}
_COPIED = (
    "Rows", "Columns", "PixelSpacing", "ImagerPixelSpacing", "PatientOrientation",
    "PhotometricInterpretation",
)  # fmt: skip


def lung_segmentation(
    film: AnalysedFilm, context: Context, uid: str, number: int
) -> Dataset | None:
    """Return the lungs of a film, a segment each side, and what is mapped opaque as one more.

    None where neither was found.
    """
    masks, described = _found(film, context)
    if not masks:
        return None
    description = _LUNGS if film.explanation.opacity is None else _LUNGS_AND_OPACITY
    pixels = np.stack(masks, axis=-1)[None]
    return _document(film, context, (uid, number, description), (pixels, described, "BINARY"))


def _found(
    film: AnalysedFilm, context: Context
) -> tuple[list[Any], list[hd.seg.SegmentDescription]]:
    """Return masks on the film's matrix, and what each of them is."""
    masks, described = [], []
    if film.lungs is not None and film.lungs.mask.any():
        card = context.card(film, film.lungs.network)
        for side, mask in ((side, mask) for side, mask in _sides(film).items() if mask.any()):
            masks.append(mask)
            described.append(
                _segment(len(masks), f"{_SIDES[side].meaning} lung", (_ANATOMY, _LUNG), card,
                         ("lung", side, film), _SIDES[side])
            )  # fmt: skip
    opacity, rows, columns = film.explanation.opacity, film.dataset.Rows, film.dataset.Columns
    opaque = opaque_on(film, (int(rows), int(columns)))
    if opacity is not None and opaque is not None and (mask := opaque > LEVEL).any():
        card = context.card(film, opacity.network)
        masks.append(mask)
        which = ("opacity", card.id, film)
        described.append(
            _segment(len(masks), _OPACITY.meaning, (_ABNORMAL, _OPACITY), card, which, None)
        )
    return masks, described


def saliency_segmentation(
    film: AnalysedFilm, context: Context, uid: str, number: int
) -> Dataset | None:
    """Return what stood out for the finding, inside the lungs; None where nothing is drawn."""
    drawn = heat_drawn(film, film.saliency[0]) if film.saliency else None
    if drawn is None or not drawn.max() > 0:
        return None
    card = context.card(film, film.saliency[0].network)
    which = ("saliency", card.id, film)
    label = f"Saliency: {card.title}"[:64]
    described = [_segment(1, label, (_RELATIONAL, _EXPLANATION), card, which, None)]
    pixels = drawn[None, ..., None]
    return _document(film, context, (uid, number, _SALIENCY), (pixels, described, "FRACTIONAL"))


def _sides(film: AnalysedFilm) -> dict[str, Any]:
    """Return the lungs on the film's matrix, bool (rows, columns), by the patient's side."""
    assert film.lungs is not None
    rows, columns = int(film.dataset.Rows), int(film.dataset.Columns)
    mask = film.lungs.mask.astype(np.float32)
    whole = SaliencyMap(film.lungs.network, "", mask, Region(0, 0, rows, columns))
    lungs = heat_on_film(whole, rows, columns) > 0.5
    # As everywhere: the middle of what the network saw divides the lungs.
    seen = film.saliency[0].region if film.saliency else whole.region
    half = right_of(seen, film)
    right = np.zeros_like(lungs)
    right[round(half.top) : round(half.bottom), round(half.left) : round(half.right)] = True
    return {"right": lungs & right, "left": lungs & ~right}


def _segment(
    number: int,
    label: str,
    codes: tuple[CodedConcept, CodedConcept],
    card: NetworkCard,
    of: tuple[str, str, AnalysedFilm],
    side: CodedConcept | None,
) -> hd.seg.SegmentDescription:
    what, which, film = of
    category, kind = codes
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=card.title[:64], family=_FAMILY, version=card.version,
            parameters={"weights": card.weights},
        ),
        tracking_uid=derived_uid("tracking", film.dataset.SOPInstanceUID, what, which),
        tracking_id=label,
    )  # fmt: skip
    if side is not None:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            side
        ]
    return segment


def _document(
    film: AnalysedFilm,
    context: Context,
    named: tuple[str, int, str],
    content: tuple[Any, Sequence[hd.seg.SegmentDescription], str],
) -> Dataset:
    source, (uid, number, description), (pixels, segments, kind) = film.dataset, named, content
    document: Dataset = hd.seg.Segmentation(
        source_images=[_source(source)],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=context.series_uid(source, _SERIES[kind][0]),
        series_number=context.series_number_base + _SERIES[kind][1],
        sop_instance_uid=uid,
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=context.node_ae_title,
        content_label="AI_LUNGS" if kind == "BINARY" else "AI_SALIENCY",
        content_description=description,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=False,
    )
    copy_identity(source, document)
    set_times(source, document)
    set_equipment(source, document, context.cards([film]), context.node_ae_title)
    document.SeriesDescription = description
    document.BodyPartExamined = "CHEST"
    document.ImageComments = f"{context.template.research_sentence} {view(film, context.template)}"
    _mend(source, document)
    return document


def _source(source: Dataset) -> Dataset:
    """Return what highdicom needs of the film, without its patient and without false spacing."""
    plain = evidence_of(source)
    for keyword in _COPIED:
        if keyword == "PatientOrientation" and not orientation_of(source):
            continue
        spacing = numbers(source, keyword) if keyword.endswith("Spacing") else (1.0, 1.0)
        if value(source, keyword) in (None, "") or len(spacing) != 2 or min(spacing) <= 0:
            continue
        plain[keyword] = source[keyword]
    return plain


def _mend(source: Dataset, document: Dataset) -> None:
    """Add what the IOD wants of an image without a frame of reference (PS3.3 C.7.6.1)."""
    document.PatientOrientation = orientation_of(source)
    # highdicom's is random: the same segmentation must be the same bytes.
    dimensions = derived_uid("dimensions", document.SeriesInstanceUID, str(source.SOPInstanceUID))
    for item in (*document.DimensionOrganizationSequence, *document.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    if str(source.get("LossyImageCompression") or "") == "01":
        document.LossyImageCompression = "01"
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if source.get(keyword):
                document[keyword] = source[keyword]
