"""The ledger as whoever makes a frozen report anew sees it: recipes, and what was made by them."""

from __future__ import annotations

from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import ResultObject

_SQL = statements("headers")


class Recipes(Part):
    """By what a report is made in another SOP class; a recipe goes with its study."""

    def recipe(self, group: str) -> bytes | None:
        """Return the recipe of a report; None for what is sent in one SOP class only."""
        row = self._connection.one(_SQL["recipe"], group=group)
        return None if row is None else bytes(row["recipe"])

    def frozen_again(self, item: ResultObject) -> None:
        """Freeze a report in one more SOP class, beside the one that it was made from."""
        with self._connection.transaction() as connection:
            connection.run(
                _SQL["freeze_again"],
                group=item.group,
                uid=item.sop_instance_uid,
                sop_class=item.sop_class_uid,
                digest=item.digest,
                size=item.size_bytes,
                now=connection.now(),
            )
