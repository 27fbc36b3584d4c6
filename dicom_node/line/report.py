"""From the findings of a quiet study to results in the outbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from dicom_node.errors import (
    ImageError,
    LeaseLost,
    NodeError,
    ResultError,
    SpoolError,
    Unavailable,
)
from dicom_node.imaging.values import CAN_RAISE
from dicom_node.intake.routing import is_told, parcels, route
from dicom_node.ledger import Courses, Studies
from dicom_node.ledger.interface import Outgoing
from dicom_node.logs import Log
from dicom_node.patience import place_of
from dicom_node.records import (
    Instance,
    InstanceState,
    ObjectKind,
    PeerContact,
    ResultObject,
    Study,
)
from dicom_node.results.apart import contradiction_of
from dicom_node.results.reissue import TREES
from dicom_node.results.stored import StoredFilms, newest
from dicom_node.results.templates import Template
from dicom_node.results.write import (
    AnalysedFilm,
    Context,
    NetworkCard,
    Refused,
    WrittenObject,
    place_of_object,
    write_each,
)
from dicom_node.settings import Remote, Settings
from dicom_node.settings.model import SR_CLASS_UIDS
from dicom_node.spool import Spool

_AT_HAND_BYTES = 64 << 20
"""So much of a study's films is kept in memory as it came, rather than read twice."""

_REPORT_IT = "Look at the film in the PACS; if it is intact, report this with the version."


@dataclass(slots=True)
class _Draft:
    """What comes together while a study's results are written.

    ``signature``: what they are made from. ``why``: reasons for what is missing. ``recipes``: of
    each report, by its group, how it is made in another SOP class.
    """

    signature: str
    why: list[str] = field(default_factory=list)
    recipes: dict[str, bytes] = field(default_factory=dict)


