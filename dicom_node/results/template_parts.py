"""The parts of a report template: codes and words, each checked where it stands."""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydicom.sr.codedict import codes

from dicom_node.chest import APPEARANCES, PARTS, SCORES, ZONES
from dicom_node.findings import QUALITY, VIEWS

LONG_STRING = 64
"""Characters in a Long String (PS3.5 section 6.2): code meanings and Series Descriptions."""

_PUBLIC = ("DCM", "SCT")


def _printable(text: str) -> str:
    odd = next((character for character in text if not character.isprintable()), None)
    if odd is not None:
        raise ValueError(f"{odd!r} is a control character")
    return text


def _single(text: str) -> str:
    if "\\" in text:
        raise ValueError("a backslash would part it into two values (PS3.5 section 6.4)")
    return text


@cache
def _official(scheme: str) -> Mapping[str, frozenset[str]]:
    """Return the meanings of every code of a public scheme that DICOM uses (PS3.16)."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    dictionary = getattr(codes, scheme, None)
    for keyword in dir(dictionary) if dictionary is not None else ():
        if keyword[0].isupper():
            code = getattr(dictionary, keyword)
            known[code.value].add(code.meaning)
    return {value: frozenset(meanings) for value, meanings in known.items()}


def words(*names: str) -> AfterValidator:
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


def exactly(what: str, names: Sequence[str]) -> AfterValidator:
    """Return a check that a table has exactly the keys ``names``."""

    def check(found: dict[str, Any]) -> dict[str, Any]:
        if set(found) != set(names):
            raise ValueError(f"there must be exactly the {what} {', '.join(names)}")
        return found

    return AfterValidator(check)


Words = Annotated[str, Field(min_length=1), AfterValidator(_printable)]
Short = Annotated[str, Field(min_length=1, max_length=LONG_STRING - 12), AfterValidator(_printable)]
"""A tracking identifier: ", film 12" may follow."""

Label = Annotated[
    str,
    Field(min_length=1, max_length=LONG_STRING),
    AfterValidator(_printable),
    AfterValidator(_single),
]
Plain = Annotated[str, Field(min_length=1), words()]


def _said_with_what_is_there(reasons: dict[str, str]) -> dict[str, str]:
    """Return the words by reason. Raises ValueError for a placeholder that its reason lacks."""
    for known, said in reasons.items():
        names = [name for _, name, _, _ in string.Formatter().parse(known) if name is not None]
        words(*names).func(said)  # type: ignore[call-arg]
    return reasons


class TemplatePart(BaseModel):
    """A table of the template: nothing in it that is not known here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(TemplatePart):
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 section 8).

    A code of the scheme DCM must be one; in English, a code of DCM or SCT that DICOM uses has the
    meaning that it has there.
    """

    value: Annotated[Words, AfterValidator(_single)]
    scheme: str = Field(min_length=1, max_length=16, pattern=r"^[A-Z0-9_]+$")
    meaning: Label

    @model_validator(mode="after")
    def _is_official(self, info: ValidationInfo) -> Self:
        if self.scheme not in _PUBLIC:
            return self
        meanings = _official(self.scheme).get(self.value)
        if meanings is None and self.scheme == "DCM":
            raise ValueError(f"there is no code {self.value} in the scheme DCM (PS3.16)")
        in_english = str((info.context or {}).get("language", "")).startswith("en")
        if meanings and in_english and self.meaning not in meanings:
            told = " or ".join(sorted(meanings))
            raise ValueError(f"({self.value}, {self.scheme}) means {told}")
        return self


class Grade(TemplatePart):
    """The words for a probability of ``at_least`` so much, in [0, 1]."""

    at_least: float = Field(ge=0.0, le=1.0)
    words: Words


Headline = Annotated[Words, words("finding", "films", "probability", "threshold", "grade")]


class Impression(TemplatePart):
    """The first group of the report.

    ``named``: the concept name under which ``abstained_finding`` is the answer where no class is
    named: that is no finding, and nothing that imports findings may take it for one.
    """

    tracking: Annotated[str, Field(max_length=LONG_STRING - 12), words("finding")]
    tracking_in_doubt: Annotated[str, Field(max_length=LONG_STRING - 12), words("finding")]
    headline: Headline
    headline_uncalibrated: Annotated[Words, words("finding", "films", "probability", "threshold")]
    abstained: Annotated[Words, words("threshold")]
    doubtful: Annotated[Words, words("headline", "why")]
    outside: Annotated[Words, words()]
    by_chance: Annotated[Words, words()]
    knows: Annotated[Words, words()]
    knows_beside: Annotated[str, words()] = ""
    named: Code
    abstained_finding: Code
    basis: Annotated[Words, words("network", "version", "digest", "threshold")]
    calibrated: Annotated[Words, words()]
    uncalibrated: Annotated[Words, words()]
    grades: tuple[Grade, ...] = Field(min_length=1)

    @field_validator("grades")
    @classmethod
    def _descending_to_zero(cls, grades: tuple[Grade, ...]) -> tuple[Grade, ...]:
        steps = [grade.at_least for grade in grades]
        if steps != sorted(set(steps), reverse=True) or steps[-1] != 0.0:
            raise ValueError("at_least must fall from grade to grade and end with 0.0")
        return grades


class ContradictionText(TemplatePart):
    """How answers that cannot both be true are said and coded."""

    headline: Annotated[Words, words("one", "other")]
    parts: Annotated[Words, words(PARTS, "opaque_from"), Field(alias=PARTS)]
    score: Annotated[Words, words("score", "value")]
    interval: Annotated[Words, words("value", "low", "high")]
    map: Annotated[Words, words("part")]
    concept: Code
    in_doubt: Code


class ViewText(TemplatePart):
    """How the view is coded and named, and what is said of it. ``names``: see `VIEWS`."""

    concept: Code
    pa: Code
    ap: Code
    names: Annotated[dict[str, Label], exactly("views", VIEWS)]
    sentence: Annotated[Words, words("view", "caveat")]
    caveat_ap: Annotated[Words, words()]
    caveat_unknown: Annotated[Words, words()]


class GroupText(TemplatePart):
    """How a measurement group is called in viewers' lists."""

    tracking: Short


