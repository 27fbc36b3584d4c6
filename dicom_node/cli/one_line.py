"""What was found on a film on one line of a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.chest import MappedOpacity
from dicom_node.findings import FilmFindings
from dicom_node.observations import Observation, ObservationKind

_DOUBT = ", in doubt"


def sentence(findings: FilmFindings) -> str:
    """Return every answer with its number, "" where no network answered.

    Opacity or not, class, appearance and mapped part of the lungs, then what was observed, by its
    key, and who gave no answer; what the suite does not tell is left out.
    """
    doubt = f"{_DOUBT}: answers contradict each other" * bool(findings.contradictions)
    answers = _answers(findings) if findings.finding is not None else ()
    said = f"{'; '.join(answers)}{doubt}"
    silent = (f"{name}: no answer ({why})" for name, why in findings.unanswered.items())
    return "; ".join(filter(None, (said, *map(_observed, findings.observed), *silent)))


def cell(findings: FilmFindings) -> str:
    """Return the same as short as a cell of a table needs it, "" where no network answered."""
    words = _words(findings) if findings.finding is not None else ()
    said = ", ".join(words) + _DOUBT * bool(findings.contradictions)
    return ", ".join(filter(None, (said, *map(_observed, findings.observed))))


def _observed(one: Observation) -> str:
    """Return an observation by its key, whatever its manifest calls it."""
    if one.kind is ObservationKind.REGION:
        said = str(len(one.places))
    elif one.labels:
        nothing = "none" if one.kind is ObservationKind.LABELS else "undetermined"
        said = " + ".join(f"{each.key} ({each.probability:.0%})" for each in one.believed)
        said = said or nothing
    elif one.value is None:
        said = f"no value ({one.absent})" if one.absent else "no value"
    elif one.kind is ObservationKind.MASK:
        said = f"{one.value:.0%}"
    else:
        said = f"{one.value:.4g} {one.unit}".strip()
    return f"{one.key}: {said}"


def _class(findings: FilmFindings, *, cell: bool) -> str:
    found = findings.finding
    assert found is not None
    if found.abstained:
        return "undetermined"
    number = f"{found.probability:.0%}"
    return f"{found.finding_class} {number}" if cell else f"{found.finding_class} ({number})"


def _answers(findings: FilmFindings) -> Iterator[str]:
    opacity, looks, mapped = findings.opacity, findings.appearance, findings.opacity_map
    if opacity is not None:
        yield (
            f"opacity: {'yes' if opacity.present else 'no'}"
            f" ({opacity.probability:.4g}; threshold {opacity.threshold:.4g})"
        )
    yield _class(findings, cell=False)
    if looks is not None and not looks.abstained:
        yield f"COVID-19 appearance: {looks.named} ({looks.probability:.0%}), not a diagnosis"
    if mapped is not None and mapped.lungs is not None:
        yield f"mapped opaque: {mapped.lungs:.0%} of the lungs{_sides(mapped)}"


def _sides(mapped: MappedOpacity) -> str:
    """Return each lung's part; "" where a lung was not found, or nothing is mapped."""
    if not mapped.lungs or mapped.right is None or mapped.left is None:
        return ""
    return f" (right {mapped.right:.0%}, left {mapped.left:.0%})"


def _words(findings: FilmFindings) -> Iterator[str]:
    opacity, looks, mapped = findings.opacity, findings.appearance, findings.opacity_map
    if opacity is not None:
        # The figure is that of an opacity either way: "no opacity 12%" would read as its opposite.
        yield f"opacity {opacity.probability:.0%}{'' if opacity.present else ' (no)'}"
    yield _class(findings, cell=True)
    if looks is not None and not looks.abstained:
        yield f"looks {looks.named}"
    if mapped is not None and mapped.lungs is not None:
        yield f"mapped {mapped.lungs:.0%}"
