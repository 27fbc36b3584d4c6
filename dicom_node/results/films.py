"""What results are written from: films with their findings, and the circumstances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from pydicom import Dataset

from dicom_node.bundles.declared import ObservationWords, Says, plain, words_of
from dicom_node.chest import opacities_by_class
from dicom_node.errors import ResultError
from dicom_node.findings import (
    VIEWS,
    Explanation,
    FilmFindings,
    LungMask,
    Outcome,
    SaliencyMap,
)
from dicom_node.imaging.grayscale import Film, Shown, is_inverted
from dicom_node.imaging.header import CodedEntry, patient_orientation_of, view_of
from dicom_node.imaging.orientation import Hanging, hanging, turned_back
from dicom_node.imaging.values import integer, text
from dicom_node.observations import Observation
from dicom_node.results.cards import NetworkCard
from dicom_node.results.templates import Template
from dicom_node.uids import derived_uid

_T = TypeVar("_T")
_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True, eq=False)
class AnalysedFilm:
    """One film of the study.

    ``dataset``: the source as received; its pixels need not be in it. ``pixels``: the `film`, or
    what gives it when it is first looked at, and again after `let_go`. ``digest``: SHA-256 of the
    stored source. A declined or failed film has no ``explanation``, and its pixels are not looked
    at (shape (0, 0) will do). ``admitted_view``: PA, AP, FRONTAL, or "" where that is not known.
    ``pixel_data_bytes``: the length of the source's Pixel Data, where that was left out.
    """

    dataset: Dataset
    pixels: Film | Callable[[], Shown]
    findings: FilmFindings
    explanation: Explanation
    digest: str
    admitted_view: str = ""
    pixel_data_bytes: int = 0
    worked_out: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """What `once_a_film` keeps."""
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """What `once_a_study` keeps."""

    @property
    def film(self) -> Film:
        """Display grey levels, float32 in [0, 1], bright = dense, shape (Rows, Columns).

        Raises `ImageError`, and `SpoolError` for a stored film.
        """
        return _shown(self).film if callable(self.pixels) else self.pixels

    @property
    def is_inverted(self) -> bool:
        """Whether low stored values are bright, see `grayscale.is_inverted`; errors as of `film`"""
        return _shown(self).inverted if callable(self.pixels) else is_inverted(self.dataset)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, for which no pixel is looked at."""
        if callable(self.pixels):
            return integer(self.dataset, "Rows") or 0, integer(self.dataset, "Columns") or 0
        rows, columns = self.pixels.shape
        return rows, columns

    def let_go(self) -> None:
        """Forget the pixels and what was drawn and measured on them: all but what is for a study.

        They come again when they are asked for.
        """
        self.worked_out.clear()

    @property
    def view(self) -> str:
        """How the film was taken, one of `VIEWS`: as it was admitted, else as its header says."""
        return _view(self)

    @property
    def hanging(self) -> Hanging:
        """What hangs the stored film upright: by its header, then by what the pixels say."""
        said = hanging(patient_orientation_of(self.dataset))
        return said.then(turned_back(self.findings.turned))

    @property
    def has_answers(self) -> bool:
        """Whether a network named a finding or observed anything: there is something to report."""
        findings = self.findings
        return findings.finding is not None or (self.is_analysed and bool(findings.observed))

    @property
    def is_named(self) -> bool:
        """Whether a class with a finding was named: not normal, and not abstained."""
        finding = self.findings.finding
        return finding is not None and bool(opacities_by_class(finding))

    @property
    def saliency(self) -> tuple[SaliencyMap, ...]:
        """Where each network looked; first the one that named the finding."""
        return self.explanation.maps

    @property
    def lungs(self) -> LungMask | None:
        """The lungs, where a network found them."""
        return self.explanation.lungs

    @property
    def is_analysed(self) -> bool:
        """Whether there are findings to show; the others are only mentioned."""
        return self.findings.outcome is Outcome.ANALYSED


