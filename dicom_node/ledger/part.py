"""What the parts of the SQLite ledger share: the connection."""

from __future__ import annotations

from datetime import datetime

from dicom_node.ledger.connection import Connection


class Part:
    """A group of the ledger's methods over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sqlite_version = connection.sqlite_version
        self.who = connection.who

    def moment(self) -> datetime:
        """Return the present time, with which the ledger's own times agree."""
        return self._connection.moment()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
