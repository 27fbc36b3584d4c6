"""The values and the transition tables."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from enum import StrEnum

import pytest

from dicom_node import records
from dicom_node.records import (
    DELIVERY_TRANSITIONS,
    INSTANCE_TRANSITIONS,
    STUDY_TRANSITIONS,
    DeliveryState,
    InstanceState,
    StudyState,
)

TABLES = [
    (InstanceState, INSTANCE_TRANSITIONS, InstanceState.RECEIVED),
    (StudyState, STUDY_TRANSITIONS, StudyState.OPEN),
    (DeliveryState, DELIVERY_TRANSITIONS, DeliveryState.WAITING),
]
Table = Mapping[StrEnum, frozenset[StrEnum]]
walk = pytest.mark.parametrize(("states", "table", "start"), TABLES)


@walk
def test_every_state_has_its_row(states: type[StrEnum], table: Table, start: StrEnum) -> None:
    assert set(table) == set(states)
    assert all(ends <= set(states) for ends in table.values())


@walk
def test_every_state_can_be_reached(states: type[StrEnum], table: Table, start: StrEnum) -> None:
    reached, ahead = {start}, [start]
    while ahead:
        new = table[ahead.pop()] - reached
        reached |= new
        ahead += new
    assert reached == set(states)


@walk
def test_no_state_leads_to_itself(states: type[StrEnum], table: Table, start: StrEnum) -> None:
    assert not [state for state in states if state in table[state]]


def test_only_a_committed_delivery_is_at_its_end_for_ever() -> None:
    ends = [state for _, table, _ in TABLES for state in table if not table[state]]
    assert ends == [DeliveryState.COMMITTED]


def test_every_record_is_frozen_and_has_slots() -> None:
    classes = [
        item
        for _, item in inspect.getmembers(records, dataclasses.is_dataclass)
        if item.__module__ == records.__name__
    ]
    assert len(classes) >= 9
    for item in classes:
        assert item.__dataclass_params__.frozen, item
        assert "__slots__" in vars(item), item
