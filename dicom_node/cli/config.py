"""``dicom-node config``: check, init, show and schema."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dicom_node import resources
from dicom_node.cli.options import ConfigOption, JsonOption
from dicom_node.errors import NodeError, SettingsError
from dicom_node.settings import (
    Configuration,
    Remote,
    Settings,
    configuration_folder,
    host_and_port,
    load_configuration,
)

if TYPE_CHECKING:
    from dicom_node.settings.reference import ShownTable

console = Console()


class Schema(StrEnum):
    """Which kind of file a JSON Schema describes."""

    NODE = "node"
    REMOTE = "remote"


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    group = typer.Typer(help="The configuration: check, init, show, schema.", no_args_is_help=True)
    group.command("check")(check)
    group.command("init")(init)
    group.command("show")(show)
    group.command("schema")(schema)
    app.add_typer(group, name="config")


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration: every fault with file, line, key and what to do. Exit 1 if any."""
    configuration, faults = _checked(config)
    if as_json:
        answer = {
            "folder": str(configuration_folder(config)),
            "faults": list(faults),
            "warnings": _warnings(configuration),
        }
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
    elif configuration is None or faults:
        for fault in faults:
            typer.echo(fault)
        count = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"
        console.print(f"[red]{count}[/red] in {escape(str(configuration_folder(config)))}")
    else:
        _print_summary(configuration)
    if faults:
        raise typer.Exit(1)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are to go.")],
) -> None:
    """Copy the commented default configuration to DIR. Overwrites nothing."""
    source = resources.default_configuration()
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    present = [str(folder / name) for name in files if (folder / name).exists()]
    if present:
        raise SettingsError(
            f"{', '.join(present)} {'exists' if len(present) == 1 else 'exist'} already.",
            remedy="Choose another folder, or move these files away.",
        )
    for name in files:
        (folder / name).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with _opened_for_group(folder / name) as file:
            file.write((source / name).read_bytes())
        typer.echo(folder / name)
    console.print(
        f"\nNext: add your PACS with `dicom-node ae add`, or copy the sample in "
        f"{escape(str(folder / 'remotes'))};\nthen `dicom-node config check --config {folder}`.\n"
        "This names the folder to every command: export "
        f"DICOM_NODE_CONFIG={escape(shlex.quote(str(folder.absolute())))}",
        soft_wrap=True,
    )


def _opened_for_group(path: Path) -> IO[bytes]:
    """Open a new file that its owner may write and its group read: whose PACS are where, it tells.

    Not by the umask: it may let everybody read, or not even the service's group.
    """
    file = path.open("xb")
    path.chmod(0o640)
    return file


