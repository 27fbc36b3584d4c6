"""What a model is: a folder with a manifest, weights, a card, figures and a self-test.

``model.toml`` is data: the network is named by a registry key, the weights by their digest.
Nothing here loads a network (`dicom_node.bundles.network` does); listing bundles is cheap.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dicom_node.errors import BundleContractBroken, BundleDamaged, BundleMissing
from dicom_node.findings import NetworkVersion
from dicom_node.imaging.contract import InputContract
from dicom_node.networks.keys import KEYS
from dicom_node.settings.source import is_short

MANIFEST, CARD, EVALUATION, SELF_TEST = "model.toml", "CARD.md", "evaluation.json", "self_test.json"
REQUIRED = (CARD, EVALUATION, SELF_TEST)


class _Table(BaseModel):
    """A table of the manifest: no unknown keys, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Table):
    """The input contract (`dicom_node.imaging.prepare.InputContract`).

    ``lungs``: the bundle that finds the lungs, where region or outside ask for them.
    """

    rows: int = Field(ge=32, le=4096)
    columns: int = Field(ge=32, le=4096)
    channels: int = Field(ge=1, le=3)
    crop_top: float = Field(ge=0.0, lt=1.0)
    intensity: Literal["unit", "equalised"]
    region: Literal["film", "lungs"] = "film"
    margin: float = Field(default=0.0, ge=0.0, le=0.5)
    outside: Literal["kept", "hidden"] = "kept"
    lungs: str = ""

    @property
    def contract(self) -> InputContract:
        """The same as the value that `prepare` takes."""
        return InputContract(**self.model_dump(exclude={"lungs"}))


class Output(_Table):
    """One output of the network, by the name it has there.

    ``class-logits`` become probabilities by softmax, in the order of ``classes``; ``flag-logits``
    by one logistic function each, of classes that do not exclude each other; ``mask-logits``
    become probabilities of each place by the logistic function; all after `Calibration`.
    ``scores`` are values in ``range``, one a class (zone) or one in all. ``reported_as``: the
    score's name in the findings.
    """

    name: str
    kind: Literal["class-logits", "flag-logits", "mask-logits", "scores"]
    range: tuple[float, float]
    classes: tuple[str, ...] = ()
    reported_as: str = ""


_EVEN = 0.5
"""From where a class that excludes no other is believed whose threshold no manifest states."""


class Thresholds(_Table):
    """Below ``abstain`` (highest probability, in [0, 1]) no class is named.

    ``least``: the probability from which a class of any output is believed, by its name.
    """

    abstain: float = Field(default=0.0, ge=0.0, le=1.0)
    least: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = {}

    def of(self, name: str) -> float:
        """Return the probability below which a class that excludes others is not named."""
        return self.least.get(name, self.abstain)

    def of_flag(self, name: str) -> float:
        """Return the probability from which a class that excludes no other is believed."""
        return self.least.get(name, _EVEN)


class Calibration(_Table):
    """Temperature by which logits are divided; ``fitted_on`` names the split, or is empty.

    ``temperatures``: of single outputs, by name, instead of ``temperature``; ``offsets``: added
    to an output's logits after that, one a class (vector scaling: Guo et al., ICML 2017).

    ``half_width``: half the width of a score's 90 % interval, in its unit (split conformal:
    Lei et al., "Distribution-free predictive inference for regression", JASA 2018); 0 = none.
    ``spread_factor``: by how much a network's own output ``spread`` is multiplied to become that
    half width (normalised conformal prediction, same paper); 0 = none.
    """

    temperature: float = Field(default=1.0, gt=0.0)
    temperatures: dict[str, Annotated[float, Field(gt=0.0)]] = {}
    offsets: dict[str, tuple[float, ...]] = {}
    spread_factor: float = Field(default=0.0, ge=0.0)
    half_width: float = Field(default=0.0, ge=0.0)
    fitted_on: str = ""

    def of(self, output: str) -> tuple[float, tuple[float, ...]]:
        """Return temperature and offsets of an output by name; no offsets: (0.0,)."""
        return self.temperatures.get(output, self.temperature), self.offsets.get(output, (0.0,))


class Weights(_Table):
    """The weights file beside the manifest and what the network costs without its trunk."""

    file: str = Field(pattern=r"^[0-9.]+-[0-9a-f]{8}\.weights\.h5$")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    parameters: int = Field(ge=1)
    macs: int = Field(ge=1)


class Cost(_Table):
    """What the network costs that runs alone, with all that it needs of its trunks.

    ``macs_at_paper``: of films of the size that the paper's figure is for; 0 where none is known.
    """

    parameters: int = Field(ge=1)
    macs: int = Field(ge=1)
    macs_at_paper: int = Field(default=0, ge=0)


class Paper(_Table):
    """The network of the paper, for comparison. ``size``: side of its input, pixels; 0: unknown."""

    title: str
    parameters: int
    macs: int
    size: int = Field(default=0, ge=0)


class Training(_Table):
    """Where the weights come from."""

    data: str
    films: int
    patients: int
    validation_films: int
    epochs: int
    best_epoch: int
    recipe: str = "recipe.toml"


