"""Which cases a command is about, and their headline observations in words; `cases export`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dicom_node.ledger.cases import CaseQuery, ObservationFilter, Order
    from dicom_node.ledger.headlines import HeadlineKey, ListLine
    from dicom_node.results.cards import NetworkCard
    from dicom_node.settings import Configuration

SearchOption = Annotated[
    str, typer.Option(metavar="TEXT", help="Patient, ID, accession number or Study UID.")
]
ObservationOption = Annotated[
    str,
    typer.Option(
        metavar="NETWORK:KEY", help="Only with this headline observation: see --observed."
    ),
]
ObservedOption = Annotated[
    str, typer.Option(help="The observation is: found, not-found, or answered either way.")
]
AtLeastOption = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="The observation's number, or more.")
]
OrderOption = Annotated[
    str,
    typer.Option(
        metavar="ORDER",
        help="received, severity, study_date, or NETWORK:KEY, found and high first.",
    ),
]

_ANSWERS = ("found", "not-found", "answered")


def query_of(
    search: str, observation: str, observed: str, at_least: float | None, order: str
) -> CaseQuery:
    """Return what the options ask for. Raises `typer.BadParameter`."""
    from dicom_node.ledger.cases import CaseQuery

    return CaseQuery(
        words=search, observation=_filter(observation, observed, at_least), order=_order(order)
    )


def _filter(observation: str, observed: str, at_least: float | None) -> ObservationFilter | None:
    from dicom_node.ledger.cases import ObservationFilter

    if observed not in _ANSWERS:
        raise typer.BadParameter(f"there are: {', '.join(_ANSWERS)}", param_hint="--observed")
    if not observation:
        return None
    # mypy does not know that it is one of them.
    return ObservationFilter(_key(observation, "--observation"), observed, at_least)  # type: ignore[arg-type]


def _order(text: str) -> Order:
    if text == "severity":
        return "severity"
    if text == "study_date":
        return "study_date"
    return "received" if text == "received" else _key(text, "--order")


def _key(text: str, option: str) -> HeadlineKey:
    from dicom_node.ledger.headlines import HeadlineKey

    found = HeadlineKey.of(text)
    if not found.key:
        raise typer.BadParameter(f"{text!r} is not NETWORK:KEY", param_hint=option)
    return found


def cards_of(configuration: Configuration) -> Mapping[str, NetworkCard]:
    """Return the bundles that say in words what they say; none where their manifests are broken."""
    from dicom_node.errors import NodeError
    from dicom_node.line.wiring import declared_cards

    with contextlib.suppress(NodeError):
        return declared_cards(configuration.settings)
    return {}


def headline_lines(
    lines: Sequence[ListLine], cards: Mapping[str, NetworkCard], configuration: Configuration
) -> Iterator[str]:
    """Yield headlines as a terminal tells them, what was found first and marked.

    In the words of the configured report template, which is not read where there are none.
    """
    if not lines:
        return
    from dicom_node.line.wiring import template_of
    from dicom_node.results.headline_words import spoken

    for each in spoken(lines, cards, template_of(configuration.settings)):
        yield f"{each.name}: {each.answer}{' (found)' * each.found}"


def export(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    search: SearchOption = "",
    observation: ObservationOption = "",
    observed: ObservedOption = "found",
    at_least: AtLeastOption = None,
    order: OrderOption = "received",
) -> None:
    """Print the headline observations of cases as CSV, one row an observation; names no patient."""
    from dicom_node.cli.options import configuration, ledger_of
    from dicom_node.line.wiring import template_of
    from dicom_node.results.case_table import COLUMNS, case_table
    from dicom_node.results.spreadsheet import csv_parts

    query = query_of(search, observation, observed, at_least, order)
    settings = configuration(config, data_dir)
    template = template_of(settings.settings)
    rows = case_table(ledger_of(settings), query, cards_of(settings), template)
    for part in csv_parts(COLUMNS, rows):
        typer.echo(part, nl=False)
