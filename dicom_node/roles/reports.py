"""From the findings of a quiet study to results in the outbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from dicom_node.errors import ImageError, LeaseLost, ResultError, SpoolError
from dicom_node.findings import FilmFindings, Outcome, unpack_saliency
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import read_dataset
from dicom_node.ledger import Ledger
from dicom_node.ledger.interface import Outgoing
from dicom_node.logs import Log
from dicom_node.records import (
    Instance,
    InstanceState,
    ObjectKind,
    ResultObject,
    Study,
)
from dicom_node.results.templates import Template
from dicom_node.results.write import AnalysedFilm, Context, NetworkCard, write_results
from dicom_node.settings import Remote, Settings
from dicom_node.spool import Spool


@dataclass(frozen=True, slots=True)
class Reporter:
    """What is needed to write results: the template, the stores, the AE table, and who works."""

    ledger: Ledger
    spool: Spool
    settings: Settings
    template: Template
    networks: Mapping[str, NetworkCard]
    worker: str
    log: Log

    def work(self, remotes: Mapping[str, Remote]) -> bool:
        """Write the results of one quiet study; return whether there was one."""
        study = self.ledger.claim_quiet_study(self.worker, self.settings.analysis.lease_seconds)
        if study is None:
            return False
        try:
            self._report(study, remotes)
        except LeaseLost:
            # A film arrived meanwhile: the study is open again and will be reported with it.
            return True
        except (ResultError, ImageError, SpoolError) as error:
            self.ledger.study_failed(study, self.worker, error.message)
            self.log.event(
                "study.failed",
                study_instance_uid=study.study_instance_uid,
                reason=error.message,
                remedy=error.remedy,
            )
        return True

    def _report(self, study: Study, remotes: Mapping[str, Remote]) -> None:
        instances = _newest(self.ledger.instances(study.id))
        analysed = [item for item in instances if item.state is InstanceState.ANALYSED]
        signature = self._signature(instances)
        if not analysed:
            nothing = "nothing to report: no film of this study was analysed"
            self._finish(study, [], signature, nothing)
            return
        if signature == study.signature:
            objects = [
                item for item in self.ledger.results(study.id) if item.revision == study.revision
            ]
        else:
            objects = self._write(study, instances)
        destinations = _destinations(self.ledger.origins(study.id), remotes)
        outgoing = [
            parcel
            for name in destinations
            for parcel in _parcels(name, objects, remotes[name].objects)
        ]
        reason = None if destinations else "no destination: no sender of this study is configured"
        self._finish(study, outgoing, signature, reason)

    def _finish(
        self, study: Study, outgoing: Sequence[Outgoing], signature: str, reason: str | None
    ) -> None:
        self.ledger.reported(
            study,
            self.worker,
            outgoing,
            keep_hours=self.settings.delivery.keep_hours,
            signature=signature,
            reason=reason,
        )
        self.log.event(
            "study.reported",
            study_instance_uid=study.study_instance_uid,
            revision=study.revision + (signature != study.signature),
            objects=len({item.objects[0].group for item in outgoing}),
            destinations=len({item.destination for item in outgoing}),
        )

    def _write(self, study: Study, instances: Sequence[Instance]) -> list[ResultObject]:
        context = Context(
            node_ae_title=self.settings.node.ae_title,
            template=self.template,
            series_number_base=self.settings.results.series_number_base,
            networks=self.networks,
            revision=study.revision + 1,
            predecessors=self._predecessors(study),
            analysed_at=datetime.now(UTC),
        )
        films = [self._film(instance) for instance in instances]
        written = write_results([film for film in films if film is not None], context)
        return [
            ResultObject(
                group=item.group,
                kind=item.kind,
                sop_instance_uid=item.sop_instance_uid,
                sop_class_uid=item.sop_class_uid,
                series_instance_uid=item.series_instance_uid,
                digest=(stored := self.spool.write(item.data)).digest,
                size_bytes=stored.size_bytes,
            )
            for item in written
        ]

    def _film(self, instance: Instance) -> AnalysedFilm | None:
        if instance.state is InstanceState.FAILED:
            return self._failed(instance)
        if instance.state is not InstanceState.ANALYSED or instance.findings_json is None:
            return None
        dataset = read_dataset(self.spool.read(instance.digest))
        saliency = instance.saliency_digest
        return AnalysedFilm(
            dataset=dataset,
            film=film_of(dataset, max_megapixels=self.settings.admission.max_megapixels),
            findings=FilmFindings.from_json(json.loads(instance.findings_json)),
            saliency=unpack_saliency(self.spool.read(saliency)) if saliency else (),
            digest=instance.digest,
        )

    def _failed(self, instance: Instance) -> AnalysedFilm | None:
        """Return a film that the report of its study mentions with the reason, if it is legible."""
        try:
            dataset = read_dataset(self.spool.read(instance.digest))
        except (ImageError, SpoolError):
            return None
        findings = FilmFindings(instance.sop_instance_uid, Outcome.FAILED, instance.reason)
        return AnalysedFilm(
            dataset=dataset,
            film=np.zeros((0, 0), np.float32),
            findings=findings,
            saliency=(),
            digest=instance.digest,
        )

    def _predecessors(self, study: Study) -> tuple[tuple[str, str, str], ...]:
        sent = {item.pinned_sop_instance_uid for item in self.ledger.deliveries(study_id=study.id)}
        return tuple(
            (item.sop_class_uid, item.sop_instance_uid, item.series_instance_uid)
            for item in self.ledger.results(study.id)
            if item.kind is ObjectKind.REPORT
            and item.revision == study.revision
            and item.sop_instance_uid in sent
        )

    def _signature(self, instances: Sequence[Instance]) -> str:
        # A declined instance (a lateral view, our own overlay coming back) changes no report.
        facts = [
            (item.digest, str(item.state), item.findings_json)
            for item in instances
            if item.state is not InstanceState.DECLINED
        ]
        text = json.dumps([facts, self.template.digest, self.settings.node.ae_title])
        return hashlib.sha256(text.encode()).hexdigest()


def _newest(instances: Sequence[Instance]) -> list[Instance]:
    # Same SOP Instance UID with other bytes (fault 41): the later one is reported.
    return list({item.sop_instance_uid: item for item in instances}.values())


def _destinations(origins: Sequence[str], remotes: Mapping[str, Remote]) -> list[str]:
    # By the AE table alone, never by an address learned from the wire.
    names = [
        name for origin in origins if origin in remotes for name in remotes[origin].destinations
    ]
    return [name for name in dict.fromkeys(names) if name in remotes]


def _parcels(
    destination: str, objects: Sequence[ResultObject], kinds: Sequence[str]
) -> list[Outgoing]:
    groups: dict[str, list[ResultObject]] = {}
    for item in objects:
        if str(item.kind) in kinds:
            groups.setdefault(item.group, []).append(item)
    return [Outgoing(destination, tuple(items)) for items in groups.values()]