class Manifest(_Table):
    """The typed form of ``model.toml``.

    ``options`` go to the network's builder. ``trunk``: the bundle whose layer ``trunk_layer`` is
    this network's input, so that both share one pass; empty: it takes films. ``input`` is the
    contract of the film even then.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    task: Literal["gate", "detection", "segmentation", "map", "airspace", "score"]
    network: str
    options: dict[str, int | str] = {}
    trunk: str = ""
    trunk_layer: str = ""
    intended_use: str
    licence: str
    input: Input
    outputs: tuple[Output, ...] = Field(min_length=1)
    thresholds: Thresholds
    calibration: Calibration
    weights: Weights
    cost: Cost | None = None
    paper: Paper | None = None
    training: Training

    @model_validator(mode="after")
    def _states_certainties_only_if_calibrated(self) -> Self:
        # The report calls the probability of a level its certainty (111012, DCM).
        if self.task == "airspace" and not self.calibration.fitted_on:
            raise ValueError("the levels of an airspace network must be calibrated: see fitted_on")
        return self

    @property
    def weights_digest(self) -> str:
        """The digest of the weights, ``sha256:…``."""
        return self.weights.digest


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and its manifest. Nothing else has been read or checked."""

    folder: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The bundle's name, which is the folder's."""
        return self.manifest.id

    @property
    def contract(self) -> InputContract:
        """What the network expects to see."""
        return self.manifest.input.contract

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the first output, in its order."""
        return self.manifest.outputs[0].classes

    @property
    def threshold(self) -> float:
        """Below this highest probability no class is named."""
        return self.manifest.thresholds.abstain

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted on validation data."""
        return bool(self.manifest.calibration.fitted_on)

    @property
    def has_weights(self) -> bool:
        """Whether the weights file is there; what is in it is not looked at."""
        return (self.folder / self.manifest.weights.file).is_file()

    @property
    def network_version(self) -> NetworkVersion:
        """Version and weights digest, as results quote them."""
        return NetworkVersion(self.manifest.version, self.manifest.weights.digest)


def list_bundles(folder: Path) -> tuple[Bundle, ...]:
    """Return every bundle of our own networks under ``folder``, by id.

    Those that declare what they say are left out (`dicom_node.bundles.declared.list_declared`).
    Raises `BundleContractBroken` on a bad one.
    """
    paths = sorted(path for path in folder.glob(f"*/{MANIFEST}") if not declares(path))
    return tuple(open_bundle(folder, path.parent.name) for path in paths)


def declares(path: Path) -> bool | None:
    """Whether a manifest says what its network eats or says; None where it cannot be read."""
    if not path.is_file():
        return None  # a pipe would be waited for
    if not is_short(path):
        return None
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return "says" in document or "eats" in document


def open_bundle(folder: Path, bundle_id: str) -> Bundle:
    """Read and check the manifest of ``folder/bundle_id``.

    Raises `BundleMissing` if there is none, `BundleContractBroken` naming the key at fault.
    """
    path = folder / bundle_id / MANIFEST
    try:
        document = tomllib.loads(path.read_text(encoding="utf8"))
        manifest = Manifest.model_validate(document)
    except FileNotFoundError as missing:
        known = ", ".join(sorted(found.parent.name for found in folder.glob(f"*/{MANIFEST}")))
        raise BundleMissing(
            f"There is no model bundle {bundle_id!r}.", remedy=f"Known bundles: {known or 'none'}."
        ) from missing
    except tomllib.TOMLDecodeError as fault:
        raise BundleContractBroken(f"{bundle_id}/{MANIFEST}: {fault}") from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleContractBroken(f"{bundle_id}/{MANIFEST}: {key}: {first['msg']}") from fault
    if manifest.id != bundle_id:
        raise BundleContractBroken(f"{bundle_id}/{MANIFEST}: id is {manifest.id!r}.")
    if manifest.network not in KEYS:
        raise BundleContractBroken(f"{bundle_id}/{MANIFEST}: no network {manifest.network!r}.")
    return Bundle(path.parent, manifest)


def with_neighbours(folder: Path, names: Iterable[str]) -> frozenset[str]:
    """Return these bundles, the trunks that they stand on and those that find lungs for them.

    Raises as `open_bundle`.
    """
    found: set[str] = set()
    waiting = [name for name in names if name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            manifest = open_bundle(folder, name).manifest
            waiting += filter(None, (manifest.trunk, manifest.input.lungs))
    return frozenset(found)


def digest_of(path: Path) -> str:
    """Return the file's digest as ``sha256:…``."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def check_weights(bundle: Bundle) -> Path:
    """Return the weights file; raises `BundleDamaged` if it is missing or not the manifest's."""
    weights = bundle.manifest.weights
    path = bundle.folder / weights.file
    if not path.is_file():
        raise BundleDamaged(
            f"Bundle {bundle.id}: {weights.file} is missing.",
            remedy=f"Put models/{bundle.id}/{weights.file} of the repository beside the manifest: "
            "the wheel holds the weights of the default suite only.",
        )
    if (found := digest_of(path)) != weights.digest:
        raise BundleDamaged(
            f"Bundle {bundle.id}: {weights.file} has the digest {found[:15]}…, "
            f"not the manifest's {weights.digest[:15]}…."
        )
    return path
