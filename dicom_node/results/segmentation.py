"""Segmentations of a film: lungs, mapped opacity and observed masks (binary), what weighed.

PS3.3 A.51. Each has the film's own matrix, so that whoever lays it over the film needs no geometry
(projection radiographs have no frame of reference). Results leave uncompressed: only the heat of
the network that named the finding is one, a byte a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node import __version__
from dicom_node.bundles.declared import Concept
from dicom_node.findings import Region, SaliencyMap
from dicom_node.imaging.geometry import heat_on_film
from dicom_node.imaging.opaque import LEVEL
from dicom_node.imaging.values import numbers, value
from dicom_node.observations import Observation, ObservationKind
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, part_examined
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    coding_scheme,
    copy_identity,
    evidence_of,
    orientation_of,
    set_equipment,
    set_times,
)
from dicom_node.results.observed_words import names
from dicom_node.results.regions import area_mask, heat_drawn, is_observed, opaque_on, right_of
from dicom_node.results.severity import SIDES
from dicom_node.results.template_parts import LONG_STRING
from dicom_node.results.values import PRIVATE_SCHEME
from dicom_node.results.wording import view
from dicom_node.uids import derived_uid

SERIES_OFFSET, SALIENCY_SERIES_OFFSET = 4, 8
"""A series each: viewers show one segmentation of a series."""

_LUNGS = "AI CXR lungs - RESEARCH USE ONLY"
_LUNGS_AND_OPACITY = "AI CXR lungs, opacity - RESEARCH USE ONLY"
_AREAS = "AI areas - RESEARCH USE ONLY"
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


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a segment stands for: the label people read, category and type, the lung's side.

    ``tracked``: what its Tracking UID is made of, beside the film. ``region``: where in the body it
    lies, where that is coded.
    """

    label: str
    category: CodedConcept
    type: CodedConcept
    tracked: tuple[str, ...]
    side: CodedConcept | None = None
    region: CodedConcept | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """Pixels of a segmentation and what each segment is; ``kind``: BINARY or FRACTIONAL."""

    kind: str
    label: str
    description: str
    pixels: Any
    segments: Sequence[hd.seg.SegmentDescription]


def lung_segmentation(
    film: AnalysedFilm, context: Context, uid: str, number: int
) -> Dataset | None:
    """Return the lungs of a film, a segment each side, and what is mapped opaque as one more.

    Each mask that was observed is a segment, too. None where nothing was found.
    """
    masks, described = _found(film, context)
    observed = _observed(film, context, first=len(masks) + 1)
    masks += [mask for mask, _ in observed]
    described += [segment for _, segment in observed]
    if not masks:
        return None
    label, description = "AI_LUNGS", _LUNGS
    if observed:
        label, description = "AI_AREAS", _AREAS
    elif film.explanation.opacity is not None:
        description = _LUNGS_AND_OPACITY
    pixels = np.stack(masks, axis=-1)[None]
    content = _Content("BINARY", label, description, pixels, described)
    return _document(film, context, (uid, number), content)


def _found(
    film: AnalysedFilm, context: Context
) -> tuple[list[Any], list[hd.seg.SegmentDescription]]:
    """Return masks on the film's matrix, and what each of them is."""
    masks, described = [], []
    if film.lungs is not None and film.lungs.mask.any():
        card = context.card(film, film.lungs.network)
        for side, mask in ((side, mask) for side, mask in _sides(film).items() if mask.any()):
            masks.append(mask)
            label, of = f"{_SIDES[side].meaning} lung", ("lung", side)
            lung = _Meaning(label, _ANATOMY, _LUNG, of, _SIDES[side])
            described.append(_segment(len(masks), lung, film, card))
    opacity, rows, columns = film.explanation.opacity, film.dataset.Rows, film.dataset.Columns
    opaque = opaque_on(film, (int(rows), int(columns)))
    if opacity is not None and opaque is not None and (mask := opaque > LEVEL).any():
        card = context.card(film, opacity.network)
        masks.append(mask)
        meaning = _Meaning(_OPACITY.meaning, _ABNORMAL, _OPACITY, ("opacity", card.id))
        described.append(_segment(len(masks), meaning, film, card))
    return masks, described


def _observed(
    film: AnalysedFilm, context: Context, first: int
) -> list[tuple[Any, hd.seg.SegmentDescription]]:
    """Return each mask that was observed and has anything in it, as segments from ``first`` on."""
    found: list[tuple[Any, hd.seg.SegmentDescription]] = []
    for one in film.findings.observed:
        if one.kind is not ObservationKind.MASK or not one.reached:
            continue
        mask = area_mask(film, one.network, one.key)
        if mask is None or not mask.any():
            continue
        card, meaning = context.card(film, one.network), _meaning(one, context)
        found.append((mask, _segment(first + len(found), meaning, film, card)))
    return found


