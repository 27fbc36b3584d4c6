"""One role as a process of its own: ``python -m dicom_node.roles.process ROLE``.

The supervisor starts it; it stops on SIGTERM, and by itself when its supervisor is gone.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import secrets
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from dicom_node import logs
from dicom_node.errors import NodeError, RoleError, SettingsError
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.patience import Patience, place
from dicom_node.records import ROLES, Worker
from dicom_node.settings import Configuration, load_configuration

EXIT_UNUSABLE = 78
"""EX_CONFIG of sysexits.h: starting again without a change would not help."""

_ORPHAN_CHECK_SECONDS = 0.5
_STOPPING = (signal.SIGTERM, signal.SIGINT)


def new_worker(role: str, number: int = 1) -> Worker:
    """Return a worker that nobody was before."""
    return Worker(role, secrets.token_hex(8), number)


def run_role(worker: Worker, configuration: Configuration) -> int:
    """Run one role in this process until SIGTERM or SIGINT and return the exit status."""
    role = worker.role
    log = logs.Log(role)
    _harden()
    stop = threading.Event()
    for number in _STOPPING:
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_stop_when_orphaned, args=(stop,), daemon=True).start()
    run: Callable[[Configuration, threading.Event, Worker], None]
    run = importlib.import_module(f"dicom_node.roles.{role}").run
    try:
        run(configuration, stop, worker)
    except NodeError as error:
        return _ended(worker, configuration, error)
    log.event("role.stopped", pid=os.getpid())
    return 0


def _ended(worker: Worker, configuration: Configuration, error: NodeError) -> int:
    """Tell log and health why a role ends; return the exit status."""
    logs.Log(worker.role).event("role.error", reason=error.message, remedy=error.remedy)
    with suppress(NodeError):
        ledger = open_ledger(configuration.ledger_path, who=worker.role)
        ledger.beat(worker, "stopped", error.message)
        ledger.close()
    return EXIT_UNUSABLE if isinstance(error, RoleError | SettingsError) else 1


def opened(
    configuration: Configuration, role: str, stop: threading.Event, patience: Patience
) -> SqliteLedger | None:
    """Open the ledger for a role, once it can be opened; None where ``stop`` came first."""
    path = configuration.ledger_path
    return patience.until("opening the ledger", lambda: open_ledger(path, who=role), stop)


@contextmanager
def stopped_at_once(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT end this process here and now, for work that holds nothing yet.

    A signal that came before, and set ``stop``, ends it here too.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in _STOPPING}
    try:
        if stop.is_set():
            signal.raise_signal(signal.SIGTERM)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _harden() -> None:
    # Films in memory must not end in a core dump, nor stored ones be readable to others.
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _say_crashes_without_data(log: logs.Log) -> None:
    """Log what ends a thread by kind and place only: messages may quote a patient's data (S7)."""
    # pydicom's warnings quote values that it does not like.
    warnings.simplefilter("ignore")

    def crashed(kind: type[BaseException], trace: TracebackType | None) -> None:
        log.event(
            "role.error", error=kind.__name__, reason=f"stopped in {place(trace) or 'unknown'}"
        )

    sys.excepthook = lambda kind, _error, trace: crashed(kind, trace)
    threading.excepthook = lambda what: crashed(what.exc_type, what.exc_traceback)


def _stop_when_orphaned(stop: threading.Event) -> None:
    parent = os.getppid()
    while not stop.wait(_ORPHAN_CHECK_SECONDS):
        if os.getppid() != parent:
            stop.set()


def main() -> int:
    """Parse the command line that the supervisor gives, load the configuration, run."""
    # TensorFlow's start-up notes are not events of ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(prog="dicom-node-role")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--token")
    parser.add_argument("--number", type=int, default=1)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    worker = new_worker(arguments.role, arguments.number)
    if arguments.token:
        worker = replace(worker, token=arguments.token)
    stream = logs.captured(arguments.role)
    logs.configure(stream=stream)
    _say_crashes_without_data(logs.Log(arguments.role))
    try:
        # What the pages alone need keeps no other role from coming back.
        configuration = load_configuration(
            arguments.config, data_dir=arguments.data_dir, pages=False
        )
    except SettingsError as error:
        logs.Log(arguments.role).event("role.error", reason=error.message, remedy=error.remedy)
        return EXIT_UNUSABLE
    logs.configure(configuration.settings.node.log_level, stream=stream)
    if arguments.role == "web":
        try:
            load_configuration(arguments.config, data_dir=arguments.data_dir)
        except SettingsError as error:
            return _ended(worker, configuration, error)
    return run_role(worker, configuration)


if __name__ == "__main__":
    sys.exit(main())
