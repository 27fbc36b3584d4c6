"""Films of the ledger and the spool, as results are written from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicom_node.errors import ImageError, SpoolError
from dicom_node.findings import Explanation, FilmFindings, Outcome, unpack_explanation
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import parsing, read_attributes, read_dataset
from dicom_node.ledger import Ledger
from dicom_node.records import Instance, InstanceState, StudyId
from dicom_node.results.films import AnalysedFilm, EarlierFilm, taken_at
from dicom_node.spool import Spool

_EARLIER_READ, _EARLIER_TOLD = 20, 5
"""So many films of the patient are looked at for the course, and so many told."""


def newest(instances: Iterable[Instance]) -> list[Instance]:
    """Return one instance a SOP Instance UID: of those with other bytes, the later (fault 41)."""
    return list({item.sop_instance_uid: item for item in instances}.values())


def findings_document(instance: Instance) -> dict[str, Any]:
    """Return the contract's JSON of one film: also for one that was declined or is not done."""
    if instance.findings_json is not None:
        document: dict[str, Any] = json.loads(instance.findings_json)
        return document
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "outcome": str(instance.state),
        "reason": instance.reason,
    }


@dataclass(frozen=True, slots=True)
class StoredFilms:
    """Reads films with their findings. ``max_megapixels``: larger ones are not decoded."""

    ledger: Ledger
    spool: Spool
    max_megapixels: float

    def films(self, instances: Iterable[Instance]) -> list[AnalysedFilm]:
        """Return the films that there is something to say of."""
        films = [self.film(instance) for instance in instances]
        return [film for film in films if film is not None]

    def film(self, instance: Instance) -> AnalysedFilm | None:
        """Return one film; None while it is not done, or where what failed is not legible.

        Raises `ImageError` and `SpoolError` for an analysed film that cannot be read any more.
        """
        if instance.state in (InstanceState.FAILED, InstanceState.DECLINED):
            return self._without_findings(instance)
        if instance.state is not InstanceState.ANALYSED or instance.findings_json is None:
            return None
        dataset = read_dataset(self.spool.read(instance.digest))
        saliency = instance.saliency_digest
        return AnalysedFilm(
            dataset=dataset,
            film=film_of(dataset, max_megapixels=self.max_megapixels),
            findings=FilmFindings.from_json(json.loads(instance.findings_json)),
            explanation=(
                unpack_explanation(self.spool.read(saliency)) if saliency else Explanation()
            ),
            digest=instance.digest,
        )

    def _without_findings(self, instance: Instance) -> AnalysedFilm | None:
        """Return a film that the report mentions with the reason, if it is legible."""
        try:
            dataset = read_dataset(self.spool.read(instance.digest))
        except (ImageError, SpoolError):
            return None
        failed = instance.state is InstanceState.FAILED
        outcome = Outcome.FAILED if failed else Outcome.DECLINED
        return AnalysedFilm(
            dataset=dataset,
            film=np.zeros((0, 0), np.float32),
            findings=FilmFindings(instance.sop_instance_uid, outcome, instance.reason),
            explanation=Explanation(),
            digest=instance.digest,
        )

    def earlier(self, study_id: StudyId, films: Sequence[AnalysedFilm]) -> tuple[EarlierFilm, ...]:
        """Return the latest analysed films of the patient before those of this study."""
        dates = sorted(filter(None, (taken_at(film.dataset) for film in films)))
        if not dates:
            return ()
        known = self.ledger.earlier(study_id, _EARLIER_READ)
        found = [earlier for item in known if (earlier := self._earlier_film(item)) is not None]
        before = sorted((film for film in found if film.when < dates[0]), key=lambda f: f.when)
        return tuple(before[-_EARLIER_TOLD:])

    def prior(self, study_id: StudyId, films: Iterable[Instance]) -> Instance | None:
        """Return the patient's analysed film that was taken last before ``films`` of this study.

        None where none was, and where the header does not tell when a film was taken.
        """
        dates = sorted(filter(None, map(self._taken, films)))
        if not dates:
            return None
        known = self.ledger.earlier(study_id, _EARLIER_READ)
        before = [(when, item) for item in known if "" < (when := self._taken(item)) < dates[0]]
        return max(before, key=lambda pair: pair[0], default=("", None))[1]

    def _taken(self, instance: Instance) -> str:
        """Return when a film was taken, by its header alone; "" where nobody can tell."""
        try:
            with parsing():
                return taken_at(read_attributes(self.spool.path(instance.digest)))
        except (ImageError, OSError):
            return ""

    def _earlier_film(self, instance: Instance) -> EarlierFilm | None:
        if instance.findings_json is None:
            return None
        findings = FilmFindings.from_json(json.loads(instance.findings_json))
        try:
            when = taken_at(read_dataset(self.spool.read(instance.digest)))
        except (ImageError, SpoolError):
            return None
        return EarlierFilm(when, findings) if when and findings.finding is not None else None
