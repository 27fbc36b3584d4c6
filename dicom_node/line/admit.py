"""Decide which received instances are analysed, and when a study is complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Protocol

from dicom_node.errors import ImageError, LeaseLost, SpoolError, Unavailable
from dicom_node.imaging.header import FilmHeader, header_of, read_attributes
from dicom_node.imaging.values import CAN_RAISE
from dicom_node.intake.admit import Admitted, Declined, priority_of, rank_of
from dicom_node.intake.menu import Menu
from dicom_node.intake.rules import AdmissionRules
from dicom_node.ledger import Headers, Studies, Work
from dicom_node.line.whose import Whose
from dicom_node.logs import Log
from dicom_node.patience import place_of
from dicom_node.records import Digest, Instance, InstanceState, StudyId
from dicom_node.results.facts import LAST, UNREADABLE, facts_of
from dicom_node.settings import Settings
from dicom_node.spool import Spool

_AT_ONCE = 32
_LEASE_SECONDS = 60.0


class IntakeLedger(Work, Headers, Protocol):
    """Films to be decided on, and what their headers say."""


def admit_received(
    ledger: IntakeLedger,
    spool: Spool,
    rules: AdmissionRules,
    worker: str,
    log: Log,
    menu: Menu | None = None,
) -> int:
    """Admit or decline what was received since the last call; return how many were looked at.

    ``menu``: who eats which film; without one there are our own networks alone.
    """
    instances = ledger.claim_instances(InstanceState.RECEIVED, worker, _LEASE_SECONDS, _AT_ONCE)
    tell_quarantined(ledger, log)
    decisions = _Decisions(ledger, spool, menu or Menu(rules), worker, log)
    for instance in instances:
        with suppress(LeaseLost):
            decisions.decide(instance)
    if decisions.told:
        ledger.keep_facts(decisions.told)
    return len(instances)


def tell_quarantined(ledger: Work, log: Log) -> None:
    """Log which films the last claim has set aside, since each stopped its worker twice."""
    for instance in map(ledger.instance, ledger.quarantined()):
        log.event(
            "instance.quarantined",
            sop_instance_uid=instance.sop_instance_uid,
            reason=instance.reason,
            remedy="`dicom-node cases reanalyse` tries it again; report it if it stays so.",
        )


@dataclass(frozen=True, slots=True)
class _Decisions:
    """One round of decisions. ``told``: what the headers say that were read in it."""

    ledger: Work
    spool: Spool
    menu: Menu
    worker: str
    log: Log
    told: dict[Digest, str] = field(default_factory=dict)

    def decide(self, instance: Instance) -> None:
        """Admit or decline one film, or note why neither can be. Raises `LeaseLost`."""
        uid = instance.sop_instance_uid
        try:
            with self.spool.reading(instance.digest) as path:
                attributes = read_attributes(path)
            header = header_of(attributes)
            self.told[instance.digest] = facts_of(attributes).to_json_text()
            senders = self._senders(instance)
            decision = self.menu.choose(header, senders).decision
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a role's loop: one film's fault is its own
            known = isinstance(error, ImageError | SpoolError)
            reason = str(error) if known else f"the film met an unforeseen error: {place_of(error)}"
            self.ledger.failed(instance.id, self.worker, reason)
            self.log.event("instance.failed", sop_instance_uid=uid, reason=reason)
            return
        match decision:
            case Admitted(view=view):
                rank = self._rank(instance, header, senders)
                self.ledger.admitted(instance.id, self.worker, view, header.patient_key, rank)
                self.log.event("instance.admitted", sop_instance_uid=uid)
            case Declined(reason=reason):
                self.ledger.declined(instance.id, self.worker, reason)
                self.log.event("instance.declined", sop_instance_uid=uid, reason=reason)

    def _senders(self, instance: Instance) -> Sequence[str]:
        """Return who sent the study of a film, where it matters to anybody."""
        asks = self.menu.asks_senders or self.menu.rules.priority
        return self.ledger.origins(instance.study_id) if asks else ()

    def _rank(self, instance: Instance, header: FilmHeader, senders: Sequence[str]) -> int:
        ledger, rules, study_id = self.ledger, self.menu.rules, instance.study_id
        asked = rules.earlier_findings_first and header.patient_key
        earlier = ledger.earlier_severity(study_id, header.patient_key) if asked else None
        return rank_of(priority_of(header, senders, rules), earlier)


def note_facts(ledger: Headers, spool: Spool) -> int:
    """Note what headers say that nobody has read: of results, and of what older releases took."""
    waiting = ledger.without_facts(_AT_ONCE)
    if waiting:
        ledger.keep_facts({digest: _told(spool, digest) for digest in waiting})
    return len(waiting)


def _told(spool: Spool, digest: Digest) -> str:
    with suppress(ImageError, SpoolError, *CAN_RAISE), spool.reading(digest) as path:
        return facts_of(read_attributes(path, last=LAST)).to_json_text()
    return UNREADABLE


def describe_studies(ledger: Headers, spool: Spool) -> int:
    """Fill the case list's entries that name no patient yet, from their films' headers."""
    waiting = ledger.undescribed(_AT_ONCE)
    if waiting:
        ledger.described([(study_id, _identity(ledger, spool, study_id)) for study_id in waiting])
    return len(waiting)


def _identity(ledger: Headers, spool: Spool, study_id: StudyId) -> dict[str, str]:
    # The latest first: a study that is sent again may have been corrected.
    for instance in reversed(ledger.instances(study_id)):
        identity = Whose.of(ledger, spool, [instance.digest]).identity(instance.digest)
        if identity is not None:
            return asdict(identity)
    # What cannot be read is listed without a name, with its reason.
    return {}


def key_patients(ledger: Headers, spool: Spool) -> int:
    """Note whose films older ones are, where today's rule has not been asked; return how many."""
    waiting = ledger.unkeyed(_AT_ONCE)
    if waiting:
        whose = Whose.of(ledger, spool, [item.digest for item in waiting])
        patients = [(item.id, whose.patient(item.digest)) for item in waiting]
        # What cannot be read is in nobody's course.
        ledger.keyed([(each, "" if patient is None else patient.key) for each, patient in patients])
    return len(waiting)


def quieten_studies(ledger: Studies, settings: Settings, log: Log) -> int:
    """Mark complete studies as quiet, their results are written next; return how many."""
    at_once = settings.results.when == "instance"
    quiet = ledger.quieten(0.0 if at_once else settings.results.quiet_seconds)
    for study in quiet:
        log.event("study.quiet", study_instance_uid=study.study_instance_uid)
    return len(quiet)
