"""The watching role: what monitors ask, what was counted, and who is told that something is wrong.

It answers before the ledger can be opened, and while it cannot: then above all it is asked.
"""

from __future__ import annotations

import os
import threading
from functools import partial

from dicom_node.line.chores import Chores
from dicom_node.line.heart import Heart
from dicom_node.line.lookout import Lookout
from dicom_node.line.watchman import Watchman
from dicom_node.line.wiring_remotes import remotes_table
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration
from dicom_node.web.monitor import MONITOR_DEADLINES, MonitorApp
from dicom_node.web.server import Server, listen

_BEAT_SECONDS, _COUNT_SECONDS, _LOOK_SECONDS, _TELL_SECONDS = 0.5, 2.0, 5.0, 2.0
_GRACE_SECONDS = 6


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Answer, count and tell until ``stop`` is set. Raises `PortUnavailable`."""
    section, log = configuration.settings.monitor, Log(worker.role)
    remotes, patience = remotes_table(configuration, log), Patience(log)
    lookout = Lookout(configuration, remotes.current, worker, os.getppid())
    watchman, chores = Watchman(configuration, worker, log), Chores(stop, patience)
    listener = listen(section.host, section.port, "monitor")
    port = listener.getsockname()[1]
    server = Server.of(MonitorApp(lookout, section), deadlines=MONITOR_DEADLINES)
    serving = threading.Thread(target=server.run, args=(listener,), daemon=True)
    serving.start()
    chores.every(_LOOK_SECONDS, "looking for alarms", watchman.look)
    for channel in watchman.channels:
        tell = partial(watchman.tell, channel)
        chores.every(_TELL_SECONDS, f"telling by {channel}", tell)
    ledger = opened(configuration, worker.role, stop, patience)
    if ledger is not None:
        log.event("role.started", pid=os.getpid(), sqlite=ledger.sqlite_version, port=port)
        lookout.furnish(ledger)
        patience.until("alarms", lambda: watchman.furnish(ledger), stop)

        def count() -> None:
            # In steps: after months without this role there may be millions.
            while not stop.is_set() and ledger.count_events(set(remotes.current())):
                pass

        chores.every(_COUNT_SECONDS, "counting", count)
        heart = Heart(ledger, worker, patience)
        while serving.is_alive() and not stop.wait(_BEAT_SECONDS):
            heart.beat("working", f"port={port}")
    server.stop()
    serving.join(_GRACE_SECONDS)
    chores.end()
    listener.close()
    if ledger is not None:
        Heart(ledger, worker, patience).beat("stopped")
        ledger.close()
