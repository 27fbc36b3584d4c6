"""What is missing or wrong in a bundle that declares what it says, found before anything runs.

Every fault and warning says where (file, line, key), what, and what to do. Whatever is in the
folder: the answer is in words.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dicom_node.analysis.observing import observed
from dicom_node.brains.apart import Apart
from dicom_node.brains.shapes import NetworkShapes, shapes_of
from dicom_node.bundles import CARD, MANIFEST, SELF_TEST
from dicom_node.bundles.declared import (
    Declared,
    Says,
    WantedPixels,
    digest_of_weights,
    faults_of,
    open_declared,
)
from dicom_node.bundles.drafts import CHECK_MARK, TODO_MARK
from dicom_node.errors import BundleError, NoAnswer, Unavailable
from dicom_node.imaging.prepare import Float
from dicom_node.line.bundles import ENGINE_PACKAGES
from dicom_node.line.self_tests import outputs_of, self_test_fault, self_test_look, self_test_text
from dicom_node.observations import ObservationKind as Kind
from dicom_node.patience import place_of
from dicom_node.settings.faults import Fault, KeyPlaces, Location
from dicom_node.settings.source import parse, read_text

_LANGUAGES = ("en", "de")
"""Those of the report templates that are shipped."""


@dataclass(frozen=True, slots=True)
class CheckedBundle:
    """What was found: faults keep a bundle from being used, warnings do not."""

    id: str
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "id": self.id,
            "well": not self.faults,
            "faults": list(self.faults),
            "warnings": list(self.warnings),
        }


def check_bundle(
    folder: Path,
    languages: Sequence[str] = _LANGUAGES,
) -> CheckedBundle:
    """Return everything that is wrong with a bundle. Raises nothing.

    ``languages``: in which there should be words.
    """
    folder = _whole(folder)
    check = _Check(folder, tuple(languages))
    try:
        check.look()
    except Exception as error:  # noqa: BLE001 - whatever lies in a folder is told in words
        check.add(folder.name, f"it cannot be checked: {place_of(error)}", "make it anew")
    return CheckedBundle(folder.name, tuple(check.faults), tuple(check.warnings))


@dataclass(slots=True)
class _Check:
    """One bundle that is looked at, and what was found so far."""

    folder: Path
    languages: tuple[str, ...]
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    places: KeyPlaces = field(default_factory=lambda: KeyPlaces(MANIFEST))

    def add(self, file: str, what: str, remedy: str, line: int | None = None) -> None:
        """Note a fault of a file."""
        self.faults.append(str(Fault(file, "", what, remedy, line)))

    def at(self, key: Location, what: str, remedy: str) -> None:
        """Note a fault of a key of the manifest."""
        self.faults.append(str(self.places.fault(key, what, remedy)))

    def warn(self, key: Location, what: str, remedy: str) -> None:
        """Note a warning about a key of the manifest."""
        self.warnings.append(str(self.places.fault(key, what, remedy)))

    @property
    def name(self) -> str:
        """How messages name the manifest."""
        return f"{self.folder.name}/{MANIFEST}"

    def look(self) -> None:
        """Look at everything; what needs another thing whole is left out where that is not."""
        bundle = self._manifest()
        self._card()
        if bundle is None:
            return
        _look_at_words(self, bundle)
        are_there = [self._weights(bundle), self._engine(bundle)]
        if all(are_there):
            _look_at_network(self, bundle)

    def _manifest(self) -> Declared | None:
        if not self.folder.is_dir():
            self.add(self.folder.name, "there is no such folder", "name the folder of a bundle")
            return None
        text = _text_of(self.folder / MANIFEST, self.name)
        if isinstance(text, Fault):
            self.faults.append(str(text))
            return None
        self._marks(text)
        source = parse(text, self.name)
        if not isinstance(source, Fault):
            self.places = source.places
            if "task" in source.tables and not {"says", "eats"} & source.tables.keys():
                what = "is the manifest of one of our own networks"
                self.add(self.name, what, f"`dicom-node models verify {self.folder.name}`")
                return None
        faults = faults_of(self.folder.parent, self.folder.name)
        self.faults += faults
        return None if faults else open_declared(self.folder.parent, self.folder.name)

    def _marks(self, text: str) -> None:
        for number, line in enumerate(text.splitlines(), start=1):
            if CHECK_MARK in line:
                key = line.partition("=")[0].strip()
                what = f"nobody has looked at this yet: {line.partition(CHECK_MARK)[2].strip()}"
                remedy = f"make it right, and take {CHECK_MARK} away"
                self.warnings.append(str(Fault(self.name, key, what, remedy, number)))

    def _card(self) -> None:
        name = f"{self.folder.name}/{CARD}"
        text = _text_of(self.folder / CARD, name)
        if isinstance(text, Fault):
            self.faults.append(str(text))
            return
        for number, line in enumerate(text.splitlines(), start=1):
            if TODO_MARK in line:
                what = (
                    f"is to be written: {line.partition(TODO_MARK)[2].strip(' :.') or 'see there'}"
                )
                self.add(name, what, f"write it in place of {TODO_MARK}", number)
        if not text.strip():
            self.add(name, "is empty", "say what the network is for, and where it fails")

    def _weights(self, bundle: Declared) -> bool:
        """Look at the files of the network; return whether they are those of the manifest."""
        weights = bundle.manifest.weights
        wanted: dict[str, tuple[str, Location]] = {
            weights.file: (weights.digest, ("weights", "digest"))
        }
        wanted |= {
            name: (digest, ("weights", "also", name)) for name, digest in weights.also.items()
        }
        found = [self._file(name, *told) for name, told in wanted.items()]
        return all(found)

    def _file(self, name: str, digest: str, key: Location) -> bool:
        path = self.folder / name
        if os.sep in name or name in ("", ".", ".."):
            self.at(key, f"{name!r} does not lie beside the manifest", "name a file beside it")
            return False
        if path.is_symlink() or (path.is_dir() and any(p.is_symlink() for p in path.rglob("*"))):
            self.at(key, f"{name!r} is a link, or holds one", "put the file itself there")
            return False
        if not path.exists():
            self.at(key, f"there is no {name!r}", "put it beside the manifest")
            return False
        try:
            real = digest_of_weights(path)
        except OSError as error:
            self.at(
                key, f"{name!r} cannot be read: {error.strerror}", "let the node's user read it"
            )
            return False
        if real != digest:
            label = f'"{name}"' if key[1] == "also" else "digest"
            self.at(
                key,
                f"{name!r} is another file",
                f'if it is the right one, write {label} = "{real}"',
            )
            return False
        return True

    def _engine(self, bundle: Declared) -> bool:
        package, extra = ENGINE_PACKAGES.get(bundle.manifest.engine, ("", ""))
        if package and find_spec(package) is None:
            self.at(("engine",), f"{package} is not installed here", f"pip install '{extra}'")
            return False
        return True


def _text_of(path: Path, name: str) -> str | Fault:
    """Return the text of a small file that is no link, or what is wrong with it."""
    if path.is_symlink():
        return Fault(name, "", "is a link", "put the file itself there")
    if not path.exists():
        return Fault(name, "", "is missing", "write it (`dicom-node models new` drafts one)")
    if not path.is_file():
        return Fault(name, "", "is no file", "put a text file there")
    return read_text(path, name)


def _look_at_words(check: _Check, bundle: Declared) -> None:
    """Warn of what people would miss: words, codes, a list that shows two things."""
    says, template = bundle.manifest.says, bundle.manifest.template
    known = {name.partition("-")[0]: words for name, words in template.items()}
    for number, said in enumerate(says):
        for language in check.languages:
            words = known.get(language, {}).get(said.key)
            if words is None:
                what = f"{said.key!r} has no words in {language!r}"
                remedy = f"add [template.{language}.{said.key}]"
                check.warn(("says", number, "key"), what, remedy)
            elif missing := [one.key for one in said.classes if one.key not in words.classes]:
                what = f"{', '.join(missing)} of {said.key!r}: no words in {language!r}"
                remedy = f"add them to [template.{language}.{said.key}.classes]"
                check.warn(("template", language, said.key), what, remedy)
        if private := _without_code(said):
            what = f"no code for {', '.join(private)}: reports have a private one (99DICOMNODE)"
            check.warn(("says", number, "key"), what, "add a code where you are sure of one")
    shown = [number for number, said in enumerate(says) if said.headline]
    if len(shown) > 1:
        what = f"{len(shown)} observations are the headline: the case list is narrow"
        check.warn(("says", shown[1], "headline"), what, "leave it to one")


def _without_code(said: Says) -> list[str]:
    if said.classes:
        return [one.key for one in said.classes if one.finding is None and one.answer is None]
    return [] if said.finding or said.concept else [said.key]


def _look_at_network(check: _Check, bundle: Declared) -> None:
    """Ask the network about the self-test film, and hold its answer against the manifest."""
    manifest, path = bundle.manifest, bundle.folder / bundle.manifest.weights.file
    if manifest.engine in ("onnx", "openvino", "saved-model"):
        try:
            shapes = shapes_of(path, manifest.engine)
        except NoAnswer as error:
            check.at(("weights", "file"), error.message, "export the network again")
            return
        if not _takes_films(check, manifest.eats.pixels, shapes):
            return
    who = Apart(bundle)
    try:
        outputs = outputs_of(bundle, who)
    except (NoAnswer, BundleError, Unavailable) as error:
        check.at(
            ("weights", "file"), error.message, "try it where it was made, and export it again"
        )
        return
    finally:
        who.close()
    _holds(check, bundle, outputs)
    if why := self_test_fault(bundle.folder, outputs):
        remedy = "`dicom-node models check --renew` writes it anew, if the network is the right one"
        check.add(f"{bundle.folder.name}/{SELF_TEST}", why, remedy)


def _takes_films(check: _Check, pixels: WantedPixels, shapes: NetworkShapes) -> bool:
    """Whether the network takes what ``[eats.pixels]`` says."""
    place: Location = ("eats", "pixels")
    named = {each.name: each for each in shapes.inputs}
    given = named.get(pixels.input) if pixels.input else None
    if given is None and (pixels.input or len(named) != 1):
        check.at(
            (*place, "input"), f"the network's inputs are: {', '.join(named)}", "name one of them"
        )
        return False
    given = given or shapes.inputs[0]
    told = f"the input {given.name!r} is ({', '.join(str(n or 'n') for n in given.shape)})"
    if len(given.shape) != 4:
        check.at(
            (*place, "input"), f"{told}: no film fits", "export it for (n, channels, rows, columns)"
        )
        return False
    size = {"rows": pixels.rows, "columns": pixels.columns, "channels": pixels.channels}
    orders = {
        "channels-first": ("channels", "rows", "columns"),
        "channels-last": ("rows", "columns", "channels"),
    }
    wrong = _unlike(size, orders[pixels.layout], given.shape[1:])
    other = next(name for name in orders if name != pixels.layout)
    if wrong and not _unlike(size, orders[other], given.shape[1:]):
        check.at((*place, "layout"), told, f'write layout = "{other}"')
        return False
    for name, real in wrong.items():
        check.at((*place, name), f"{size[name]}, but {told}", f"write {name} = {real}")
    return not wrong


def _unlike(
    size: Mapping[str, int], order: Sequence[str], shape: Sequence[int | None]
) -> dict[str, int]:
    """Return what of a film's size is another in a shape; any size fits None."""
    pairs = zip(order, shape, strict=True)
    return {name: real for name, real in pairs if real is not None and real != size[name]}


