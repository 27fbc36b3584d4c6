"""Report templates: what a site may change without Python. TOML in, frozen values out."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from dicom_node.errors import TemplateInvalid
from dicom_node.findings import FINDING_CLASSES, SCORES
from dicom_node.settings.faults import Fault, explain
from dicom_node.settings.source import Source, parse, read_text

_LO = 64
"""Characters in a Long String (PS3.5 section 6.2): code meanings and Series Descriptions."""


def _ascii(text: str) -> str:
    foreign = sorted({character for character in text if not " " <= character <= "~"})
    if foreign:
        raise ValueError(
            f"{foreign[0]!r} is not plain ASCII, and some films' character sets cannot hold it"
        )
    return text


def _words(*names: str) -> AfterValidator:
    """Return a check that a text has no placeholder but ``names``, and no format of its own."""

    def check(text: str) -> str:
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{error}; write {{{{ for a brace") from error
        for _, name, form, conversion in parts:
            if name is not None and (name not in names or form or conversion):
                known = ", ".join(f"{{{each}}}" for each in names) or "none"
                raise ValueError(f"placeholder {{{name}}} is not known here; there are: {known}")
        return text

    return AfterValidator(check)


Ascii = Annotated[str, Field(min_length=1), AfterValidator(_ascii)]
Label = Annotated[str, Field(min_length=1, max_length=_LO), AfterValidator(_ascii)]
Plain = Annotated[str, Field(min_length=1), _words()]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Part):
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 section 8)."""

    value: Ascii
    scheme: str = Field(min_length=1, max_length=16, pattern=r"^[A-Z0-9_]+$")
    meaning: Label


class Grade(_Part):
    """The words for a probability of ``at_least`` so much, in [0, 1]."""

    at_least: float = Field(ge=0.0, le=1.0)
    words: Ascii


_Headline = Annotated[Ascii, _words("finding", "probability", "threshold", "grade")]


class Impression(_Part):
    """The first group of the report."""

    tracking: str = Field(min_length=1, max_length=_LO - 12)
    headline: _Headline
    headline_uncalibrated: Annotated[Ascii, _words("finding", "probability", "threshold")]
    abstained: Annotated[Ascii, _words("threshold")]
    doubtful: Annotated[Ascii, _words("headline")]
    abstained_finding: Code
    basis: Annotated[Ascii, _words("network", "version", "digest", "threshold")]
    calibrated: Annotated[Ascii, _words()]
    uncalibrated: Annotated[Ascii, _words()]
    grades: tuple[Grade, ...] = Field(min_length=1)

    @field_validator("grades")
    @classmethod
    def _descending_to_zero(cls, grades: tuple[Grade, ...]) -> tuple[Grade, ...]:
        steps = [grade.at_least for grade in grades]
        if steps != sorted(set(steps), reverse=True) or steps[-1] != 0.0:
            raise ValueError("at_least must fall from grade to grade and end with 0.0")
        return grades


class Measurements(_Part):
    """Concept names of the measurements."""

    certainty: Code
    score: Code
    change_when_hidden: Code
    saliency_in_lungs: Code


class Texts(_Part):
    """Concept names of the sentences."""

    headline: Code
    basis: Code
    explanation: Code
    comment: Code


class FindingClass(_Part):
    """How one class of the detection network is named and coded."""

    wording: Annotated[str, Field(min_length=1, max_length=_LO - 12), AfterValidator(_ascii)]
    finding: Code
    comment: Annotated[Ascii, _words()]


class EvidenceText(_Part):
    """How the explanation is described."""

    sentence: Annotated[Ascii, _words("finding", "change")]
    weak: Annotated[Ascii, _words("finding")]
    weak_below: float = Field(ge=0.0, le=1.0)
    inside: Annotated[Ascii, _words("inside")]
    elsewhere: Annotated[Ascii, _words("inside")]
    lungs_below: float = Field(ge=0.0, le=1.0)
    missing: Annotated[Ascii, _words()]


class Graded(_Part):
    """How one kind of severity is named, coded and commented."""

    wording: Annotated[str, Field(min_length=1, max_length=_LO - 12), AfterValidator(_ascii)]
    concept: Code
    comment: Annotated[Ascii, _words()]


class ZoneText(_Part):
    """How a zone is named and its score coded."""

    wording: Annotated[str, Field(max_length=_LO - 24), AfterValidator(_ascii), _words("zone")]
    concept: Code


