"""A bundle that says in its manifest what it eats and what it says: no line of Python is behind it.

The second form of ``model.toml``, beside that of our own networks (`dicom_node.bundles`): it has
``[eats]`` and ``[[says]]``, and names an engine. Nothing that executes code is loaded from it.
Opening one is cheap: the network is not looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from dicom_node.bundles import MANIFEST, declares, digest_of
from dicom_node.chest import NAMED_KEYS
from dicom_node.errors import BundleContractBroken, BundleDamaged, BundleMissing, SettingsError
from dicom_node.findings import NetworkVersion
from dicom_node.observations import ObservationKind as Kind
from dicom_node.settings.faults import Fault, explain, refusal
from dicom_node.settings.source import parse, read_text

ENGINES = ("onnx", "openvino", "saved-model", "keras")
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "openvino": (".xml",),
    "saved-model": ("",),
    "keras": (".weights.h5",),
}
"""How the weights file of each engine is called; a SavedModel is a folder."""

FILMS: Mapping[str, str] = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "IO": "1.2.840.10008.5.1.4.1.1.1.3",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
}
"""SOP classes that ``eats.sop_classes`` may name in short; others stand there as their UIDs."""

LONG_STRING = 64
"""Characters of a code's meaning (PS3.5 section 6.2)."""

_PAGE = "docs/bring-your-network.md"

_DEFAULT = {
    Kind.CLASS: "softmax",
    Kind.LEVEL: "softmax",
    Kind.LABELS: "sigmoid",
    Kind.MASK: "sigmoid",
}


class _Table(BaseModel):
    """A table of the manifest: no unknown keys, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _legible(text: str) -> str:
    if not text.isprintable() or "\\" in text:
        raise ValueError("there is a backslash or a control character in it")
    return text


Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A name for programs: small letters, digits and low lines, at most 40."""
Words = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_legible)]
Name = Annotated[str, Field(min_length=1, max_length=52), AfterValidator(_legible)]
"""What people read in a list: at most 52 characters, since ``, film 12`` may follow."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Concept(_Table):
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 section 8).

    A scheme that is not public begins with 99 (PS3.16 section 8.2), like ``99MYSITE``.
    """

    value: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_legible)]
    scheme: str = Field(min_length=1, max_length=16, pattern=r"^[A-Z0-9_]+$")
    meaning: Annotated[str, Field(min_length=1, max_length=LONG_STRING), AfterValidator(_legible)]


class WantedPixels(_Table):
    """What the network wants to see of a film.

    ``input``: its input's name; empty: the only one. ``rows`` × ``columns`` × ``channels`` values
    in ``layout``. ``region``: the whole ``film``, of which ``crop_top``, a part of the height, is
    cut off above; or the ``lungs``, a square around them with ``margin``. ``fit``: stretched to the
    grid, or with its aspect ratio kept: filled up with black (``pad``) or cut in its middle
    (``crop``). ``values``: what black (air) and white (dense) become, before ``mean`` is taken off
    and ``std`` divides, one a channel or one in all. ``equalised``: with a flat histogram first.
    """

    input: str = ""
    rows: int = Field(ge=8, le=4096)
    columns: int = Field(ge=8, le=4096)
    channels: int = Field(default=1, ge=1, le=3)
    layout: Literal["channels-first", "channels-last"] = "channels-first"
    region: Literal["film", "lungs"] = "film"
    crop_top: float = Field(default=0.0, ge=0.0, lt=1.0)
    margin: float = Field(default=0.0, ge=0.0, le=0.5)
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    equalised: bool = False
    values: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[Annotated[float, Field(gt=0.0)], ...] = (1.0,)

    @model_validator(mode="after")
    def _one_a_channel(self) -> Self:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(f"{name} has one value, or one for each of {self.channels}")
        return self


