"""What is known and what remains to do, durable in SQLite."""

from dicom_node.ledger.interface import (
    Accounts,
    Arrivals,
    AuditTrail,
    Cases,
    Courses,
    Deliveries,
    Figures,
    Headers,
    KnownFilms,
    Neighbours,
    Outbox,
    ReadersWords,
    ReadingRoom,
    Studies,
    Upkeep,
    Work,
    Workers,
)
from dicom_node.ledger.sqlite import open_ledger

__all__ = [
    "Accounts",
    "Arrivals",
    "AuditTrail",
    "Cases",
    "Courses",
    "Deliveries",
    "Figures",
    "Headers",
    "KnownFilms",
    "Neighbours",
    "Outbox",
    "ReadersWords",
    "ReadingRoom",
    "Studies",
    "Upkeep",
    "Work",
    "Workers",
    "open_ledger",
]
