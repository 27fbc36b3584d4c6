"""The networks as they are configured: for the analysing role and the commands."""

from __future__ import annotations

import threading

from dicom_node.analysis.engine import Engine
from dicom_node.brains.choice import Elsewhere
from dicom_node.errors import DeviceUnavailable
from dicom_node.line.bundles import declared_bundles
from dicom_node.line.heart import Heart
from dicom_node.patience import Patience
from dicom_node.resources import model_bundles
from dicom_node.settings import Settings


def engine_of(settings: Settings) -> Engine:
    """Return the engine of the configured suite; its networks load when it is warmed."""
    analysis, declared = settings.analysis, declared_bundles(settings)
    elsewhere = {bundle.id for bundle in declared}
    return Engine(
        analysis.models_dir or model_bundles(),
        [name for name in settings.networks if name not in elsewhere],
        analysis.device,
        analysis.batch,
        lungs=analysis.lungs,
        gate=analysis.gate,
        memory_growth=analysis.gpu_memory_growth,
        wait_seconds=analysis.batch_wait_ms / 1000,
        engine=analysis.engine,
        shelf=settings.node.data_dir / "engines",
        elsewhere=Elsewhere(analysis.brain_address, analysis.brain_timeout_seconds),
        declared=declared,
    )


def warm_when_there(
    engine: Engine, heart: Heart, patience: Patience, stop: threading.Event
) -> None:
    """Load the networks; wait for a brain elsewhere that is not there, until ``stop`` is set.

    Raises as `Engine.warm`: a device that is lost is found again by a new process alone.
    """

    def warm() -> DeviceUnavailable | None:
        heart.beat("starting", "loading networks")
        try:
            engine.warm()
        except DeviceUnavailable as lost:
            return lost
        return None

    if (lost := patience.until("loading networks", warm, stop)) is not None:
        raise lost
