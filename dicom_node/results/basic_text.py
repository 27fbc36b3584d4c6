"""The report for archives that take text alone: what it says, as sentences on its groups.

Made from the same groups as the report with numbers, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicom_node.results.reissue import ReissueRecipe, Said, Sentence
from dicom_node.results.values import Group, Number


def recipe_of(groups: Sequence[Group], facts: tuple[str, ...]) -> ReissueRecipe:
    """Return by what the report on ``groups`` is made anew in another SOP class."""
    return ReissueRecipe(
        facts, tuple(_impressions(groups)), tuple(line for each in groups for line in _lines(each))
    )


def _impressions(groups: Sequence[Group]) -> Iterator[Sentence]:
    for group in groups:
        if group.key in ("impression", "not analysed"):
            for _, text in group.texts:
                yield Said.IMPRESSION, f"{group.tracking}: {text}"


def _lines(group: Group) -> Iterator[Sentence]:
    """Yield what a group says; a Finding is only what was found, all else a Comment."""
    if group.finding is not None:
        answers = (f"{name.meaning}: {answer.meaning}" for name, answer in group.evaluations)
        found = (*answers, *_numbers(group.numbers[: group.of_finding]))
        yield Said.FINDING, f"{group.tracking}: {'; '.join((group.finding.meaning, *found))}"
    else:
        for name, answer in group.evaluations:
            yield Said.COMMENT, f"{group.tracking}: {name.meaning}: {answer.meaning}"
    if rest := ", ".join(_numbers(group.numbers[group.of_finding :])):
        yield Said.COMMENT, f"{group.tracking}: {rest}"
    if group.key not in ("impression", "not analysed"):
        for _, text in group.texts:
            yield Said.COMMENT, f"{group.tracking}: {text}"


def _numbers(numbers: Sequence[Number]) -> list[str]:
    return [f"{each.name.meaning} {each.shown} {each.unit.shown}".strip() for each in numbers]
