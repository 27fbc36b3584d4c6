"""``dicom-node outbox``: results on their way, and why some are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption, UtcOption, pass_down

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from dicom_node.ledger.outbox import OutboxRow

_MAX_ID = 2**63 - 1

DeliveriesArgument = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]…", min=1, max=_MAX_ID, help="Numbers from `outbox list`."),
]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="Deliveries: waiting, sent, refused or expired, with the reason.")
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_deliveries)
    group.command("retry")(retry)
    group.command("drop")(drop)
    app.add_typer(group, name="outbox")


def _default(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    if pass_down(context) is None:
        list_deliveries(config, data_dir, as_json, utc=utc)


def list_deliveries(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    state: Annotated[
        str | None, typer.Option(help="Only waiting, sent, committed, refused or expired.")
    ] = None,
    to: Annotated[str, typer.Option(metavar="AETITLE", help="Only for this destination.")] = "",
    since: Annotated[
        str, typer.Option(metavar="DAY", help="Sent, or else written, from DAY.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="DAY", help="The same, to the end of DAY.")] = "",
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="Patient, ID, accession number or Study UID.")
    ] = "",
    patients: Annotated[
        bool, typer.Option("--patients", help="Also show patients' names and IDs.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 100,
    utc: UtcOption = False,
) -> None:
    """List what was sent where and when, and what was not, newest first.

    DAY: 2026-11-24, in the site's zone (node.timezone) or, with --utc, in UTC.
    """
    from dicom_node.cli.options import configuration, ledger_of, zone_for
    from dicom_node.ledger.outbox import OutboxQuery
    from dicom_node.moments import day_span
    from dicom_node.records import DeliveryState

    if state is not None and state not in list(DeliveryState):
        raise typer.BadParameter(f"{state!r}: there are {', '.join(DeliveryState)}.")
    settings = configuration(config, data_dir)
    zone = zone_for(settings, utc=utc)
    try:
        begins, ends = day_span(since, until, zone)
    except ValueError as error:
        raise typer.BadParameter(f"A day is written 2026-11-24: {error}.") from error
    query = OutboxQuery(
        state=None if state is None else DeliveryState(state),
        destination=to, since=begins, until=ends, words=search, limit=limit,
    )  # fmt: skip
    found, count = ledger_of(settings).outbox(query)
    if as_json:
        typer.echo(json.dumps([_document(row, patients) for row in found], indent=2))
    elif not found:
        typer.echo("No delivery." if state is None else f"No delivery that is {state}.")
    else:
        _print(found, zone, patients)
    if left := count - len(found):
        typer.echo(f"and {left} more: --limit says how many are shown.", err=as_json)


def _document(row: OutboxRow, patients: bool) -> dict[str, Any]:
    item = row.delivery
    whose = {"patient_id": row.patient_id, "patient_name": row.patient_name} if patients else {}
    return {
        "id": item.id,
        "study": item.study_id,
        "study_instance_uid": item.study_instance_uid,
        "accession_number": row.accession_number,
        **whose,
        "object": str(item.kind),
        "words": item.words,
        "destination": item.destination,
        "state": str(item.state),
        "held": item.held,
        "attempts": item.attempts,
        "created_at": item.created_at.isoformat(),
        "sent_at": item.sent_at and item.sent_at.isoformat(),
        "next_attempt_at": item.next_attempt_at.isoformat(),
        "expires_at": item.expires_at.isoformat(),
        "status": None if item.status is None else f"0x{item.status:04X}",
        "reason": item.reason,
    }


def _print(rows: Sequence[OutboxRow], zone: tzinfo | None, patients: bool) -> None:
    from rich.table import Table

    from dicom_node.cli.options import cell, wide_console
    from dicom_node.moments import shown
    from dicom_node.records import DeliveryState

    whose = ("patient ID", "patient") if patients else ()
    table = Table("ID", "study", "accession", *whose, "object", "to", "state", "sent", "tries",
                  "next", "why", box=None)  # fmt: skip
    for row in rows:
        item = row.delivery
        waits = item.state is DeliveryState.WAITING and item.held is None
        status = "" if item.status is None else f" 0x{item.status:04X}"
        values = (
            item.id, item.study_id, row.accession_number,
            *((row.patient_id, row.patient_name) if patients else ()), item.words,
            item.destination, f"{item.state}{status}",
            shown(item.sent_at, zone, seconds=True) if item.sent_at else "", item.attempts,
            shown(item.next_attempt_at, zone) if waits else "", item.told,
        )  # fmt: skip
        table.add_row(*map(cell, values))
    wide_console().print(table)


def retry(
    deliveries: DeliveriesArgument = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Every refused, expired and waiting delivery that is not held."),
    ] = False,
) -> None:
    """Send deliveries again, now; the same bytes with the same UIDs."""
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.records import DeliveryId, DeliveryState

    if bool(deliveries) == every:
        raise typer.BadParameter("Give the numbers of deliveries, or --all.")
    settings = configuration(config, data_dir)
    ledger = ledger_of(settings)
    chosen = [DeliveryId(number) for number in deliveries or ()]
    if every:
        states = (DeliveryState.REFUSED, DeliveryState.EXPIRED, DeliveryState.WAITING)
        chosen = [
            item.id
            for state in states
            for item in ledger.deliveries(state=state)
            if item.held is None  # approval is given to one delivery, not to whatever there is
        ]
    for number in chosen:
        ledger.resend(number, person(), settings.settings.delivery.keep_hours)
    typer.echo(f"{len(chosen)} deliveries will be sent now.")


def drop(
    deliveries: Annotated[
        list[int],
        typer.Argument(metavar="ID…", min=1, max=_MAX_ID, help="Waiting deliveries."),
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give waiting deliveries up; they stay listed as expired, with who did it."""
    from dicom_node.cli.options import configuration, ledger_of, person
    from dicom_node.records import DeliveryId

    ledger = ledger_of(configuration(config, data_dir))
    for number in deliveries:
        ledger.drop(DeliveryId(number), person())
    typer.echo(f"{len(deliveries)} deliveries given up.")
