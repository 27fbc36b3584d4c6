"""The ledger as who compares networks sees it: what was reported of films, and said in shadow."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from dicom_node.ledger.connection import text_of
from dicom_node.ledger.interface.shadow import ComparedFilm
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import InstanceId

_SQL = statements("shadow")


class Shadow(Part):
    """Answers that are compared, of films in the order of their arrival."""

    def answered_films(
        self, since: datetime, after: InstanceId, limit: int
    ) -> Sequence[ComparedFilm]:
        """Return analysed films received since a moment, those after one, with every answer."""
        films = self._connection.all(
            _SQL["answered_films"], since=text_of(since), after=after, limit=limit
        )
        ids = json.dumps([film["id"] for film in films])
        beside: dict[int, dict[str, str]] = defaultdict(dict)
        for row in self._connection.all(_SQL["said_in_shadow"], ids=ids):
            beside[row["instance_id"]][row["network"]] = row["observations_json"]
        return [
            ComparedFilm(
                InstanceId(film["id"]), film["sop_instance_uid"], film["findings_json"],
                beside[film["id"]],
            )
            for film in films
        ]  # fmt: skip
