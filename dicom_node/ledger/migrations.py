"""How a ledger of any release becomes one of this release: forward only, each step once.

A step is never changed after a release; a test opens the database of every release. A ledger with a
step that this program does not know was written by a newer one and is refused.
"""

from __future__ import annotations

from importlib import resources

from sqlite_utils import Database, Migrations

from dicom_node.errors import SchemaTooNew

migrations = Migrations("dicom_node")


@migrations()
def m001_first_schema(db: Database) -> None:
    """Create the tables of the first release."""
    schema = resources.files("dicom_node.ledger").joinpath("schema.sql").read_text("utf-8")
    # Not executescript: that would commit the transaction which makes this step all or nothing.
    for statement in schema.split(";\n"):
        if statement.strip():
            db.execute(statement)


def is_current(db: Database, steps: Migrations = migrations) -> bool:
    """Return whether nothing is left to do. Only reads. Raises `SchemaTooNew`."""
    known = {migration.name for migration in steps._migrations}
    applied = {migration.name for migration in steps.applied(db)}
    if applied - known:
        raise SchemaTooNew(
            "The ledger was written by a newer dicom-node "
            f"(it has {', '.join(sorted(applied - known))})."
        )
    return applied == known


def migrate(db: Database, steps: Migrations = migrations) -> None:
    """Bring the ledger to this release's schema, in the caller's transaction.

    Raises `SchemaTooNew`.
    """
    # Asked again, now under the lock: another process may have been faster.
    if not is_current(db, steps):
        steps.apply(db)
