"""The ledger as who compares networks sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dicom_node.records import InstanceId


@dataclass(frozen=True, slots=True)
class ComparedFilm:
    """An analysed film: its findings, and observations in shadow by network, both as JSON."""

    id: InstanceId
    sop_instance_uid: str
    findings_json: str
    beside: Mapping[str, str]


class Comparison(Protocol):
    """What was reported of films, and said in shadow."""

    def answered_films(
        self, since: datetime, after: InstanceId, limit: int
    ) -> Sequence[ComparedFilm]:
        """Return analysed films received since a moment, those after one, with every answer."""
