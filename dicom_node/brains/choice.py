"""Which brain answers: as it is configured, on what this machine has and what is proved on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dicom_node.brains import KERAS, Brain
from dicom_node.brains import openvino as vino
from dicom_node.brains.devices import Device, may_have_gpu
from dicom_node.brains.exported import Contents
from dicom_node.brains.models import Model
from dicom_node.brains.proof import Question, answers, deviations, questions
from dicom_node.brains.shelf import Shelf, identity
from dicom_node.bundles import check_weights
from dicom_node.errors import EngineMissing, EngineUnproved
from dicom_node.patience import place_of

if TYPE_CHECKING:
    from dicom_node.brains.keras import KerasBrain

EngineName = Literal["auto", "keras", "openvino"]

_TAKEN: dict[EngineName, tuple[vino.Precision, ...]] = {
    "auto": ("f32",),
    "openvino": ("bf16", "f32"),
}
"""Which precisions are tried. On real films bfloat16 moves what float32 does not."""

_LONGEST = 400
"""Characters of what OpenVINO says of a network: it may be a page."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a brain. ``device``, ``memory_growth``: see `use_device`.

    ``shelf``: the folder in which exported functions are kept; None: nowhere.
    """

    engine: EngineName = "keras"
    device: Device = "auto"
    memory_growth: bool = True
    shelf: Path | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The brain that answers, and why the faster one that is installed does not."""

    brain: Brain
    passed_over: EngineUnproved | None = None


def brain_for(models: Sequence[Model], wanted: Wanted) -> Chosen:
    """Load the models into the wanted brain.

    ``auto`` is Keras where there is a GPU; else OpenVINO where it is installed and proved, which is
    asked what Keras is asked at the start: the self-test film. Raises as `KerasBrain`;
    `EngineMissing` or `EngineUnproved` for an engine that is wanted by name.
    """
    if wanted.engine == "openvino":
        return Chosen(_openvino(models, wanted, _Keras(models, wanted, "cpu")))
    keras = _Keras(models, wanted, wanted.device)
    if wanted.engine == KERAS or not vino.is_installed():
        return Chosen(keras.loaded())
    may = wanted.device == "gpu" or (wanted.device == "auto" and may_have_gpu())
    if may and keras.loaded().device == "gpu":
        return Chosen(keras.loaded())
    try:
        return Chosen(_openvino(models, wanted, keras))
    except EngineUnproved as fault:
        return Chosen(keras.loaded(), fault)


class _Keras:
    """The brain that is Keras, loaded when it is first needed: that costs seconds."""

    def __init__(self, models: Sequence[Model], wanted: Wanted, device: Device) -> None:
        self._models, self._wanted, self._device = models, wanted, device
        self._brain: KerasBrain | None = None

    def loaded(self) -> KerasBrain:
        """Return it. Raises as `KerasBrain`."""
        from dicom_node.brains.keras import KerasBrain

        if self._brain is None:
            growth = self._wanted.memory_growth
            self._brain = KerasBrain(self._models, self._device, memory_growth=growth)
        return self._brain


def _openvino(models: Sequence[Model], wanted: Wanted, keras: _Keras) -> vino.OpenVinoBrain:
    """Return OpenVINO with the functions of the models, kept or exported now, and proved.

    Raises `EngineMissing`, `EngineUnproved`, and `BundleDamaged` for weights that are not those of
    the manifest.
    """
    if not vino.is_installed():
        raise EngineMissing("analysis.engine is openvino, and OpenVINO is not installed.")
    for bundle in {bundle.id: bundle for model in models for bundle in model.bundles}.values():
        check_weights(bundle)
    asked = questions(models)

    def make(folder: Path) -> None:
        from dicom_node.brains.exporting import export

        export(keras.loaded(), asked, folder)

    try:
        with Shelf(wanted.shelf).functions(identity(asked), make) as (folder, contents):
            return _proved(asked, folder, contents, _TAKEN[wanted.engine])
    except (RuntimeError, OSError, ImportError) as fault:
        why = " ".join(str(fault).split())[:_LONGEST] or place_of(fault)
        raise EngineUnproved(f"OpenVINO cannot compute these networks: {why}.") from fault


def _proved(
    asked: Sequence[Question],
    folder: Path,
    contents: Contents,
    precisions: Sequence[vino.Precision],
) -> vino.OpenVinoBrain:
    """Return OpenVINO in the first precision that answers as Keras does."""
    off: list[str] = []
    for precision in filter(vino.computes, precisions):
        brain = vino.OpenVinoBrain(folder, contents, precision)
        worst, *_ = deviations(asked, contents.expected, answers(brain, asked))
        if worst.within:
            return brain
        off.append(f"in {precision}, {worst}")
    raise EngineUnproved(f"OpenVINO does not answer the self-test film as Keras: {'; '.join(off)}.")
