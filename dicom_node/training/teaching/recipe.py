"""How a network is trained, as data: the typed form of ``recipe.toml``."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dicom_node.bundles import Paper
from dicom_node.errors import TrainingError
from dicom_node.imaging.contract import InputContract

RECIPE_FILE = "recipe.toml"
_AnyPart = TypeVar("_AnyPart", bound=BaseModel)
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Task = Literal["detection", "segmentation", "severity", "suite"]


class _Part(BaseModel):
    """A table of the recipe: no unknown keys, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Augmentation(_Part):
    """How far a film is changed before the network sees it; all zero = not at all.

    The first five are the CXR-S paper's. The others are against short cuts: they blur what tells
    the source of a film (tone curve, resolution, rim, corner letters) rather than its disease.
    """

    translation: Fraction = 0.10
    rotation_degrees: float = Field(default=10.0, ge=0.0, le=180.0)
    flip: bool = True
    zoom: Fraction = 0.15
    intensity: Fraction = 0.10
    gamma: Fraction = 0.0
    equalise: Fraction = 0.0
    blur: Fraction = 0.0
    noise: Fraction = 0.0
    rim: Fraction = 0.0
    corners: Fraction = 0.0


class Phase(_Part):
    """Epochs at one input size. ``batch`` is a multiple of the number of classes.

    ``mixup``: every film is mixed with another of its batch, labels too, by a part drawn from
    Beta(mixup, mixup); 0 = never.
    """

    size: int = Field(ge=32, le=2048)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0.0)
    warmup_epochs: int = Field(default=0, ge=0)
    mixup: float = Field(default=0.0, ge=0.0)


class RecipeInput(_Part):
    """What the network sees beside the size: `dicom_node.imaging.prepare.InputContract`.

    ``lungs``: the bundle that finds the lungs, where the contract needs them.
    """

    channels: int = Field(default=3, ge=1, le=3)
    crop_top: float = Field(default=0.08, ge=0.0, lt=1.0)
    intensity: Literal["unit", "equalised"] = "unit"
    region: Literal["film", "lungs"] = "film"
    margin: float = Field(default=0.0, ge=0.0, le=0.5)
    outside: Literal["kept", "hidden"] = "kept"
    lungs: str = ""

    def contract(self, size: int) -> InputContract:
        """Return the input contract for a grid of ``size`` × ``size``."""
        return InputContract(rows=size, columns=size, **self.model_dump(exclude={"lungs"}))


class ManifestTexts(_Part):
    """What the manifest says beside numbers. It does not decide the weights."""

    title: str
    intended_use: str
    licence: str
    data: str
    paper: Paper | None = None


class Recipe(_Part):
    """Everything but the data that decides which weights come out.

    ``films_per_epoch``: draws an epoch, the same number of every class. ``source_exponent``:
    within a class, a source with n films is drawn in proportion to n to this power (1 = every
    film equally often, 0 = every source equally often). ``ema``: momentum of the running average
    of the weights, which is what is validated and shipped. ``initial``: weights to begin with
    (`dicom_node.training.teaching.initial`), none = random. ``frozen``: layers whose names begin
    so are not taught. ``options`` go to the builder of the network. ``positive``: with two
    classes, the finding that is the second one; all other findings are the first. ``trunk`` and
    ``trunk_layer``: the bundle and the layer whose features are this network's input; they are
    made once for ``variants`` random changes of each film. ``severity_films``: graded films that
    are added to every batch of a suite. ``choose_by``: what the best epoch is chosen by; each task
    knows one way, and a recipe that names another is refused.
    """

    id: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    task: Task = "detection"
    network: str
    options: dict[str, int | str] = {}
    initial: str = ""
    frozen: tuple[str, ...] = ()
    input: RecipeInput = RecipeInput()
    classes: tuple[str, ...] = ()
    positive: str = ""
    trunk: str = ""
    trunk_layer: str = ""
    variants: int = Field(default=1, ge=1)
    severity_films: int = Field(default=0, ge=0)
    seed: int
    films_per_epoch: int = Field(ge=1)
    source_exponent: Fraction = 1.0
    weight_decay: float = Field(default=0.0, ge=0.0)
    label_smoothing: Fraction = 0.0
    dropout: Fraction = 0.0
    ema: Fraction = 0.0
    choose_by: Literal[
        "balanced log loss", "1 - Dice", "extent errors", "log loss and extent errors"
    ] = "balanced log loss"
    phases: tuple[Phase, ...] = Field(min_length=1)
    augmentation: Augmentation = Augmentation()
    bundle: ManifestTexts | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the network's outputs."""
        return ("other", self.positive) if self.positive else self.classes

    @property
    def digest(self) -> str:
        """Digest of all that decides the weights, sha256:…; the bundle's texts do not."""
        decisive = self.model_dump_json(indent=1, exclude={"bundle"})
        return f"sha256:{hashlib.sha256(decisive.encode()).hexdigest()}"

    @property
    def epochs(self) -> int:
        """All epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase_of(self, epoch: int) -> tuple[Phase, int]:
        """Return the phase that epoch (from 0) lies in, and its number within the phase."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase, epoch
            epoch -= phase.epochs
        raise IndexError(f"the recipe has {self.epochs} epochs")

    def shortened(self, epochs: int) -> Recipe:
        """Return this recipe with so many epochs, shared out between phases as before."""
        total, phases, left = self.epochs, [], epochs
        for phase in reversed(self.phases):
            share = min(left, max(1, round(phase.epochs * epochs / total)))
            left -= share
            phases.append(phase.model_copy(update={"epochs": share}))
        first = phases[-1]
        phases[-1] = first.model_copy(update={"epochs": first.epochs + left})
        kept = tuple(phase for phase in reversed(phases) if phase.epochs > 0)
        return self.model_copy(update={"phases": kept})


class SharedRecipe(_Part):
    """A recipe that says only: taught together with another bundle, by that one's recipe.

    ``output``: which of the outputs that are taught there is this bundle's.
    """

    id: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    taught_with: str
    output: str
    bundle: ManifestTexts


def read_recipe(path: Path) -> Recipe:
    """Return the recipe; raises `TrainingError` naming file, key and fault."""
    return read_part(path, Recipe)


def read_share(path: Path) -> SharedRecipe | None:
    """Return the recipe of a bundle that is taught with another one; None if it has its own."""
    if not path.is_file() or "taught_with" not in tomllib.loads(path.read_text(encoding="utf8")):
        return None
    return read_part(path, SharedRecipe)


def read_part(path: Path, kind: type[_AnyPart]) -> _AnyPart:
    """Return the file as that kind; raises `TrainingError` naming file, key and fault."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf8")))
    except FileNotFoundError as missing:
        raise TrainingError(f"There is no recipe {path.name} for this network.") from missing
    except tomllib.TOMLDecodeError as fault:
        raise TrainingError(f"{path.name}: {fault}", remedy="Correct the recipe.") from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise TrainingError(
            f"{path.name}: {key}: {first['msg']}", remedy="Correct the named key of the recipe."
        ) from fault
