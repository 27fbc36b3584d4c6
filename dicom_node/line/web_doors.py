"""What the pages ask of the rest of the node: its health, C-ECHO, retracting, trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dicom_node.bundles.installed import declaring_folder
from dicom_node.delivery.association import peer_of
from dicom_node.delivery.files import echo as c_echo
from dicom_node.line.check_bundle import check_bundle
from dicom_node.line.health import NodeState, health_of
from dicom_node.line.retract import RetractionLedger, Retractor
from dicom_node.line.trial import TrialLedger, try_whole_way
from dicom_node.line.trial_step import TrialStep
from dicom_node.line.upkeep import verified
from dicom_node.records import Study
from dicom_node.results.key_objects import REASONS
from dicom_node.settings import Configuration, Remote
from dicom_node.spool import Spool


class DoorsLedger(RetractionLedger, TrialLedger, Protocol):
    """Results to be taken back, and what health and a trial look at."""


@dataclass(frozen=True, slots=True)
class NodeDoors:
    """The doors of a running node."""

    configuration: Configuration
    ledger: DoorsLedger
    spool: Spool

    def state(self, *, counted: bool = False) -> NodeState:
        """Return how the node is; ``counted``: with what waits, which takes a look at every row."""
        health = health_of(self.ledger, self.configuration, counted=counted)
        return NodeState(
            well=health.well,
            roles=health.roles,
            disk=health.disk_sentence,
            work=health.work_sentence if counted else "",
            starting=health.starting,
            certificates=health.certificate_sentences,
            alarms=health.alarms,
        )

    def echo(self, ae_title: str, remote: Remote) -> str:
        """C-ECHO a remote. Raises `DeliveryError`."""
        peer = peer_of(ae_title, remote, self.configuration.settings)
        c_echo(peer)
        return f"{peer} answers to {peer.calling_ae_title}."

    def retract(self, study: Study, reason: str, who: str) -> Sequence[str]:
        """Send a rejection note to everyone who has the study's results."""
        chosen = next(name for name in REASONS if name == reason)
        retractor = Retractor(self.ledger, self.spool, self.configuration.settings, who)
        return retractor.retract(study, chosen)

    def try_whole_way(self) -> Sequence[TrialStep]:
        """Send a phantom through the real port and wait for its answer."""
        return try_whole_way(self.configuration, self.ledger)

    def verify(self, bundle_id: str) -> str | None:
        """Let a bundle prove itself in a process of its own: this one loads no network."""
        folder = declaring_folder(self.configuration.settings, bundle_id)
        if folder is not None:
            return "; ".join(check_bundle(folder / bundle_id).faults) or None
        (answer,) = verified(self.configuration, [bundle_id])
        return None if answer["well"] else str(answer["fault"])
