"""Report templates: what a site may change without Python. TOML in, frozen values out."""

from __future__ import annotations

import hashlib
import string
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dicom_node.errors import TemplateInvalid
from dicom_node.findings import FINDING_CLASSES

_LO = 64
"""Characters in a Long String (PS3.5 section 6.2): code meanings and Series Descriptions."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Part):
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 section 8)."""

    value: str = Field(min_length=1)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=_LO)


def _placeholders(allowed: frozenset[str], text: str) -> str:
    named = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    foreign = named - allowed
    if foreign:
        names = ", ".join(sorted(allowed))
        raise ValueError(f"unknown placeholder {{{min(foreign)}}}; there are: {names}")
    return text


_WORDS = frozenset(
    {
        "finding",
        "probability",
        "threshold",
        "network",
        "version",
        "calibration",
        "explanation",
        "research",
    }
)


class Impression(_Part):
    """The first group of the report."""

    headline: str
    abstained: str
    tracking: str = Field(max_length=_LO)
    comment: str
    calibrated: str
    uncalibrated: str
    abstained_finding: Code

    @field_validator("headline", "abstained", "comment")
    @classmethod
    def _known_words(cls, text: str) -> str:
        return _placeholders(_WORDS, text)


class Measurements(_Part):
    """Concept names of the measurements."""

    certainty: Code
    score: Code
    change_when_hidden: Code


class FindingClass(_Part):
    """How one class of the detection network is named and coded."""

    wording: str
    finding: Code
    comment: str


class EvidenceText(_Part):
    """How the explanation is described."""

    sentence: str
    weak: str
    weak_below: float = Field(ge=0, le=1)
    missing: str

    @field_validator("sentence")
    @classmethod
    def _known_words(cls, text: str) -> str:
        return _placeholders(frozenset({"change"}), text)


class _Document(_Part):
    template: Literal["TID 1500"]
    language: Code
    title: Code
    procedure: Code
    research_sentence: str = Field(min_length=10)
    report_description: str = Field(max_length=_LO)
    overlay_description: str = Field(max_length=_LO)
    percent_decimals: int = Field(ge=0, le=3)
    impression: Impression
    measurements: Measurements
    classes: dict[str, FindingClass]
    evidence: EvidenceText

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

    def explanation(self, change_when_hidden: float | None) -> str:
        """Return how far the explanation can be trusted; the fall of the score is in [-1, 1]."""
        if change_when_hidden is None or change_when_hidden < self.evidence.weak_below:
            return self.evidence.weak
        return self.evidence.sentence.format(change=self.percent(change_when_hidden))

    def percent(self, fraction: float) -> str:
        """Return ``fraction`` (0 to 1) as a percentage with the template's decimals."""
        return f"{100 * fraction:.{self.percent_decimals}f}"


def load_template(path: Path) -> Template:
    """Return the template in ``path``. Raises `TemplateInvalid` naming file, line and key."""
    try:
        data = path.read_bytes()
        document = tomllib.loads(data.decode("utf-8"))
        extra = {"digest": hashlib.sha256(data).hexdigest(), "name": path.stem}
        return Template.model_validate({**document, **extra})
    except OSError as error:
        raise TemplateInvalid(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateInvalid(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        lines = data.decode("utf-8").splitlines()
        faults = "; ".join(_fault(path, lines, item) for item in error.errors())
        raise TemplateInvalid(faults) from error


def _fault(path: Path, lines: list[str], detail: object) -> str:
    location = [str(part) for part in detail["loc"]]  # type: ignore[index]
    message = str(detail["msg"]).removeprefix("Value error, ")  # type: ignore[index]
    return f"{path.name}:{_line(lines, location)}: {'.'.join(location)}: {message}"


def _line(lines: list[str], location: list[str]) -> int:
    """Return the number of the line that most likely holds the key: its table, then its name."""
    start = 0
    for number, line in enumerate(lines):
        if line.strip().startswith("[") and line.strip().strip("[]") in ".".join(location):
            start = number
    for number, line in enumerate(lines[start:], start):
        if any(line.split("=")[0].strip() == part for part in location):
            return number + 1
    return start + 1
