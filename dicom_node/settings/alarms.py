"""What is wrong with how people are to be told: keys that belong together, secrets in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from dicom_node.settings.faults import Fault, KeyPlaces
from dicom_node.settings.files import authorities, private
from dicom_node.settings.model import AlarmsSection
from dicom_node.settings.values import is_loopback


def alarm_faults(alarms: AlarmsSection, places: KeyPlaces) -> Iterator[Fault]:
    """Find what keeps alarms from being told, or would tell a secret."""
    yield from _webhook(alarms, places)
    yield from _mail(alarms, places)


def _webhook(alarms: AlarmsSection, places: KeyPlaces) -> Iterator[Fault]:
    if alarms.webhook_token is None:
        return
    yield from private(alarms.webhook_token, ("alarms", "webhook_token"), places)
    address = urlsplit(alarms.webhook)
    if not alarms.webhook:
        what = "there is a token, and no webhook that gets it"
        yield places.fault(
            ("alarms", "webhook_token"), what, "give alarms.webhook, or leave it out"
        )
    elif address.scheme != "https" and not is_loopback(address.hostname or ""):
        what = f"{alarms.webhook} is not https: the token would cross the network in the clear"
        yield places.fault(("alarms", "webhook"), what, "give its https address")


def _mail(alarms: AlarmsSection, places: KeyPlaces) -> Iterator[Fault]:
    if alarms.mail_to:
        for key in ("mail_from", "smtp_host"):
            if not getattr(alarms, key):
                what = "alarms.mail_to names who gets e-mails, and this is missing"
                yield places.fault(("alarms", key), what, "give it")
    if alarms.smtp_ca is not None:
        yield from authorities(alarms.smtp_ca, ("alarms", "smtp_ca"), places)
    yield from _sign_in(alarms, alarms.smtp_password, places)


def _sign_in(alarms: AlarmsSection, password: Path | None, places: KeyPlaces) -> Iterator[Fault]:
    if (password is None) != (not alarms.smtp_user):
        key = "smtp_password" if password is None else "smtp_user"
        what = "smtp_user and smtp_password belong together"
        yield places.fault(("alarms", key), what, "give both or neither")
    if password is None:
        return
    yield from private(password, ("alarms", "smtp_password"), places)
    if alarms.smtp_security == "none" and not is_loopback(alarms.smtp_host):
        what = "the password would cross the network in the clear"
        yield places.fault(("alarms", "smtp_security"), what, 'write "starttls" or "tls"')
