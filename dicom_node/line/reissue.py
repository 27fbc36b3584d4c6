"""A frozen report in the SOP class that a destination takes, made at the door and frozen too."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from dicom_node.ledger import Outbox
from dicom_node.records import Delivery, ObjectKind, ResultObject
from dicom_node.results.reissue import CLASSES, TREES, ReissueRecipe, reissue
from dicom_node.spool import Spool


@dataclass(frozen=True, slots=True)
class Reissuer:
    """What the sender asks for another SOP class, see `dicom_node.delivery.sender.Reissues`."""

    ledger: Outbox
    spool: Spool

    def classes(self, delivery: Delivery) -> Collection[str]:
        """Return the SOP classes in which the delivery's report can be made; none for others."""
        return CLASSES if self._recipe(delivery) else ()

    def reissue(self, delivery: Delivery, sop_class_uid: str) -> ResultObject:
        """Return the delivery's report in a SOP class of `classes`, durable before it leaves.

        Raises `Unavailable`, `SpoolError`, `ImageError` and `ResultError`.
        """
        recipe = self._recipe(delivery)
        assert recipe is not None
        frozen = next(item for item in delivery.alternatives if item.sop_class_uid in TREES)
        uid, data = reissue(
            self.spool.read(frozen.digest), ReissueRecipe.unpacked(recipe), sop_class_uid
        )
        stored = self.spool.write(data)
        item = replace(
            frozen, sop_instance_uid=uid, sop_class_uid=sop_class_uid,
            digest=stored.digest, size_bytes=stored.size_bytes,
        )  # fmt: skip
        self.ledger.frozen_again(item)
        return item

    def _recipe(self, delivery: Delivery) -> bytes | None:
        is_report = delivery.kind is ObjectKind.REPORT
        return self.ledger.recipe(delivery.group) if is_report else None
