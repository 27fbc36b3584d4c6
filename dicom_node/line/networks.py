"""The networks as they are configured: for the analysing role and the commands."""

from __future__ import annotations

from dicom_node.analysis.engine import Engine
from dicom_node.resources import model_bundles
from dicom_node.settings import Settings


def engine_of(settings: Settings) -> Engine:
    """Return the engine of the configured suite; its networks load when it is warmed."""
    analysis = settings.analysis
    return Engine(
        analysis.models_dir or model_bundles(),
        analysis.suite,
        analysis.device,
        analysis.batch,
        lungs=analysis.lungs,
        gate=analysis.gate,
        memory_growth=analysis.gpu_memory_growth,
        wait_seconds=analysis.batch_wait_ms / 1000,
        engine=analysis.engine,
        shelf=settings.node.data_dir / "engines",
    )
