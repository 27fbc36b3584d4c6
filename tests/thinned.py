"""Long tables of cases that each cost a written report: a part by default, the rest in `slow`."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def thinned(cases: Iterable[object], *, every: int) -> list[ParameterSet]:
    """Return the cases as parameters: the first and each ``every``-th in the default suite.

    The others run in the slow suite. A tuple is the values of several arguments.
    """
    found = []
    for number, case in enumerate(cases):
        known = case if isinstance(case, ParameterSet) else None
        values = known.values if known else case if isinstance(case, tuple) else (case,)
        late = [pytest.mark.slow] if number % every else []
        marks = [*(known.marks if known else ()), *late]
        found.append(pytest.param(*values, id=known.id if known else None, marks=marks))
    return found