class Eats(_Table):
    """Which films a network is for, and what it wants to see of them.

    ``sop_classes``: short names (`FILMS`) or UIDs. ``modalities``: Modality (0008,0060).
    ``body_parts``: by Body Part Examined (0018,0015), else by the codes of Anatomic Region Sequence
    (0008,2218), else by words of the descriptions; CHEST is what admission.toml has for it, others
    are in `dicom_node.intake.parts` or known by their name. ``views``: by View Position
    (0018,5101), else View Code Sequence (0054,0220), descriptions and Patient Orientation; FRONTAL
    is PA, AP or frontal, LATERAL is LL, RL or lateral; others (OBLIQUE, CC) as the film has them.
    Both empty: any. ``unspecific``: what happens to a film whose header does not tell the body part
    that is asked for, or the view. ``frames``: 1; others are not
    read yet. ``gate``: whether it wants only what the gate (analysis.gate) takes for a frontal
    chest radiograph, set right where it lies turned; by default where the lungs are its region, or
    all that it eats are frontal films of the chest.
    """

    sop_classes: tuple[str, ...] = ("CR", "DX")
    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    unspecific: Literal["decline", "accept"] = "decline"
    frames: Literal[1] = 1
    gate: bool | None = None
    pixels: WantedPixels

    @model_validator(mode="after")
    def _names_sop_classes(self) -> Self:
        for name in self.sop_classes:
            if name not in FILMS and not name.startswith("1.2."):
                raise ValueError(
                    f"{name!r} is no SOP class: name {', '.join(FILMS)}, or a SOP Class UID"
                )
        return self

    @property
    def sop_class_uids(self) -> frozenset[str]:
        """The SOP Class UIDs of the films."""
        return frozenset(FILMS.get(name, name) for name in self.sop_classes)

    @property
    def asks_gate(self) -> bool:
        """Whether the gate must take a film for a frontal chest radiograph."""
        if self.gate is not None:
            return self.gate
        frontal = bool(self.views) and {*map(str.upper, self.views)} <= {"PA", "AP", "FRONTAL"}
        chest = bool(self.body_parts) and {*map(str.upper, self.body_parts)} <= {
            "CHEST", "THORAX", "LUNG",
        }  # fmt: skip
        return self.pixels.region == "lungs" or (frontal and chest)


class SaidClass(_Table):
    """One class, level or label of an output, in the output's order.

    ``finding``: the code of what is there if it is believed; without one nothing is coded as found
    (a class like "normal" has none). ``answer``: how the class itself is coded where it is not a
    finding; by default a private code. ``threshold``: from which it is believed, in [0, 1];
    ``severity``: see `Says`.
    """

    key: Key
    threshold: Fraction | None = None
    finding: Concept | None = None
    answer: Concept | None = None
    severity: float | None = Field(default=None, ge=0.0, le=18.0)


