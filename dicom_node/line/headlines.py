"""What lists tell of a film's observations: by the manifests of the bundles that made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dicom_node.bundles.declared import Declaration, SaidClass, Says
from dicom_node.bundles.found import is_finding
from dicom_node.findings import FilmFindings
from dicom_node.ledger.headlines import ListLine
from dicom_node.observations import Candidate, Observation, ObservationKind

Manifests = Mapping[str, Declaration]
"""Of the bundles that declare what they say, by their id."""


def headlines_of(findings: FilmFindings, manifests: Manifests) -> tuple[ListLine, ...]:
    """Return the headlines of a film; none of an observation without a value."""
    told = (_headline(seen, said) for seen, said in _pairs(findings, manifests) if said.headline)
    return tuple(each for each in told if each is not None)


def declared_severity(findings: FilmFindings, manifests: Manifests) -> float:
    """Return the highest severity that is declared of what was found, 0 to 18; 0.0 of nothing."""
    return max((_severity(seen, said) for seen, said in _pairs(findings, manifests)), default=0.0)


def _pairs(findings: FilmFindings, manifests: Manifests) -> Iterator[tuple[Observation, Says]]:
    for observation in findings.observed:
        manifest = manifests.get(observation.network)
        for said in manifest.says if manifest else ():
            if said.key == observation.key:
                yield observation, said


def _headline(observation: Observation, said: Says) -> ListLine | None:
    number = _number(observation)
    if number is None:
        return None
    return ListLine(
        observation.network,
        observation.key,
        float(f"{number:.6g}"),
        ",".join(label.key for label in observation.believed),
        is_finding(observation, said),
        observation.unit,
    )


def _number(observation: Observation) -> float | None:
    """Return by what a list is sorted; see `ListLine`.

    Lists keep six digits: what engines answer with float32 has no more.
    """
    best = observation.best
    if observation.kind is ObservationKind.REGION:
        return None if observation.absent else len(observation.places)
    if observation.kind is ObservationKind.LEVEL:
        return None if best is None else observation.labels.index(best)
    return observation.value if best is None else best.probability


def _severity(observation: Observation, said: Says) -> float:
    of_classes = (_class(said, label) for label in observation.believed)
    stated = [each.severity for each in of_classes if each and each.severity is not None]
    return max(stated, default=said.severity if is_finding(observation, said) else 0.0)


def _class(said: Says, label: Candidate) -> SaidClass | None:
    return next((each for each in said.classes if each.key == label.key), None)
