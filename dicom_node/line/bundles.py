"""Which bundles are our own, which declare what they say, and what keeps these from answering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from dicom_node.bundles import MANIFEST, declares
from dicom_node.bundles.declared import (
    Declared,
    check_declared_weights,
    faults_of,
    open_declared,
)
from dicom_node.bundles.installed import (
    broken_bundles,
    declared_bundles,
    declaring_folder,
    in_our_place,
)
from dicom_node.errors import BundleDamaged, SettingsError
from dicom_node.settings import Settings
from dicom_node.settings.suites import model_folders

__all__ = [
    "ENGINE_PACKAGES",
    "broken_bundles",
    "bundle_faults",
    "check_bundles",
    "declared_bundles",
    "model_folders",
    "own_bundles",
    "shadow_bundles",
]

ENGINE_PACKAGES = {
    "onnx": ("onnxruntime", "dicom-node[onnx]"),
    "openvino": ("openvino", "dicom-node[cpu]"),
}
"""What an engine of declared bundles needs beside what is always installed: package, extra."""


def shadow_bundles(settings: Settings) -> tuple[Declared, ...]:
    """Return the bundles that run in shadow; nothing shows where they looked.

    Without those whose manifest has faults, see `bundle_faults`.
    """
    found = ((name, declaring_folder(settings, name)) for name in settings.analysis.shadow)
    whole = [each for each in found if each[1] is not None and not faults_of(each[1], each[0])]
    opened = [open_declared(folder, name) for name, folder in whole if folder is not None]
    plain = {"explain": "none"}
    return tuple(replace(one, manifest=one.manifest.model_copy(update=plain)) for one in opened)


def own_bundles(settings: Settings) -> tuple[str, ...]:
    """Return the ids of the bundles in use that are our own networks; their trunks come along."""
    return tuple(name for name in settings.bundles if declaring_folder(settings, name) is None)


def bundle_faults(settings: Settings) -> tuple[str, ...]:
    """Return what keeps bundles in use that declare what they say from answering, in sentences.

    Faults of a manifest by file, line and key; weights that are not there, or not those of the
    manifest; an engine that is not installed. No network is loaded (`dicom-node models check`).
    """
    named = dict.fromkeys((*settings.networks, *settings.bundles, *settings.analysis.shadow))
    return tuple(fault for name in named for fault in _faults(settings, name))


def check_bundles(settings: Settings) -> None:
    """Raise `SettingsError` with every one of `bundle_faults`."""
    if faults := bundle_faults(settings):
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise SettingsError(f"{faults[0]}{more}", faults=faults)


def _faults(settings: Settings, name: str) -> Iterator[str]:
    folder = declaring_folder(settings, name)
    if in_our_place(settings, name):
        place = model_folders(settings)[0] / name
        yield (
            f"{name}/{MANIFEST}: id: {place} has the id of one of our own networks, which answers"
            " in its place — give it an id of its own, or take it away"
        )
    if folder is None:
        # Not even whether it declares anything can be read of a file that is no TOML.
        broken = (each for each in model_folders(settings) if _is_no_toml(each / name / MANIFEST))
        for each in broken:
            yield from faults_of(each, name)
        return
    if faults := faults_of(folder, name):
        yield from faults
        return
    bundle = open_declared(folder, name)
    file = bundle.manifest.weights.file
    if not bundle.has_weights:
        yield f"{name}/{MANIFEST}: weights.file: there is no {file!r} — put it beside the manifest"
    else:
        try:
            check_declared_weights(bundle)
        except BundleDamaged as error:
            yield f"{name}/{MANIFEST}: weights.digest: {error} — {error.remedy}"
    lease, seconds = settings.analysis.lease_seconds, bundle.manifest.seconds
    if seconds >= lease:
        yield (
            f"{name}/{MANIFEST}: seconds: {seconds:g} s are not below analysis.lease_seconds"
            f" ({lease:g} s), after which a worker that says nothing is taken for hanging — lower"
            " the one, or raise the other"
        )
    package, extra = ENGINE_PACKAGES.get(bundle.manifest.engine, ("", ""))
    if package and find_spec(package) is None:
        yield f"{name}/{MANIFEST}: engine: {package} is not installed — install {extra}"


def _is_no_toml(path: Path) -> bool:
    return path.is_file() and declares(path) is None
