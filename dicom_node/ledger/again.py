"""What a person asks for twice: the films of a study analysed once more."""

from __future__ import annotations

from collections.abc import Collection

from dicom_node.ledger.interface import Cases
from dicom_node.records import InstanceState, StudyId

FINISHED = frozenset({InstanceState.FAILED, InstanceState.DECLINED, InstanceState.ANALYSED})
"""States from which a person may ask again."""


def ask_again(ledger: Cases, study_id: StudyId, states: Collection[InstanceState], who: str) -> int:
    """Ask anew for every film of a study that is in one of ``states``; return how many."""
    asked = [item for item in ledger.instances(study_id) if item.state in states]
    for item in asked:
        ledger.asked_again(item.id, who)
    return len(asked)
