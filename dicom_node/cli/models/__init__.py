"""``dicom-node models``: the bundles that are there, new ones, and one beside another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from dicom_node.cli.models.added import activate, add, remove, shadow
from dicom_node.cli.models.checked import check
from dicom_node.cli.models.compared import compare
from dicom_node.cli.models.new import new
from dicom_node.cli.models.shown import card, list_, models, verify
from dicom_node.cli.models.tried import try_

_COMMANDS: Mapping[str, Callable[..., None]] = {
    "list": list_, "verify": verify, "card": card, "new": new, "check": check, "try": try_,
    "add": add, "remove": remove, "activate": activate, "shadow": shadow, "compare": compare,
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    words = "Model bundles: list, verify, card; bring a network: new, check, try, add, activate."
    group = typer.Typer(help=words, invoke_without_command=True)
    group.callback()(models)
    for name, command in _COMMANDS.items():
        group.command(name)(command)
    app.add_typer(group, name="models")
