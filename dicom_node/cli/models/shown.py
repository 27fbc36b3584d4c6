"""``dicom-node models list``, ``verify`` and ``card``: what is there, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from dicom_node.cli.options import (
    ConfigOption,
    DataDirOption,
    ModelsOption,
    cell,
    pass_down,
    wide_console,
)
from dicom_node.errors import BundleError, NodeError

if TYPE_CHECKING:
    from dicom_node.bundles import Bundle
    from dicom_node.bundles.declared import Declared
    from dicom_node.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

_NOT_INSTALLED = (
    "a comparison network: its weights are in the repository (models/) and not installed"
)

console = Console()


def models(
    context: typer.Context,
    models: ModelsOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: Json = False,
) -> None:
    """Model bundles: list, verify, card; bring a network: new, check, try, add. Alone: list."""
    if pass_down(context) is None:
        list_(models, config, data_dir, as_json)


def list_(
    models: ModelsOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: Json = False,
) -> None:
    """List the bundles: our own networks, and those that say themselves what they eat and say.

    Of ours with their parameters and MACs, beside the paper's: "input" is the film's size as it is
    served; "with trunk" what the network costs that runs alone; in a suite a trunk is paid once.
    "state": active, in shadow, or inactive.
    """
    settings = None if models else _settings(config, data_dir)
    folder = models if settings is None else settings.analysis.models_dir
    own = _bundles(folder, None)
    declared = _declared(models, settings)
    elsewhere = _elsewhere(own)
    if as_json:
        rows = [_row(bundle, _state(bundle.id, settings)) for bundle in own]
        rows += [_declared_row(name, told, settings) for name, told in declared.items()]
        typer.echo(json.dumps(rows, indent=1))
        return
    if own:
        wide_console().print(_own_table(own, elsewhere, settings))
    if declared:
        wide_console().print(_declared_table(declared, settings))
    if elsewhere:
        console.print(f"{', '.join(sorted(elsewhere))}: {_NOT_INSTALLED}", soft_wrap=True)


def _own_table(
    own: Sequence[Bundle], elsewhere: Collection[str], settings: Settings | None
) -> Table:
    table = Table(
        Column("id", no_wrap=True), "version", "state", "input", "parameters", "with trunk",
        "paper", "MACs", "with trunk", "at paper's input", "paper", "weights",
    )  # fmt: skip
    for bundle in own:
        manifest, cost, whole = bundle.manifest, bundle.manifest.weights, bundle.manifest.cost
        paper, seen = manifest.paper, bundle.contract
        table.add_row(
            bundle.id, manifest.version, _state(bundle.id, settings),
            f"{seen.rows} × {seen.columns}",
            _short(cost.parameters), _short(whole.parameters) if whole else "",
            _short(paper.parameters) if paper else "",
            _short(cost.macs), _short(whole.macs) if whole else "",
            _short(whole.macs_at_paper) if whole else "",
            f"{_short(paper.macs)}{f' at {paper.size}' if paper.size else ''}" if paper else "",
            "not installed" if bundle.id in elsewhere
            else cost.digest.removeprefix("sha256:")[:8],
        )  # fmt: skip
    return table


def _declared_table(
    declared: Mapping[str, Declared | BundleError], settings: Settings | None
) -> Table:
    table = Table(
        Column("id", no_wrap=True), "version", "state", "engine", "input", "eats", "says", "weights"
    )
    for name, bundle in declared.items():
        if isinstance(bundle, BundleError):
            table.add_row(cell(name), "", _state(name, settings), "", "", "", cell(bundle.message))
            continue
        manifest = bundle.manifest
        eats, pixels = manifest.eats, manifest.eats.pixels
        films = [*eats.modalities, *eats.body_parts, *eats.views]
        says = [f"{said.key} ({said.kind})" for said in manifest.says]
        table.add_row(
            cell(bundle.id), manifest.version, _state(bundle.id, settings), manifest.engine,
            f"{pixels.rows} × {pixels.columns}", cell(" ".join(films)), ", ".join(says),
            manifest.weights.digest.removeprefix("sha256:")[:8],
        )  # fmt: skip
    return table


def verify(
    bundle_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Model bundles; default: all.")
    ] = None,
    models: ModelsOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: Json = False,
) -> None:
    """Check digests, shapes and the self-test of these bundles, or of all. Exit 1 if any fails.

    Named are the engines that give the stored answer; of an engine beside Keras that does not, why.
    A wheel holds no weights of comparison networks: these are named and not checked. Bundles that
    say what they eat and say are checked as by `models check`.
    """
    settings = None if models else _settings(config, data_dir)
    declared = _declared(models, settings)
    named = [name for name in declared if not bundle_ids or name in bundle_ids]
    others = [name for name in bundle_ids or () if name not in named]
    found = () if bundle_ids and not others else _bundles(models, others or None)
    elsewhere = _elsewhere(found)
    results = [_checked(bundle, installed=bundle.id not in elsewhere) for bundle in found]
    results += [_checked_declared(name, declared[name]) for name in named]
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


def _checked_declared(name: str, bundle: Declared | BundleError) -> dict[str, Any]:
    from dicom_node.line.check_bundle import check_bundle

    if isinstance(bundle, BundleError):
        return {"id": name, "well": False, "fault": bundle.message, "engines": {}}
    faults = check_bundle(bundle.folder).faults
    row = {"id": bundle.id, "well": not faults, "fault": "; ".join(faults) or None}
    return row | {"engines": {} if faults else {bundle.manifest.engine: None}}


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
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: Json = False,
) -> None:
    """Print the model card: what it is for, how well it does, where it fails."""
    from rich.markdown import Markdown

    from dicom_node.bundles import CARD

    settings = None if models else _settings(config, data_dir)
    found = _declared(models, settings).get(bundle_id)
    if isinstance(found, BundleError):
        raise found
    folder = found.folder if found else _bundles(models, [bundle_id])[0].folder
    text = (folder / CARD).read_text(encoding="utf8")
    if as_json:
        typer.echo(json.dumps({"id": bundle_id, "card": text}, indent=1))
    else:
        console.print(Markdown(text))


def _bundles(models: Path | None, bundle_ids: Sequence[str] | None) -> tuple[Bundle, ...]:
    """Return the named bundles, or all."""
    from dicom_node import resources
    from dicom_node.bundles import list_bundles, open_bundle

    folder = models or resources.model_bundles()
    if not bundle_ids:
        found = list_bundles(folder)
        if not found and not _declared(folder, None):
            raise BundleError(
                f"There is no model bundle in {folder}.",
                remedy="Check --models: a folder with a folder for each bundle.",
            )
        return found
    return tuple(open_bundle(folder, bundle_id) for bundle_id in bundle_ids)


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    from dicom_node.cli.options import configuration

    return configuration(config, data_dir, pages=False).settings


def _declared(
    models: Path | None, settings: Settings | None
) -> Mapping[str, Declared | BundleError]:
    """Return the bundles that declare what they say, in this folder, or where the node looks.

    By id; of one that cannot be opened, why.
    """
    from dicom_node import resources
    from dicom_node.bundles import MANIFEST, declares
    from dicom_node.line.bundles import model_folders

    folders = model_folders(settings) if settings else [models or resources.model_bundles()]
    found: dict[str, Declared | BundleError] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*/{MANIFEST}")):
            if declares(path) is not False and path.parent.name not in found:
                found[path.parent.name] = _opened(path.parent)
    return dict(sorted(found.items()))


def _opened(place: Path) -> Declared | BundleError:
    from dicom_node.bundles.declared import open_declared

    try:
        return open_declared(place.parent, place.name)
    except BundleError as error:
        return error


def _state(name: str, settings: Settings | None) -> str:
    """Return whether a bundle is used; "" where no configuration was asked for."""
    if settings is None:
        return ""
    if name in settings.bundles:
        return "active"
    return "shadow" if name in settings.analysis.shadow else "inactive"


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


def _declared_row(
    name: str, bundle: Declared | BundleError, settings: Settings | None
) -> dict[str, Any]:
    state = _state(name, settings)
    if isinstance(bundle, BundleError):
        return {"id": name, "state": state, "fault": bundle.message}
    manifest = bundle.manifest
    eats, pixels = manifest.eats, manifest.eats.pixels
    return {
        "id": bundle.id,
        "title": manifest.title,
        "version": manifest.version,
        "state": state,
        "engine": manifest.engine,
        "eats": {
            "modalities": list(eats.modalities),
            "body_parts": list(eats.body_parts),
            "views": list(eats.views),
        },
        "says": [{"key": said.key, "kind": said.kind} for said in manifest.says],
        "input": [pixels.rows, pixels.columns],
        "weights": manifest.weights.digest,
        "weights_here": bundle.has_weights,
        "intended_use": manifest.intended_use,
    }


def _row(bundle: Bundle, state: str) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "id": bundle.id,
        "version": manifest.version,
        "state": state,
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
