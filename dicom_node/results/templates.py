"""Report templates: what a site may change without Python. TOML in, frozen values out."""

from __future__ import annotations

import hashlib
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from dicom_node.bundles.declared import ObservationWords
from dicom_node.chest import FINDING_CLASSES
from dicom_node.errors import TemplateInvalid
from dicom_node.resources import report_templates
from dicom_node.results.template_parts import (
    LONG_STRING,
    AppearanceText,
    Code,
    ContradictionText,
    CourseTemplate,
    EvidenceText,
    FindingClass,
    Impression,
    Label,
    LookedText,
    MapText,
    Measurements,
    NotAnalysed,
    NotesText,
    ObservedText,
    OpacityText,
    PanelText,
    ParametersText,
    Plain,
    QualityText,
    Second,
    Severity,
    Status,
    TemplatePart,
    Texts,
    ViewText,
    exactly,
)
from dicom_node.settings.faults import Fault, KeyPlaces, Location, explain
from dicom_node.settings.source import SettingsFile, parse, read_text

_Part = TypeVar("_Part")
_DESCRIPTIONS = ("report_description", "overlay_description")


class _Document(TemplatePart):
    template: Literal["TID 1500"]
    language: Code
    title: Code
    procedure: Code
    procedure_chest: Code
    procedure_chest_ap: Code
    procedure_chest_views: Code
    research_sentence: Plain = Field(min_length=10)
    report_description: Label
    overlay_description: Label
    transliteration: dict[str, str] = Field(
        description="what stands for a letter that a film's character set does not have"
    )
    percent_decimals: int = Field(ge=0, le=3, description="decimals of every percentage shown")
    class_order: Literal["probability", "template"]
    decimal: Literal[".", ","]
    impression: Impression
    contradiction: ContradictionText
    view: ViewText
    looked: LookedText
    parameters: ParametersText
    measurements: Measurements
    texts: Texts
    classes: Annotated[dict[str, FindingClass], exactly("classes", FINDING_CLASSES)]
    opacity: OpacityText
    appearance: AppearanceText
    evidence: EvidenceText
    opacity_map: MapText
    severity: Severity
    observed: ObservedText
    networks: dict[str, dict[str, ObservationWords]] = Field(
        default={}, description="words that replace those of a manifest: by bundle, then by key"
    )
    status: Status
    quality: QualityText
    notes: NotesText = NotesText()
    second: Second
    course: CourseTemplate
    not_analysed: NotAnalysed
    panel: PanelText


class Template(_Document):
    """A report template. ``digest`` is the SHA-256 of its file: part of every result's identity."""

    digest: str
    name: str
    encodings: tuple[str, ...] = ()
    """The codecs that `spoken_in` was given."""

    def percent(self, fraction: float, threshold: float = 0.0) -> str:
        """Return ``fraction`` as a percentage with the template's decimals.

        More decimals, at most 6, where rounding would claim 0 or 100 for what is neither, or that
        what is below ``threshold`` reaches it.
        """
        shown = "0"
        for decimals in range(self.percent_decimals, 7):
            shown, least = (f"{100 * each:.{decimals}f}" for each in (fraction, threshold))
            is_below = float(shown) < float(least) or fraction >= threshold
            if is_below and (float(shown) not in (0.0, 100.0) or fraction in (0.0, 1.0)):
                break
        zero = f"{0:.{self.percent_decimals}f}"
        return self._written(zero if float(shown) == 0.0 else shown)

    def points(self, change: float) -> str:
        """Return a difference of two fractions in percentage points."""
        shown = f"{100 * change:.{self.percent_decimals}f}"
        return self._written(shown.removeprefix("-") if float(shown) == 0.0 else shown)

    def times(self, ratio: float) -> str:
        """Return a ratio with one decimal."""
        return self._written(f"{ratio:.1f}")

    def score(self, value: float) -> str:
        """Return a score with the template's decimals."""
        return self._written(f"{value:.{self.severity.decimals}f}")

    def _written(self, number: str) -> str:
        return number.replace(".", self.decimal)

    def grade(self, probability: float) -> str:
        """Return the words for a probability in [0, 1]."""
        return next(each.words for each in self.impression.grades if probability >= each.at_least)

    def spoken_in(self, encodings: Sequence[str]) -> Template:
        """Return the template in letters that every one of the Python codecs can write.

        The panel of the overlay keeps its letters: it is drawn, not encoded.
        """
        plain = {
            name: _folded(getattr(self, name), encodings, self.transliteration)
            for name in _Document.model_fields
            if name not in ("panel", "transliteration")
        }
        return self.model_copy(update={**plain, "encodings": tuple(encodings)})

    def spoken(self, part: _Part) -> _Part:
        """Return words that are none of the template in the letters of `spoken_in`."""
        told: _Part = _folded(part, self.encodings, self.transliteration)
        return told

    def codes(self) -> Iterator[Code]:
        """Yield every code of the template."""
        return (code for _, code in _codes(self))


