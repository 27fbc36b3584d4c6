"""What is known and what remains to do, durable in SQLite."""

from dicom_node.ledger.interface import Conclusion, Ledger
from dicom_node.ledger.sqlite import open_ledger

__all__ = ["Conclusion", "Ledger", "open_ledger"]