def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print the configuration in use: files and environment together, secrets masked."""
    from dicom_node.settings.reference import effective

    configuration = load_configuration(config)
    shown = effective(configuration.settings)
    if as_json:
        remotes = [remote.model_dump(mode="json") for remote in configuration.remotes.values()]
        answer = {"folder": str(configuration.folder), **shown, "remotes": remotes}
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        return
    typer.echo(f"# {configuration.folder}")
    for line in _as_toml(shown):
        typer.echo(line)
    typer.echo("")
    console.print(_remotes_table(configuration))


def schema(
    kind: Annotated[Schema, typer.Argument(help="Which file: node or remote.")] = Schema.NODE,
) -> None:
    """Print the JSON Schema of node.toml, or of a file in remotes/, for editors."""
    from dicom_node.settings.reference import schema as schema_of

    model = Settings if kind is Schema.NODE else Remote
    typer.echo(json.dumps(schema_of(model), indent=1, ensure_ascii=False))


def _checked(config: Path | None) -> tuple[Configuration | None, tuple[str, ...]]:
    """Return the configuration, None if it cannot be used, and every fault in the folder."""
    from dicom_node.intake.rules import load_rules
    from dicom_node.line.bundles import bundle_faults

    configuration: Configuration | None = None
    faults: tuple[str, ...] = ()
    try:
        configuration = load_configuration(config, thorough=True, dates=True)
    except SettingsError as error:
        faults = error.faults or (error.message,)
    own = configuration_folder(config) / "admission.toml"
    if configuration is not None or own.is_file():
        try:
            load_rules(configuration.admission_path if configuration else own)
        except SettingsError as error:
            faults += error.faults or (error.message,)
    if configuration is not None:
        faults += (*bundle_faults(configuration.settings), *_template_faults(configuration))
        faults += _alarm_faults(configuration)
    return configuration, faults


def _alarm_faults(configuration: Configuration) -> tuple[str, ...]:
    from dicom_node.line.alarm_words import wording_of

    try:
        wording_of(configuration)
    except SettingsError as error:
        return error.faults or (error.message,)
    return ()


def _template_faults(configuration: Configuration) -> tuple[str, ...]:
    from dicom_node.results.templates import load_template

    name = f"{configuration.settings.results.template}.toml"
    try:
        load_template(configuration.templates_path / name)
    except NodeError as error:
        return (f"{error.message} — {error.remedy}",)
    return ()


def _warnings(configuration: Configuration | None) -> list[str]:
    """Return what is no fault yet: certificates that end soon, files that nobody reads."""
    from dicom_node.settings.certificates import certificates
    from dicom_node.settings.remotes import unread

    now = datetime.now(UTC)
    found = certificates(configuration.settings) if configuration else ()
    soon = [f"{one.name}: {one.path} {one.sentence(now)}" for one in found if one.warns(now)]
    names = unread(configuration.remotes_path) if configuration else ()
    return soon + [
        f"remotes/{name} is not read — the name of a remote's file ends with .toml"
        for name in names
    ]


def _print_summary(configuration: Configuration) -> None:
    settings = configuration.settings
    console.print(f"[green]No fault[/green] in {escape(str(configuration.folder))}\n")
    table = Table(show_header=False, box=None)
    table.add_row("AE title", settings.node.ae_title)
    table.add_row("listens on", f"{settings.node.host} port {settings.node.port}")
    table.add_row("TLS", "yes" if settings.tls else "no")
    table.add_row("data", str(settings.node.data_dir))
    device = settings.analysis.device
    table.add_row("networks", f"{', '.join(settings.analysis.suite) or 'none'} on {device}")
    for suite in settings.suites:
        table.add_row("", f"{', '.join(suite.networks)} for {escape(suite.name)}")
    if settings.analysis.shadow:
        table.add_row("in shadow", ", ".join(settings.analysis.shadow))
    table.add_row("unknown AEs", settings.admission.unknown_ae)
    console.print(table)
    for warning in _warnings(configuration):
        console.print(f"[yellow]Warning:[/yellow] {escape(warning)}", soft_wrap=True)
    console.print("")
    console.print(_remotes_table(configuration))
    if not configuration.remotes:
        console.print("No remote AE yet: add one with `dicom-node ae add`, or a file in remotes/.")


def _remotes_table(configuration: Configuration) -> Table:
    table = Table("AE title", "may call from", "may send", "its results go to", "as")
    for remote in configuration.remotes.values():
        goals = [_address(title, configuration.remotes) for title in remote.destinations]
        table.add_row(
            escape(remote.ae_title),
            ", ".join(remote.addresses) or "anywhere",
            "yes" if remote.may_send else "no",
            escape("\n".join(goals)) if remote.may_send else "",
            ", ".join(remote.wanted_objects),
        )
    return table


def _address(ae_title: str, remotes: Mapping[str, Remote]) -> str:
    remote = remotes[ae_title]
    where = host_and_port(remote.host, remote.port)
    return f"{ae_title} at {where}{' over TLS' if remote.tls else ''}"


def _as_toml(shown: Mapping[str, ShownTable | list[ShownTable]]) -> Iterator[str]:
    """Render the settings; a value that is not the default says so."""
    from dicom_node.settings.reference import as_toml, node_keys, section_heading

    defaults = {(key.section, key.name): key for key in node_keys()}
    for section, tables in shown.items():
        for table in tables if isinstance(tables, list) else [tables]:
            yield f"\n{section_heading(section)}"
            for name, value in table.items():
                key = defaults[section, name]
                changed = not key.required and value != key.default
                note = f"    # default: {as_toml(key.default)}" if changed else ""
                yield f"{name} = {as_toml(value)}{note}"
