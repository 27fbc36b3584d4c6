"""Films of the ledger and the spool, as results are written from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from pydicom import Dataset

from dicom_node.errors import ImageError, SpoolError
from dicom_node.findings import (
    Explanation,
    FilmFindings,
    Outcome,
    unpack_explanation,
)
from dicom_node.imaging.grayscale import Shown, shown
from dicom_node.imaging.header import read_attributes, read_dataset
from dicom_node.imaging.patient import (
    Different,
    Patient,
    Same,
    merged,
    one_patient,
    patient_of,
    same_person,
    why_nobody,
)
from dicom_node.imaging.placeholders import Placeholders, placeholders, shipped
from dicom_node.imaging.received import drop_bulk
from dicom_node.ledger import Courses
from dicom_node.records import Digest, Instance, InstanceState, StudyId
from dicom_node.results.facts import UNREADABLE, HeaderFact, facts_of
from dicom_node.results.films import AnalysedFilm, EarlierFilm, taken_at
from dicom_node.settings import Settings
from dicom_node.spool import Spool

_EARLIER_READ, _EARLIER_TOLD = 200, 5
"""So many films of the patient are looked at for the course, and so many told."""


@dataclass(frozen=True, slots=True)
class StoredFilm:
    """An analysed film of the ledger, when it was taken (see `taken_at`) and whose it is."""

    instance: Instance
    when: str
    patient: Patient


@dataclass(frozen=True, slots=True)
class History:
    """What the ledger knows of the patient of a study.

    ``films``: of the same person, taken before the study, oldest first. ``others``: who has the
    same Patient ID and cannot be the same person; for the pages alone. ``note``: why films were not
    compared, or not all; a clause without patient data. ``patients``: whom the films of the study
    name, where they contradict each other.
    """

    films: tuple[StoredFilm, ...] = ()
    others: tuple[Patient, ...] = ()
    note: str = ""
    patients: tuple[Patient, ...] = ()


def newest(instances: Iterable[Instance]) -> list[Instance]:
    """Return one instance a SOP Instance UID: of those with other bytes, the later (fault 41)."""
    return list({item.sop_instance_uid: item for item in instances}.values())


def findings_document(instance: Instance) -> dict[str, Any]:
    """Return the contract's JSON of one film: also for one that was declined or is not done."""
    if instance.findings_json is not None:
        # As this release says it: older findings do not name their contradictions.
        return FilmFindings.from_json(json.loads(instance.findings_json)).to_json()
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "outcome": str(instance.state),
        "reason": instance.reason,
    }


