"""``dicom-node user``: who may sign in to the pages."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="Users of the pages in the browser.", no_args_is_help=True)
    group.command("list")(list_users)
    group.command("add")(add)
    group.command("remove")(remove)
    app.add_typer(group, name="user")


def list_users(
    config: ConfigOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False
) -> None:
    """List users with their roles."""
    from dicom_node.cli.options import configuration, ledger_of

    users = ledger_of(configuration(config, data_dir)).users()
    if as_json:
        typer.echo(json.dumps([{"name": user.name, "role": user.role} for user in users], indent=2))
        return
    for user in users:
        typer.echo(f"{user.name}  {user.role}")
    if not users:
        typer.echo("No user yet: `dicom-node user add NAME --role admin`.")


def add(
    name: NameArgument,
    role: Annotated[
        str,
        typer.Option(help="reader (looks, comments), operator (also steers), admin (also users)."),
    ] = "reader",
    new: Annotated[
        bool, typer.Option("--new", help="Also where no node has run yet, as --data-dir does.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add a user, or give one a new role and password.

    Asks for the password, or reads it from standard input where that is no terminal.
    """
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.web.passwords import check_user, hashed

    # A folder that is named on the command line is no default that happened to be taken.
    ledger = ledger_of(configuration(config, data_dir), new=new or data_dir is not None)
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    check_user(name, role, password)
    ledger.keep_user(name, role, hashed(password))
    ledger.note(person(), "user.kept", f"{name}: {role}")
    typer.echo(f"{name} may sign in as {role}.")


def remove(name: NameArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Remove a user; that one's sessions end."""
    from dicom_node.cli.options import configuration, ledger_of, person

    ledger = ledger_of(configuration(config, data_dir))
    ledger.remove_user(name)
    ledger.note(person(), "user.removed", name)
    typer.echo(f"{name} can no longer sign in.")
