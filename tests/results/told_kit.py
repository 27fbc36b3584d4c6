"""Films with findings of every sort, and the findings that a report has of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydicom import Dataset

from dicom_node.chest import (
    ZONES,
    Airspace,
    Detection,
    Score,
)
from dicom_node.resources import report_templates
from dicom_node.results.films import AnalysedFilm
from dicom_node.results.preview import preview_film
from dicom_node.results.templates import load_template
from tests.chest_kit import answering
from tests.results.report_kit import groups, items, name_of

ENGLISH, GERMAN = (
    load_template(report_templates() / f"chest-radiograph-measurement-report{end}.toml")
    for end in ("", "-de")
)
NONE = dict.fromkeys(ZONES, 0.0)


def film_with(
    probabilities: tuple[float, float, float], extent: float, level: int, zones: dict[str, float],
    **changes: object,
) -> AnalysedFilm:  # fmt: skip
    film = preview_film()
    findings = answering(
        film.findings,
        finding=Detection(
            dict(zip(("normal", "pneumonia", "covid19"), probabilities, strict=True)),
            0.55, calibrated=True,
        ),
        scores={name: Score(extent, max(extent - 2.4, 0), extent + 2.4, extent / 2, extent / 2)
                for name in ("geographic_extent", "opacity_extent")},
        airspace=Airspace(level, 0.8, zones), quality=(), opacity=None, appearance=None,
    )  # fmt: skip
    return replace(film, findings=answering(findings, **changes))  # type: ignore[arg-type]


def normal() -> AnalysedFilm:
    return film_with((0.98, 0.012, 0.008), 0.0, 0, NONE)


def undetermined() -> AnalysedFilm:
    return film_with((0.48, 0.42, 0.1), 0.2, 0, NONE)


def covid() -> AnalysedFilm:
    return film_with((0.04, 0.13, 0.83), 4.2, 1, NONE | {"left_lower": 2.1})


def doubtful() -> AnalysedFilm:
    return film_with((0.04, 0.13, 0.83), 0.3, 0, NONE)


def findings_of(document: Dataset) -> Iterator[tuple[str, str]]:
    """Yield every Finding with its group's Tracking Identifier."""
    for group in groups(document):
        label = next(item.TextValue for item in items(group) if name_of(item) == "112039")
        for item in items(group):
            if name_of(item) == "121071":
                code = item.ConceptCodeSequence[0]
                yield str(code.get("CodeValue") or code.get("LongCodeValue")), str(label)
