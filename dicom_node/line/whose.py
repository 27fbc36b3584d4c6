"""Whose films are, as the ledger keeps it since their admission; else as their files say it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pydicom import Dataset

from dicom_node.errors import ImageError, SpoolError
from dicom_node.imaging.header import read_attributes
from dicom_node.imaging.identity import PatientIdentity, identity_of
from dicom_node.imaging.patient import Patient, patient_of
from dicom_node.imaging.values import CAN_RAISE
from dicom_node.ledger import KnownFacts
from dicom_node.records import Digest
from dicom_node.results.facts import HeaderFact, kept_facts
from dicom_node.spool import Spool


@dataclass(frozen=True, slots=True)
class Whose:
    """What is known of some objects; a file is opened where the ledger does not know it.

    Every method raises `SpoolUnreadable`: a spool that is not there says nothing of whose they are.
    """

    spool: Spool
    kept: Mapping[Digest, HeaderFact] = field(repr=False)

    @classmethod
    def of(cls, ledger: KnownFacts, spool: Spool, digests: Iterable[Digest]) -> Whose:
        """Return what the ledger knows of ``digests``, asked at once."""
        wanted: Collection[Digest] = set(digests)
        return cls(spool, kept_facts(ledger.facts(wanted)) if wanted else {})

    def identity(self, digest: Digest) -> PatientIdentity | None:
        """Return what a case list shows of an object; None where nobody can read it."""
        fact = self.kept.get(digest)
        if fact is not None and fact.identity is not None:
            return fact.identity
        header = self.header(digest)
        return None if header is None else identity_of(header)

    def patient(self, digest: Digest) -> Patient | None:
        """Return whose film or result an object is; None where nobody can read it."""
        fact = self.kept.get(digest)
        if fact is not None:
            return fact.patient
        header = self.header(digest)
        return None if header is None else patient_of(header)

    def header(self, digest: Digest) -> Dataset | None:
        """Return what the stored file says; None where it cannot be read."""
        with suppress(ImageError, SpoolError, *CAN_RAISE), self.spool.reading(digest) as path:
            return read_attributes(path)
        return None
