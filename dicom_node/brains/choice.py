"""Which brain answers: as it is configured, on what this machine has and what is proved on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dicom_node.brains import KERAS, Answers, Brain, ComputedOn
from dicom_node.brains import openvino as vino
from dicom_node.brains.devices import Device, may_have_gpu
from dicom_node.brains.exported import Contents, digest
from dicom_node.brains.models import Model
from dicom_node.brains.proof import Question, answers, deviations, questions
from dicom_node.brains.ray import RayBrain, Truth
from dicom_node.brains.shelf import Shelf, identity
from dicom_node.bundles import check_weights
from dicom_node.errors import EngineMissing, EngineUnproved
from dicom_node.imaging.prepare import Float
from dicom_node.patience import place_of

if TYPE_CHECKING:
    from dicom_node.brains.keras import KerasBrain

EngineName = Literal["auto", "keras", "openvino", "ray"]

_TAKEN: dict[EngineName, tuple[vino.Precision, ...]] = {
    "auto": ("f32",),
    "openvino": ("bf16", "f32"),
}
"""Which precisions are tried. On real films bfloat16 moves what float32 does not."""

_LONGEST = 400
"""Characters of what OpenVINO says of a network: it may be a page."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where a brain is that is not in this process, and for how long a question may wait."""

    address: str = ""
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a brain. ``device``, ``memory_growth``: see `use_device`.

    ``shelf``: the folder in which exported functions are kept; None: nowhere. ``elsewhere``: for an
    engine that is.
    """

    engine: EngineName = "keras"
    device: Device = "auto"
    memory_growth: bool = True
    shelf: Path | None = None
    elsewhere: Elsewhere = Elsewhere()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The brain that answers, and why the faster one that is installed does not."""

    brain: Brain
    passed_over: EngineUnproved | None = None


class Nobody:
    """The brain of a suite without networks of ours: nobody asks it."""

    name: str = KERAS
    device: ComputedOn = "cpu"

    def answer(self, model: str, films: Float, *, explain: bool) -> Answers:
        """Raise KeyError: there is no model."""
        raise KeyError(f"{model}, {len(films)} films, explain={explain}: there is no network")


NOBODY = Chosen(Nobody())


def brain_for(models: Sequence[Model], wanted: Wanted) -> Chosen:
    """Load the models into the wanted brain.

    ``auto`` is Keras where there is a GPU; else OpenVINO where it is installed and proved, which is
    asked what Keras is asked at the start: the self-test film. Raises as `KerasBrain`;
    `EngineMissing` or `EngineUnproved` for an engine that is wanted by name; `BrainUnavailable` for
    one elsewhere that does not answer now, or not as Keras.
    """
    if wanted.engine == "ray":
        return Chosen(_ray(models, wanted))
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
    """Return OpenVINO with the functions of the models, proved. Raises as `_functions`."""
    asked = questions(models)
    with _functions(models, asked, wanted, keras) as (folder, contents):
        return _proved(asked, folder, contents, _TAKEN[wanted.engine])


def _ray(models: Sequence[Model], wanted: Wanted) -> RayBrain:
    """Return the functions of the models as they answer elsewhere, held to those here.

    Raises as `functions_of`, and `BrainUnavailable`.
    """
    with functions_of(models, wanted) as (folder, contents):
        truth = Truth(digest(folder, contents), questions(models), contents.expected)
    return RayBrain(wanted.elsewhere.address, wanted.elsewhere.timeout_seconds, truth)


@contextmanager
def functions_of(models: Sequence[Model], wanted: Wanted) -> Iterator[tuple[Path, Contents]]:
    """Give the folder of the models' functions, kept or exported now, and what it holds.

    It may be gone when the block ends. Raises `EngineMissing`, `EngineUnproved`, and
    `BundleDamaged` for weights that are not those of the manifest.
    """
    keras = _Keras(models, wanted, "cpu")
    with _functions(models, questions(models), wanted, keras) as found:
        yield found


@contextmanager
def _functions(
    models: Sequence[Model], asked: Sequence[Question], wanted: Wanted, keras: _Keras
) -> Iterator[tuple[Path, Contents]]:
    if not vino.is_installed():
        raise EngineMissing(f"analysis.engine is {wanted.engine}, and OpenVINO is not installed.")
    for bundle in {bundle.id: bundle for model in models for bundle in model.bundles}.values():
        check_weights(bundle)

    def make(folder: Path) -> None:
        from dicom_node.brains.exporting import export

        export(keras.loaded(), asked, folder)

    try:
        with Shelf(wanted.shelf).functions(identity(asked), make) as found:
            yield found
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
