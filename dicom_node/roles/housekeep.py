"""The node's chores: expiry, retention, disk, certificates, self-test."""

from __future__ import annotations

import threading
from functools import partial

from dicom_node.ledger.ballast import take_ballast
from dicom_node.line import upkeep
from dicom_node.line.chores import Chores
from dicom_node.line.upkeep import KeptLedger
from dicom_node.line.wall_clock import WallClock
from dicom_node.logs import Log
from dicom_node.moments import zone_of
from dicom_node.records import Worker
from dicom_node.roles.shift import shift
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_SELF_TEST_HOUR, _CERTIFICATES_HOUR = 3, 8
_BEAT_SECONDS = 0.5


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Run the jobs until ``stop`` is set."""
    own = shift(worker, configuration, stop)
    if own is None:
        return
    chores = Chores(stop, own.patience)
    clock = WallClock(zone_of(configuration.settings.node.timezone), own.patience)
    _keep_well(chores, configuration, own.ledger, own.spool, own.log)
    _at_hours(clock, configuration, own.ledger, own.log)

    def end() -> None:
        chores.end()
        clock.end()

    own.work({}, idle_seconds=_BEAT_SECONDS, drain=end)
    own.ledger.close()


def _keep_well(
    chores: Chores, configuration: Configuration, ledger: KeptLedger, spool: Spool, log: Log
) -> None:
    settings = configuration.settings

    def disk() -> None:
        upkeep.watch_disk(spool, settings, log)
        free, reserve = spool.free_bytes(), settings.node.min_free_bytes
        take_ballast(configuration.ledger_path, free, reserve)

    chores.every(10.0, "expiry", lambda: upkeep.expire(ledger, log))
    chores.every(10.0, "disk", disk)
    fullness = upkeep.Fullness(ledger)
    chores.every(600.0, "retention", lambda: upkeep.retain(ledger, spool, settings, log, fullness))
    sweep = partial(upkeep.sweep, ledger, spool, log, settings, fullness)
    chores.every(3600.0, "left-overs", upkeep.SteadySweep(sweep))
    chores.every(3600.0, "old age", lambda: upkeep.forget_the_old(ledger, configuration))


def _at_hours(clock: WallClock, site: Configuration, ledger: KeptLedger, log: Log) -> None:
    said, settings = _CERTIFICATES_HOUR, site.settings
    certificates = partial(upkeep.watch_certificates, settings, log)
    clock.daily(said, "certificates", certificates, at_once=True)
    clock.daily(said, "parked", lambda: upkeep.announce(ledger, settings, log), at_once=True)
    clock.daily(said, "audit", lambda: upkeep.age_audit(ledger, settings, log), at_once=True)
    clock.daily(_SELF_TEST_HOUR, "self-test", lambda: upkeep.self_test(site, log, ledger))
