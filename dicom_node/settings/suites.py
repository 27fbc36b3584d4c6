"""What is wrong with the bundles that settings name; their manifests are looked at by others."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dicom_node import resources
from dicom_node.chest import FINDING_CLASSES
from dicom_node.settings.faults import Fault, KeyPlaces, Location, suggestion
from dicom_node.settings.model import Settings
from dicom_node.settings.source import is_short


def model_folders(settings: Settings) -> tuple[Path, ...]:
    """Return where bundles are looked for, in this order: those added here, then the others.

    Our own networks are in the last of them alone.
    """
    added = settings.node.data_dir / "models"
    return added, settings.analysis.models_dir or resources.model_bundles()


def suite_faults(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    """Find bundles that are not there, suites of one name, and what no report could tell of."""
    manifests = _manifests(settings)
    named = _named(settings)
    folders = " or ".join(map(str, model_folders(settings)))
    for place, name in named:
        if name not in manifests:
            what = f"there is no bundle {name!r} in {folders}"
            yield places.fault(place, what, suggestion(name, manifests))
    for position, name in enumerate(settings.analysis.shadow):
        told = manifests.get(name)
        here = ("analysis", "shadow", position)
        if told and not _declares(told):
            what = f"{name!r} is one of our own networks, and does not run in shadow"
            yield places.fault(here, what, "name bundles that say what they eat and say")
        if name in settings.networks:
            what = f"{name!r} is in a suite: what it says is reported"
            yield places.fault(here, what, "name it in one of the two")
    for key in ("lungs", "gate"):
        name = getattr(settings.analysis, key)
        told = manifests.get(name)
        if told and _declares(told):
            what = f"{name!r} says what it eats and says: it is no network of ours"
            remedy = "name it in analysis.suite or in a suite's networks"
            yield places.fault(("analysis", key), what, remedy)
    yield from _of_names(settings, places)
    yield from _without_finding(settings, manifests, places)


def _named(settings: Settings) -> list[tuple[Location, str]]:
    """Return where which bundle is named."""
    analysis = settings.analysis
    named: list[tuple[Location, str]] = [
        (("analysis", "suite", position), name) for position, name in enumerate(analysis.suite)
    ]
    named += [
        (("suites", number, "networks", position), name)
        for number, suite in enumerate(settings.suites)
        for position, name in enumerate(suite.networks)
    ]
    named += [
        (("analysis", "shadow", position), name) for position, name in enumerate(analysis.shadow)
    ]
    beside = (("lungs", analysis.lungs), ("gate", analysis.gate))
    return named + [(("analysis", key), name) for key, name in beside if name]


def _manifests(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Return the bundles that may be named, with their manifests as far as they can be read.

    In the folder of those added here are only bundles that declare what they eat and say.
    """
    added, others = map(_all_of, model_folders(settings))
    mine = {name: told for name, told in added.items() if _declares(told)}
    # What has the id of one of our own is passed over, and said: see `line.bundles`.
    return others | {name: told for name, told in mine.items() if name not in _ours(others)}


def _all_of(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the bundles of a folder; a pipe or a folder in place of a manifest makes none."""
    paths = (path for path in folder.glob("*/model.toml") if path.is_file())
    return {path.parent.name: _read(path) for path in paths}


def _ours(manifests: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {name for name, told in manifests.items() if not _declares(told)}


def _read(path: Path) -> Mapping[str, Any]:
    """Return a manifest; one that cannot be read is empty: that fault is named elsewhere."""
    if not is_short(path):
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}


def _declares(manifest: Mapping[str, Any]) -> bool:
    return not manifest or "says" in manifest or "eats" in manifest


def _of_names(settings: Settings, places: KeyPlaces) -> Iterator[Fault]:
    names = [suite.name for suite in settings.suites]
    for number, name in enumerate(names):
        if name in names[:number]:
            what = f"{name!r} is the name of another suite, too"
            yield places.fault(("suites", number, "name"), what, "give each its own name")


def _without_finding(
    settings: Settings, manifests: Mapping[str, Mapping[str, Any]], places: KeyPlaces
) -> Iterator[Fault]:
    """Find suites of our own networks of which none gives the finding that reports know.

    A suite may be of bundles that declare what they say alone; `analysis.suite` may be empty beside
    ``[[suites]]``.
    """
    served: list[tuple[Location, tuple[str, ...]]] = [
        (("suites", number, "networks"), suite.networks)
        for number, suite in enumerate(settings.suites)
    ]
    if settings.analysis.suite or not settings.suites:
        served.insert(0, (("analysis", "suite"), settings.analysis.suite))
    for place, names in served:
        # They answer in the order in which the settings name them first.
        ordered = [name for name in settings.networks if name in names]
        if not _names_a_finding([manifests.get(name, {}) for name in ordered]):
            classes = f"{', '.join(FINDING_CLASSES[:-1])} and {FINDING_CLASSES[-1]}"
            what = f"reports need a detection network of {classes} before any other"
            yield places.fault(place, what, "put covidnet-pyramid first")


def _names_a_finding(manifests: list[Mapping[str, Any]]) -> bool:
    """Whether the first detection network of ours has the classes that reports know.

    True where there is no network of ours, and where a manifest cannot be read.
    """
    if not all(manifests):
        return True
    ours = [told for told in manifests if not _declares(told)]
    for manifest in ours:
        try:
            if manifest["task"] == "detection":
                return set(manifest["outputs"][0]["classes"]) == set(FINDING_CLASSES)
        except (KeyError, IndexError, TypeError):
            return True
    return bool(manifests) and not ours
