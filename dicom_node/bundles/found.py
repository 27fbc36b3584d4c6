"""Whether what a network observed says that something is there, by its manifest."""

from __future__ import annotations

from dicom_node.bundles.declared import Says
from dicom_node.observations import Candidate, Observation, ObservationKind


def is_finding(observation: Observation, said: Says | None) -> bool:
    """Whether something is there: a threshold is reached, or there are places.

    Of classes, levels and labels see `is_label_finding`. ``said``: its manifest's, where it is
    installed.
    """
    if not observation.labels:
        return observation.reached
    return any(is_label_finding(each, observation, said) for each in observation.believed)


def is_label_finding(one: Candidate, observation: Observation, said: Says | None) -> bool:
    """Whether a class or label says that something is there, if it is believed.

    A class or level only where its manifest codes it as a finding: "normal" is named without
    anything being found. A label only so where any label of it is coded.
    """
    coded = {each.key for each in said.classes if each.finding is not None} if said else set()
    return one.key in coded or (observation.kind is ObservationKind.LABELS and not coded)