class Severity(_Part):
    """How severity is reported. ``decimals``: of the scores shown; ``levels``: 0, 1, 2."""

    finding: Code
    decimals: int = Field(ge=0, le=3)
    low: Code
    high: Code
    scores: dict[str, Graded]
    airspace: Graded
    levels: tuple[Code, Code, Code]
    zone: ZoneText

    @field_validator("scores")
    @classmethod
    def _each_score(cls, scores: dict[str, Graded]) -> dict[str, Graded]:
        if set(scores) != set(SCORES):
            raise ValueError(f"there must be exactly the scores {', '.join(SCORES)}")
        return scores

    def shown(self, value: float) -> str:
        """Return a score with the template's decimals."""
        return f"{value:.{self.decimals}f}"


class NotAnalysed(_Part):
    """How a film of the study that has no findings is mentioned."""

    tracking: Label
    finding: Code
    outcome: Code
    declined: Code
    failed: Code
    reason: Code


class PanelText(_Part):
    """What stands beside the film on the overlay."""

    heading: Plain
    probabilities: Plain
    scores: Plain
    threshold: Annotated[str, _words("threshold")]
    severity: Plain
    explanation: Plain
    legend_low: Plain
    legend_contour: Plain
    legend_high: Plain
    provenance: Plain
    taken: Annotated[str, _words("when")]
    undated: Plain
    network: Annotated[str, _words("network", "version", "digest")]
    analysed: Annotated[str, _words("when")]
    limits: Plain
    unverified: Plain


class _Document(_Part):
    template: Literal["TID 1500"]
    language: Code
    title: Code
    procedure: Code
    research_sentence: Annotated[str, Field(min_length=10), AfterValidator(_ascii), _words()]
    report_description: Label
    overlay_description: Label
    percent_decimals: int = Field(ge=0, le=3, description="decimals of every percentage shown")
    class_order: Literal["probability", "template"]
    impression: Impression
    measurements: Measurements
    texts: Texts
    classes: dict[str, FindingClass]
    evidence: EvidenceText
    severity: Severity
    not_analysed: NotAnalysed
    panel: PanelText

    @field_validator("classes")
    @classmethod
    def _each_class(cls, classes: dict[str, FindingClass]) -> dict[str, FindingClass]:
        if set(classes) != set(FINDING_CLASSES):
            raise ValueError(f"there must be exactly the classes {', '.join(FINDING_CLASSES)}")
        return classes


class Template(_Document):
    """A report template. ``digest`` is the SHA-256 of its file: part of every result's identity."""

    digest: str
    name: str

    def percent(self, fraction: float) -> str:
        """Return ``fraction`` as a percentage with the template's decimals.

        More decimals, at most 6, where rounding would claim 0 or 100 for what is neither.
        """
        shown = "0"
        for decimals in range(self.percent_decimals, 7):
            shown = f"{100 * fraction:.{decimals}f}"
            if float(shown) not in (0.0, 100.0) or fraction in (0.0, 1.0):
                break
        return f"{0:.{self.percent_decimals}f}" if float(shown) == 0.0 else shown

    def grade(self, probability: float) -> str:
        """Return the words for a probability in [0, 1]."""
        return next(each.words for each in self.impression.grades if probability >= each.at_least)

    def codes(self) -> Iterator[Code]:
        """Yield every code of the template."""
        return _codes(self)


def _codes(part: object) -> Iterator[Code]:
    if isinstance(part, Code):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _codes(getattr(part, name))
    elif isinstance(part, dict | tuple):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _codes(each)


def load_template(path: Path) -> Template:
    """Return the template in ``path``. Raises `TemplateInvalid` naming file, line and key."""
    text = read_text(path, path.name)
    if isinstance(text, Fault):
        raise TemplateInvalid(str(text))
    source = parse(text, path.name)
    if isinstance(source, Fault):
        said = source.what.removeprefix("not valid TOML: ")
        raise TemplateInvalid(f"{path.name}:{source.line}: is not TOML: {said}")
    return _validated(source, hashlib.sha256(text.encode()).hexdigest(), path.stem)


def _validated(source: Source, digest: str, name: str) -> Template:
    try:
        document = _Document.model_validate(source.tables)
    except ValidationError as error:
        faults = [_pointed(fault) for fault in explain(error, _Document, source.places)]
        raise TemplateInvalid("; ".join(str(fault) for fault in faults)) from error
    return Template.model_construct(**dict(document), digest=digest, name=name)


def _pointed(fault: Fault) -> Fault:
    # Keys of a template have no help text of their own: the shipped template is their description.
    if not fault.remedy.startswith("see docs"):
        return fault
    return replace(fault, remedy="compare with the template that is shipped with dicom-node")
