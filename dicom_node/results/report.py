"""The Structured Report: TID 1500 with a planar region (TID 1410) in every measurement group.

One tree serves Comprehensive, Comprehensive 3D and Enhanced SR; every container is SEPARATE, since
DCMTK and Weasis print the numbers of CONTINUOUS ones without their names.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
)

from dicom_node.findings import Detection, Region
from dicom_node.imaging.geometry import contours, heat_on_film
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    copy_identity,
    evidence_of,
    set_equipment,
    set_times,
)
from dicom_node.results.templates import Code, Template
from dicom_node.uids import derived_uid

SOP_CLASSES = (ComprehensiveSRStorage, Comprehensive3DSRStorage, EnhancedSRStorage)
"""Alternatives of one report, the default first."""

SERIES_OFFSET = 1
_SCHEME = "99DICOMNODE"
_LUNG = CodedConcept("39607008", "SCT", "Lung")
_BILATERAL = CodedConcept("51440002", "SCT", "Bilateral")
_COMMENT = CodedConcept("121106", "DCM", "Comment")
_PERCENT = CodedConcept("%", "UCUM", "Percent")
_FAMILY = CodedConcept("123110", "DCM", "Artificial Intelligence")
_SALIENT_LEVEL = 0.5
_MAX_POINTS = 200
_DECIMALS = 6

Polygon = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Group:
    """One measurement group before it becomes content items."""

    key: str
    tracking: str
    finding: Code
    measurement: tuple[Code, float] | None
    more: tuple[tuple[Code, float], ...]
    polygon: Polygon
    comment: str


def concept(code: Code) -> CodedConcept:
    """Return a template's code as highdicom's."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def report(films: Sequence[AnalysedFilm], context: Context, sop_class: UID, uid: str) -> Dataset:
    """Return the report on ``films`` of one study as a data set of ``sop_class``."""
    first = films[0].dataset
    with warnings.catch_warnings():
        # highdicom warns about names of one component, which we pass on as they came.
        warnings.simplefilter("ignore")
        document = _document(films, context, sop_class, uid)
    _separate(document)
    copy_identity(first, document)
    set_times(first, document, context.analysed_at)
    set_equipment(first, document, list(context.networks.values()))
    document.SeriesDescription = context.template.report_description
    document.BodyPartExamined = "CHEST"
    document.CompletionFlag, document.VerificationFlag = "COMPLETE", "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.CodingSchemeIdentificationSequence = [_coding_scheme()]
    if context.predecessors:
        document.PredecessorDocumentsSequence = [
            _predecessor(first, item) for item in context.predecessors
        ]
    return document


def _document(films: Sequence[AnalysedFilm], context: Context, sop_class: UID, uid: str) -> Dataset:
    kinds = {
        ComprehensiveSRStorage: hd.sr.ComprehensiveSR,
        Comprehensive3DSRStorage: hd.sr.Comprehensive3DSR,
        EnhancedSRStorage: hd.sr.EnhancedSR,
    }
    first = films[0].dataset
    document: Dataset = kinds[sop_class](
        evidence=[evidence_of(film.dataset) for film in films],
        content=_tree(films, context),
        series_instance_uid=context.series_uid(first, "sr"),
        series_number=context.series_number_base + SERIES_OFFSET,
        sop_instance_uid=uid,
        instance_number=context.revision,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return document


def _tree(films: Sequence[AnalysedFilm], context: Context) -> Dataset:
    template = context.template
    device = hd.sr.ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", context.node_ae_title),
            name=context.node_ae_title,
            manufacturer_name=MANUFACTURER,
            model_name=MODEL_NAME,
        ),
    )
    groups = [
        _content(group, film, context)
        for number, film in enumerate(films, 1)
        for group in _groups(film, context, number if len(films) > 1 else None)
    ]
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=_procedure(films[0].dataset, template),
        imaging_measurements=groups,
        title=concept(template.title),
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(
            concept(template.language)
        ),
    )
    tree: Dataset = content[0]
    items = list(tree.ContentSequence)
    library = hd.sr.ContentSequence([_library(films)], is_root=False, is_sr=True)[0]
    place = next(
        number for number, item in enumerate(items)
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )  # fmt: skip
    tree.ContentSequence = [*items[:place], library, *items[place:]]
    return tree


