"""The AE table: who may send, who gets results, who was refused; changed here, kept in files."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, File, HTTPException, Query, Request, UploadFile
from fastapi import Form as Field
from fastapi.responses import HTMLResponse, Response
from pydantic import TypeAdapter, ValidationError

from dicom_node.errors import DeliveryError, ImageError, SettingsError
from dicom_node.imaging.header import read_header
from dicom_node.intake.admit import Admitted
from dicom_node.intake.menu import Choice, Menu
from dicom_node.intake.routing import RELEASES, is_told, report_class, route
from dicom_node.records import InstanceState, PeerContact
from dicom_node.settings import Remote
from dicom_node.settings.edit import can_be_added, drop_remote, file_of, keep_remote
from dicom_node.settings.model import CompressionName, ObjectName, SrClassName, Viewer
from dicom_node.settings.values import is_address
from dicom_node.web.house import House
from dicom_node.web.rendering import done, page
from dicom_node.web.security import Person, SignedInFirst, house_of, operator, reader
from dicom_node.web.typed import Form

router = APIRouter(prefix="/remotes", route_class=SignedInFirst)


@router.get("")
def table(request: Request, _: Annotated[Person, Depends(reader)]) -> Response:
    """Show every AE with its last contact, and who was refused; only the latter for htmx."""
    house = house_of(request)
    remotes = house.remotes()
    refusals = [(item, can_be_added(item, remotes)) for item in house.ledger.refusals()]
    if "hx-request" in request.headers:
        return page(request, "_refusals.html", refusals=refusals)
    return page(
        request,
        "remotes.html",
        remotes=list(remotes.values()),
        contacts={item.ae_title: item for item in house.ledger.peers()},
        refusals=refusals,
        releases=RELEASES,
        steps=None,
    )


@router.get("/new")
def new(
    request: Request,
    _: Annotated[Person, Depends(operator)],
    ae_title: Annotated[str, Query(max_length=64)] = "",
    host: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show the form of a new AE; filled in for one that was refused."""
    values = {"ae_title": ae_title, "host": host, "port": "104"}
    if host and is_address(host):
        values["addresses"] = f"{host}/{32 if '.' in host else 128}"
    return _form(request, values, [], is_new=True)


@router.get("/edit")
def edit(
    request: Request,
    _: Annotated[Person, Depends(operator)],
    ae_title: Annotated[str, Query(max_length=64)],
) -> Response:
    """Show the form of an AE; not by a path, as an AE title may hold slashes and dots."""
    return _form(request, _values(_remote(house_of(request), ae_title)), [], is_new=False)


@router.post("/keep")
def keep(request: Request, person: Annotated[Person, Depends(operator)], form: Form) -> Response:
    """Write an AE's file where the whole table is valid with it; else show every fault."""
    house = house_of(request)
    values = {
        key: form.getlist(key) if key in _LISTS else str(form.get(key, ""))
        for key in (*_TEXTS, *_LISTS, *_SWITCHES, "is_new")
    }
    is_new = bool(values.pop("is_new"))
    try:
        wanted = _wanted(values)
        if is_new and file_of(house.configuration, str(wanted["ae_title"])) is not None:
            told = f"{wanted['ae_title']} is in the table already."
            raise SettingsError(told, remedy="Edit it there.")
        path = keep_remote(house.configuration, wanted)
    except SettingsError as error:
        told = f"{error.message} {error.remedy}"
        return _form(request, values, list(error.faults) or [told], is_new=is_new)
    what = "remote.added" if is_new else "remote.changed"
    house.ledger.note(person.name, what, f"{wanted['ae_title']} in {path.name}")
    return done("/remotes", "remote-kept")


@router.post("/drop")
def drop(
    request: Request,
    person: Annotated[Person, Depends(operator)],
    ae_title: Annotated[str, Field()],
) -> Response:
    """Remove an AE from the table."""
    house = house_of(request)
    path = drop_remote(house.configuration, ae_title)
    house.ledger.note(person.name, "remote.removed", f"{ae_title}: {path.name}")
    return done("/remotes", "remote-removed")


