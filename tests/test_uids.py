"""Deterministic UIDs."""

from __future__ import annotations

import re
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.uids import derived_uid

# PS3.5 9.1: components of digits, no leading zero unless the component is 0, at most 64 characters.
VALID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")

part = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80)
parts = st.lists(part, min_size=1, max_size=6)


@given(parts)
def test_a_derived_uid_is_valid_and_short(given_parts: list[str]) -> None:
    uid = derived_uid(*given_parts)
    assert VALID.fullmatch(uid)
    assert len(uid) <= 44


@given(parts, parts)
def test_different_parts_give_different_uids(first: list[str], second: list[str]) -> None:
    assert (derived_uid(*first) == derived_uid(*second)) == (first == second)


def test_the_boundaries_of_parts_and_their_order_matter() -> None:
    uids = {
        derived_uid("a", "bc"),
        derived_uid("ab", "c"),
        derived_uid("abc"),
        derived_uid("bc", "a"),
        derived_uid("", "abc"),
        derived_uid("abc", ""),
    }
    assert len(uids) == 6


def test_the_same_parts_give_the_same_uid_in_every_process_and_release() -> None:
    # Written down: a release that changes it would send every result a second time.
    expected = "2.25.223054139369730789696574255205881114903"
    assert derived_uid("1.2.3", "sr") == expected
    command = "from dicom_node.uids import derived_uid; print(derived_uid('1.2.3', 'sr'))"
    told = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert told.stdout.strip() == expected