def _meaning(one: Observation, context: Context) -> _Meaning:
    """Return what a mask stands for: the finding of its manifest, else its concept, or a private
    code (docs/codes.md).
    """
    declared, name = context.says(one), names(one, context)
    finding = declared.finding if declared else None
    coded = finding or (declared.concept if declared else None)
    if coded is None:
        kind = CodedConcept(one.key.replace("_", "-"), PRIVATE_SCHEME, name[:LONG_STRING])
    else:
        kind = _coded(coded, context)
    site = declared.site if declared else None
    side = SIDES[declared.laterality] if declared and declared.laterality else None
    return _Meaning(
        label=name[:LONG_STRING],
        # What is no finding may be anatomy, or anything: its manifest does not say.
        category=_RELATIONAL if finding is None else _ABNORMAL,
        type=kind,
        tracked=("mask", one.network, one.key),
        side=CodedConcept(side.value, side.scheme, side.meaning) if side else None,
        region=_coded(site, context) if site else None,
    )


def _coded(code: Concept, context: Context) -> CodedConcept:
    """Return a code of a manifest in letters that the film's character set has."""
    told = context.template.spoken(code)
    return CodedConcept(told.value, told.scheme, told.meaning[:LONG_STRING])


def saliency_segmentation(
    film: AnalysedFilm, context: Context, uid: str, number: int
) -> Dataset | None:
    """Return what stood out for the finding, inside the lungs; None where nothing is drawn."""
    first = next(iter(film.saliency), None)
    # What was observed is explained in an overlay of its own.
    drawn = None if first is None or is_observed(film, first) else heat_drawn(film, first)
    if first is None or drawn is None or not drawn.max() > 0:
        return None
    card = context.card(film, film.saliency[0].network)
    label = f"Saliency: {card.title}"[:64]
    meaning = _Meaning(label, _RELATIONAL, _EXPLANATION, ("saliency", card.id))
    described = [_segment(1, meaning, film, card)]
    content = _Content("FRACTIONAL", "AI_SALIENCY", _SALIENCY, drawn[None, ..., None], described)
    return _document(film, context, (uid, number), content)


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
    number: int, meaning: _Meaning, film: AnalysedFilm, card: NetworkCard
) -> hd.seg.SegmentDescription:
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=meaning.label,
        segmented_property_category=meaning.category,
        segmented_property_type=meaning.type,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=card.title[:64], family=_FAMILY, version=card.version,
            parameters={"weights": card.weights},
        ),
        tracking_uid=derived_uid("tracking", film.dataset.SOPInstanceUID, *meaning.tracked),
        tracking_id=meaning.label,
        anatomic_regions=[meaning.region] if meaning.region else None,
    )  # fmt: skip
    if meaning.side is not None and meaning.region is not None:
        (region,) = segment.AnatomicRegionSequence
        region.AnatomicRegionModifierSequence = [meaning.side]
    elif meaning.side is not None:
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        kind.SegmentedPropertyTypeModifierCodeSequence = [meaning.side]
    return segment


def _document(
    film: AnalysedFilm, context: Context, named: tuple[str, int], content: _Content
) -> Dataset:
    source, (uid, number) = film.dataset, named
    document: Dataset = hd.seg.Segmentation(
        source_images=[_source(source)],
        pixel_array=content.pixels,
        segmentation_type=content.kind,
        segment_descriptions=content.segments,
        series_instance_uid=context.series_uid(source, _SERIES[content.kind][0]),
        series_number=context.series_number_base + _SERIES[content.kind][1],
        sop_instance_uid=uid,
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=context.node_ae_title,
        content_label=content.label,
        content_description=content.description,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=False,
    )
    copy_identity(source, document)
    set_times(source, document)
    set_equipment(source, document, context.cards([film]), context.node_ae_title)
    document.SeriesDescription = content.description
    # Its side is told by the segments.
    if part := part_examined([film]):
        document.BodyPartExamined = part
    document.ImageComments = f"{context.template.research_sentence} {view(film, context.template)}"
    if any(_is_private(segment) for segment in content.segments):
        document.CodingSchemeIdentificationSequence = [coding_scheme(PRIVATE_SCHEME)]
    _mend(source, document)
    return document


def _is_private(segment: hd.seg.SegmentDescription) -> bool:
    return bool(segment.segmented_property_type.scheme_designator == PRIVATE_SCHEME)


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
