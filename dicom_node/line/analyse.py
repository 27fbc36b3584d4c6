"""From stored films to findings in the ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_node.analysis.asked import Asked
from dicom_node.analysis.engine import Answer, Engine
from dicom_node.bundles.declared import Declaration
from dicom_node.errors import (
    AnalysisError,
    DeviceUnavailable,
    ImageError,
    NodeError,
    SpoolError,
    Unavailable,
)
from dicom_node.findings import FilmFindings, Outcome, pack_explanation
from dicom_node.imaging.grayscale import shown
from dicom_node.imaging.header import (
    FilmHeader,
    header_of,
    patient_orientation_of,
    read_dataset,
    spacing_in_patient,
)
from dicom_node.imaging.orientation import Hanging, as_stored, hanging, observed_as_stored
from dicom_node.intake.admit import Declined
from dicom_node.intake.menu import Menu
from dicom_node.ledger import Conclusion, Work
from dicom_node.line.admit import tell_quarantined
from dicom_node.line.flight import Crew, Flight, FlightPlan
from dicom_node.line.headlines import declared_severity, headlines_of
from dicom_node.line.shadow import ShadowCast
from dicom_node.logs import Log
from dicom_node.patience import place_of
from dicom_node.records import Instance, InstanceState
from dicom_node.settings import Settings
from dicom_node.spool import Spool

_BATCHES = 16
"""So many in one turn; the role looks in between what else there is, and tells that all is well."""


@dataclass(frozen=True, slots=True, eq=False)
class HungFilm:
    """A film ready for the networks: grey levels as hung, its shape as stored, notes on it."""

    hung: npt.NDArray[np.float32]
    hanging: Hanging
    stored: tuple[int, int]
    notes: tuple[str, ...]
    spacing: tuple[float, float] | None = None
    """mm between rows and between columns of the stored film, in the patient; None: unknown."""

    def asked(self, networks: frozenset[str] | None) -> Asked:
        """Return what is asked about it of these networks; None: of all."""
        is_swapped = self.spacing is not None and self.hanging.transposed
        return Asked(networks, self.spacing[::-1] if is_swapped and self.spacing else self.spacing)

    def answer(self, found: Answer) -> Answer:
        """Return the engine's answer as that on the stored film, with the notes."""
        findings, explanation = found
        observed = observed_as_stored(findings.observed, self.hanging, self.stored)
        return (
            replace(findings.with_observed(observed), notes=(*self.notes, *findings.notes)),
            as_stored(explanation, self.hanging, self.stored),
        )


def film_to_analyse(dataset: Dataset, max_megapixels: float) -> HungFilm:
    """Return the film of a data set, hung by its Patient Orientation. Raises ImageError."""
    film = shown(dataset, max_megapixels=max_megapixels)
    hung = hanging(patient_orientation_of(dataset))
    rows, columns = film.film.shape
    notes = (*film.notes, *hung.notes)
    spacing = spacing_in_patient(dataset)
    return HungFilm(hung.hang(film.film), hung, (rows, columns), notes, spacing)


def eaters(
    header: FilmHeader, menu: Menu, senders: Iterable[str] = ()
) -> frozenset[str] | Declined | None:
    """Return which networks are asked about a film, None: all; `Declined` where nobody eats it.

    ``senders``: the AE titles that sent its study.
    """
    choice = menu.choose(header, senders)
    if isinstance(choice.decision, Declined):
        return choice.decision
    return None if choice.networks >= menu.networks else choice.networks


