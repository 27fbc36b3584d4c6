"""The ledger as the pages see it, whole: a page uses what its subject needs of it."""

from __future__ import annotations

from typing import Protocol

from dicom_node.ledger.interface.accounts import Accounts, AuditTrail
from dicom_node.ledger.interface.arrivals import Arrivals
from dicom_node.ledger.interface.cases import Cases, Figures, ReadersWords
from dicom_node.ledger.interface.deliveries import Deliveries, Neighbours
from dicom_node.ledger.interface.studies import Courses


class ReadingRoom(
    Arrivals,
    Cases,
    Courses,
    ReadersWords,
    Figures,
    Deliveries,
    Neighbours,
    Accounts,
    AuditTrail,
    Protocol,
):
    """Arrivals too: films come by the browser and STOW-RS."""
