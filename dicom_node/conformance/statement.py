"""The statement: prose with tables in their places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import resources

from dicom_node import __version__
from dicom_node.bundles.declared import Eats
from dicom_node.bundles.installed import declared_bundles
from dicom_node.conformance import objects, wire
from dicom_node.dimse.entity import (
    APPLICATION_CONTEXT_NAME,
    IMPLEMENTATION_VERSION_NAME,
)
from dicom_node.intake.take import accepted_sop_classes
from dicom_node.results.templates import Template
from dicom_node.settings import Remote, Settings, host_and_port
from dicom_node.uids import IMPLEMENTATION_CLASS_UID

_PLACE = re.compile(r"\{\{([\w-]+)\}\}")


def statement(settings: Settings, remotes: Mapping[str, Remote], template: Template) -> str:
    """Return the conformance statement of a node with this configuration, as Markdown."""
    text = resources.files("dicom_node.conformance").joinpath("statement.md").read_text("utf-8")
    parts = _parts(settings, remotes, template)
    return _PLACE.sub(lambda match: parts[match[1]](), text)


def _parts(
    settings: Settings, remotes: Mapping[str, Remote], template: Template
) -> Mapping[str, Callable[[], str]]:
    node, delivery = settings.node, settings.delivery
    stored = accepted_sop_classes(settings)
    values = {
        "version": __version__,
        "ae-title": node.ae_title,
        "host": node.host,
        "port": str(node.port),
        "max-associations": str(node.max_associations),
        "max-associations-per-address": str(node.max_associations_per_address),
        "max-pdu": str(node.max_pdu_bytes),
        "max-object": str(node.max_object_bytes),
        "application-context": APPLICATION_CONTEXT_NAME,
        "implementation-class": IMPLEMENTATION_CLASS_UID,
        "implementation-version": IMPLEMENTATION_VERSION_NAME,
        "connect-seconds": f"{delivery.connect_timeout_seconds:g}",
        "answer-seconds": f"{delivery.answer_timeout_seconds:g}",
        "first-seconds": f"{delivery.retry_first_seconds:g}",
        "longest-seconds": f"{delivery.retry_longest_seconds:g}",
        "keep-hours": f"{delivery.keep_hours:g}",
        "called": _called(settings),
        "unknown": _unknown(settings),
        "tls": "TLS is in use." if settings.tls else "TLS is not configured.",
        "remotes": _remotes(remotes),
        "gate": _gate(settings) + _eaten(settings),
        "overview": wire.overview(stored),
        "accepted": wire.accepted(stored),
        "transfer-syntaxes": wire.transfer_syntaxes(),
        "proposed": wire.proposed(),
        "answered": wire.answered(),
        "understood": wire.understood(),
    }
    made: dict[str, Callable[[], str]] = {
        name: lambda text=value: text  # type: ignore[misc]
        for name, value in values.items()
    }
    return made | {
        "attributes": lambda: objects.attributes(template),
        "copied": objects.copied,
        "used": objects.used,
        "concepts": lambda: objects.concepts(template),
    }


def _called(settings: Settings) -> str:
    if settings.admission.check_called_ae_title:
        return "must be the node's own, else 1, 1, 7 (called AE title not recognised)"
    return "is not checked"


def _unknown(settings: Settings) -> str:
    if settings.admission.unknown_ae == "reject":
        return "rejected with 1, 1, 3 (calling AE title not recognised)"
    return "accepted; its films are stored and analysed, results go nowhere"


def _remotes(remotes: Mapping[str, Remote]) -> str:
    if not remotes:
        return "No remote AE is configured: every association is rejected."
    head = ("AE title", "address", "may send", "results to", "objects", "SR classes in order")
    rows = [
        (remote.ae_title, host_and_port(remote.host, remote.port) if remote.host else "-",
         "yes" if remote.may_send else "no", ", ".join(remote.destinations),
         ", ".join(remote.wanted_objects), ", ".join(remote.wanted_sr_classes))
        for remote in remotes.values()
    ]  # fmt: skip
    return wire.table(head, rows)


def _eaten(settings: Settings) -> str:
    """Return for which further films there are bundles; nothing where there are none."""
    declared = declared_bundles(settings)
    if not declared:
        return ""
    said = "; ".join(f"`{bundle.id}`: {_films(bundle.manifest.eats)}" for bundle in declared)
    return f"\nBundles that say what they eat look at what is theirs by its header: {said}."


def _films(eats: Eats) -> str:
    parts = (eats.sop_classes, eats.modalities, eats.body_parts, eats.views)
    return ", ".join("/".join(part) for part in dict.fromkeys(parts) if part)


def _gate(settings: Settings) -> str:
    """Return what decides by the pixels which films are analysed."""
    declined = "What is declined is stored, and named in the report of its study."
    if not settings.analysis.gate:
        return (
            "Which films are frontal is decided by header, then, where lungs are looked for, by "
            f"their outlines. {declined}"
        )
    return (
        "Which films are frontal is decided by header, then by pixels (network "
        f"`{settings.analysis.gate}`). {declined} A film that lies inverted against its "
        "Photometric Interpretation, or turned by 90, 180 or 270 degrees, is set right for the "
        "networks alone: results show it as stored, say so, and give coordinates on the stored "
        "pixels."
    )