def once_a_film(
    work: Callable[Concatenate[AnalysedFilm, _P], _T],
) -> Callable[Concatenate[AnalysedFilm, _P], _T]:
    """Keep with a film what ``work`` returns for it, since report, capture and others all ask.

    Until `AnalysedFilm.let_go`. A film that is changed by `dataclasses.replace` is another film.
    """
    return _once(work, lambda film: film.worked_out)


def once_a_study(
    work: Callable[Concatenate[AnalysedFilm, _P], _T],
) -> Callable[Concatenate[AnalysedFilm, _P], _T]:
    """Keep what ``work`` returns also when the pixels are let go: small, and told of the study.

    What else it is given is the same for all of a study.
    """
    return _once(work, lambda film: film.kept)


def _once(
    work: Callable[Concatenate[AnalysedFilm, _P], _T],
    shelf: Callable[[AnalysedFilm], dict[str, Any]],
) -> Callable[Concatenate[AnalysedFilm, _P], _T]:
    name = f"{work.__module__}.{work.__qualname__}"

    @wraps(work)
    def known(film: AnalysedFilm, /, *told: _P.args, **named: _P.kwargs) -> _T:
        if name not in shelf(film):
            shelf(film)[name] = work(film, *told, **named)
        found: _T = shelf(film)[name]
        return found

    return known


@once_a_film
def _shown(film: AnalysedFilm) -> Shown:
    assert callable(film.pixels)
    return film.pixels()


@once_a_study
def _view(film: AnalysedFilm) -> str:
    position, codes = view_of(film.dataset)
    said = (film.admitted_view, position, *map(_view_of, codes))
    return next((each for each in map(str.upper, said) if each in VIEWS), "unknown")


@dataclass(frozen=True, slots=True)
class EarlierFilm:
    """A film of the same patient that was analysed before. ``when``: see `taken_at`."""

    when: str
    findings: FilmFindings


