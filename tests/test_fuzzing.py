"""Hostile inputs by chance: each seeded, so that the suite meets the same ones every time.

Long runs with other seeds: ``python benchmarks/fuzz.py``. What one finds is kept in
tests/fuzzing/corpus, and met here from then on.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzzing.targets import Target, targets

CORPUS = Path(__file__).parent / "fuzzing" / "corpus"
NAMES = ("upper-layer", "data-set", "element", "configuration", "manifest", "template", "request")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return {each.name: each for each in targets(tmp_path_factory.mktemp("made"))}


def test_every_target_is_met_here(known: dict[str, Target]) -> None:
    assert tuple(known) == NAMES
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= set(NAMES)


@pytest.mark.pacs
@pytest.mark.parametrize("name", NAMES)
def test_an_odd_input_is_refused_or_answered_and_hurts_nobody(
    known: dict[str, Target], name: str, tmp_path: Path
) -> None:
    target, chance = known[name], random.Random(name)
    with target.open(tmp_path) as meet:
        for _ in range(target.short):
            meet(target.make(chance))


@pytest.mark.pacs
@pytest.mark.parametrize("name", NAMES)
def test_what_was_met_once_is_met_again(
    known: dict[str, Target], name: str, tmp_path: Path
) -> None:
    found = sorted((CORPUS / name).glob("*.bin"))
    assert found
    with known[name].open(tmp_path) as meet:
        for path in found:
            meet(path.read_bytes())