class ParametersText(GroupText):
    """How the group of what the algorithms ran with is called, and its one number."""

    threshold: Code


class LookedText(GroupText):
    """How the group of the explanation is called; ``found``: where a contour is drawn."""

    found: Annotated[str, Field(max_length=LONG_STRING - 12), words("finding")]


class Measurements(TemplatePart):
    """Concept names of the measurements; ``certainty``: the standard's, for a named class."""

    certainty: Code
    change_when_hidden: Code
    saliency_in_lungs: Code
    chance: Code


class Texts(TemplatePart):
    """Concept names of the sentences."""

    headline: Code
    basis: Code
    explanation: Code
    comment: Code


class FindingClass(TemplatePart):
    """How one class of the detection network is named and coded.

    ``films``: those that it resembles. ``certainty``: its number where it is the finding and the
    network is calibrated; ``probability``: where it is not the finding; ``score``: where the
    network is not calibrated.
    """

    wording: Short
    films: Annotated[Words, words()]
    finding: Code
    certainty: Code
    probability: Code
    score: Code
    comment: Annotated[Words, words()]


class OpacityText(GroupText):
    """How it is said and coded whether the lungs show any opacity.

    ``present`` and ``absent``: the answer's code; ``yes`` and ``no``: its word in the sentence.
    ``normal``: the sentence of a normal film without opacity. ``certainty``: the number's name
    where there is opacity and the network is calibrated; ``probability``: where there is none;
    ``score``: where it is not calibrated.
    """

    sentence: Annotated[Words, words("answer", "probability", "threshold")]
    sentence_uncalibrated: Annotated[Words, words("answer", "probability", "threshold")]
    yes: Plain
    no: Plain
    normal: Annotated[Words, words("probability")]
    concept: Code
    present: Code
    absent: Code
    finding: Code
    certainty: Code
    probability: Code
    score: Code
    comment: Annotated[Words, words()]


class AppearanceClass(TemplatePart):
    """How one appearance is named and coded. ``answer``: its code; the number's name as of a class.

    ``comment``: what it means, and that it is no diagnosis.
    """

    wording: Plain
    answer: Code
    probability: Code
    score: Code
    comment: Annotated[Words, words()]


