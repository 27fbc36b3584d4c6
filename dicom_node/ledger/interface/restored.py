"""The ledger as whoever puts it back to an earlier day sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dicom_node.records import Digest, InstanceState


@dataclass(frozen=True, slots=True)
class FilmOnRecord:
    """A received film by its file. ``senders``: the calling AE titles that it came from."""

    digest: Digest
    sop_instance_uid: str
    study_instance_uid: str
    state: InstanceState
    senders: frozenset[str]


class Restored(Protocol):
    """What is compared with the spool, and set right, before a node works with it."""

    def wake_up(self) -> None:
        """End what lived when it was copied: nobody is signed in, nobody has work in hand."""

    def films_of_shard(self, prefix: str) -> Sequence[FilmOnRecord]:
        """Return the films whose digests begin with ``prefix``, and from whom each came."""
