"""``dicom-node ae``: the AE table."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption, UtcOption
from dicom_node.cli.route import route_sender

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from dicom_node.records import PeerContact, Refusal
    from dicom_node.settings import Configuration, Remote

TitleArgument = Annotated[str, typer.Argument(metavar="AETITLE", help="AE title of the remote.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(help="The AE table: who may send, who gets results.", no_args_is_help=True)
    group.command("list")(list_remotes)
    group.command("add")(add)
    group.command("echo")(echo)
    group.command("route")(route_sender)
    group.command("dismiss")(dismiss)
    app.add_typer(group, name="ae")


def list_remotes(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    utc: UtcOption = False,
) -> None:
    """List the AEs, their last contact, and who was rejected with how to add them."""
    from rich.table import Table

    from dicom_node.cli.options import cell, configuration, wide_console, zone_for

    settings = configuration(config, data_dir)
    zone = zone_for(settings, utc=utc)
    contacts, refusals = _seen(settings)
    rows = [_row(remote, contacts) for remote in settings.remotes.values()]
    rejected = [_rejected(item, settings) for item in refusals]
    if as_json:
        typer.echo(json.dumps({"remotes": rows, "rejected": rejected}, indent=2))
        return
    console = wide_console()
    table = Table("AE title", "address", "sends", "results to", "objects", "received", "sent",
                  "waiting", "does not accept", "last error", box=None)  # fmt: skip
    for row in rows:
        values = (
            row["ae_title"], row["address"] or "-", "yes" if row["may_send"] else "no",
            ", ".join(row["results_to"]), ", ".join(row["objects"]),
            _when(row["last_received_at"], zone), _when(row["last_sent_at"], zone),
            row["waiting"], ", ".join(row["not_accepted"]), row["last_error"],
        )  # fmt: skip
        table.add_row(*map(cell, values))
    console.print(table if rows else "The AE table is empty: every sender is rejected.")
    for item in rejected:
        console.print()
        console.print(cell(_rejection(item, zone)), soft_wrap=True, highlight=False)
        told = f"To allow it: {item['add']}" if item["add"] else item["remedy"]
        if told:
            console.print(cell(f"  {told}"), soft_wrap=True, highlight=False)
    if rejected:
        console.print("\n`dicom-node ae dismiss AETITLE` takes what you have seen off this list.")


def _rejection(item: dict[str, Any], zone: tzinfo | None) -> str:
    return (
        f"Rejected {'once' if item['count'] == 1 else str(item['count']) + ' times, last'}"
        f" {_when(item['last_at'], zone)}:"
        f" {item['calling_ae_title']!r} from {item['peer_address']}, calling"
        f" {item['called_ae_title']!r}: {item['reason']}."
    )


def _when(moment: str | None, zone: tzinfo | None) -> str:
    from dicom_node.moments import shown

    return shown(moment, zone) if moment else "never"


def _seen(settings: Configuration) -> tuple[dict[str, PeerContact], Sequence[Refusal]]:
    from dicom_node.cli.options import ledger_of

    if not settings.ledger_path.exists():
        return {}, ()
    ledger = ledger_of(settings)
    return {item.ae_title: item for item in ledger.peers()}, ledger.refusals()


def _row(remote: Any, contacts: dict[str, PeerContact]) -> dict[str, Any]:
    from dicom_node.settings import host_and_port

    contact = contacts.get(remote.ae_title)

    def when(name: str) -> str | None:
        moment = getattr(contact, name, None)
        return moment and moment.isoformat()

    return {
        "ae_title": remote.ae_title,
        "address": remote.host and host_and_port(remote.host, remote.port),
        "may_send": remote.may_send,
        "results_to": list(remote.destinations),
        "objects": list(remote.wanted_objects),
        "sr_classes": list(remote.wanted_sr_classes),
        "capture_compression": remote.capture_compression,
        "accepted": [_class_name(uid) for uid in contact.accepted] if contact else [],
        "not_accepted": [_class_name(uid) for uid in contact.not_accepted] if contact else [],
        "last_received_at": when("last_received_at"),
        "last_sent_at": when("last_sent_at"),
        "last_error": contact and contact.last_error,
        "waiting": contact.waiting if contact else 0,
    }


def _class_name(sop_class_uid: str) -> str:
    from pydicom.uid import UID

    return UID(sop_class_uid).name.removesuffix(" Storage")


def _rejected(refusal: Refusal, settings: Configuration) -> dict[str, Any]:
    from dicom_node.settings.edit import can_be_added

    title = refusal.calling_ae_title
    begins_like_an_option = title.startswith("-")
    add = [
        "dicom-node", "ae", "add", *([] if begins_like_an_option else [title]),
        "--host", refusal.peer_address, "--port", "104", "--address", refusal.peer_address,
        "--config", str(settings.folder), *(["--", title] if begins_like_an_option else []),
    ]  # fmt: skip
    return {
        "calling_ae_title": refusal.calling_ae_title,
        "called_ae_title": refusal.called_ae_title,
        "peer_address": refusal.peer_address,
        "reason": refusal.reason,
        "count": refusal.count,
        "last_at": refusal.last_at.isoformat(),
        "remedy": "" if refusal.is_unknown_caller else refusal.remedy,
        "add": shlex.join(add) if can_be_added(refusal, settings.remotes) else None,
    }


def add(
    ae_title: TitleArgument,
    host: Annotated[str | None, typer.Option(help="Where results are sent to.")] = None,
    port: Annotated[int | None, typer.Option(help="Its DICOM port.")] = None,
    address: Annotated[
        list[str] | None, typer.Option(help="Network it may call from; several are possible.")
    ] = None,
    results_to: Annotated[
        list[str] | None, typer.Option(help="AE that gets the results; default: itself.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Add an AE: writes remotes/<title>.toml. A running node takes it up within a second."""
    from dicom_node.cli.options import configuration
    from dicom_node.settings.add import add_remote

    wanted = {
        "ae_title": ae_title,
        "host": host,
        "port": port,
        "addresses": address or [],
        "results_to": results_to or [],
    }
    path = add_remote(configuration(config, None), wanted)
    where = "" if config is None else f" --config {shlex.quote(str(config))}"
    # Who only sends has no address to be called at.
    trial = "route" if host is None else "echo"
    typer.echo(f"Wrote {path}. Try `dicom-node ae {trial} {shlex.quote(ae_title)}{where}`.")