@router.post("/dismiss")
def dismiss(
    request: Request, person: Annotated[Person, Depends(operator)], refusal: Annotated[str, Field()]
) -> Response:
    """Forget a refusal that has been seen; ``refusal``: its four texts as JSON."""
    try:
        key = TypeAdapter(tuple[str, str, str, str]).validate_json(refusal)
    except ValidationError as error:
        raise HTTPException(422, "That is no refusal.") from error
    ledger = house_of(request).ledger
    if ledger.dismiss_refusals(*key):
        ledger.note(person.name, "refusal.dismissed", f"{key[0]} from {key[2]}: {key[3]}")
    return done("/remotes", "refusal-dismissed")


@router.post("/echo")
def echo(
    request: Request,
    person: Annotated[Person, Depends(operator)],
    ae_title: Annotated[str, Field()],
) -> HTMLResponse:
    """C-ECHO an AE now."""
    house = house_of(request)
    try:
        told, well = house.doors.echo(ae_title, _remote(house, ae_title)), True
    except DeliveryError as error:
        told, well = f"{error.message} {error.remedy}", False
    house.ledger.note(person.name, "remote.echo", f"{ae_title}: {'answers' if well else 'fails'}")
    return page(request, "_told.html", told=told, well=well)


@router.post("/self-test")
def self_test(request: Request, person: Annotated[Person, Depends(operator)]) -> HTMLResponse:
    """Send a phantom through the real port and back to a loop AE; show the timings."""
    house = house_of(request)
    steps = house.doors.try_whole_way()
    house.ledger.note(person.name, "self-test", "well" if all(s.well for s in steps) else "failed")
    return page(request, "_steps.html", steps=steps)


@router.get("/dry-run")
def dry_run_page(request: Request, _: Annotated[Person, Depends(reader)]) -> Response:
    """Show the form for trying the rules on a file."""
    return page(
        request, "dry_run.html", told=None, senders=sorted(house_of(request).remotes()), sender="",
        file="",
    )  # fmt: skip


@router.post("/dry-run")
def dry_run(
    request: Request,
    _: Annotated[Person, Depends(reader)],
    file: Annotated[UploadFile, File()],
    sender: Annotated[str, Field(max_length=64)] = "",
) -> Response:
    """Tell what would become of a file if an AE sent it; nothing is kept."""
    house = house_of(request)
    return page(
        request, "dry_run.html", told=_told(house, file.file.read(), sender),
        senders=sorted(house.remotes()), sender=sender, file=file.filename or "The file",
    )  # fmt: skip


def _told(house: House, data: bytes, sender: str) -> dict[str, Any]:
    remotes = house.remotes()
    remote = remotes.get(sender)
    if remote is not None and not remote.may_send:
        why = f"{sender} may not send: its associations are rejected before any film comes."
        return {"outcome": "Rejected", "why": why, "parcels": [], "left_out": ()}
    try:
        choice = house.menu.choose(read_header(data), (sender,) if sender else ())
    except ImageError as error:
        return {"outcome": "Declined", "why": error.message, "parcels": [], "left_out": ()}
    origins = (sender,) if sender else ()
    decision = choice.decision
    routed = route(origins, remotes, analysed=isinstance(decision, Admitted))
    contacts = {item.ae_title: item for item in house.ledger.peers()}
    sent = [(remotes[each.ae_title], contacts.get(each.ae_title)) for each in routed.recipients]
    if not isinstance(decision, Admitted):
        told = is_told(InstanceState.DECLINED, decision.reason, analysed=False)
        parcels = [_parcel(*each) | _APOLOGY for each in sent] if told else []
        why = f"{decision.reason}."
        return {"outcome": "Declined", "why": why, "parcels": parcels, "left_out": routed.left_out}
    return {
        "outcome": "Admitted",
        "why": _who_eats(choice, decision.view, house.menu),
        "parcels": [_parcel(*each) for each in sent],
        "left_out": routed.left_out,
    }


