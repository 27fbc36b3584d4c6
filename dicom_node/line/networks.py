"""The networks as they are configured: for the analysing role and the commands."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dicom_node.analysis.engine import Engine
from dicom_node.brains.choice import Elsewhere
from dicom_node.bundles.declared import Declared
from dicom_node.errors import DeviceUnavailable, NodeError
from dicom_node.line.bundles import broken_bundles, declared_bundles, shadow_bundles
from dicom_node.line.heart import Heart
from dicom_node.patience import Patience
from dicom_node.resources import model_bundles
from dicom_node.settings import Settings


def engine_of(settings: Settings, *, shadow: bool = False) -> Engine:
    """Return the engine of the configured suite; its networks load when it is warmed.

    ``shadow``: with those that run in shadow, too: they answer where they are asked by name.
    """
    declared = declared_bundles(settings)
    elsewhere = {bundle.id for bundle in declared}
    broken = broken_bundles(settings)
    own = [name for name in settings.networks if name not in elsewhere and name not in broken]
    return _engine(
        settings, own, (*declared, *(shadow_bundles(settings) if shadow else ())), broken
    )


def engine_alone(settings: Settings, bundle: Declared) -> Engine:
    """Return an engine of one bundle that declares what it says; it need not be installed."""
    return _engine(settings, (), (bundle,))


def _engine(
    settings: Settings,
    own: Sequence[str],
    declared: Sequence[Declared],
    broken: Mapping[str, NodeError] = MappingProxyType({}),
) -> Engine:
    analysis = settings.analysis
    return Engine(
        analysis.models_dir or model_bundles(),
        own,
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
        broken=broken,
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
