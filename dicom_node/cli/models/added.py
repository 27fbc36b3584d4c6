"""``dicom-node models add``, ``remove``, ``activate`` and ``shadow``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption

if TYPE_CHECKING:
    from dicom_node.settings import Configuration

_RESTART = "Restart the node: roles read node.toml when they start."

NameArgument = Annotated[
    str, typer.Argument(metavar="ID[@VERSION]", help="The bundle, as `models list` names it.")
]


def add(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The bundle's folder.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Check a bundle and copy it into the node's data folder; it is not yet used.

    Another version of a bundle that is there already is put beside it, as ID@VERSION.
    """
    from dicom_node.cli.models.checked import print_checked
    from dicom_node.cli.options import configuration
    from dicom_node.line.added import add_bundle
    from dicom_node.line.check_bundle import CheckedBundle, check_bundle

    def checked(place: Path) -> CheckedBundle:
        found = check_bundle(place)
        print_checked(found)
        return found

    bundle = add_bundle(configuration(config, data_dir).settings, folder, checked)
    typer.echo(f"Added {bundle.folder}.")
    if "@" in bundle.id:
        typer.echo(
            f"Compare it first: `dicom-node models shadow {bundle.id}`, and later"
            f" `dicom-node models compare {bundle.manifest.id} {bundle.id}`."
        )
    typer.echo(f"To use it: `dicom-node models activate {bundle.id}`.")


def remove(name: NameArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Remove a bundle that was added here and is in no suite. What it said stays in results."""
    from dicom_node.cli.options import configuration
    from dicom_node.line.added import remove_bundle

    remove_bundle(configuration(config, data_dir).settings, name)
    typer.echo(f"Removed {name}.")


def activate(
    name: NameArgument,
    suite: Annotated[
        str, typer.Option(help="Name of a [[suites]] table; default: analysis.suite.")
    ] = "",
    off: Annotated[bool, typer.Option("--off", help="Take it out of the suite.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Name a bundle in a suite of node.toml, or take it out; with @VERSION, use that version.

    The version that was in use is kept beside it as ID@VERSION.
    """
    from dicom_node.cli.options import configuration
    from dicom_node.settings.suite_edit import keep_suite, without_name

    found = configuration(config, data_dir)
    if off:
        written = keep_suite(found, without_name(name), suite)
        _tell(written, f"{name} is in {suite or 'analysis.suite'} no more.")
        return
    _must_be_there(found, name)
    if "@" in name:
        _swap(found, name, suite)
        return
    from dicom_node.settings.suite_edit import keep_both, with_name

    written = keep_both(found, with_name(name), without_name(name), suite)
    _tell(written, f"{name} is in {suite or 'analysis.suite'}.")


def _swap(found: Configuration, name: str, suite: str) -> None:
    """Make a version the one in use, in the files and in node.toml; in both, or in neither."""
    from dicom_node.errors import NodeError
    from dicom_node.line.added import swap_in
    from dicom_node.settings.suite_edit import keep_both, with_name, without_name

    bundle_id = name.partition("@")[0]
    is_used = bundle_id in found.settings.networks and not suite
    undo = swap_in(found.settings, name)
    try:
        keep_both(
            found,
            (lambda names: names) if is_used else with_name(bundle_id),
            without_name(name),
            suite,
        )
    except NodeError:
        undo()
        raise
    typer.echo(f"{bundle_id} is now version {name.partition('@')[2]}.")
    typer.echo(_RESTART)


def shadow(
    name: NameArgument,
    off: Annotated[bool, typer.Option("--off", help="Let it run in shadow no more.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let a bundle run beside the suites: what it says is kept apart and never reported."""
    from dicom_node.cli.options import configuration
    from dicom_node.settings.suite_edit import keep_shadow, with_name, without_name

    found = configuration(config, data_dir)
    if off:
        _tell(keep_shadow(found, without_name(name)), f"{name} runs in shadow no more.")
        return
    _must_be_there(found, name)
    _tell(keep_shadow(found, with_name(name)), f"{name} runs in shadow.")


def _must_be_there(found: Configuration, name: str) -> None:
    """Raise `BundleError` where there is no such bundle, before anything is edited."""
    from dicom_node.errors import BundleMissing
    from dicom_node.line.added import is_plain
    from dicom_node.line.bundles import model_folders

    folders = model_folders(found.settings)
    if not is_plain(name) or not any((folder / name).is_dir() for folder in folders):
        raise BundleMissing(
            f"There is no bundle {name!r} here.",
            remedy="`dicom-node models list` names them; `dicom-node models add DIR` adds one.",
        )


def _tell(written: Path | None, what: str) -> None:
    if written is None:
        typer.echo(f"{what} It was so before: nothing has changed.")
    else:
        typer.echo(f"{what} Wrote {written}. {_RESTART}")
