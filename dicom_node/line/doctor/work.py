"""The node at work: roles, queues, networks, peers, ports, certificates, what went wrong lately."""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from dicom_node.bundles import check_weights, open_bundle
from dicom_node.delivery.association import peer_of
from dicom_node.delivery.files import echo
from dicom_node.errors import DeliveryError, NodeError
from dicom_node.events import CATALOGUE
from dicom_node.ledger import Ailments, Symptoms, Workers
from dicom_node.line.bundles import bundle_faults, own_bundles
from dicom_node.line.doctor.checked import Checked, fault, warning, well
from dicom_node.line.health import health_of, port_of
from dicom_node.line.upkeep import verified
from dicom_node.records import AlarmKind
from dicom_node.settings import Configuration
from dicom_node.settings.certificates import REMEDY, certificates

_LATE, _MUCH_TOO_LATE = timedelta(hours=1), timedelta(hours=24)
_LATELY_DAYS = 7.0
_WRONG = ("failed", "refused", "expired", "quarantined", "conflict", "clock.set")
"""Endings of the names of events that tell of something amiss."""

_LEVELS = ("error", "warning")
_CONNECT_SECONDS = 2.0


def roles(site: Configuration, ledger: Workers) -> Iterator[Checked]:
    """Tell whether each role works."""
    health = health_of(ledger, site, counted=False)
    for alarm in health.alarms:
        remedy = "See `dicom-node alarms`; it ends by itself once its cause does."
        yield warning("alarms", f"{alarm.sentence} Since {_when(alarm.since)}.", remedy)
    found = health.roles
    if all(role.sentence.startswith(("stopped", "never started")) for role in found):
        remedy = "Start it: `systemctl start dicom-node`, or `dicom-node serve`."
        yield warning("roles", "The node is stopped", remedy)
        return
    for role in found:
        told = f"{role.name}: {role.sentence}"
        if role.well:
            yield well("roles", told)
        elif role.starting:
            yield warning("roles", told, "Wait until it has started, then look again.")
        else:
            remedy = "See its last lines in the log (`role.error`, `role.died`): they say why."
            yield fault("roles", told, remedy)


def queues(ledger: Symptoms) -> Iterator[Checked]:
    """Tell how long the oldest work waits."""
    now, counts = ledger.moment(), ledger.counts()
    for each in ledger.waiting():
        age = now - each.since
        many = f", {each.number} in all" if each.number else ""
        told = f"{each.where}: the first waits for {_spoken(age)}{many}"
        facts = {"where": each.where, "seconds": age.total_seconds(), "number": each.number}
        remedy = "See `dicom-node health`, and `dicom-node outbox list` for destinations."
        if age > _MUCH_TOO_LATE:
            yield fault("queues", told, remedy, **facts)
        elif age > _LATE:
            yield warning("queues", told, remedy, **facts)
        else:
            yield well("queues", told, **facts)
    parked = sum(counts.get(f"deliveries.{state}", 0) for state in ("refused", "expired"))
    if parked:
        remedy = "See `dicom-node outbox list`; send again with `dicom-node outbox retry`."
        yield warning("queues", f"{parked} deliveries are parked", remedy, parked=parked)
    failed = counts.get("instances.failed", 0)
    if failed:
        remedy = "See `dicom-node cases list`; try again with `dicom-node cases retry`."
        yield warning("queues", f"{failed} films could not be analysed", remedy, failed=failed)
    if not (parked or failed):
        yield well("queues", "Nothing is parked, and no film has failed", **counts)