def _who_eats(choice: Choice, view: str, menu: Menu) -> str:
    """Return what a film is by its header, and which bundles that say what they eat eat it."""
    stated = f"view {view}" if view else "no view stated"
    declared = sorted(choice.networks & menu.eats.keys())
    asked = f"{', '.join(declared)} {'is' if len(declared) == 1 else 'are'} asked about it"
    said = f"A frontal chest radiograph by its header ({stated})."
    if declared:
        own = choice.networks - menu.eats.keys()
        said = f"{said} Also {asked}." if own else f"By its header ({stated}) {asked}."
    against = "; ".join(f"{name}: {reason}" for name, reason in choice.reasons.items())
    return f"{said} Not asked: {against}." if against else said


_APOLOGY = {"objects": "a small report with the reason, if no film of the study is analysed"}


def _parcel(remote: Remote, contact: PeerContact | None) -> dict[str, str]:
    said = report_class(remote, contact.accepted if contact else ())
    return {
        "destination": remote.ae_title,
        "objects": ", ".join(remote.wanted_objects),
        "sr_class": said if "sr" in remote.wanted_objects else "no report is wanted",
        "release": RELEASES[remote.release],
    }


_TEXTS = (
    "ae_title", "host", "port", "addresses", "results_to", "viewer", "release",
    "capture_compression",
)  # fmt: skip
_LISTS = ("objects", "sr_classes")
_SWITCHES = ("may_send", "answer_always", "case_insensitive", "tls")


def _wanted(values: dict[str, Any]) -> dict[str, object]:
    port = values["port"].strip()
    if port and not port.isdecimal():
        raise SettingsError(f"port: {port!r} is no number.", remedy="Write one, such as 104.")
    wanted: dict[str, object] = {
        "ae_title": values["ae_title"].strip(),
        "host": values["host"].strip() or None,
        "port": int(port) if port and values["host"].strip() else None,
        "addresses": _split(values["addresses"]),
        "results_to": _split(values["results_to"]),
        "viewer": values["viewer"],
        "release": values["release"],
        "capture_compression": values["capture_compression"] or "none",
        "objects": [str(each) for each in values["objects"]],
        "sr_classes": [str(each) for each in values["sr_classes"]],
    }
    return wanted | {name: values[name] == "on" for name in _SWITCHES}


def _values(remote: Remote) -> dict[str, Any]:
    return {
        "ae_title": remote.ae_title,
        "host": remote.host or "",
        "port": "" if remote.port is None else str(remote.port),
        "addresses": ", ".join(remote.addresses),
        "results_to": ", ".join(remote.results_to),
        "viewer": remote.viewer,
        "release": remote.release,
        "capture_compression": remote.capture_compression,
        "objects": list(remote.objects),
        "sr_classes": list(remote.sr_classes),
    } | {name: "on" if getattr(remote, name) else "" for name in _SWITCHES}


def _form(
    request: Request, values: dict[str, Any], faults: list[str], *, is_new: bool
) -> HTMLResponse:
    defaults: dict[str, Any] = dict.fromkeys(_TEXTS, "") | {name: [] for name in _LISTS}
    defaults |= {"viewer": "generic", "release": "at-once", "may_send": "on"}
    defaults |= {"capture_compression": "none"}
    defaults |= dict.fromkeys(("answer_always", "case_insensitive", "tls"), "")
    return page(
        request,
        "remote.html",
        status=422 if faults else 200,
        values=defaults | values,
        faults=faults,
        is_new=is_new,
        viewers=get_args(Viewer),
        objects=get_args(ObjectName),
        sr_classes=get_args(SrClassName),
        releases=RELEASES,
        compressions=get_args(CompressionName),
        help={name: field.description for name, field in Remote.model_fields.items()},
    )


def _remote(house: House, ae_title: str) -> Remote:
    found = house.remotes().get(ae_title)
    if found is None:
        raise HTTPException(404, "There is no such AE in the table.")
    return found


def _split(text: str) -> list[str]:
    # Not at spaces: they may stand within an AE title.
    return [part.strip() for part in text.split(",") if part.strip()]