@dataclass(frozen=True, slots=True)
class Context:
    """Everything about a report that is not the films.

    ``revision``: 1 for the first report of a study. ``predecessors``: SOP class, SOP instance and
    series UID of the reports it replaces.
    ``earlier``: films of the same patient from other studies, oldest first. ``apart``: tells this
    patient's series from those of the study's first patient, see `dicom_node.results.apart`.
    """

    node_ae_title: str
    template: Template
    series_number_base: int
    networks: Mapping[str, NetworkCard]
    revision: int
    predecessors: tuple[tuple[str, str, str], ...]
    earlier: tuple[EarlierFilm, ...] = ()
    alive: Callable[[], None] = field(default=lambda: None, compare=False)
    """Called before each film of long work: who writes shows that it goes on."""
    apart: str = ""

    def series_uid(self, source: Dataset, kind: str) -> str:
        """Return the series of a kind of object: one a study, patient and node."""
        parts = (str(source.StudyInstanceUID), kind, self.node_ae_title)
        return derived_uid("series", *parts, *filter(None, (self.apart,)))

    def cards(self, films: Sequence[AnalysedFilm]) -> tuple[NetworkCard, ...]:
        """Return the networks that answered on ``films``, in the version that answered.

        That may be older than the configured one; only title and intended use are taken from
        there.
        """
        found: dict[tuple[str, str, str], NetworkCard] = {}
        for film in films:
            for name, ran in film.findings.suite.items():
                known = self.networks.get(name)
                found.setdefault(
                    (name, ran.version, ran.weights),
                    NetworkCard(
                        id=name,
                        title=self.template.spoken(known.title) if known else name,
                        version=ran.version,
                        weights=ran.weights,
                        intended_use=self.template.spoken(known.intended_use) if known else "",
                        declaration=known.declaration if known else None,
                    ),
                )
        return tuple(found[key] for key in sorted(found))

    def detector(self, film: AnalysedFilm) -> NetworkCard:
        """Return the network that named the finding; without one, the first that observed anything.

        Raises `ResultError` if none is stated.
        """
        name = _first_network(film)
        for card in self.cards([film]):
            if card.id == name:
                return card
        raise ResultError(
            f"The findings on {film.findings.sop_instance_uid} do not say which network answered.",
            remedy="Analyse the film again: `dicom-node cases reanalyse`.",
        )

    def grader(self, film: AnalysedFilm, target: str) -> NetworkCard:
        """Return the network whose saliency map explains ``target``; else the detector."""
        names = [heat.network for heat in film.saliency if heat.target == target]
        for card in self.cards([film]):
            if card.id in names:
                return card
        return self.detector(film)

    def card(self, film: AnalysedFilm, network: str) -> NetworkCard:
        """Return a network of the film's suite by its id; else the detector."""
        for card in self.cards([film]):
            if card.id == network:
                return card
        return self.detector(film)

    def says(self, observation: Observation) -> Says | None:
        """Return what its manifest says of an observation; None where it is not installed."""
        card = self.networks.get(observation.network)
        declared = card.declaration.says if card and card.declaration else ()
        return next((said for said in declared if said.key == observation.key), None)

    def words(self, observation: Observation) -> ObservationWords:
        """Return how an observation is called: by the template, else by its manifest.

        In the template's language, and in letters that the film's character set has.
        """
        own = self.template.networks.get(observation.network, {}).get(observation.key)
        if own is not None:
            return own
        card = self.networks.get(observation.network)
        if card is None or card.declaration is None:
            return ObservationWords(name=plain(observation.key))
        language = self.template.language.value
        return self.template.spoken(words_of(card.declaration, observation.key, language))

    def facts(self, films: Sequence[AnalysedFilm]) -> tuple[str, ...]:
        """Return what a result of ``films`` follows from, for derived UIDs.

        The findings are part of it: another answer on the same film is another object.
        """
        sources = (f"{film.digest}:{film.view}:{film.findings.to_json_text()}" for film in films)
        cards = (*self.cards(films), *self.networks.values())
        suite = sorted({f"{card.id}:{card.version}:{card.weights}" for card in cards})
        course = (f"{film.when}:{film.findings.to_json_text()}" for film in self.earlier)
        return (*sources, *suite, *course, self.template.digest, self.node_ae_title)


def _first_network(film: AnalysedFilm) -> str:
    """Return which network answered first: the one of the finding, where there is a finding."""
    findings = film.findings
    declared = [one.network for one in findings.observed]
    if findings.finding is None and declared:
        return declared[0]
    looked = (heat.network for heat in film.saliency if heat.network not in declared)
    return next(looked, next(iter(findings.suite), ""))


_VIEW_CODES = {
    ("SCT", "272479007"): "PA", ("SRT", "R-10214"): "PA",
    ("SCT", "399348003"): "AP", ("SRT", "R-10206"): "AP",
}  # fmt: skip


def _view_of(code: CodedEntry) -> str:
    return _VIEW_CODES.get((code.scheme, code.value), "")


def part_examined(films: Sequence[AnalysedFilm]) -> str:
    """Return the chest, which our own networks know; of films that others eat, what they say.

    "" where they say nothing that is a code string of the standard.
    """
    answered = [film for film in films if film.has_answers]
    if not answered or any(film.findings.finding is not None for film in answered):
        return "CHEST"
    stated = text(answered[0].dataset, "BodyPartExamined")
    return stated if stated.isascii() and len(stated) <= 16 else ""


def taken_at(source: Dataset) -> str:
    """Return when the film was taken, as far as its header tells, else "". Never raises."""
    for prefix in ("Acquisition", "Content", "Series", "Study"):
        date = text(source, f"{prefix}Date")
        if len(date) == 8 and date.isdigit():
            time = text(source, f"{prefix}Time")
            clock = f" {time[:2]}:{time[2:4]}" if len(time) >= 4 and time[:4].isdigit() else ""
            return f"{date[:4]}-{date[4:6]}-{date[6:]}{clock}"
    return ""
