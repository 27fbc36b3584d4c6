"""The thinking role: films to findings. The only one with networks."""

from __future__ import annotations

import threading

from dicom_node.analysis.engine import Engine
from dicom_node.errors import BrainChanged, DeviceUnavailable
from dicom_node.line.analyse import Analyst
from dicom_node.line.networks import engine_of, warm_when_there
from dicom_node.line.pulse import Pulse
from dicom_node.line.shadow import shadow_of
from dicom_node.line.wiring import manifests_of, menu_of
from dicom_node.records import Worker
from dicom_node.roles.process import stopped_at_once
from dicom_node.roles.shift import Shift, shift
from dicom_node.settings import Configuration

_DEVICE_TRIES = 3
"""A device that is lost so often in a row needs a new process (a GPU's driver, say)."""


def run(configuration: Configuration, stop: threading.Event, worker: Worker) -> None:
    """Load the networks, then analyse until ``stop`` is set.

    Raises `DeviceUnavailable` or `BrainChanged` where a new process may find or take another.
    """
    # Saliency maps may take from the receiver's reserve, but leave the ledger room.
    reserve = configuration.settings.node.min_free_bytes // 2
    own = shift(worker, configuration, stop, reserve_bytes=reserve)
    if own is None:
        return
    engine = engine_of(configuration.settings, shadow=True)
    with stopped_at_once(stop):
        warm_when_there(engine, own.heart, own.patience, stop)
    if (why := engine.passed_over) is not None:
        own.log.event("engine.passed_over", reason=why.message, remedy=why.remedy)
    for name, fault in engine.declared.silent.items():
        own.log.event("network.silent", network=name, reason=fault.message, remedy=fault.remedy)
    thinking = _Thinking(own, engine)
    own.work(
        {"analysing films": thinking.analyse},
        detail=f"{engine.computed_by}, {engine.device}", going_on=thinking.is_able,
        device=engine.device, engine=engine.computed_by,
    )  # fmt: skip
    engine.declared.close()
    own.ledger.close()
    thinking.raise_if_lost()


class _Thinking:
    """The analyst, and how often in a row its device was lost or its brain another."""

    def __init__(self, own: Shift, engine: Engine) -> None:
        settings = own.configuration.settings
        seconds = settings.analysis.lease_seconds
        pulse = Pulse(own.ledger, own.worker, own.heart, own.patience, seconds)
        self._analyst = Analyst(
            engine, own.ledger, own.spool, settings, own.worker, own.log, pulse,
            lambda: not own.stop.is_set(), menu=menu_of(own.configuration),
            manifests=manifests_of(settings), shadow=shadow_of(own.configuration),
        )  # fmt: skip
        self._lost: DeviceUnavailable | BrainChanged | None = None
        self._losses = 0

    def analyse(self) -> int:
        try:
            taken = self._analyst.work()
        except (DeviceUnavailable, BrainChanged) as error:
            self._lost, self._losses = error, self._losses + 1
            raise
        self._losses = 0 if taken else self._losses
        return taken

    def is_able(self) -> bool:
        return self._losses < _DEVICE_TRIES

    def raise_if_lost(self) -> None:
        if not self.is_able() and self._lost is not None:
            raise self._lost