class Says(_Table):
    """One observation of a network, and from which numbers it is made.

    ``output``: the tensor's name; empty: the only one. ``index``: which of its values count, e.g.
    of 18 logits the first; for classes and labels one index a class, of places which values of
    each, of a mask which of its planes. ``activation``: what makes probabilities of logits; by
    default softmax of classes and levels, sigmoid of labels and masks, none of others; a softmax
    of places or masks is over all values, before ``index``. ``temperature`` divides logits before,
    ``fitted_on`` names the split it was fitted on: without it numbers are scores, and called so.

    ``classes``: of a class, level, labels or region. ``threshold``: of each class that states none;
    of a score or measurement, the value from which it is a finding (``finding``); of a region, from
    which a place is kept; of a mask, from which a place belongs to it.

    Scores and measurements: the number times ``scale`` plus ``offset``, held in ``range``; in
    ``unit`` (UCUM: mm, cm, a, deg, %, {0:8}). ``half_width``: half of its 90 % interval.
    ``measures``: the output is the ``value`` itself; or a ``length`` in pixels of the input, or the
    two ``points`` of one (column, row, column, row): both become millimetres by the film's pixel
    spacing, and there is no value where the film states none.

    Regions: ``boxes`` is the tensor of boxes, (places, 4), in ``box_form`` and ``box_unit``;
    ``output`` holds a probability a place, or one a place and class; ``labels_output``, where there
    is one, the class's number of each place. ``overlap``: of two places of one class that share
    more than so much of their area the less probable one is left out; ``most``: how many are kept.

    Masks: rows and columns, or planes of them, which lie where the input has its channels.
    ``inside``: what lies outside the lungs does not count where they were found. ``least_part``:
    the part of the lungs, or of the film, from which a mask is a finding.

    ``concept``: how what is observed is coded; ``finding``: what is there if the threshold is
    reached; ``site``: where. Without codes there are private ones (docs/codes.md).
    ``headline``: the case list shows it. ``severity``: where it is found, the case stands so high
    in the list that is ordered by severity (0 to 18; our own networks give 18 at the most).
    ``decimals``: of the number that people read.
    """

    key: Key
    kind: Kind
    output: str = ""
    index: tuple[Annotated[int, Field(ge=0)], ...] = ()
    activation: Literal["none", "sigmoid", "softmax"] | None = None
    temperature: float = Field(default=1.0, gt=0.0)
    fitted_on: str = ""
    classes: tuple[SaidClass, ...] = ()
    threshold: float | None = None
    range: tuple[float, float] | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: Annotated[str, Field(max_length=16, pattern=r"^[!-~]*$")] = ""
    half_width: float = Field(default=0.0, ge=0.0)
    measures: Literal["value", "length", "points"] = "value"
    boxes: str = ""
    box_form: Literal["corners", "corner-size", "centre-size"] = "corners"
    box_unit: Literal["pixels", "parts"] = "pixels"
    labels_output: str = ""
    overlap: Fraction = 0.5
    most: int = Field(default=20, ge=1, le=200)
    inside: Literal["film", "lungs"] = "film"
    least_part: Fraction = 0.001
    concept: Concept | None = None
    finding: Concept | None = None
    site: Concept | None = None
    laterality: Literal["right", "left", "both"] | None = None
    headline: bool = False
    severity: float = Field(default=0.0, ge=0.0, le=18.0)
    decimals: int = Field(default=1, ge=0, le=6)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for fault in _faults(self):
            raise ValueError(fault)
        return self

    @property
    def activated_by(self) -> str:
        """What makes probabilities of its numbers: none, sigmoid or softmax."""
        return self.activation or _DEFAULT.get(self.kind, "none")

    @property
    def calibrated(self) -> bool:
        """Whether its numbers may be called probabilities."""
        return bool(self.fitted_on)

    def threshold_of(self, name: str) -> float:
        """Return from which probability a class is believed; 0.5 where none is stated.

        Of classes that exclude each other it is 0 then: the most probable one is named.
        """
        stated = next((each.threshold for each in self.classes if each.key == name), None)
        if stated is not None:
            return stated
        if self.threshold is not None:
            return self.threshold
        return 0.0 if self.kind in (Kind.CLASS, Kind.LEVEL) else 0.5


def _faults(said: Says) -> Iterable[str]:
    """Yield what does not fit the kind of an observation."""
    if said.key in NAMED_KEYS:
        yield f"the key {said.key!r} is that of a finding of our own networks: choose another"
    named = len(said.classes)
    if len({each.key for each in said.classes}) < named:
        yield "two classes have the same key"
    if said.kind in (Kind.CLASS, Kind.LEVEL) and named < 2:
        yield f"a {said.kind} has at least two classes: add [[says.classes]]"
    if said.kind is Kind.LABELS and not named:
        yield "labels have at least one class: add [[says.classes]]"
    if said.kind in (Kind.SCORE, Kind.MEASUREMENT, Kind.MASK) and named:
        yield f"a {said.kind} has no classes"
    if said.kind is Kind.SCORE and said.range is None:
        yield "a score has a range: add range = [lowest, highest]"
    if said.kind is Kind.MEASUREMENT and not said.unit:
        yield 'a measurement has a unit: add unit = "mm", or another of UCUM'
    if said.activation == "softmax" and said.kind in (Kind.SCORE, Kind.MEASUREMENT):
        yield f"a softmax is of several classes, and a {said.kind} has none"
    if said.activation == "sigmoid" and said.measures == "points":
        yield "points are pixels of the input, and have no activation"
    if said.index and said.kind is Kind.MASK and len(said.index) > 1:
        yield "index names the one plane of a mask"
    if said.measures != "value" and (said.kind is not Kind.MEASUREMENT or said.unit != "mm"):
        yield 'only a measurement in "mm" measures a length or points'
    if said.kind is Kind.REGION and not said.boxes:
        yield "a region names the output with its boxes: add boxes"
    if said.boxes and said.kind is not Kind.REGION:
        yield "only a region has boxes"
    if said.range and not said.range[0] < said.range[1]:
        yield "range goes from the lowest to the highest"
    elif said.range and not said.range[0] <= (said.threshold or said.range[0]) <= said.range[1]:
        yield "threshold lies outside range: values are held in it, so it would never be reached"
    if said.index and said.classes and len(said.index) != named:
        yield f"index has one place for each of {named} classes"
    if said.kind in (Kind.REGION, Kind.MASK) and not 0 <= (said.threshold or 0) <= 1:
        yield "threshold is a probability, from 0 to 1"