@dataclass(frozen=True, slots=True)
class _Concluded:
    """What became of a film, the event that tells it, and that event's fields."""

    conclusion: Conclusion
    event: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Analyst:
    """What is needed to analyse films: the networks, the stores, and who works."""

    engine: Engine
    ledger: Work
    spool: Spool
    settings: Settings
    worker: str
    log: Log
    pulse: Callable[[], None] = lambda: None
    """Called while films are in flight: a sign of life, and the leases go on."""
    going_on: Callable[[], bool] = lambda: True
    """Asked while films are in flight: whether those that wait may still start."""
    linger_seconds: float = 0.5
    """How long an outcome waits for others, to be kept with them in one commit."""
    menu: Menu | None = None
    """Which networks are asked about which film; None: all about every one."""
    manifests: Mapping[str, Declaration] = field(default_factory=dict)
    """Of the bundles of the suite that declare what they say: which of it is told in lists."""
    shadow: ShadowCast | None = None
    """Who is asked beside them, and never reported; only with a menu."""

    def work(self) -> int:
        """Analyse what is waiting, several films at once; return the number of films taken.

        Raises `Unavailable`; what was taken and not concluded is then to be given back.
        """
        crew = Crew(self._claim, self._film, self._judge, self._conclude, self.pulse, self.going_on)
        return Flight(crew, self._plan()).fly()

    def _plan(self) -> FlightPlan:
        batch = self.settings.analysis.batch
        silence_seconds = self.settings.analysis.lease_seconds
        films = self.engine.at_once
        if films == 1:
            # Here: one more than there are cores is read while they are busy.
            films = min(batch, len(os.sched_getaffinity(0)) + 1)
        return FlightPlan(films, batch, _BATCHES * batch, self.linger_seconds, silence_seconds)

    def _claim(self, suspects: bool) -> Sequence[Instance]:
        analysis = self.settings.analysis
        claimed = self.ledger.claim_instances(
            InstanceState.ADMITTED, self.worker, analysis.lease_seconds, analysis.batch,
            suspects=suspects,
        )  # fmt: skip
        tell_quarantined(self.ledger, self.log)
        return claimed

    def _film(self, instance: Instance) -> _Concluded:
        """Return what becomes of a film; what else is raised may be the film's fault or not."""
        try:
            dataset = read_dataset(self.spool.read(instance.digest))
            networks = self._eaters(instance, dataset)
            if isinstance(networks, Declined):
                return _declined(instance, networks.reason)
            film = film_to_analyse(dataset, self.settings.admission.max_megapixels)
        except (ImageError, SpoolError) as error:
            return _failed(instance, error)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            return _failed(instance, _unforeseen(error))
        started = time.monotonic()
        try:
            found = self.engine.analyse(film.hung, instance.sop_instance_uid, film.asked(networks))
        except AnalysisError as error:
            return _failed(instance, error)
        milliseconds = round((time.monotonic() - started) * 1000)
        try:
            done = self._concluded(instance, film.answer(found), milliseconds)
            return self._with_shadow(done, film, dataset)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            return _failed(instance, _unforeseen(error))

    def _eaters(self, instance: Instance, dataset: Dataset) -> frozenset[str] | Declined | None:
        """Return who is asked about a film by today's menu: it may have been admitted by another.

        Raises ImageError for a header that cannot be read.
        """
        if self.menu is None:
            return None
        senders = self.ledger.origins(instance.study_id) if self.menu.asks_senders else ()
        networks = eaters(header_of(dataset), self.menu, senders)
        # Those in shadow are there to be asked, too: not all are meant.
        return self.menu.networks if networks is None and self.shadow else networks

    def _with_shadow(self, done: _Concluded, film: HungFilm, dataset: Dataset) -> _Concluded:
        """Return what became of a film, with what is said of it in shadow. Raises `Unavailable`."""
        instance = done.conclusion.instance
        if self.shadow is None or done.conclusion.state is not InstanceState.ANALYSED:
            return done

        def ask(networks: frozenset[str]) -> FilmFindings:
            asked = film.asked(networks)
            return film.answer(self.engine.analyse(film.hung, instance.sop_instance_uid, asked))[0]

        said = self.shadow.told(header_of(dataset), ask)
        for reason in said.reasons:
            uid = instance.sop_instance_uid
            self.log.event("shadow.unanswered", sop_instance_uid=uid, reason=reason)
        return replace(done, conclusion=replace(done.conclusion, beside=said.observations))

    def _concluded(self, instance: Instance, answer: Answer, milliseconds: int) -> _Concluded:
        findings, explanation = answer
        if findings.outcome is Outcome.DECLINED:
            # Its pixels are no frontal chest radiograph.
            return _declined(instance, findings.reason or "")
        explained = explanation.maps or explanation.areas or explanation.opacity is not None
        stored = self.spool.write(pack_explanation(explanation)) if explained else None
        named = findings.finding and findings.finding.finding_class
        return _Concluded(
            Conclusion(
                instance,
                InstanceState.ANALYSED,
                findings_json=findings.to_json_text(),
                saliency=stored.digest if stored else None,
                headlines=headlines_of(findings, self.manifests),
                severity=declared_severity(findings, self.manifests),
            ),
            "instance.analysed",
            {"finding": named, "milliseconds": milliseconds},
        )

    def _judge(self, doubts: Sequence[tuple[Instance, BaseException]]) -> Sequence[_Concluded]:
        """Find out whose fault it was that films got no answer: theirs, or the device's.

        Raises `DeviceUnavailable` where the networks answer not even their test film, and what else
        of the house that film meets.
        """
        try:
            self.engine.warm()
        except Unavailable:
            raise
        except Exception as again:  # noqa: BLE001 - whatever it is, it is not the films'
            raise DeviceUnavailable(
                f"The networks answer no film any more: {place_of(again)}.",
                remedy="Look at the device (nvidia-smi), or lower analysis.batch; the role starts"
                " anew by itself.",
            ) from doubts[0][1]
        return [_failed(instance, _unforeseen(error)) for instance, error in doubts]

    def _conclude(self, done: Sequence[_Concluded]) -> None:
        """Keep what became of films in one commit; each in its own where one cannot be kept."""
        try:
            self._keep(done)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            (first, *others) = done
            if others:
                for one in done:
                    self._conclude([one])
            else:
                self._keep([_failed(first.conclusion.instance, _unforeseen(error))])

    def _keep(self, done: Sequence[_Concluded]) -> None:
        kept = self.ledger.concluded(self.worker, [one.conclusion for one in done])
        for one in done:
            if one.conclusion.instance.id in kept:
                uid = one.conclusion.instance.sop_instance_uid
                self.log.event(one.event, sop_instance_uid=uid, **one.fields)


def _declined(instance: Instance, reason: str) -> _Concluded:
    return _Concluded(
        Conclusion(instance, InstanceState.DECLINED, reason),
        "instance.declined",
        {"reason": reason},
    )


def _failed(instance: Instance, error: NodeError) -> _Concluded:
    return _Concluded(
        Conclusion(instance, InstanceState.FAILED, error.message),
        "instance.failed",
        {"reason": error.message, "remedy": error.remedy},
    )


def _unforeseen(error: BaseException) -> AnalysisError:
    return AnalysisError(
        f"The film met an error that nobody foresaw: {place_of(error)}.",
        remedy="Report it with the program's version; other films are not affected.",
    )
