"""What is known and what remains to do, durable in SQLite."""

from dicom_node.ledger import interface
from dicom_node.ledger.interface import *  # noqa: F403 - what it promises is listed there, once
from dicom_node.ledger.sqlite import open_ledger

__all__ = ["open_ledger"]
__all__ += interface.__all__
