"""From stored films to findings in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_node.analysis.engine import Answer, Engine
from dicom_node.errors import (
    AnalysisError,
    DeviceUnavailable,
    ImageError,
    LeaseLost,
    NodeError,
    SpoolError,
    Unavailable,
)
from dicom_node.findings import Explanation, FilmFindings, Outcome, pack_explanation
from dicom_node.imaging.grayscale import shown
from dicom_node.imaging.header import header_of, read_dataset
from dicom_node.imaging.orientation import Hanging, as_stored, hanging
from dicom_node.ledger import Work
from dicom_node.line.admit import tell_quarantined
from dicom_node.logs import Log
from dicom_node.patience import place_of
from dicom_node.records import Instance, InstanceState
from dicom_node.settings import Settings
from dicom_node.spool import Spool


@dataclass(frozen=True, slots=True, eq=False)
class HungFilm:
    """A film ready for the networks: grey levels as hung, its shape as stored, notes on it."""

    hung: npt.NDArray[np.float32]
    hanging: Hanging
    stored: tuple[int, int]
    notes: tuple[str, ...]

    def answer(self, found: Answer) -> Answer:
        """Return the engine's answer as that on the stored film, with the notes."""
        findings, explanation = found
        return (
            replace(findings, notes=(*self.notes, *findings.notes)),
            as_stored(explanation, self.hanging, self.stored),
        )


def film_to_analyse(dataset: Dataset, max_megapixels: float) -> HungFilm:
    """Return the film of a data set, hung by its Patient Orientation. Raises ImageError."""
    film = shown(dataset, max_megapixels=max_megapixels)
    hung = hanging(header_of(dataset).patient_orientation)
    rows, columns = film.film.shape
    return HungFilm(hung.hang(film.film), hung, (rows, columns), (*film.notes, *hung.notes))


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
    """Called between films: a sign of life, and the leases go on."""
    late_seconds: Callable[[], float] = lambda: 0.0
    """How long a batch with room waits for more films: none where more at once is no faster."""

    def work(self) -> int:
        """Analyse what is waiting, at most one batch; return the number of films taken.

        Raises `Unavailable`; what was taken is then to be given back.
        """
        batch = self._claim(self.settings.analysis.batch)
        late = self._late(batch)
        if any(item.attempts for item in late):
            # Its worker died once: it takes no other film with it.
            self._take(batch)
            self._take(late)
        else:
            self._take([*batch, *late])
        return len(batch) + len(late)

    def _claim(self, most: int) -> Sequence[Instance]:
        lease_seconds = self.settings.analysis.lease_seconds
        claimed = self.ledger.claim_instances(
            InstanceState.ADMITTED, self.worker, lease_seconds, most
        )
        tell_quarantined(self.ledger, self.log)
        return claimed

    def _late(self, batch: Sequence[Instance]) -> Sequence[Instance]:
        """Return films that come while a batch with room waits for them."""
        room = self.settings.analysis.batch - len(batch)
        if not batch or room <= 0 or any(item.attempts for item in batch):
            return ()
        seconds = self.late_seconds()
        if seconds <= 0:
            return ()
        time.sleep(seconds)
        return self._claim(room)

    def _take(self, instances: Sequence[Instance]) -> None:
        readable = [(item, film) for item in instances if (film := self._film(item)) is not None]
        if readable:
            self._analyse(readable)

    def _film(self, instance: Instance) -> HungFilm | None:
        try:
            dataset = read_dataset(self.spool.read(instance.digest))
            return film_to_analyse(dataset, self.settings.admission.max_megapixels)
        except (ImageError, SpoolError) as error:
            self._fail(instance, error)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            self._fail(instance, _unforeseen(error))
        return None

    def _analyse(self, readable: Sequence[tuple[Instance, HungFilm]]) -> None:
        started = time.monotonic()
        try:
            answers = self.engine.analyse_many(
                [(film.hung, instance.sop_instance_uid) for instance, film in readable]
            )
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            self._spoilt(readable, error)
            return
        milliseconds = round((time.monotonic() - started) * 1000 / len(readable))
        for (instance, film), answer in zip(readable, answers, strict=True):
            self._conclude(instance, film, answer, milliseconds)

    def _conclude(
        self, instance: Instance, film: HungFilm, answer: Answer, milliseconds: int
    ) -> None:
        try:
            self._note(instance, *film.answer(answer), milliseconds)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            self._fail(instance, _unforeseen(error))

    def _spoilt(self, readable: Sequence[tuple[Instance, HungFilm]], error: Exception) -> None:
        """Find out whose fault it was that a batch got no answer: a film's, or the device's."""
        if len(readable) > 1:
            for pair in readable:
                self.pulse()
                self._analyse([pair])
            return
        (instance, _), *_ = readable
        if isinstance(error, AnalysisError):
            self._fail(instance, error)
            return
        self._ask_phantom(error)
        self._fail(instance, _unforeseen(error))

    def _ask_phantom(self, error: Exception) -> None:
        """Raise `DeviceUnavailable` where the networks answer not even their test film."""
        try:
            self.engine.warm()
        except Exception as again:  # noqa: BLE001 - whatever it is, it is not the film's
            raise DeviceUnavailable(
                f"The networks answer no film any more: {place_of(again)}.",
                remedy="Look at the device (nvidia-smi), or lower analysis.batch; the role starts"
                " anew by itself.",
            ) from error

    def _note(
        self,
        instance: Instance,
        findings: FilmFindings,
        explanation: Explanation,
        milliseconds: int,
    ) -> None:
        if findings.outcome is Outcome.DECLINED:
            self._decline(instance, findings.reason or "")
            return
        explained = explanation.maps or explanation.opacity is not None
        stored = self.spool.write(pack_explanation(explanation)) if explained else None
        try:
            self.ledger.analysed(
                instance.id, self.worker, findings.to_json_text(), stored.digest if stored else None
            )
        except LeaseLost:
            return
        self.log.event(
            "instance.analysed",
            sop_instance_uid=instance.sop_instance_uid,
            finding=findings.finding and findings.finding.finding_class,
            milliseconds=milliseconds,
        )

    def _decline(self, instance: Instance, reason: str) -> None:
        """Note a film whose pixels are no frontal chest radiograph."""
        uid = instance.sop_instance_uid
        try:
            self.ledger.declined(instance.id, self.worker, reason)
        except LeaseLost:
            return
        self.log.event("instance.declined", sop_instance_uid=uid, reason=reason)

    def _fail(self, instance: Instance, error: NodeError) -> None:
        try:
            self.ledger.failed(instance.id, self.worker, error.message)
        except LeaseLost:
            return
        self.log.event(
            "instance.failed",
            sop_instance_uid=instance.sop_instance_uid,
            reason=error.message,
            remedy=error.remedy,
        )


def _unforeseen(error: Exception) -> AnalysisError:
    return AnalysisError(
        f"The film met an error that nobody foresaw: {place_of(error)}.",
        remedy="Report it with the program's version; other films are not affected.",
    )