def _of_table(ae_title: str, settings: Configuration) -> Remote:
    """Return an AE of the table. Raises `DestinationUnknown` with what may have been meant."""
    from dicom_node.errors import DestinationUnknown
    from dicom_node.settings import find_remote
    from dicom_node.settings.faults import suggestion
    from dicom_node.settings.load import is_shipped

    found = find_remote(settings.remotes, ae_title)
    if found is None:
        meant = suggestion(ae_title, settings.remotes)
        remedy = f"Add it: `dicom-node ae add {shlex.quote(ae_title)} --host HOST --port PORT`."
        if settings.remotes:
            remedy = f"{meant[:1].upper()}{meant[1:]}"
        elif is_shipped(settings.folder):
            remedy = "Name your node's folder with --config DIR or DICOM_NODE_CONFIG."
        raise DestinationUnknown(
            f"{ae_title!r} is not in the AE table of {settings.folder}.", remedy=remedy
        )
    if found.host is None:
        raise DestinationUnknown(
            f"{found.ae_title} has no host and port: it only sends.",
            remedy=f"Give host and port in its file in {settings.remotes_path} to call it.",
        )
    return found


def echo(
    ae_title: TitleArgument, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Ask a remote AE for a C-ECHO, and tell when it last sent to this node."""
    from dicom_node.cli.options import configuration
    from dicom_node.delivery.association import peer_of
    from dicom_node.delivery.files import echo as c_echo

    settings = configuration(config, data_dir)
    remote = _of_table(ae_title, settings)
    ae_title = remote.ae_title
    peer = peer_of(ae_title, remote, settings.settings)
    c_echo(peer)
    typer.echo(f"{peer} answers to {peer.calling_ae_title}.")
    contacts, _ = _seen(settings)
    contact = contacts.get(ae_title)
    if contact is not None and contact.last_received_at is not None:
        when = _when(contact.last_received_at.isoformat(), settings.settings.node.zone)
        typer.echo(f"It last sent to this node at {when}.")
    else:
        typer.echo(
            "It has not sent to this node yet: send a film from it."
            " `dicom-node ae list` shows calls that were rejected."
        )


def dismiss(
    ae_title: Annotated[
        str | None, typer.Argument(metavar="[AETITLE]", help="Whose refusals; or --all.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The refusals of every caller.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Take refused calls that have been seen off the list; a new one is listed again."""
    from dicom_node.cli.options import configuration, ledger_of, person

    if (ae_title is None) != every:
        raise typer.BadParameter("Give the calling AE title of the refused, or --all.")
    ledger = ledger_of(configuration(config, data_dir))
    count = ledger.dismiss_refusals(ae_title)
    if count:
        ledger.note(person(), "refusal.dismissed", ae_title or "all")
    typer.echo(f"{count} refusal{'' if count == 1 else 's'} dismissed.")
    raise typer.Exit(0 if count else 1)