def _holds(check: _Check, bundle: Declared, outputs: Mapping[str, Float]) -> None:
    """Hold each observation against the outputs."""
    film = self_test_look(bundle.manifest.eats.pixels)
    for number, said in enumerate(bundle.manifest.says):
        alone = replace(bundle, manifest=bundle.manifest.model_copy(update={"says": (said,)}))
        try:
            observed(alone, bundle.id, outputs, film)
        except NoAnswer as error:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
            what = error.message.partition("': ")[2] or error.message
            check.at(("says", number, "output"), what, f"its outputs for one film are: {shapes}")
            continue
        if said.kind in (Kind.SCORE, Kind.MEASUREMENT) and said.measures == "value":
            _in_range(check, number, said, outputs)


def _in_range(check: _Check, number: int, said: Says, outputs: Mapping[str, Float]) -> None:
    values = outputs[said.output] if said.output else next(iter(outputs.values()))
    flat = values.ravel()
    raw = float(flat[said.index[0] if said.index else 0])
    value = raw * said.scale + said.offset
    if said.activated_by == "none" and said.range and not said.range[0] <= value <= said.range[1]:
        what = f"the self-test film has {value:.4g}, beyond {list(said.range)}: it is held in it"
        check.warn(("says", number, "range"), what, "look at range, scale and offset")


def _whole(folder: Path) -> Path:
    """Return the folder's path without ``.`` and ``..``; links are not followed."""
    return Path(os.path.normpath(folder.absolute()))


def renew_self_test(folder: Path) -> Path:
    """Write ``self_test.json`` of a bundle by what its network answers now; return it.

    Raises as `open_declared` and `Apart.answer`.
    """
    folder = _whole(folder)
    bundle = open_declared(folder.parent, folder.name)
    who = Apart(bundle)
    try:
        text = self_test_text(outputs_of(bundle, who), who.name)
    finally:
        who.close()
    path = folder / SELF_TEST
    half = folder / f".{SELF_TEST}.{os.getpid()}"
    half.write_text(text, encoding="utf-8")
    half.replace(path)
    return path
