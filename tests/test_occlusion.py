"""What of a network's answer is explained, and what makes it fall."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_node.analysis.occlusion import PARTS, Spoken, explained, spoken_first, strength_of
from dicom_node.imaging.prepare import Float
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind

LABELS = ObservationKind.LABELS


def labels(**said: float) -> Observation:
    candidates = tuple(Candidate(key, value, 0.5) for key, value in said.items())
    return Observation("labels", LABELS, "net", labels=candidates)


def score(value: float | None, threshold: float | None = 5.0) -> Observation:
    return Observation("score", ObservationKind.SCORE, "net", value=value, threshold=threshold)


def places(*probabilities: float) -> Observation:
    found = tuple(FoundPlace(((0, 0), (1, 1)), "", value) for value in probabilities)
    return Observation("places", ObservationKind.REGION, "net", places=found)


MASK = Observation("mask", ObservationKind.MASK, "net", value=0.5, threshold=0.1)


@pytest.mark.parametrize(
    ("said", "target"),
    [
        ([labels(a=0.6, b=0.7, c=0.2)], "labels:b"),
        ([labels(a=0.4, b=0.3)], "labels:a"),
        ([labels(a=0.6), places(0.9)], "places"),
        ([labels(a=0.4), places()], "labels:a"),
        ([labels(a=0.4), score(9.0)], "score"),
        ([labels(a=0.6), score(9.0)], "labels:a"),
        ([labels(a=0.4), score(1.0)], "labels:a"),
        ([score(None), MASK], None),
        ([labels(a=0.6, b=0.6)], "labels:a"),
    ],
)
def test_what_is_believed_is_explained_before_what_is_not(
    said: list[Observation], target: str | None
) -> None:
    found = spoken_first(said)
    assert (found and found.target) == target
    if found:
        assert strength_of(said, found) == found.strength


def test_labels_that_are_no_more_believed_have_no_strength_of_others() -> None:
    first = spoken_first([labels(a=0.9, b=0.1)])
    assert first is not None
    assert strength_of([labels(a=0.2, b=0.99)], first) == 0.2
    assert strength_of([score(3.0)], first) == 0.0


@pytest.mark.parametrize("place", [0, 27, PARTS**2 - 1])
def test_the_part_that_speaks_is_the_hottest_in_whichever_call_it_is_hidden(place: int) -> None:
    film = np.full((128, 96), 0.2, np.float32)
    row, column = divmod(place, PARTS)
    rows, columns = slice(16 * row + 5, 16 * row + 11), slice(12 * column + 4, 12 * column + 8)
    film[rows, columns] = 1

    def strengths(greys: Float) -> list[float]:
        return [float(grey[rows, columns].mean()) for grey in greys]

    shown = explained(film, Spoken("a", "b", strengths(film[None])[0]), strengths)
    assert int(shown.heat.argmax()) == place
    assert shown.heat.max() == 1
    assert (shown.heat > 0.5).sum() == 1
    assert shown.change > 0.3


def test_what_rounding_changes_is_not_where_a_network_looked() -> None:
    draw = np.random.default_rng(0)

    def strengths(greys: Float) -> list[float]:
        return [250.0 * (1 + 1e-5 * draw.standard_normal()) for _ in greys]

    shown = explained(np.zeros((64, 64), np.float32), Spoken("a", "", 250.0), strengths)
    assert (shown.heat.max(), shown.change) == (0, 0)