def _folded(part: Any, encodings: Sequence[str], letters: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return part if _holds(part, encodings) else _transliterated(part, letters)
    if isinstance(part, BaseModel):
        values = {
            name: _folded(getattr(part, name), encodings, letters)
            for name in type(part).model_fields
        }
        # Most parts are spoken as they are.
        changed = any(value is not getattr(part, name) for name, value in values.items())
        return part.model_copy(update=values) if changed else part
    if isinstance(part, dict):
        folded = {key: _folded(value, encodings, letters) for key, value in part.items()}
        return folded if any(folded[key] is not part[key] for key in part) else part
    if isinstance(part, tuple):
        several = tuple(_folded(value, encodings, letters) for value in part)
        return several if any(a is not b for a, b in zip(several, part, strict=True)) else part
    return part


def _holds(text: str, encodings: Sequence[str]) -> bool:
    for encoding in encodings:
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return False
    return True


def _transliterated(text: str, letters: Mapping[str, str]) -> str:
    spelt = "".join(letters.get(letter, letter) for letter in text)
    return unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode("ascii")


def _codes(part: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Location, Code]]:
    """Yield every code with the keys that lead to it."""
    if isinstance(part, Code):
        yield path, part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _codes(getattr(part, name), (*path, name))
    elif isinstance(part, dict | tuple):
        for key, each in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _codes(each, (*path, key))


def load_template(path: Path) -> Template:
    """Return the template in ``path``. Raises `TemplateInvalid` naming file, line and key."""
    text = read_text(path, path.name)
    if isinstance(text, Fault):
        raise TemplateInvalid(str(text))
    source = parse(text, path.name)
    if isinstance(source, Fault):
        said = source.what.removeprefix("not valid TOML: ")
        raise TemplateInvalid(f"{path.name}:{source.line}: is not TOML: {said}")
    source = replace(source, tables=_of_this_release(source.tables, path.parent))
    return _validated(source, hashlib.sha256(text.encode()).hexdigest(), path.stem)


_RETIRED = (
    ("measurements", "score"), ("severity", "airspace", "opaque_from"),
    ("severity", "airspace", "disagrees"), ("severity", "lung", "right"),
    ("severity", "lung", "left"), ("severity", "zone", "concept"), ("panel", "analysed"),
)  # fmt: skip
"""Keys of older releases, which say nothing any more."""


def _of_this_release(tables: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a site's template with what older releases did not know, as it is shipped.

    In the template's language where one is shipped in it, else in English. A code that is there is
    the site's own, whole or not.
    """
    shipped = report_templates()
    if folder.resolve() == shipped.resolve():
        return dict(tables)
    known = [tomllib.loads(path.read_text("utf-8")) for path in sorted(shipped.glob("*.toml"))]
    spoken = _spoken(tables).get("language", "").partition("-")[0]
    ours = {str(each["language"]["value"]).partition("-")[0]: each for each in known}
    completed = _completed(tables, ours.get(spoken, ours["en"]))
    for *path, name in _RETIRED:
        table: Any = completed
        for key in path:
            table = table.get(key) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table.pop(name, None)
    return completed


def _completed(tables: Mapping[str, Any], shipped: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(tables)
    for name, ours in shipped.items():
        theirs = found.setdefault(name, ours)
        if isinstance(ours, dict) and isinstance(theirs, dict) and "value" not in ours:
            found[name] = _completed(theirs, ours)
    return found


def _validated(source: SettingsFile, digest: str, name: str) -> Template:
    try:
        document = _Document.model_validate(source.tables, context=_spoken(source.tables))
    except ValidationError as error:
        faults = [_pointed(fault) for fault in explain(error, _Document, source.places)]
        raise TemplateInvalid("; ".join(str(fault) for fault in faults)) from error
    template = Template.model_construct(**dict(document), digest=digest, name=name)
    _check_spelt_out(template, source.places)
    return template


def _spoken(tables: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the language of a template that is not checked yet, as context of its checks."""
    language = tables.get("language")
    return {"language": str(language.get("value", ""))} if isinstance(language, dict) else {}


def _check_spelt_out(template: Template, places: KeyPlaces) -> None:
    """Raise `TemplateInvalid` where a text becomes too long in plain letters ("ä" as "ae")."""
    plain = template.spoken_in(("ascii",))
    texts = [((*path, "meaning"), code.meaning) for path, code in _codes(plain)]
    texts += [((name,), getattr(plain, name)) for name in _DESCRIPTIONS]
    for path, text in texts:
        if len(text) > LONG_STRING:
            what = (
                f"{text!r} has more than {LONG_STRING} characters where a film's character set"
                " has no letters beyond ASCII"
            )
            raise TemplateInvalid(str(places.fault(path, what, "shorten it")))


def template_schema() -> dict[str, Any]:
    """Return the JSON Schema of a template, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_Document.model_json_schema(),
        "title": "Report template of dicom-node",
    }


def _pointed(fault: Fault) -> Fault:
    # Keys of a template have no help text of their own: the shipped template is their description.
    if not fault.remedy.startswith("see docs"):
        return fault
    return replace(fault, remedy="compare with the template that is shipped with dicom-node")
