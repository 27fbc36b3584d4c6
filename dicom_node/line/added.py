"""Bundles that a site adds: copied whole into its data folder, swapped, and removed there.

They lie in ``<data_dir>/models``. Of one bundle several versions may be there: the one in use as
``id``, others as ``id@version``.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from dicom_node.bundles import CARD, EVALUATION, MANIFEST, SELF_TEST
from dicom_node.bundles.declared import (
    Declared,
    check_declared_weights,
    is_declared,
    open_declared,
    versioned,
)
from dicom_node.errors import BundleContractBroken, BundleError, BundleMissing
from dicom_node.line.bundles import model_folders
from dicom_node.line.check_bundle import CheckedBundle, check_bundle
from dicom_node.settings import Settings

_BESIDE = (CARD, SELF_TEST, EVALUATION, "LICENSE", "figures")
_CHUNK = 1 << 20


def added_folder(settings: Settings) -> Path:
    """Return the folder of the bundles that were added here."""
    return model_folders(settings)[0]


def add_bundle(
    settings: Settings,
    folder: Path,
    check: Callable[[Path], CheckedBundle] = check_bundle,
) -> Declared:
    """Check a bundle and copy it to where the node looks for bundles; return it there.

    A version beside another of the same id is put into ``id@version``. It is there whole, or not
    at all. Raises `BundleContractBroken` with every fault, or where this version is there already.
    """
    folder = Path(os.path.normpath(folder.absolute()))
    found = check(folder)
    if found.faults:
        more = f" (and {len(found.faults) - 1} more)" if len(found.faults) > 1 else ""
        raise BundleContractBroken(
            f"{found.faults[0]}{more}", faults=found.faults,
            remedy="`dicom-node models check` names all of them; nothing was added.",
        )  # fmt: skip
    bundle = open_declared(folder.parent, folder.name)
    home = added_folder(settings)
    name = _name_for(settings, bundle)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = home / f".adding-{os.getpid()}"
    try:
        _copy(bundle, half / name)
        check_declared_weights(open_declared(half, name))
        (half / name).rename(home / name)
        _sync(home)
    except OSError as error:
        raise BundleError(
            f"{home} cannot be written: {error.strerror}.",
            remedy="Look at the disk and its rights.",
        ) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return open_declared(home, name)


def remove_bundle(settings: Settings, name: str) -> None:
    """Remove a bundle that was added here. Raises `BundleError` where it is in use, or is not ours.

    What it said stays in the ledger and in results.
    """
    if name in settings.networks or name in settings.analysis.shadow:
        where = "in a suite" if name in settings.networks else "in shadow"
        off = "activate" if name in settings.networks else "shadow"
        raise BundleError(
            f"{name} is {where}.",
            remedy=f"`dicom-node models {off} {name} --off` takes it out.",
        )
    place = _place(settings, name)
    gone = place.with_name(f".removed-{os.getpid()}")
    gone.mkdir(mode=0o700)
    place.rename(gone / name)
    _sync(place.parent)
    shutil.rmtree(gone, ignore_errors=True)


def swap_in(settings: Settings, name: str) -> Callable[[], None]:
    """Make ``id@version`` the version in use; the one that was is kept as ``id@`` its version.

    Returns what undoes it. Raises `BundleError` where one of the two is not there as it should be.
    """
    home = added_folder(settings)
    _place(settings, name)
    new = open_declared(home, name)
    used = home / new.manifest.id
    kept: Path | None = None
    if used.exists():
        kept = home / versioned(open_declared(home, used.name).manifest)
        if kept.exists():
            raise BundleError(f"{kept.name} is there already.", remedy="Remove one of the two.")
        used.rename(kept)
    (home / name).rename(used)
    _sync(home)

    def undo() -> None:
        used.rename(home / name)
        if kept is not None:
            kept.rename(used)
        _sync(home)

    return undo


def is_added(settings: Settings, name: str) -> bool:
    """Whether a bundle was added here."""
    return is_plain(name) and is_declared(added_folder(settings), name)


def is_plain(name: str) -> bool:
    """Whether a name is that of a folder beside others: no path."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _name_for(settings: Settings, bundle: Declared) -> str:
    home, others = added_folder(settings), model_folders(settings)[1:]
    bundle_id, version = bundle.manifest.id, bundle.manifest.version
    if any((folder / bundle_id).exists() for folder in others):
        raise BundleContractBroken(
            f"The id {bundle_id!r} is that of a bundle in {others[0]}.",
            remedy="Give yours another id: in its manifest, and as the name of its folder.",
        )
    if not (home / bundle_id).exists():
        return bundle_id
    used = open_declared(home, bundle_id).manifest.version
    name = versioned(bundle.manifest)
    if used == version or (home / name).exists():
        raise BundleContractBroken(
            f"{bundle_id} {version} is there already.",
            remedy="Raise version in its manifest: reports quote it.",
        )
    return name


def _place(settings: Settings, name: str) -> Path:
    """Return where a bundle lies that was added here. Raises `BundleMissing` or `BundleError`."""
    home, others = added_folder(settings), model_folders(settings)[1:]
    if is_plain(name) and (home / name).is_dir() and not (home / name).is_symlink():
        return home / name
    if is_plain(name) and any((folder / name).exists() for folder in others):
        raise BundleError(
            f"{name} was not added here: it lies in {others[0]}.",
            remedy="Take it out of analysis.suite instead.",
        )
    raise BundleMissing(
        f"There is no bundle {name!r} in {home}.", remedy="`dicom-node models list` names them."
    )


def _copy(bundle: Declared, place: Path) -> None:
    weights = bundle.manifest.weights
    names = [MANIFEST, weights.file, *weights.also]
    names += [name for name in _BESIDE if (bundle.folder / name).exists()]
    place.mkdir(mode=0o700, parents=True)
    for name in names:
        for path in _files(bundle.folder / name):
            target = place / path.relative_to(bundle.folder)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy_file(path, target)
    _give_to_the_node(place)
    for folder in (*(path for path in place.rglob("*") if path.is_dir()), place, place.parent):
        _sync(folder)


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or the files of a folder; links and what is no file are refused."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        for each in sorted(path.iterdir()):
            yield from _files(each)
    elif stat.S_ISREG(mode):
        yield path
    else:
        raise BundleContractBroken(
            f"{path.name} is a link or no file.", remedy="Put the file itself into the bundle."
        )


def _copy_file(source: Path, target: Path) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(reading, "rb") as given:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o600), "wb") as taken:
            shutil.copyfileobj(given, taken, _CHUNK)
            taken.flush()
            os.fsync(taken.fileno())


def _give_to_the_node(place: Path) -> None:
    """Give a copy that root made to whom the data folder belongs: the node."""
    if os.geteuid() != 0:
        return
    home = place.parent.parent
    owner = home.parent.stat()
    for path in (home, place.parent, place, *place.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
