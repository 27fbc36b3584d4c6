"""``dicom-node cases route`` and ``dicom-node ae route``: who would get which results, and why not.

By the same module as the reports that are sent, and as the pages' dry run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.options import ConfigOption, DataDirOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dicom_node.intake.routing import Routed
    from dicom_node.ledger import Cases
    from dicom_node.records import PeerContact, Study
    from dicom_node.settings import Configuration, Remote

SenderArgument = Annotated[
    str, typer.Argument(metavar="AETITLE", help="AE title of who would send a film.")
]


def route_sender(
    ae_title: SenderArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who would get which results of a film that an AE sends, and why not; sends nothing."""
    from dicom_node.cli.options import configuration
    from dicom_node.intake.routing import route
    from dicom_node.settings import find_remote

    settings = configuration(config, data_dir)
    remote = find_remote(settings.remotes, ae_title)
    name = ae_title if remote is None else remote.ae_title
    refused = _refused(name, remote, settings)
    contacts = _contacts(settings)
    told = {
        what: _told(route((name,), settings.remotes, analysed=analysed), settings, contacts)
        for what, analysed in (("analysed", True), ("not_analysed", False))
    }
    if as_json:
        typer.echo(json.dumps({"ae_title": name, "refused": refused} | told, indent=2))
    elif refused:
        _say([refused])
    else:
        _say([f"Where a film of {name} is analysed:", *_lines(told["analysed"])])
        _say(["Where none of a study is (a report with the reason):"])
        _say(_lines(told["not_analysed"]))
    raise typer.Exit(1 if refused or not told["analysed"]["recipients"] else 0)


def route_study(
    ledger: Cases, contacts: Sequence[PeerContact], study: Study, settings: Configuration
) -> dict[str, Any]:
    """Return who would get which results of a stored study by today's AE table, as JSON."""
    from dicom_node.intake.routing import is_told, route
    from dicom_node.records import InstanceState
    from dicom_node.results.stored import newest

    films = newest(ledger.instances(study.id))
    waiting = {InstanceState.RECEIVED, InstanceState.ADMITTED}
    analysed = any(item.state is InstanceState.ANALYSED or item.state in waiting for item in films)
    origins = ledger.origins(study.id)
    told = _told(
        route(origins, settings.remotes, analysed=analysed),
        settings,
        {item.ae_title: item for item in contacts},
    )
    if not any(is_told(item.state, item.reason, analysed=analysed) for item in films):
        told |= {"recipients": [], "reason": "nothing to report: there is no film to tell of"}
    waits = sum(item.state in waiting for item in films)
    if study.retracted and not waits:
        told |= {"recipients": [], "left_out": [], "reason": study.reason}
    return {
        "id": study.id,
        "study_instance_uid": study.study_instance_uid,
        "senders": list(origins),
        "analysed": analysed,
        "waiting": waits,
    } | told


def say_study(told: Mapping[str, Any]) -> None:
    """Print what `route_study` tells."""
    senders = ", ".join(told["senders"]) or "nobody that is known"
    _say([f"Study {told['id']} came from {senders}."])
    if told["waiting"]:
        wait = "waits" if told["waiting"] == 1 else "wait"
        _say([f"{told['waiting']} of its films {wait}: so it is where one is analysed."])
    elif not told["analysed"]:
        _say(["No film of it was analysed: all there is, is a report with the reason."])
    _say(_lines(told))


def _refused(name: str, remote: Remote | None, settings: Configuration) -> str | None:
    from dicom_node.settings.faults import suggestion

    if remote is None:
        if settings.settings.admission.unknown_ae == "accept":
            return None
        return (
            f"{name} is not in the AE table: its associations are rejected"
            f" ({suggestion(name, settings.remotes)}). `dicom-node ae add` lets it in."
        )
    if not remote.may_send:
        return f"{name} may not send: its associations are rejected before any film comes."
    return None


def _contacts(settings: Configuration) -> dict[str, PeerContact]:
    from dicom_node.cli.options import ledger_of

    if not settings.ledger_path.exists():
        return {}
    return {item.ae_title: item for item in ledger_of(settings).peers()}


def _told(
    routed: Routed, settings: Configuration, contacts: Mapping[str, PeerContact]
) -> dict[str, Any]:
    from dicom_node.intake.routing import RELEASES, report_class
    from dicom_node.records import ObjectKind

    def parcel(ae_title: str, kinds: Sequence[ObjectKind]) -> dict[str, Any]:
        remote, contact = settings.remotes[ae_title], contacts.get(ae_title)
        accepted = contact.accepted if contact else ()
        wants_report = ObjectKind.REPORT in kinds
        return {
            "ae_title": ae_title,
            "objects": [str(kind) for kind in kinds],
            "report_as": report_class(remote, accepted) if wants_report else None,
            "release": remote.release,
            "released": RELEASES[remote.release],
        }

    return {
        "recipients": [parcel(each.ae_title, each.kinds) for each in routed.recipients],
        "left_out": [
            {"ae_title": each.ae_title, "reason": each.reason} for each in routed.left_out
        ],
        "reason": routed.reason,
    }


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    for each in told["recipients"]:
        as_what = f" (the report as {each['report_as']})" if each["report_as"] else ""
        yield f"  {each['ae_title']} gets {', '.join(each['objects'])}, {each['released']}{as_what}"
    for each in told["left_out"]:
        yield f"  {each['ae_title']} gets nothing: {each['reason']}"
    if not told["recipients"] and not told["left_out"]:
        yield f"  nobody gets anything: {told['reason']}"


def _say(lines: Iterable[str]) -> None:
    from dicom_node.cli.options import cell, wide_console

    console = wide_console()
    for line in lines:
        console.print(cell(line), soft_wrap=True, highlight=False)
