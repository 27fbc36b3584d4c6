"""What people read of an alarm: texts of ``alarms.toml``, filled in with facts."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from string import Template

from pydantic import BaseModel, ConfigDict, ValidationError

from dicom_node import resources
from dicom_node.errors import SettingsError
from dicom_node.ledger.alarms import ENDED
from dicom_node.records import Alarm, AlarmKind, AlarmNotice
from dicom_node.settings import Configuration
from dicom_node.settings.faults import Fault, explain, refusal
from dicom_node.settings.source import parse, read_text

FACTS: Mapping[AlarmKind, frozenset[str]] = {
    AlarmKind.DISK_RESERVE: frozenset({"free_gb", "reserve_gb", "data_dir"}),
    AlarmKind.DESTINATION: frozenset({"waiting", "minutes"}),
    AlarmKind.ROLE_RESTARTS: frozenset({"deaths"}),
    AlarmKind.ROLE_ILL: frozenset({"sentence"}),
    AlarmKind.NO_FILM: frozenset({"hours", "last"}),
    AlarmKind.CERTIFICATE_ENDS: frozenset({"days", "day"}),
    AlarmKind.CERTIFICATE_BAD: frozenset({"begins", "day"}),
    AlarmKind.QUARANTINED: frozenset({"films"}),
    AlarmKind.PARKED: frozenset({"deliveries"}),
    AlarmKind.LEDGER_ILL: frozenset({"data_dir", "seconds"}),
    AlarmKind.SELF_TEST: frozenset({"reason"}),
    AlarmKind.AUDIT_BROKEN: frozenset({"reason"}),
    AlarmKind.TEST: frozenset(),
}
"""What each alarm tells beside `_ALWAYS`."""

_ALWAYS = frozenset({"node", "host", "subject", "since", "until"})
_AROUND = _ALWAYS | {"state", "title", "text", "remedy", "number"}
_FILE = "alarms.toml"
_LONGEST = 500
"""Characters of a fact: a reason may be as long as whoever wrote it pleased."""


class AlarmText(BaseModel):
    """What is told of one kind of alarm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    text: str
    remedy: str


class AlarmWords(BaseModel):
    """The whole of ``alarms.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    risen: str
    ended: str
    subject: str
    body: str
    body_ended: str
    alarms: dict[AlarmKind, AlarmText]


@dataclass(frozen=True, slots=True)
class AlarmMessage:
    """What a channel tells: ``subject`` is one line."""

    subject: str
    title: str
    text: str
    remedy: str
    body: str


@dataclass(frozen=True, slots=True)
class AlarmWording:
    """The words of a site for its alarms; ``zone``: in which its people read times."""

    words: AlarmWords
    node: str
    zone: tzinfo | None = None

    def sentence(self, alarm: Alarm) -> str:
        """Return an alarm in a sentence or two, without what to do."""
        return self._filled(alarm, self.words.alarms[AlarmKind(alarm.kind)].text)

    def title(self, alarm: Alarm) -> str:
        """Return an alarm in a few words."""
        return self._filled(alarm, self.words.alarms[AlarmKind(alarm.kind)].title)

    def message(self, notice: AlarmNotice) -> AlarmMessage:
        """Return what a person is told."""
        alarm, is_over = notice.alarm, notice.what == ENDED
        text = self.words.alarms[AlarmKind(alarm.kind)]
        parts = {
            "title": self._filled(alarm, text.title),
            "text": self._filled(alarm, text.text),
            "remedy": self._filled(alarm, text.remedy),
        }
        around = {
            **self._facts(alarm), **parts, "number": str(alarm.id or "-"),
            "state": self.words.ended if is_over else self.words.risen,
        }  # fmt: skip
        body = self.words.body_ended if is_over else self.words.body
        subject = Template(self.words.subject).safe_substitute(around)
        return AlarmMessage(
            subject=_one_line(subject), body=Template(body).safe_substitute(around), **parts
        )

    def _filled(self, alarm: Alarm, text: str) -> str:
        return Template(text).safe_substitute(self._facts(alarm))

    def _facts(self, alarm: Alarm) -> dict[str, str]:
        told = {name: _one_line(value)[:_LONGEST] for name, value in alarm.facts.items()}
        return {
            "node": self.node, "host": socket.gethostname(), "subject": _one_line(alarm.subject),
            "since": self._time(alarm.risen_at), "until": self._time(alarm.ended_at), **told,
        }  # fmt: skip

    def _time(self, moment: datetime | None) -> str:
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M %Z}" if moment else "-"


def wording_of(configuration: Configuration) -> AlarmWording:
    """Return the words of a site. Raises `SettingsError` with every fault of its own file."""
    shipped = resources.default_configuration() / _FILE
    words, faults = _read(shipped, {})
    own = configuration.folder / _FILE
    if own.is_file() and words is not None:
        words, faults = _read(own, words.model_dump(mode="json"))
    if words is None or faults:
        raise refusal(faults)
    return _wording(configuration, words)


def shipped_or_own_wording(configuration: Configuration) -> AlarmWording:
    """Return the words of a site, the shipped ones where its own have a fault: never none."""
    try:
        return wording_of(configuration)
    except SettingsError:
        words, _ = _read(resources.default_configuration() / _FILE, {})
        assert words is not None, "a test reads it"
        return _wording(configuration, words)


def _wording(configuration: Configuration, words: AlarmWords) -> AlarmWording:
    node = configuration.settings.node
    return AlarmWording(words, node.ae_title, node.zone)


def _read(path: Path, below: Mapping[str, object]) -> tuple[AlarmWords | None, list[Fault]]:
    text = read_text(path, path.name)
    source = text if isinstance(text, Fault) else parse(text, path.name)
    if isinstance(source, Fault):
        return None, [source]
    try:
        words = AlarmWords.model_validate_json(json.dumps(_over(below, source.tables), default=str))
    except ValidationError as error:
        return None, explain(error, AlarmWords, source.places)
    faults = [
        source.places.fault(key, f"${name} is not known here", f"there are {', '.join(known)}")
        for key, name, known in _unknown(words)
    ]
    return words, faults


def _over(below: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """Return what is below with what a site says itself over it, table by table."""
    merged = dict(below)
    for key, value in own.items():
        under = merged.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _over(under, value) if both else value  # type: ignore[arg-type]
    return merged


def _unknown(words: AlarmWords) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    for key in ("subject", "body", "body_ended"):
        yield from _names((key,), getattr(words, key), _AROUND)
    for kind, text in words.alarms.items():
        for part in ("title", "text", "remedy"):
            known = FACTS[kind] | _ALWAYS
            yield from _names(("alarms", str(kind), part), getattr(text, part), known)


def _names(
    key: tuple[str, ...], text: str, known: frozenset[str]
) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    for name in Template(text).get_identifiers():
        if name not in known:
            yield key, name, sorted(known)


def _one_line(text: str) -> str:
    """Return a text without what would begin a line, or a header, of its own."""
    return "".join(one if one.isprintable() else " " for one in text)
