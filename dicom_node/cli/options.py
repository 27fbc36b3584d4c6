"""The options that most commands share, and what they open."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.errors import TrainingError

if TYPE_CHECKING:
    from datetime import tzinfo

    from rich.console import Console
    from rich.text import Text

    from dicom_node.ledger.sqlite import SqliteLedger
    from dicom_node.settings import Configuration

_WIDTH = 160

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Configuration folder (node.toml, remotes/). Default: $DICOM_NODE_CONFIG, "
        "else the shipped defaults.",
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of ledger and spool; overrides node.data_dir."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FilmsOption = Annotated[
    list[Path],
    typer.Option(
        "--data", help="Folder with cases.csv and images/, or a folder of such; may be repeated."
    ),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", help="Folder of the bundles; default: the installed ones."),
]
RunsOption = Annotated[
    Path, typer.Option("--runs", help="Where runs and their checkpoints are kept.")
]
UtcOption = Annotated[
    bool, typer.Option("--utc", help="Show times in UTC, not in the site's zone (node.timezone).")
]


def pass_down(context: typer.Context) -> str | None:
    """Give the options of a group to its command, whose own win; return that command's name.

    An option that the command does not have is a usage error: ignored, it would mislead.
    """
    name = context.invoked_subcommand
    if name is None:
        return None
    commands = getattr(context.command, "commands", {})
    taken = {option.name for option in commands[name].params}
    given = {key: value for key, value in context.params.items() if value not in (None, False)}
    for option in context.command.params:
        if option.name in given and option.name not in taken:
            told = f"`{context.info_name} {name}` has no such option."
            raise typer.BadParameter(told, param_hint=option.opts[0])
    context.default_map = {name: given}
    return name


def configuration(
    config: Path | None,
    data_dir: Path | None,
    *,
    thorough: bool = False,
    pages: bool = True,
    bundles: bool = True,
) -> Configuration:
    """Return the checked configuration. Raises `SettingsError`.

    ``thorough``: bundles and template must be there too. ``pages``: what only the pages need, too.
    ``bundles``: bundles that declare what they say must be whole, too.
    """
    from dicom_node.settings import load_configuration

    found = load_configuration(config, data_dir=data_dir, thorough=thorough, pages=pages)
    if thorough and bundles:
        from dicom_node.line.bundles import check_bundles

        check_bundles(found.settings)
    return found


def ledger_of(configuration: Configuration, *, new: bool = False) -> SqliteLedger:
    """Return the node's ledger, a ``new`` one if so asked. Raises `RowMissing` where none is."""
    from dicom_node.errors import RowMissing
    from dicom_node.ledger import open_ledger
    from dicom_node.line.alone import refuse_empty_start

    if not (new or configuration.ledger_path.exists()):
        raise RowMissing(
            f"No node has run with the data folder {configuration.data_dir} yet.",
            remedy="Start it with `dicom-node serve`, or name the folder of the node that is meant:"
            " --config DIR, the environment variable DICOM_NODE_CONFIG, or --data-dir DIR.",
        )
    refuse_empty_start(configuration)
    return open_ledger(configuration.ledger_path, who=person())


def zone_for(configuration: Configuration, *, utc: bool) -> tzinfo | None:
    """Return the zone in which a command shows times; None: the system's."""
    from datetime import UTC

    return UTC if utc else configuration.settings.node.zone


def wide_console() -> Console:
    """Return a console for tables: a terminal's own width, and room enough in a file or pipe."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def cell(value: object) -> Text:
    """Return ``value`` as it is, for a table or line: never markup, never a control character.

    Reasons and AE titles may quote what a stranger sent (S8, S11).
    """
    from rich.text import Text

    text = "" if value is None else str(value)
    return Text("".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text))


def person() -> str:
    """Return who gives the command, for the ledger's events."""
    import getpass

    return f"person:{getpass.getuser()}"


def need_training() -> None:
    """Raise `TrainingError` where what only training needs is not installed."""
    if find_spec("sklearn") is None:
        raise TrainingError(
            "What training and evaluation need is not installed.",
            remedy="Install the extra: pip install 'dicom-node[train]'.",
        )