def _spoken(age: timedelta) -> str:
    hours, rest = divmod(int(age.total_seconds()), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def events(ledger: Symptoms) -> Iterator[Checked]:
    """Tell what went wrong lately, by event: how often, and when last."""
    amiss = [each for each in ledger.lately(_LATELY_DAYS) if each.what.endswith(_WRONG)]
    for each in amiss:
        told = f"{each.what}: {each.number} in {_LATELY_DAYS:.0f} days, last {_when(each.last_at)}"
        remedy = "See which with `dicom-node cases list` or `dicom-node outbox list`."
        yield warning("events", told, remedy, what=each.what, number=each.number)
    number, at = ledger.rejected()
    if number and at is not None:
        told = f"{number} calls were rejected, the last {_when(at)}"
        yield warning("events", told, "See who and why: `dicom-node ae list`.", rejected=number)
    if not (amiss or number):
        yield well("events", f"Nothing went wrong in {_LATELY_DAYS:.0f} days")


def pages(site: Configuration, ledger: Symptoms) -> Iterator[Checked]:
    """Tell how many may sign in to the pages, never who."""
    people = ledger.people_by_role()
    told = ", ".join(f"{number} {role}" for role, number in people.items())
    if not people and site.settings.oidc is None:
        remedy = "Add one: `dicom-node user add NAME --role admin`."
        yield warning("pages", "Nobody may sign in to the pages", remedy)
    else:
        yield well("pages", f"Who may sign in: {told or 'the hospital says'}", people=dict(people))


def log_lines(path: Path) -> Iterator[Checked]:
    """Tell which warnings and errors a log has, by event: how often, and when last."""
    if str(path) == "-":
        yield from _counted(sys.stdin)
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from _counted(file)


def _counted(lines: TextIO) -> Iterator[Checked]:
    numbers, last = Counter[tuple[str, str]](), dict[tuple[str, str], str]()
    for line in lines:
        try:
            entry = json.loads(line[line.index("{") :])
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        # Its name alone, of the catalogue: a line of somebody else's may hold anything.
        kind = CATALOGUE.get(str(entry.get("event")))
        if kind is not None and kind.level in _LEVELS:
            key = (kind.level, kind.name)
            numbers[key] += 1
            last[key] = _moment(entry.get("timestamp"))
    for (level, name), number in sorted(numbers.items()):
        told = f"{name}: {number} times, last {last[level, name]}"
        remedy = f"{CATALOGUE[name].sentence} See docs/events.md."
        found = fault if level == "error" else warning
        yield found("log", told, remedy, event=name, number=number)
    if not numbers:
        yield well("log", "No warning and no error in it")


def _moment(text: object) -> str:
    try:
        return _when(datetime.fromisoformat(str(text)))
    except ValueError:
        return "at a time that it does not tell"


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def networks(site: Configuration, ledger: Ailments | None, *, self_test: bool) -> Iterator[Checked]:
    """Tell whether the networks' files are what their manifests say, or let them prove it.

    And what they proved in the last night.
    """
    for ailment in ledger.ailments() if ledger is not None else ():
        if ailment.kind == AlarmKind.SELF_TEST and ailment.reason is not None:
            told = f"{ailment.subject} did not prove itself {_when(ailment.at)}: {ailment.reason}"
            yield fault("networks", told, "`dicom-node models verify` says more.")
    settings = site.settings
    remedy = "Put the bundle back as it came, or take another: `dicom-node models list`."
    faults = list(bundle_faults(settings))
    own = own_bundles(settings)
    if self_test:
        answers = verified(site, own)
        faults += [f"{each['id']}: {each['fault']}" for each in answers if not each["well"]]
    else:
        for name in own:
            try:
                check_weights(open_bundle(site.models_path, name))
            except NodeError as error:
                faults.append(error.message)
    for each in faults:
        yield fault("networks", each, remedy)
    if not faults:
        proved = "proved themselves" if self_test else "are whole (--self-test lets them answer)"
        yield well("networks", f"{', '.join(settings.bundles)} {proved}", names=settings.bundles)


def ports(site: Configuration, ledger: Workers | None) -> Iterator[Checked]:
    """Tell who listens where this node should."""
    settings = site.settings
    for role, host, port, key in (
        ("receive", settings.node.host, settings.node.port, "node.port"),
        ("web", settings.web.host, settings.web.port, "web.port"),
        ("monitor", settings.monitor.host, settings.monitor.port, "monitor.port"),
    ):
        own = port_of(ledger, role) if ledger is not None and _works(ledger, role) else None
        wanted = own or port
        if not wanted:
            yield well("ports", f"{key}: any free one, once the node runs")
            continue
        answers = _answers(host, wanted)
        if own and answers:
            yield well("ports", f"{key}: {wanted} answers", port=wanted)
        elif own:
            remedy = f"See the log of the role {role}, and this machine's firewall."
            yield fault("ports", f"{key}: {wanted} does not answer, though {role} works", remedy)
        elif answers:
            remedy = f"`ss -ltnp` names it: end it, or choose another {key}."
            yield fault("ports", f"{key}: {wanted} is taken by another program", remedy)
        else:
            yield well("ports", f"{key}: {wanted} is free", port=wanted)


def _works(ledger: Workers, role: str) -> bool:
    return any(
        beat.worker.role == role and beat.state == "working" and Path(f"/proc/{beat.pid}").exists()
        for beat in ledger.beats()
    )


def _answers(host: str, port: int) -> bool:
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    try:
        with socket.create_connection((everywhere.get(host, host), port), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def dates(site: Configuration) -> Iterator[Checked]:
    """Tell until when certificates are good."""
    now, found = datetime.now(UTC), certificates(site.settings)
    for each in found:
        told = f"{each.name}: {each.sentence(now)}"
        facts = {"key": each.name, "ends_at": each.ends.isoformat()}
        if not each.is_good(now):
            yield fault("certificates", told, REMEDY, **facts)
        elif each.warns(now):
            yield warning("certificates", told, REMEDY, **facts)
        else:
            yield well("certificates", told, **facts)
    if not found:
        yield well("certificates", "None is used: DICOM and pages go in the clear")


def peers(site: Configuration, ledger: Symptoms | None, *, ask: bool) -> Iterator[Checked]:
    """Tell when each AE of the table was last heard of, and whether it answers a C-ECHO."""
    contacts = {each.ae_title: each for each in (ledger.peers() if ledger else ())}
    if not site.remotes:
        yield warning("peers", "The AE table is empty: nobody may send", "`dicom-node ae add`.")
    for title, remote in site.remotes.items():
        contact = contacts.get(title)
        heard = contact.last_received_at if contact else None
        told = f"{title}: last sent {_when(heard)}" if heard else f"{title}: has never sent"
        if not ask or remote.host is None:
            yield well("peers", told, ae_title=title)
            continue
        try:
            echo(peer_of(title, remote, site.settings))
        except DeliveryError as error:
            yield fault("peers", f"{told}; no C-ECHO: {error.message}", error.remedy)
        else:
            yield well("peers", f"{told}; answers a C-ECHO", ae_title=title)
