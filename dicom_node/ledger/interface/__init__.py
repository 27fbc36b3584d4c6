"""What every ledger promises, in protocols by consumer: each takes the narrowest that it needs.

The line: `Arrivals`, `Work`, `Headers`, `Studies`, `Courses`, `Outbox`, `Workers`, `Upkeep`,
`Forgetting`. Who watches: `Counting`, `Watched`, `Troubles`, `Ailments`, `Alarms`. The reading
room, pages and commands: `Cases`, `ReadersWords`, `Figures`, `Deliveries`, `Neighbours`,
`Accounts`, `AuditTrail`, all of them together `ReadingRoom`. Who compares networks: `Comparison`.
Who puts it back to an earlier day: `Restored`. Who looks for what is wrong: `Symptoms`.

Each method that changes something is one transaction and writes its own event; both are committed
with ``synchronous=FULL`` before it returns: no power cut takes them back. Claims, renewed leases,
what is given back and signs of life alone are committed without waiting for the disk: a kill of the
process does not undo them, a power cut may, and what was claimed is then free again. Times are UTC
with microseconds. Methods raise `LedgerUnavailable` where the database cannot commit in time
(locked, disk full), `RowMissing` for an unknown id, `TransitionRefused` for a transition that
`records.py` does not have, and `LeaseLost` where the lease named by ``worker`` is no longer held.
"""

from dicom_node.ledger.interface.accounts import Accounts, AuditTrail
from dicom_node.ledger.interface.arrivals import Arrivals, Received
from dicom_node.ledger.interface.cases import Cases, Figures, ReadersWords
from dicom_node.ledger.interface.deliveries import Deliveries, Neighbours
from dicom_node.ledger.interface.films import Headers, KnownFacts, KnownFilms
from dicom_node.ledger.interface.outbox import Outbox
from dicom_node.ledger.interface.reading_room import ReadingRoom
from dicom_node.ledger.interface.restored import FilmOnRecord, Restored
from dicom_node.ledger.interface.shadow import ComparedFilm, Comparison
from dicom_node.ledger.interface.studies import Courses, Outgoing, Studies
from dicom_node.ledger.interface.symptoms import Happened, Symptoms, Waiting
from dicom_node.ledger.interface.upkeep import ANNOUNCED_DAYS, COUNTED, Forgetting, Upkeep
from dicom_node.ledger.interface.watching import Ailments, Alarms, Counting, Troubles, Watched
from dicom_node.ledger.interface.work import Conclusion, Work
from dicom_node.ledger.interface.workers import Workers

__all__ = [
    "ANNOUNCED_DAYS",
    "COUNTED",
    "Accounts",
    "Ailments",
    "Alarms",
    "Arrivals",
    "AuditTrail",
    "Cases",
    "ComparedFilm",
    "Comparison",
    "Conclusion",
    "Counting",
    "Courses",
    "Deliveries",
    "Figures",
    "FilmOnRecord",
    "Forgetting",
    "Happened",
    "Headers",
    "KnownFacts",
    "KnownFilms",
    "Neighbours",
    "Outbox",
    "Outgoing",
    "ReadersWords",
    "ReadingRoom",
    "Received",
    "Restored",
    "Studies",
    "Symptoms",
    "Troubles",
    "Upkeep",
    "Waiting",
    "Watched",
    "Work",
    "Workers",
]
