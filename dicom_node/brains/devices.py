"""Which device computes, and how much of its memory is taken at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dicom_node.errors import DeviceUnavailable

Device = Literal["auto", "gpu", "cpu"]

_GPUS = ("nvidia[0-9]*", "dxg", "kfd")
"""Device files of NVIDIA's driver, of GPUs in Windows' Linux, and of AMD's driver."""


def may_have_gpu() -> bool:
    """Whether this machine may have a GPU: only TensorFlow knows, and it takes seconds to load."""
    return any(any(Path("/dev").glob(name)) for name in _GPUS)


def use_device(wanted: Device, *, memory_growth: bool = True) -> Literal["gpu", "cpu"]:
    """Choose the device for this process and return which it is.

    ``auto`` is the GPU where there is one. ``memory_growth`` takes GPU memory as it is needed
    instead of all at once. Call it before the first network is built: TensorFlow cannot change
    its devices later. Raises `DeviceUnavailable` if the wanted device is not there, or if
    TensorFlow was started with another.
    """
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not found:
        raise DeviceUnavailable("TensorFlow finds no GPU on this machine.")
    if not found:
        return "cpu"
    used = [] if wanted == "cpu" else found
    try:
        if tf.config.get_visible_devices("GPU") != used:
            tf.config.set_visible_devices(used, "GPU")
        for gpu in used:
            if tf.config.experimental.get_memory_growth(gpu) != memory_growth:
                tf.config.experimental.set_memory_growth(gpu, memory_growth)
    except RuntimeError as fault:
        raise DeviceUnavailable(
            f"TensorFlow already runs and cannot change to device {wanted!r}.",
            remedy="Start the process again with the new analysis.device.",
        ) from fault
    return "gpu" if used else "cpu"


def make_deterministic(seed: int = 0) -> None:
    """Make the same input give the same bits, at the cost of some speed on a GPU."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