class AppearanceText(TemplatePart):
    """How the COVID-19 appearance is said and coded: a description, never a diagnosis.

    ``finding``: of a film that is named anything but negative. ``all``: the probabilities of all
    four, each as in ``each``; ``none``: where no appearance is named.
    """

    tracking: Annotated[str, Field(max_length=LONG_STRING - 12), words("appearance")]
    sentence: Annotated[Words, words("appearance", "probability")]
    sentence_uncalibrated: Annotated[Words, words("appearance", "probability")]
    none: Annotated[Words, words("threshold")]
    unnamed: Plain
    each: Annotated[Words, words("appearance", "probability")]
    all: Annotated[Words, words("each")]
    concept: Code
    undetermined: Code
    finding: Code
    comment: Annotated[Words, words()]
    classes: Annotated[dict[str, AppearanceClass], exactly("appearances", APPEARANCES)]


class EvidenceText(TemplatePart):
    """How the explanation is described.

    ``ratio_below``: as many times as by chance, under which the network looked elsewhere;
    ``lungs_below``: the part of the heat in the lungs, where chance is not known.
    """

    sentence: Annotated[Words, words("finding", "change")]
    weak: Annotated[Words, words("finding")]
    weak_below: float = Field(ge=0.0, le=1.0)
    inside: Annotated[Words, words("inside")]
    inside_by_chance: Annotated[Words, words("inside", "ratio", "chance")]
    elsewhere: Annotated[Words, words("inside")]
    ratio_below: float = Field(ge=0.0, le=10.0)
    peak: Annotated[Words, words()]
    lungs_below: float = Field(ge=0.0, le=1.0)
    missing: Annotated[Words, words()]
    not_drawn: Annotated[Words, words()]


class MapText(TemplatePart):
    """How the opacity map is named, coded and described.

    ``wording``: of the map; ``right`` and ``left``: of each lung. ``part`` and the two after it:
    how much is mapped opaque; ``threshold``: the probability from which a place is. ``sentence``:
    what contour and colour mean; ``nothing``: where nothing is mapped; ``anywhere``: where no lungs
    were found.
    """

    wording: Short
    right: Short
    left: Short
    part: Code
    part_right: Code
    part_left: Code
    threshold: Code
    sentence: Annotated[Words, words("threshold")]
    nothing: Annotated[Words, words("threshold")]
    anywhere: Annotated[Words, words()]
    parts: Annotated[Words, words("lungs", "right", "left")]
    absent: Annotated[Words, words()]


class Graded(TemplatePart):
    """How one kind of severity is named, coded and commented.

    ``checked``: what falls, in points, when that which weighed most is hidden.
    """

    wording: Short
    checked: Annotated[Words, words()]
    concept: Code
    comment: Annotated[Words, words()]


class AirspaceText(Graded):
    """How the airspace level is reported."""

    certainty: Code


class ScoreText(Graded):
    """How an extent is reported; ``right`` and ``left``: each lung's part of it."""

    right: Code
    left: Code


class LungText(TemplatePart):
    """How the group of each lung's part of a score is named."""

    wording: Annotated[str, Field(max_length=LONG_STRING - 12), words("score", "side")]
    comment: Annotated[Words, words()]


class ZoneText(TemplatePart):
    """How the graded parts of the lungs are named and their scores coded.

    ``rest``: the group of a lung's parts that have no opacities.
    """

    concepts: Annotated[dict[str, Code], exactly(PARTS, ZONES)]
    rest: Annotated[str, Field(max_length=LONG_STRING - 12), words("side")]
    right: Label
    left: Label
    right_upper: Label
    right_middle: Label
    right_lower: Label
    left_upper: Label
    left_middle: Label
    left_lower: Label

    def named(self, zone: str) -> str:
        """Return the name of a zone, e.g. ``right_upper``."""
        return str(getattr(self, zone))


class Severity(TemplatePart):
    """How severity is reported. ``decimals``: of the scores shown; ``levels``: 0, 1, 2.

    ``mapped`` and ``mapped_weak``: the evidence of networks that an opacity map explains.
    """

    finding: Code
    decimals: int = Field(ge=0, le=3)
    low: Code
    high: Code
    scores: Annotated[dict[str, ScoreText], exactly("scores", SCORES)]
    airspace: AirspaceText
    levels: tuple[Code, Code, Code]
    evidence: Annotated[Words, words("checked", "change")]
    evidence_weak: Annotated[Words, words("checked")]
    mapped: Annotated[Words, words("checked", "change")]
    mapped_weak: Annotated[Words, words("checked")]
    lung: LungText
    zone: ZoneText