@dataclass(frozen=True, slots=True)
class StoredFilms:
    """Reads films with their findings.

    ``max_megapixels``: larger ones are not decoded. ``placeholders``: what is nobody's.
    """

    ledger: Courses
    spool: Spool
    max_megapixels: float
    placeholders: Placeholders = field(default_factory=shipped)

    @classmethod
    def of(cls, ledger: Courses, spool: Spool, settings: Settings) -> StoredFilms:
        """Return the stored films of a node as it is configured."""
        said = settings.identity
        known = placeholders(
            said.placeholder_ids, said.placeholder_names, said.placeholder_birth_dates
        )
        return cls(ledger, spool, settings.admission.max_megapixels, known)

    def films(self, instances: Iterable[Instance]) -> list[AnalysedFilm]:
        """Return the films that there is something to say of."""
        films = [self.film(instance) for instance in instances]
        return [film for film in films if film is not None]

    def film(self, instance: Instance, *, at_hand: bool = False) -> AnalysedFilm | None:
        """Return one film; None while it is not done, or where what failed is not legible.

        Its pixels are decoded when they are looked at. ``at_hand``: its file stays in memory until
        then; else it is read again.
        Raises `ImageError` and `SpoolError` for an analysed film that cannot be read any more.
        """
        if instance.state in (InstanceState.FAILED, InstanceState.DECLINED):
            return self._without_findings(instance)
        if instance.state is not InstanceState.ANALYSED or instance.findings_json is None:
            return None
        data = self.spool.read(instance.digest)
        dataset = read_dataset(data)
        length = drop_bulk(dataset)
        saliency = instance.saliency_digest
        return AnalysedFilm(
            dataset=dataset,
            pixels=partial(self._shown, instance.digest, data if at_hand else None),
            findings=FilmFindings.from_json(json.loads(instance.findings_json)),
            explanation=(
                unpack_explanation(self.spool.read(saliency)) if saliency else Explanation()
            ),
            digest=instance.digest,
            admitted_view=instance.view or "",
            pixel_data_bytes=length,
        )

    def _shown(self, digest: Digest, data: bytes | None) -> Shown:
        return shown(data or self.spool.read(digest), max_megapixels=self.max_megapixels)

    def _without_findings(self, instance: Instance) -> AnalysedFilm | None:
        """Return a film that the report mentions with the reason, if it is legible."""
        try:
            dataset = read_dataset(self.spool.read(instance.digest))
        except (ImageError, SpoolError):
            return None
        failed = instance.state is InstanceState.FAILED
        outcome = Outcome.FAILED if failed else Outcome.DECLINED
        length = drop_bulk(dataset)
        return AnalysedFilm(
            dataset=dataset,
            pixels=np.zeros((0, 0), np.float32),
            findings=FilmFindings(instance.sop_instance_uid, outcome, instance.reason),
            explanation=Explanation(),
            digest=instance.digest,
            pixel_data_bytes=length,
        )

    def history(self, study_id: StudyId, sources: Sequence[Dataset]) -> History:
        """Return the films of the patient of ``sources``, this study's, that were taken before.

        Also who else has the Patient ID, and why nothing is compared, where it is not.
        """
        return self._history(study_id, [(patient_of(each), taken_at(each)) for each in sources])

    def _history(self, study_id: StudyId, told: Sequence[tuple[Patient, str]]) -> History:
        patients = [patient for patient, _ in told]
        if not patients:
            return History()
        if not one_patient(patients):
            note = "the films of this study are not of one patient"
            return History(note=note, patients=tuple(dict.fromkeys(patients)))
        patient = merged(patients)
        if why := why_nobody(patient, self.placeholders):
            return History(note=why)
        known = self.ledger.earlier(study_id, _EARLIER_READ)
        return self._compared(
            patient, known, min(filter(None, (when for _, when in told)), default="")
        )

    def earlier(self, study_id: StudyId, films: Sequence[AnalysedFilm]) -> tuple[EarlierFilm, ...]:
        """Return the latest analysed films of the same person before those of this study."""
        history = self.history(study_id, [film.dataset for film in films])
        told = (
            (film.when, FilmFindings.from_json(json.loads(film.instance.findings_json)))
            for film in history.films
            if film.instance.findings_json is not None
        )
        found = [
            EarlierFilm(when, said)
            for when, said in told
            if said.finding is not None or said.observed
        ]
        return tuple(found[-_EARLIER_TOLD:])

    def history_of(self, study_id: StudyId, instances: Iterable[Instance]) -> History:
        """Return the history of a study by the headers of its films alone."""
        told = self.told(list(instances)).values()
        return self._history(study_id, [(each.patient, each.taken) for each in told])

    def told(self, instances: Sequence[Instance]) -> Mapping[Digest, HeaderFact]:
        """Return what headers say, by digest: from the ledger, else from the files.

        Without those that cannot be read.
        """
        kept = self.ledger.facts(item.digest for item in instances)
        found: dict[Digest, HeaderFact] = {}
        for item in instances:
            fact = HeaderFact.from_json_text(kept.get(item.digest, UNREADABLE))
            if fact is None and (source := self._attributes(item)) is not None:
                fact = facts_of(source)
            if fact is not None:
                found[item.digest] = fact
        return found

    def _compared(self, patient: Patient, known: Sequence[Instance], first: str) -> History:
        films, others = [], []
        told = self.told(known)
        for item in (item for item in known if item.digest in told):
            whose = told[item.digest].patient
            match same_person(patient, whose, self.placeholders):
                case Same():
                    films.append(StoredFilm(item, told[item.digest].taken, whose))
                case Different() if whose.key == patient.key:
                    others.append(whose)
        note = ""
        if len(known) == _EARLIER_READ:
            note = f"only the latest {_EARLIER_READ} films of this Patient ID were compared"
        if others and self.placeholders.is_birth_date(patient.birth_date, patient.taken):
            # An ID that two people have and a name are not enough.
            films, note = [], "without a birth date nobody can tell whose earlier films they are"
        return History(
            films=tuple(sorted(
                (film for film in films if "" < film.when < first), key=lambda film: film.when
            )),
            others=tuple(dict.fromkeys(replace(each, taken="") for each in others)),
            note=note,
        )  # fmt: skip

    def _attributes(self, instance: Instance) -> Dataset | None:
        try:
            return read_attributes(self.spool.path(instance.digest))
        except (ImageError, SpoolError, OSError):
            return None
