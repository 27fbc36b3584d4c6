"""How people are told of an alarm: JSON to a webhook, e-mail by SMTP.

Nothing of a patient is in it. Each tells one notice and says how that went: its caller tries again.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

import httpx

from dicom_node.line.alarm_words import AlarmWording
from dicom_node.records import AlarmNotice
from dicom_node.settings.model import AlarmsSection

_SECONDS = 10.0
_LATER = frozenset({408, 425, 429})
"""HTTP statuses of the client's side that pass by themselves."""


@dataclass(frozen=True, slots=True)
class Untold:
    """Why a channel did not take a notice. ``final``: it says so of this notice, not for now."""

    reason: str
    remedy: str
    final: bool = False


Channel = Callable[[AlarmsSection, AlarmNotice, AlarmWording], Untold | None]
"""Tells one notice; None: it was taken."""


def by_webhook(alarms: AlarmsSection, notice: AlarmNotice, wording: AlarmWording) -> Untold | None:
    """POST a notice as JSON; any 2xx status takes it. Redirects are not followed."""
    try:
        headers = _authorization(alarms.webhook_token)
        with (
            httpx.Client(timeout=_SECONDS, verify=ssl.create_default_context()) as client,
            client.stream(
                "POST", alarms.webhook, json=document_of(notice, wording), headers=headers
            ) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        remedy = "Check alarms.webhook, and whether its server can be reached from this machine."
        return Untold(_said(error), remedy)
    if 200 <= status < 300:
        return None
    final = 400 <= status < 500 and status not in _LATER
    remedy = "Look at what the webhook's server says; check alarms.webhook_token."
    return Untold(f"HTTP status {status}", remedy, final)


def document_of(notice: AlarmNotice, wording: AlarmWording) -> Mapping[str, object]:
    """Return what a webhook gets; "text" alone is enough for a chat."""
    alarm, message = notice.alarm, wording.message(notice)
    return {
        "node": wording.node,
        "host": socket.gethostname(),
        "id": alarm.id,
        "alarm": str(alarm.kind),
        "subject": alarm.subject,
        "state": notice.what,
        "since": alarm.risen_at.isoformat(),
        "until": alarm.ended_at.isoformat() if alarm.ended_at else None,
        "title": message.title,
        "sentence": message.text,
        "remedy": message.remedy,
        "text": f"{message.subject}\n{message.body}",
    }


def by_mail(alarms: AlarmsSection, notice: AlarmNotice, wording: AlarmWording) -> Untold | None:
    """Send a notice to everybody in ``alarms.mail_to``. Never in the clear unless told so."""
    try:
        password = _secret(alarms.smtp_password)
        with _connected(alarms) as server:
            if alarms.smtp_user:
                server.login(alarms.smtp_user, password)
            server.send_message(mail_of(alarms, notice, wording))
    except smtplib.SMTPResponseException as error:
        remedy = "Look at what the mail server says; check smtp_user, smtp_password and mail_from."
        return Untold(f"SMTP status {error.smtp_code}", remedy, final=error.smtp_code >= 500)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        remedy = "Check smtp_host, smtp_port and smtp_security, and smtp_ca where its CA is yours."
        return Untold(_said(error), remedy)
    return None


def mail_of(alarms: AlarmsSection, notice: AlarmNotice, wording: AlarmWording) -> EmailMessage:
    """Return the e-mail of a notice; both mails of an alarm are one thread."""
    message = wording.message(notice)
    host = alarms.mail_from.rpartition("@")[2]
    mail = EmailMessage()
    mail["From"], mail["To"] = alarms.mail_from, ", ".join(alarms.mail_to)
    mail["Subject"], mail["Date"] = message.subject, formatdate(localtime=True)
    mail["Message-ID"] = make_msgid(domain=host)
    mail["References"] = f"<dicom-node.{wording.node.replace(' ', '_')}.{notice.alarm.id}@{host}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    return mail


CHANNELS: Mapping[str, Channel] = {"webhook": by_webhook, "mail": by_mail}
"""By the name that `AlarmsSection.channels` gives them."""


def _connected(alarms: AlarmsSection) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=alarms.smtp_ca)
    where = (alarms.smtp_host, alarms.smtp_port)
    if alarms.smtp_security == "tls":
        return smtplib.SMTP_SSL(*where, timeout=_SECONDS, context=context)
    server = smtplib.SMTP(*where, timeout=_SECONDS)
    if alarms.smtp_security == "starttls":
        try:
            # Raises where the server offers none: nothing goes in the clear then.
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _authorization(token: Path | None) -> dict[str, str]:
    return {"authorization": f"Bearer {_secret(token)}"} if token else {}


def _secret(path: Path | None) -> str:
    return path.read_text("utf-8").strip() if path else ""


def _said(error: Exception) -> str:
    """Return an error in a line, without an address that may hold a secret."""
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