class ObservedText(TemplatePart):
    """How it is said what networks observe that declare it themselves, see `ObservationWords`.

    ``tracking`` and ``tracking_many``: the film's first group where no detection network ran.
    ``sentence``: of one observation; ``short``: in lists, of what cannot stand without its name;
    ``headline``: of a number in a conclusion. ``label``: a class, level or label with its number in
    lists; ``found``: in sentences; ``percent``: the number alone; each also where its numbers are
    no probabilities. ``unnamed`` and ``none_reached``: where nothing reaches its threshold, with
    what there is in ``each``; ``undetermined`` and ``none``: the same in lists. ``missed``: the
    group of what does not reach its threshold. ``place``: the group of one place. ``places``: how
    many there are. ``number`` and ``interval``: of a score or measurement; ``threshold``: what it
    is held against. ``covered``: how much of the film a mask covers, ``covered_lungs``: of the
    lungs. ``absent``: where there is no value. ``unanswered``: where a network said nothing;
    ``nothing``: where none said anything. ``more``: how many lines a
    panel leaves out. ``knows``, ``basis``, ``calibrated``,
    ``uncalibrated``:
    as of `Impression`. ``explained`` and ``explained_weak``: as of `EvidenceText`;
    ``points``: a fall of a probability; ``unexplained``:
    of a network that shows nowhere where it looked. ``units``: how units (UCUM) are read; others as
    they are written. ``reasons``: why a value is missing or a network said nothing, by the words in
    which findings have it; ``{…}`` in these stands for anything, and may be left out. Others are
    told as they are.

    ``certainty``, ``probability`` and ``score``: meanings of the codes of a label's number, as of
    `FindingClass`; ``part``: of how much a mask covers; ``count``: of how many places there are;
    ``low`` and ``high``: the ends of the interval; ``undetermined_answer``: where no class is
    named; ``observations`` and ``observations_found``: of how many there
    are, and of how many say that something is there.
    """

    tracking: Annotated[str, Field(max_length=LONG_STRING - 12), words("finding")]
    tracking_many: Short
    sentence: Annotated[Words, words("name", "answer")]
    short: Annotated[Words, words("name", "answer")]
    headline: Annotated[Words, words("name", "answer")]
    label: Annotated[Words, words("label", "probability")]
    label_uncalibrated: Annotated[Words, words("label", "probability")]
    found: Annotated[Words, words("label", "probability")]
    found_uncalibrated: Annotated[Words, words("label", "probability")]
    percent: Annotated[Words, words("probability")]
    percent_uncalibrated: Annotated[Words, words("probability")]
    unnamed: Annotated[Words, words("each")]
    none_reached: Annotated[Words, words("each")]
    undetermined: Plain
    none: Plain
    missed: Annotated[str, Field(max_length=LONG_STRING - 12), words("name")]
    place: Annotated[str, Field(max_length=LONG_STRING - 12), words("name", "number")]
    places: Annotated[Words, words("count", "each")]
    number: Annotated[Words, words("value", "unit")]
    interval: Annotated[Words, words("value", "unit", "low", "high")]
    threshold: Annotated[Words, words("answer", "threshold")]
    covered: Annotated[Words, words("part")]
    covered_lungs: Annotated[Words, words("part")]
    absent: Annotated[Words, words("why")]
    unanswered: Annotated[Words, words("network", "why")]
    nothing: Plain
    more: Annotated[Words, words("count")]
    knows: Annotated[Words, words("networks")]
    basis: Annotated[Words, words("network", "version", "digest")]
    calibrated: Plain
    uncalibrated: Plain
    explained: Annotated[Words, words("finding", "change")]
    explained_weak: Annotated[Words, words("finding")]
    points: Annotated[Words, words("change")]
    unexplained: Plain
    units: dict[str, Label]
    reasons: Annotated[dict[str, Words], AfterValidator(_said_with_what_is_there)] = {}
    certainty: Annotated[Words, words("label")]
    probability: Annotated[Words, words("label")]
    score: Annotated[Words, words("label")]
    part: Annotated[Words, words("name")]
    count: Annotated[Words, words("name")]
    low: Code
    high: Code
    undetermined_answer: Code
    observations: Code
    observations_found: Code


class Status(TemplatePart):
    """How the outcome of all algorithms together is coded (PS3.16 CID 6047).

    ``some_…``: where a network of the suite gave no answer.
    """

    concept: Code
    with_findings: Code
    without_findings: Code
    some_with_findings: Code
    some_without_findings: Code
    none_succeeded: Code