class ObservationWords(_Table):
    """How one observation is called in one language.

    ``name``: in lists. ``classes``: its classes' names by key. ``comment``: what it means, and what
    it does not, in a sentence.
    """

    name: Name
    classes: dict[str, Name] = {}
    comment: Annotated[str, Field(max_length=400), AfterValidator(_legible)] = ""


_FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
_Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class NetworkFile(_Table):
    """The file, or the folder of a SavedModel, beside the manifest, and its SHA-256.

    ``also``: further files that belong to it (the ``.bin`` of OpenVINO), with their digests.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    digest: _Digest
    also: dict[_FileName, _Digest] = {}


class Declaration(_Table):
    """The typed form of a ``model.toml`` with ``[eats]`` and ``[[says]]``.

    ``network``: of the engine keras alone, which of our networks the weights are of, see
    `dicom_node.networks.keys`. ``explain``: how it is shown where the network looked:
    ``occlusion`` hides one part of the film after the other (64 more answers; who is too slow for
    that is not shown, `dicom_node.analysis.declared`), ``none`` shows nothing. ``memory_mb`` and
    ``seconds``: what it may take; beyond them it is stopped. ``template``: words by language ("en",
    "de"), then by the key of an observation.
    """

    id: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    title: Name
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    engine: Literal["onnx", "openvino", "saved-model", "keras"]
    network: str = ""
    intended_use: Words
    licence: Words
    explain: Literal["none", "occlusion"] = "none"
    memory_mb: int = Field(default=2048, ge=64, le=65536)
    seconds: float = Field(default=30.0, gt=0.0, le=600.0)
    eats: Eats
    says: tuple[Says, ...] = Field(min_length=1)
    weights: NetworkFile
    template: dict[str, dict[str, ObservationWords]] = {}

    @model_validator(mode="after")
    def _keys_are_known(self) -> Self:
        keys = [said.key for said in self.says]
        if len(set(keys)) < len(keys):
            raise ValueError("two [[says]] have the same key")
        by_key = {said.key: said for said in self.says}
        for language, words in self.template.items():
            for key, told in words.items():
                if key not in by_key:
                    raise ValueError(f"template.{language}.{key} is no key of [[says]]")
                known = {each.key for each in by_key[key].classes}
                for name in told.classes:
                    if name not in known:
                        raise ValueError(f"template.{language}.{key}.classes.{name} is no class")
        if not self.weights.file.endswith(SUFFIXES[self.engine]):
            raise ValueError(f"weights of {self.engine} end with {SUFFIXES[self.engine][0]}")
        return self

    @property
    def weights_digest(self) -> str:
        """The digest of the weights, ``sha256:…``."""
        return self.weights.digest


@dataclass(frozen=True, slots=True)
class Declared:
    """An opened bundle that says what it eats and says. Its network has not been looked at."""

    folder: Path
    manifest: Declaration

    @property
    def id(self) -> str:
        """The bundle's name, which is the folder's: that of the manifest, or that ``@version``."""
        return self.folder.name

    @property
    def has_weights(self) -> bool:
        """Whether the weights are there; what is in them is not looked at."""
        return (self.folder / self.manifest.weights.file).exists()

    @property
    def network_version(self) -> NetworkVersion:
        """Version, weights digest and engine, as results quote them."""
        manifest = self.manifest
        return NetworkVersion(manifest.version, manifest.weights.digest, manifest.engine)


def is_declared(folder: Path, bundle_id: str) -> bool:
    """Whether ``folder/bundle_id`` has a manifest with ``[[says]]``; False where there is none."""
    return declares(folder / bundle_id / MANIFEST) is True


def list_declared(folders: Iterable[Path]) -> tuple[Declared, ...]:
    """Return every bundle in the folders that declares what it says, by id.

    Of two with the same id that in the first of the folders counts. Raises `BundleContractBroken`
    on a bad one.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob(f"*/{MANIFEST}"):
            if declares(path):
                found.setdefault(path.parent.name, folder)
    return tuple(open_declared(folder, name) for name, folder in sorted(found.items()))


