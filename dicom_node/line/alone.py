"""One node alone works on a data folder: its roles' locks, and no new ledger over old films."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dicom_node.errors import LedgerMissing, NodeAlreadyRunning, SpoolUnwritable
from dicom_node.settings import Configuration
from dicom_node.spool import Spool


@contextmanager
def alone(data_dir: Path, roles: Iterable[str]) -> Iterator[None]:
    """Hold the roles' locks on data_dir; the kernel frees them when the process ends, however.

    Raises `NodeAlreadyRunning` and `SpoolUnwritable`.
    """
    with ExitStack() as held:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = [held.enter_context((data_dir / f"{role}.lock").open("w")) for role in roles]
            for file in files:
                os.fchmod(file.fileno(), 0o600)
        except OSError as error:
            raise SpoolUnwritable(
                f"The folder {data_dir} cannot be used: {error.strerror}."
            ) from error
        for file in files:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise NodeAlreadyRunning(f"Another node already works on {data_dir}.") from error
        yield


def refuse_empty_start(configuration: Configuration) -> None:
    """Raise `LedgerMissing` where films are stored and the ledger that knows them is gone.

    With a new one the node would seem well, and know of nothing that it owes.
    """
    if configuration.ledger_path.exists() or not configuration.spool_path.is_dir():
        return
    if Spool(configuration.spool_path).holds_files():
        raise LedgerMissing(
            f"{configuration.spool_path} holds files, but there is no ledger beside it."
        )
