"""`dicom-node models`: the bundles that are there, what they cost, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Column, Table

from dicom_node.bundles import CARD, Bundle, list_bundles, open_bundle
from dicom_node.cli.options import pass_down, wide_console
from dicom_node.errors import BundleError, NodeError

Models = Annotated[
    Path | None,
    typer.Option("--models", help="Folder of the bundles; default: the installed ones."),
]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    group = typer.Typer(help="Model bundles: list, verify, card.", invoke_without_command=True)
    group.callback()(models)
    group.command("list")(list_)
    group.command("verify")(verify)
    group.command("card")(card)
    app.add_typer(group, name="models")


def models(context: typer.Context, models: Models = None, as_json: Json = False) -> None:
    """Model bundles: list, verify, card. Alone: list."""
    if pass_down(context) is None:
        list_(models, as_json)


def list_(models: Models = None, as_json: Json = False) -> None:
    """List the bundles with their parameters and MACs, beside the paper's.

    "input" is the film's size as it is served. "with trunk": what the network costs that runs
    alone; in a suite a trunk is paid once.
    """
    found = _bundles(models, None)
    if as_json:
        typer.echo(json.dumps([_row(bundle) for bundle in found], indent=1))
        return
    table = Table(
        Column("id", no_wrap=True), "version", "input", "parameters", "with trunk", "paper",
        "MACs", "with trunk", "at paper's input", "paper", "weights",
    )  # fmt: skip
    for bundle in found:
        manifest, own, whole = bundle.manifest, bundle.manifest.weights, bundle.manifest.cost
        paper, seen = manifest.paper, bundle.contract
        table.add_row(
            bundle.id, manifest.version, f"{seen.rows} × {seen.columns}",
            _short(own.parameters), _short(whole.parameters) if whole else "",
            _short(paper.parameters) if paper else "",
            _short(own.macs), _short(whole.macs) if whole else "",
            _short(whole.macs_at_paper) if whole else "",
            f"{_short(paper.macs)}{f' at {paper.size}' if paper.size else ''}" if paper else "",
            own.digest.removeprefix("sha256:")[:8],
        )  # fmt: skip
    wide_console().print(table)


def verify(
    bundle_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Model bundles; default: all.")
    ] = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Check digests, shapes and the self-test of these bundles, or of all. Exit 1 if any fails."""
    from dicom_node.bundles import verify as check

    results: list[dict[str, Any]] = []
    for bundle in _bundles(models, bundle_ids):
        try:
            check(bundle)
            results.append({"id": bundle.id, "well": True, "fault": None})
        except NodeError as error:
            results.append({"id": bundle.id, "well": False, "fault": f"{error} {error.remedy}"})
    if as_json:
        typer.echo(json.dumps(results, indent=1))
    else:
        for result in results:
            words = "[green]well[/green]" if result["well"] else f"[red]{result['fault']}[/red]"
            console.print(f"{result['id']}: {words}", soft_wrap=True)
    if not results or not all(result["well"] for result in results):
        raise typer.Exit(1)


def card(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="Model bundle, e.g. covidnet.")],
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Print the model card: what it is for, how well it does, where it fails."""
    bundle = _bundles(models, [bundle_id])[0]
    text = (bundle.folder / CARD).read_text(encoding="utf8")
    if as_json:
        typer.echo(json.dumps({"id": bundle.id, "card": text}, indent=1))
    else:
        console.print(Markdown(text))


def _bundles(models: Path | None, bundle_ids: Sequence[str] | None) -> tuple[Bundle, ...]:
    """Return the named bundles, or all."""
    from dicom_node import resources

    folder = models or resources.model_bundles()
    if not bundle_ids:
        found = list_bundles(folder)
        if not found:
            raise BundleError(
                f"There is no model bundle in {folder}.",
                remedy="Check --models: a folder with a folder for each bundle.",
            )
        return found
    return tuple(open_bundle(folder, bundle_id) for bundle_id in bundle_ids)


def _row(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "id": bundle.id,
        "version": manifest.version,
        "task": manifest.task,
        "network": manifest.network,
        "classes": list(bundle.classes),
        "threshold": bundle.threshold,
        "calibrated": bundle.calibrated,
        "parameters": manifest.weights.parameters,
        "macs": manifest.weights.macs,
        "input": [bundle.contract.rows, bundle.contract.columns],
        "with_trunk": manifest.cost.model_dump() if manifest.cost else None,
        "trunk": manifest.trunk,
        "paper": manifest.paper.model_dump() if manifest.paper else None,
        "weights": manifest.weights.digest,
        "intended_use": manifest.intended_use,
    }


def _short(count: int) -> str:
    """Return a count with a unit, e.g. 8.4 k, 0.88 M, 5.5 G; nothing for what is not known."""
    if not count:
        return ""
    units = {1e8: ("G", 1e9), 1e5: ("M", 1e6), 0: ("k", 1e3)}
    unit, scale = next(found for least, found in units.items() if count >= least)
    return f"{count / scale:.2g} {unit}"
