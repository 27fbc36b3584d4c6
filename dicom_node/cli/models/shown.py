"""`dicom-node models`: the bundles that are there, what they cost, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from dicom_node.cli.options import ModelsOption, pass_down, wide_console
from dicom_node.errors import BundleError, NodeError

if TYPE_CHECKING:
    from dicom_node.bundles import Bundle

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

_NOT_INSTALLED = (
    "a comparison network: its weights are in the repository (models/) and not installed"
)

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command group to the program."""
    group = typer.Typer(help="Model bundles: list, verify, card.", invoke_without_command=True)
    group.callback()(models)
    group.command("list")(list_)
    group.command("verify")(verify)
    group.command("card")(card)
    app.add_typer(group, name="models")


def models(context: typer.Context, models: ModelsOption = None, as_json: Json = False) -> None:
    """Model bundles: list, verify, card. Alone: list."""
    if pass_down(context) is None:
        list_(models, as_json)


def list_(models: ModelsOption = None, as_json: Json = False) -> None:
    """List the bundles with their parameters and MACs, beside the paper's.

    "input" is the film's size as it is served. "with trunk": what the network costs that runs
    alone; in a suite a trunk is paid once.
    """
    found = _bundles(models, None)
    elsewhere = _elsewhere(found)
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
            "not installed" if bundle.id in elsewhere
            else own.digest.removeprefix("sha256:")[:8],
        )  # fmt: skip
    wide_console().print(table)
    if elsewhere:
        console.print(f"{', '.join(sorted(elsewhere))}: {_NOT_INSTALLED}", soft_wrap=True)


def verify(
    bundle_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Model bundles; default: all.")
    ] = None,
    models: ModelsOption = None,
    as_json: Json = False,
) -> None:
    """Check digests, shapes and the self-test of these bundles, or of all. Exit 1 if any fails.

    Named are the engines that give the stored answer; of an engine beside Keras that does not, why.
    A wheel holds no weights of comparison networks: these are named and not checked.
    """
    found = _bundles(models, bundle_ids)
    elsewhere = _elsewhere(found)
    results = [_checked(bundle, installed=bundle.id not in elsewhere) for bundle in found]
    if as_json:
        typer.echo(json.dumps(results, indent=1))
    else:
        for result in results:
            colour = {True: "green", False: "red", None: "yellow"}[result["well"]]
            words = result["fault"] or "well"
            by = f" ({'; '.join(_by(result['engines']))})" if result["engines"] else ""
            console.print(f"{result['id']}: [{colour}]{words}[/{colour}]{by}", soft_wrap=True)
    if any(result["well"] is False for result in results):
        raise typer.Exit(1)


def _checked(bundle: Bundle, *, installed: bool) -> dict[str, Any]:
    """Return whether a bundle is well and, if not, why; nothing is known of what is not here.

    ``engines``: who was asked, and why it does not give the stored answer.
    """
    from dicom_node.brains import KERAS
    from dicom_node.bundles.network import verify as check

    row: dict[str, Any] = {"id": bundle.id, "well": None, "fault": _NOT_INSTALLED, "engines": {}}
    if not installed:
        return row
    try:
        network = check(bundle)
    except NodeError as error:
        return row | {"well": False, "fault": f"{error} {error.remedy}"}
    engines = {KERAS: None, **_beside(bundle, network)}
    return row | {"well": True, "fault": None, "engines": engines}


def _beside(bundle: Bundle, network: Any) -> dict[str, str | None]:
    """Return what OpenVINO says to the self-test, where it is installed."""
    from dicom_node.brains import openvino

    if not openvino.is_installed():
        return {}
    from dicom_node.brains.exporting import self_tested

    try:
        return {self_tested(bundle, network): None}
    except (BundleError, RuntimeError, OSError) as fault:
        return {openvino.NAME: " ".join(str(fault).split())}


def _by(engines: Mapping[str, str | None]) -> Iterator[str]:
    for name, fault in engines.items():
        yield f"not {name}: {fault}" if fault else name


def card(
    bundle_id: Annotated[str, typer.Argument(metavar="ID", help="Model bundle, e.g. covidnet.")],
    models: ModelsOption = None,
    as_json: Json = False,
) -> None:
    """Print the model card: what it is for, how well it does, where it fails."""
    from rich.markdown import Markdown

    from dicom_node.bundles import CARD

    bundle = _bundles(models, [bundle_id])[0]
    text = (bundle.folder / CARD).read_text(encoding="utf8")
    if as_json:
        typer.echo(json.dumps({"id": bundle.id, "card": text}, indent=1))
    else:
        console.print(Markdown(text))


def _bundles(models: Path | None, bundle_ids: Sequence[str] | None) -> tuple[Bundle, ...]:
    """Return the named bundles, or all."""
    from dicom_node import resources
    from dicom_node.bundles import list_bundles, open_bundle

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


def _elsewhere(found: Sequence[Bundle]) -> frozenset[str]:
    """Return the comparison networks whose weights a wheel has left in the repository.

    A network of the default suite without its weights is none of them: that one is damaged.
    """
    from dicom_node import resources
    from dicom_node.bundles import with_neighbours
    from dicom_node.settings.model import AnalysisSection

    folder = resources.model_bundles()
    if not resources.is_of_a_wheel(folder):
        return frozenset()
    served = with_neighbours(folder, AnalysisSection().bundles)
    return frozenset(
        bundle.id
        for bundle in found
        if bundle.folder.parent == folder and bundle.id not in served and not bundle.has_weights
    )


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
        "weights_here": bundle.has_weights,
        "intended_use": manifest.intended_use,
    }


def _short(count: int) -> str:
    """Return a count with a unit, e.g. 8.4 k, 0.88 M, 5.5 G; nothing for what is not known."""
    if not count:
        return ""
    units = {1e8: ("G", 1e9), 1e5: ("M", 1e6), 0: ("k", 1e3)}
    unit, scale = next(found for least, found in units.items() if count >= least)
    return f"{count / scale:.2g} {unit}"
