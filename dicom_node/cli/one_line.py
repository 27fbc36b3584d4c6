"""What was found on a film on one line of a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import FilmFindings, MappedOpacity

_DOUBT = ", in doubt"


def sentence(findings: FilmFindings) -> str:
    """Return every answer with its number, "" where no class was asked for.

    Opacity or not, class, appearance and mapped part of the lungs; what the suite does not tell is
    left out.
    """
    if findings.finding is None:
        return ""
    doubt = f"{_DOUBT}: answers contradict each other" * bool(findings.contradictions)
    return f"{'; '.join(_answers(findings))}{doubt}"


def cell(findings: FilmFindings) -> str:
    """Return the same as short as a cell of a table needs it, "" where no class was asked for."""
    if findings.finding is None:
        return ""
    return ", ".join(_words(findings)) + _DOUBT * bool(findings.contradictions)


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