def _procedure(source: Dataset, template: Template) -> CodedConcept:
    for keyword in ("ProcedureCodeSequence", "PerformedProtocolCodeSequence"):
        for item in source.get(keyword) or ():
            if item.get("CodeValue") and item.get("CodingSchemeDesignator"):
                meaning = str(item.get("CodeMeaning") or item.CodeValue)
                return CodedConcept(item.CodeValue, item.CodingSchemeDesignator, meaning[:64])
    return concept(template.procedure)


def _library(films: Sequence[AnalysedFilm]) -> hd.sr.ContainerContentItem:
    # highdicom's ImageLibrary refuses films without spacing or orientation.
    contains = hd.sr.RelationshipTypeValues.CONTAINS
    library = hd.sr.ContainerContentItem(
        CodedConcept("111028", "DCM", "Image Library"), relationship_type=contains
    )
    group = hd.sr.ContainerContentItem(
        CodedConcept("126200", "DCM", "Image Library Group"), relationship_type=contains
    )
    group.ContentSequence = hd.sr.ContentSequence([_image(film.dataset) for film in films])
    library.ContentSequence = hd.sr.ContentSequence([group])
    return library


def _image(source: Dataset) -> hd.sr.ImageContentItem:
    item = hd.sr.ImageContentItem(
        CodedConcept("260753009", "SCT", "Source"),
        referenced_sop_class_uid=source.SOPClassUID,
        referenced_sop_instance_uid=source.SOPInstanceUID,
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    context = hd.sr.RelationshipTypeValues.HAS_ACQ_CONTEXT
    pixels = CodedConcept("{pixels}", "UCUM", "pixels")
    modality = "DX" if source.get("Modality") == "DX" else "CR"
    meaning = "Digital Radiography" if modality == "DX" else "Computed Radiography"
    item.ContentSequence = hd.sr.ContentSequence(
        [
            hd.sr.CodeContentItem(
                CodedConcept("121139", "DCM", "Modality"),
                CodedConcept(modality, "DCM", meaning),
                relationship_type=context,
            ),
            hd.sr.NumContentItem(
                CodedConcept("110910", "DCM", "Pixel Data Rows"),
                int(source.Rows), pixels, relationship_type=context,
            ),
            hd.sr.NumContentItem(
                CodedConcept("110911", "DCM", "Pixel Data Columns"),
                int(source.Columns), pixels, relationship_type=context,
            ),
        ]
    )  # fmt: skip
    return item


def _groups(film: AnalysedFilm, context: Context, number: int | None) -> Iterator[_Group]:
    """Yield the groups of one film, the impression first."""
    detection = film.findings.finding
    if detection is None:
        return
    template, where = context.template, "" if number is None else f", film {number}"
    name = template.measurements.certainty if detection.calibrated else template.measurements.score
    seen, salient = _seen(film), _salient(film)
    yield _impression(film, context, where, (name, salient if salient is not None else seen))
    order = sorted(detection.probabilities, key=lambda key: -detection.probabilities[key])
    for key in order:
        named = template.classes[key]
        found = key == detection.finding_class and salient is not None
        yield _Group(
            key=key,
            tracking=f"{named.wording}{where}",
            finding=named.finding,
            measurement=(name, detection.probabilities[key]),
            more=(),
            polygon=salient if found and salient is not None else seen,
            comment=named.comment,
        )


def _impression(
    film: AnalysedFilm, context: Context, where: str, name_and_place: tuple[Code, Polygon]
) -> _Group:
    detection = film.findings.finding
    assert detection is not None
    (name, polygon), template = name_and_place, context.template
    finding = template.classes[detection.finding_class].finding
    if detection.abstained:
        finding = template.impression.abstained_finding
    evidence = film.findings.evidence
    more: tuple[tuple[Code, float], ...] = ()
    if evidence is not None and evidence.change_when_hidden is not None:
        more = ((template.measurements.change_when_hidden, evidence.change_when_hidden),)
    return _Group(
        key="impression",
        tracking=f"{template.impression.tracking}{where}",
        finding=finding,
        measurement=(name, detection.probability),
        more=more,
        polygon=polygon,
        comment=impression_text(detection, context, film),
    )


def impression_text(detection: Detection, context: Context, film: AnalysedFilm) -> str:
    """Return the comment of the first group: headline, threshold, calibration, research use."""
    template, card = context.template, detection_card(film, context)
    words = {
        "finding": template.classes[detection.finding_class].wording,
        "probability": template.percent(detection.probability),
        "threshold": template.percent(detection.threshold),
        "network": card.title,
        "version": card.version,
        "calibration": template.impression.calibrated
        if detection.calibrated
        else template.impression.uncalibrated,
        "explanation": _explanation(film, template),
        "research": template.research_sentence,
    }
    impression = template.impression
    headline = impression.abstained if detection.abstained else impression.headline
    return f"{headline.format(**words)}. {impression.comment.format(**words)}"


def _explanation(film: AnalysedFilm, template: Template) -> str:
    if not film.saliency:
        return template.evidence.missing
    evidence = film.findings.evidence
    return template.explanation(evidence.change_when_hidden if evidence else None)


def detection_card(film: AnalysedFilm, context: Context) -> NetworkCard:
    """Return the card of the network that named the finding."""
    name = film.saliency[0].network if film.saliency else next(iter(film.findings.suite))
    return context.networks[name]


def _seen(film: AnalysedFilm) -> Polygon:
    """Return the part of the film that the network saw, as a closed rectangle."""
    rows, columns = film.film.shape
    region = film.saliency[0].region if film.saliency else Region(0, 0, rows, columns)
    return np.array(
        [
            (region.left, region.top), (region.right, region.top), (region.right, region.bottom),
            (region.left, region.bottom), (region.left, region.top),
        ],
        dtype=np.float64,
    )  # fmt: skip


def _salient(film: AnalysedFilm) -> Polygon | None:
    """Return the largest contour of the heat, closed, at most `_MAX_POINTS` points."""
    if not film.saliency:
        return None
    lines = contours(heat_on_film(film.saliency[0], *film.film.shape), _SALIENT_LEVEL)
    if not lines:
        return None
    line = lines[0][:: max(len(lines[0]) // _MAX_POINTS, 1)].astype(np.float64)
    return np.concatenate([line, line[:1]]) if (line[0] != line[-1]).any() else line


def _content(
    group: _Group, film: AnalysedFilm, context: Context
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    source, card = film.dataset, detection_card(film, context)
    uid = derived_uid("tracking", source.SOPInstanceUID, group.key)
    numbers = [group.measurement, *group.more] if group.measurement else list(group.more)
    content = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=group.tracking),
        referenced_region=hd.sr.ImageRegion(
            graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
            graphic_data=group.polygon,
            source_image=hd.sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
        ),
        finding_type=concept(group.finding),
        finding_sites=[hd.sr.FindingSite(_LUNG, laterality=_BILATERAL)],
        algorithm_id=_algorithm(film, card),
        measurements=[
            hd.sr.Measurement(concept(name), round(100 * value, _DECIMALS), _PERCENT)
            for name, value in numbers
        ],
    )
    comment = hd.sr.TextContentItem(
        _COMMENT, group.comment, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
    )
    content[0].ContentSequence.append(comment)
    return content


def _algorithm(film: AnalysedFilm, card: NetworkCard) -> hd.sr.AlgorithmIdentification:
    detection = film.findings.finding
    assert detection is not None
    return hd.sr.AlgorithmIdentification(
        name=card.title,
        version=card.version,
        parameters=[
            f"network={card.id}",
            f"weights={card.weights}",
            f"threshold={detection.threshold!r}",
            f"calibrated={'yes' if detection.calibrated else 'no'}",
        ],
    )


def _separate(item: Dataset) -> None:
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence") or ():
        _separate(child)


def _coding_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = _SCHEME
    item.CodingSchemeUID = derived_uid("coding scheme", _SCHEME)
    item.CodingSchemeName = "dicom-node"
    item.CodingSchemeResponsibleOrganization = "dicom-node"
    return item


def _predecessor(source: Dataset, predecessor: tuple[str, str, str]) -> Dataset:
    sop_class, instance, series_uid = predecessor
    reference, series, study = Dataset(), Dataset(), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, instance
    series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, [reference]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = source.StudyInstanceUID, [series]
    return study
