"""The ledger as everyone sees it who asks for films, and what their headers say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from dicom_node.records import Digest, Instance, InstanceId, StudyId


class KnownFilms(Protocol):
    """The instances of the ledger."""

    def instance(self, instance_id: InstanceId) -> Instance:
        """Return one instance."""

    def instances(self, study_id: StudyId) -> Sequence[Instance]:
        """Return the instances of a study in the order of arrival."""

    def origins(self, study_id: StudyId) -> Sequence[str]:
        """Return the calling AE titles that sent instances of the study, first sender first."""


class KnownFacts(Protocol):
    """What is known of headers, so that nobody has to open the files."""

    def facts(self, digests: Iterable[Digest]) -> Mapping[Digest, str]:
        """Return what is known of the headers of stored objects, as JSON."""


class Headers(KnownFilms, KnownFacts, Protocol):
    """What headers say, and which of them nobody has read yet."""

    def without_facts(self, limit: int) -> Sequence[Digest]:
        """Return objects whose header nobody has read yet."""

    def keep_facts(self, told: Mapping[Digest, str]) -> None:
        """Keep what headers say, as JSON; of objects that are gone meanwhile nothing."""

    def undescribed(self, limit: int) -> Sequence[StudyId]:
        """Return studies whose list entry names no patient yet, oldest first."""

    def described(self, descriptions: Iterable[tuple[StudyId, Mapping[str, str]]]) -> None:
        """Note whose studies they are: columns of the case list by name, decoded text."""

    def unkeyed(self, limit: int) -> Sequence[Instance]:
        """Return analysed films whose patient key is not known by today's rule, oldest first."""

    def keyed(self, keys: Iterable[tuple[InstanceId, str]]) -> None:
        """Note the patient key of films; "" for one that names no patient."""