class ReportLedger(Studies, Courses, Protocol):
    """Studies to be written, and the patient's other films."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """What is needed to write results: the template, the stores, the AE table, and who works."""

    ledger: ReportLedger
    spool: Spool
    settings: Settings
    template: Template
    networks: Mapping[str, NetworkCard]
    worker: str
    log: Log
    pulse: Callable[[], None] = lambda: None
    """Called between films and objects: a sign of life, and the lease goes on."""

    def work(self, remotes: Mapping[str, Remote]) -> bool:
        """Write the results of one quiet study; return whether there was one.

        Raises `Unavailable`; the study is then to be given back.
        """
        study = self.ledger.claim_quiet_study(self.worker, self.settings.analysis.lease_seconds)
        if study is None:
            return False
        try:
            self._report(study, remotes)
        except LeaseLost:
            # A film arrived meanwhile: the study is open again and will be reported with it.
            return True
        except Unavailable:
            raise
        except (ResultError, ImageError, SpoolError) as error:
            self._fail(study, error)
        except Exception as error:  # noqa: BLE001 - a role's loop: one study's fault is its own
            reason = f"The results met an error that nobody foresaw: {place_of(error)}."
            self._fail(study, ResultError(reason, remedy=_REPORT_IT))
        return True

    def _fail(self, study: Study, error: NodeError) -> None:
        with suppress(LeaseLost):
            self.ledger.study_failed(study, self.worker, error.message)
            self.log.event(
                "study.failed",
                study_instance_uid=study.study_instance_uid,
                reason=error.message,
                remedy=error.remedy,
            )

    def _report(self, study: Study, remotes: Mapping[str, Remote]) -> None:
        everything = self.ledger.instances(study.id)
        instances = newest(everything)
        found = any(item.state is InstanceState.ANALYSED for item in instances)
        routed = route(self.ledger.origins(study.id), remotes, analysed=found)
        reason = routed.reason if found else f"nothing to report: {_nothing(everything)}"
        told = [item for item in instances if is_told(item.state, item.reason, analysed=found)]
        signature = self._signature(told)
        draft = _Draft(signature)
        films = self._films(told, study, draft.why) if routed.recipients or found else []
        draft.why += [reason] if reason else []
        if not films:
            self._finish(study, [], draft)
            return
        draft.why += filter(None, [contradiction_of(films)])
        names = [each.ae_title for each in routed.recipients]
        sr_class = _sr_class(names, remotes, self.ledger.peers())
        objects = self._objects(study, films, (routed.kinds, sr_class), draft)
        outgoing = [parcel for each in routed.recipients for parcel in parcels(each, objects)]
        self._finish(study, outgoing, draft)

    def _films(self, told: Sequence[Instance], study: Study, why: list[str]) -> list[AnalysedFilm]:
        """Return the films to tell of; a film that cannot be read any more is a reason ``why``."""
        found, read = [], 0
        for instance in told:
            self.pulse()
            read += instance.size_bytes
            try:
                film = self._stored.film(instance, at_hand=read <= _AT_HAND_BYTES)
            except (ImageError, SpoolError, *CAN_RAISE) as error:
                reason = error.message if isinstance(error, NodeError) else place_of(error)
                self._refused(study, Refused(ObjectKind.REPORT, instance.sop_instance_uid, reason))
                why.append(f"film {instance.sop_instance_uid} cannot be read any more: {reason}")
                continue
            if film is not None:
                found.append(film)
        if why and told and not found:
            raise ResultError(why[-1], remedy=SpoolError.default_remedy)
        return found

    def _objects(
        self,
        study: Study,
        films: Sequence[AnalysedFilm],
        wanted: tuple[Collection[ObjectKind], str],
        draft: _Draft,
    ) -> list[ResultObject]:
        """Return the study's objects: those that exist if nothing has changed, else new ones."""
        if draft.signature != study.signature:
            return self._write(study, films, wanted, study.revision + 1, draft)
        kinds, sr_class = wanted
        known = [item for item in self.ledger.results(study.id) if item.revision == study.revision]
        missing = set(kinds) - {item.kind for item in known}
        return known + (
            self._write(study, films, (missing, sr_class), study.revision, draft) if missing else []
        )

    def _finish(self, study: Study, outgoing: Sequence[Outgoing], draft: _Draft) -> None:
        self.ledger.reported(
            study,
            self.worker,
            outgoing,
            keep_hours=self.settings.delivery.keep_hours,
            signature=draft.signature,
            recipes=draft.recipes,
            reason="; ".join(dict.fromkeys(draft.why)) or None,
        )
        self.log.event(
            "study.reported",
            study_instance_uid=study.study_instance_uid,
            revision=study.revision + (draft.signature != study.signature),
            objects=len({item.objects[0].group for item in outgoing}),
            destinations=len({item.destination for item in outgoing}),
        )

    def _write(
        self,
        study: Study,
        films: Sequence[AnalysedFilm],
        wanted: tuple[Collection[ObjectKind], str],
        revision: int,
        draft: _Draft,
    ) -> list[ResultObject]:
        context = Context(
            node_ae_title=self.settings.node.ae_title,
            template=self.template,
            series_number_base=self.settings.results.series_number_base,
            networks=self.networks,
            revision=revision,
            predecessors=self._predecessors(study),
            earlier=self._stored.earlier(study.id, films),
            alive=self.pulse,
        )

        refusals: list[str] = []

        def refuse(refused: Refused) -> None:
            self._refused(study, refused)
            refusals.append(f"{refused.kind} could not be written: {refused.reason}")

        written = []
        kinds, sr_class = wanted
        for item in write_each(films, context, kinds, refuse, sr_class):
            self.pulse()
            written.append((place_of_object(item), self._kept(item)))
            if item.recipe is not None:
                draft.recipes[item.group] = item.recipe.packed()
        draft.why += refusals
        if refusals and not written:
            raise ResultError(refusals[-1], remedy=_REPORT_IT)
        fresh = [item for _, item in sorted(written, key=lambda each: each[0])]
        return [each for item in fresh for each in (item, *self._reissues(study, item))]

    def _reissues(self, study: Study, item: ResultObject) -> Iterator[ResultObject]:
        """Yield what was made of a report in other SOP classes before: it belongs to it still."""
        if item.kind is ObjectKind.REPORT:
            for known in self.ledger.results(study.id):
                if known.group == item.group and known.sop_instance_uid != item.sop_instance_uid:
                    yield known

    def _kept(self, item: WrittenObject) -> ResultObject:
        stored = self.spool.write(item.data)
        return ResultObject(
            group=item.group,
            kind=item.kind,
            sop_instance_uid=item.sop_instance_uid,
            sop_class_uid=item.sop_class_uid,
            series_instance_uid=item.series_instance_uid,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
        )

    def _refused(self, study: Study, refused: Refused) -> None:
        self.log.event(
            "result.refused",
            study_instance_uid=study.study_instance_uid,
            sop_instance_uid=refused.sop_instance_uid,
            kind=str(refused.kind),
            reason=refused.reason,
            remedy=_REPORT_IT,
        )

    @property
    def _stored(self) -> StoredFilms:
        return StoredFilms.of(self.ledger, self.spool, self.settings)

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
        # Earlier films of the patient do not count: they may arrive later, and what was said stays.
        facts = [(item.digest, str(item.state), item.findings_json) for item in instances]
        text = json.dumps([facts, self.template.digest, self.settings.node.ae_title])
        return hashlib.sha256(text.encode()).hexdigest()


def _nothing(instances: Sequence[Instance]) -> str:
    """Return why there is nothing to report; of films that came again the last counts."""
    if any(item.state is InstanceState.ANALYSED for item in instances):
        return "a film that was analysed came again with other bytes, which were not"
    return "no film of this study was analysed"


def _sr_class(
    destinations: Sequence[str], remotes: Mapping[str, Remote], peers: Iterable[PeerContact]
) -> str:
    """Return the SOP class to freeze a report in: the most wanted that is known to be accepted.

    Of the first destination that gets reports; others get theirs made anew at the door, and text
    alone is always made there, since only the numbers hold all that a report says.
    """
    accepted = {peer.ae_title: peer.accepted for peer in peers}
    for name in destinations:
        if ObjectKind.REPORT in remotes[name].wanted_objects:
            wanted = [SR_CLASS_UIDS[each] for each in remotes[name].wanted_sr_classes]
            trees = [each for each in wanted if each in TREES]
            known = [each for each in trees if each in accepted.get(name, ())]
            return next(iter(known or trees), TREES[0])
    return TREES[0]