class QualityText(TemplatePart):
    """How doubts about the film itself are coded and said (PS3.16 CID 6135)."""

    concept: Code
    faults: Annotated[dict[str, Code], exactly("faults", QUALITY)]
    comment: Annotated[Words, words("faults")]


class NotesText(TemplatePart):
    """How it is said in what way a film was read (`findings.NOTES`)."""

    unread: Annotated[Words, words("what")] = "Not readable in the header, taken as absent: {what}."
    own_range: Words = "No window of the header shows the film; its own range of grey was taken."
    bits: Words = "Bits Stored would cut the image off; all bits of its pixels were read."
    stream: Words = "The compressed stream breaks its standard; every pixel was there."
    polarity: Words = (
        "Presentation LUT Shape contradicts Photometric Interpretation; "
        "black and white follow from the pixels."
    )
    polarity_stated: Words = (
        "Presentation LUT Shape contradicts Photometric Interpretation, and the pixels do not "
        "decide; black and white are as Presentation LUT Shape says."
    )
    turned: Words = (
        "The film lies turned; it was analysed upright, as its Patient Orientation says."
    )
    mirrored: Words = (
        "The film lies mirrored; it was analysed as it is hung, as its Patient Orientation says."
    )
    orientation: Words = (
        "Patient Orientation is not that of a frontal film; the film was analysed as stored."
    )
    found_inverted: Words = (
        "By its pixels the film is inverted, against its header; it was analysed with black and "
        "white exchanged, and is shown as stored."
    )
    found_quarter_right: Words = (
        "By its pixels the film lies turned clockwise by 90 degrees; it was analysed upright, and "
        "is shown as stored."
    )
    found_upside_down: Words = (
        "By its pixels the film lies upside down; it was analysed upright, and is shown as stored."
    )
    found_quarter_left: Words = (
        "By its pixels the film lies turned counterclockwise by 90 degrees; it was analysed "
        "upright, and is shown as stored."
    )
    found_mirrored: Words = (
        "By its pixels the film may be mirrored, or the heart lies on the right: right and left of "
        "the answers may be exchanged. Nothing was corrected."
    )
    child: Words = "By its pixels the film is of a child; the networks learned from adults."
    no_lungs: Words = "No lungs were found on the film; the networks looked at all of it."

    def sentence(self, note: str) -> str:
        """Return the sentence of one of the film's notes; "" for one of a later release."""
        key, _, what = note.partition(":")
        return str(getattr(self, key, "")).format(what=what.replace(",", ", "))


class Second(TemplatePart):
    """How the answers of further detection networks are said."""

    wording: Annotated[str, Field(max_length=LONG_STRING - 12), words("network")]
    sentence: Annotated[Words, words("headline")]
    comment: Annotated[Words, words()]


class CourseTemplate(TemplatePart):
    """How earlier films of the same patient are told."""

    concept: Code
    sentence: Annotated[Words, words("films")]
    film: Annotated[Words, words("when", "headline")]
    scores: Annotated[Words, words(*SCORES)]


class NotAnalysed(TemplatePart):
    """How a film of the study that has no findings is mentioned.

    ``finding``: what is known of it, as an answer under `Impression.named`.
    """

    tracking: Label
    finding: Code
    outcome: Code
    declined: Code
    failed: Code
    reason: Code


class PanelText(TemplatePart):
    """What stands beside the film on the overlay.

    ``heading_any``: of films that networks of others alone looked at, which need not be chests.
    """

    heading: Plain
    heading_any: Plain
    patient: Plain
    accession: Plain
    study: Plain
    probabilities: Plain
    scores: Plain
    threshold: Annotated[str, words("threshold")]
    opacity: Plain
    appearance: Plain
    severity: Plain
    explanation: Plain
    legend_low: Plain
    legend_contour: Plain
    legend_high: Plain
    mapped: Plain
    legend_unsure: Plain
    legend_sure: Plain
    course: Plain
    parts: Annotated[Plain, Field(alias=PARTS)]
    right: Plain
    left: Plain
    provenance: Plain
    taken: Annotated[str, words("when", "view")]
    undated: Annotated[str, words("view")]
    view: Plain
    birth: Annotated[str, words("date")]
    network: Annotated[str, words("network", "version", "digest")]

    limits: Plain
    unverified: Plain
