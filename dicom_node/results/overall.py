"""What is said of a film as a whole, whoever looked at it: status, doubts and view, as codes."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import FilmFindings
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.observed_words import has_observed_findings
from dicom_node.results.template_parts import Code


def evaluations_of_film(film: AnalysedFilm, context: Context) -> Iterator[tuple[Code, Code]]:
    """Yield concept and answer of all networks' status, doubts about the film, and its view."""
    findings, template, status = film.findings, context.template, context.template.status
    found = findings.chest.found_anything or has_observed_findings(findings, context)
    if findings.unanswered:
        said = status.some_with_findings if found else status.some_without_findings
    else:
        said = status.with_findings if found else status.without_findings
    yield status.concept, said
    if findings.contradictions:
        yield template.contradiction.concept, template.contradiction.in_doubt
    for fault in findings.quality:
        yield template.quality.concept, template.quality.faults[fault]
    if film.view in ("PA", "AP"):
        words = template.view
        yield words.concept, words.pa if film.view == "PA" else words.ap


def parameters_of(findings: FilmFindings, *ran_with: str) -> tuple[str, ...]:
    """Return what the algorithms ran with, and the findings as `FilmFindings.to_json_text`."""
    return (
        *(f"network={name} {ran}" for name, ran in findings.suite.items()),
        *ran_with,
        f"findings={findings.to_json_text()}",
    )