def open_declared(folder: Path, bundle_id: str) -> Declared:
    """Read and check the manifest of ``folder/bundle_id``.

    A second version of a bundle lies beside it as ``id@version``. Raises `BundleMissing` if there
    is none, `BundleContractBroken` with every fault by file, line and key.
    """
    path = folder / bundle_id / MANIFEST
    if not path.is_file():
        raise BundleMissing(f"There is no model bundle {bundle_id!r}.")
    manifest = _checked(path, f"{bundle_id}/{MANIFEST}")
    if bundle_id not in (manifest.id, versioned(manifest)):
        what = f"id is {manifest.id!r}, version {manifest.version}"
        remedy = "give the folder the name of the bundle, or that @version"
        fault = Fault(f"{bundle_id}/{MANIFEST}", "id", what, remedy)
        raise BundleContractBroken(
            f"{bundle_id}/{MANIFEST}: {what}.",
            faults=(str(fault),),
            remedy=f"{remedy[:1].upper()}{remedy[1:]}.",
        )
    return Declared(path.parent, manifest)


def versioned(manifest: Declaration) -> str:
    """Return the name of one version of a bundle, ``id@version``."""
    return f"{manifest.id}@{manifest.version}"


def faults_of(folder: Path, bundle_id: str) -> tuple[str, ...]:
    """Return every fault of a manifest, by file, line and key; none for one that is whole."""
    try:
        open_declared(folder, bundle_id)
    except BundleContractBroken as error:
        return error.faults or (str(error),)
    return ()


def _checked(path: Path, name: str) -> Declaration:
    text = read_text(path, name)
    source = text if isinstance(text, Fault) else parse(text, name)
    if isinstance(source, Fault):
        raise _broken([source])
    try:
        return Declaration.model_validate_json(json.dumps(source.tables, default=str), strict=True)
    except ValidationError as error:
        raise _broken(explain(error, Declaration, source.places, _PAGE)) from error
    except RecursionError:
        raise _broken([Fault(name, "", "is nested too deeply", "write less")]) from None


def _broken(faults: Sequence[Fault]) -> BundleContractBroken:
    told: SettingsError = refusal(faults)
    return BundleContractBroken(str(told), faults=told.faults)


def check_declared_weights(bundle: Declared) -> Path:
    """Return the weights file or folder; raises `BundleDamaged` if it is not the manifest's."""
    weights = bundle.manifest.weights
    wanted = {weights.file: weights.digest, **weights.also}
    for name, digest in wanted.items():
        path = bundle.folder / name
        if not path.exists() or any(each.is_symlink() for each in (path, *path.rglob("*"))):
            raise BundleDamaged(
                f"Bundle {bundle.id}: {name} is missing, or holds a link.",
                remedy="Put it beside the manifest; links are not followed.",
            )
        if (found := digest_of_weights(path)) != digest:
            raise BundleDamaged(
                f"Bundle {bundle.id}: {name} has the digest {found[:15]}…, "
                f"not the manifest's {digest[:15]}…."
            )
    return bundle.folder / weights.file


def digest_of_weights(path: Path) -> str:
    """Return the digest of a file, or of a folder's files by their names, as ``sha256:…``."""
    if path.is_file():
        return digest_of(path)
    lines = (
        f"{digest_of(each)} {each.relative_to(path).as_posix()}\n"
        for each in sorted(path.rglob("*"))
        if each.is_file()
    )
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def words_of(manifest: Declaration, key: str, language: str) -> ObservationWords:
    """Return how an observation is called in a language (``en-US``, ``de``).

    Without words in it, those in English; without these, the key in plain letters.
    """
    for name in (language, language.partition("-")[0], "en"):
        if (told := manifest.template.get(name, {}).get(key)) is not None:
            return told
    return ObservationWords(name=plain(key))


def plain(key: str) -> str:
    """Return a key as people may read it: ``pleural_effusion`` as Pleural effusion."""
    return key.replace("_", " ").capitalize()
