"""Logging: only events of the catalogue, only their declared fields, one JSON object a line."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from dicom_node.events import CATALOGUE

_LONGEST = select.PIPE_BUF - 1
"""Characters of a line, all ASCII: so much a pipe takes from several processes without mixing."""
_LONGEST_OUTPUT = 300
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class UndeclaredEvent(AssertionError):
    """Code logs an event or a field that the catalogue does not have (raised in tests only)."""


def configure(level: str = "info", *, stream: TextIO | None = None, strict: bool = False) -> None:
    """Set up logging of this process.

    Writes JSON lines to ``stream`` (standard error by default). ``strict`` makes an undeclared
    field an error instead of dropping it. Silences pynetdicom's and pydicom's own loggers, whose
    messages may hold identifiers of patients.
    """
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Declared(strict=strict),
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("pynetdicom", "pydicom", "highdicom", "apscheduler"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False


def captured(role: str) -> TextIO:
    """Take standard error for lines of ours alone; return where they go.

    What libraries write there (TensorFlow does at each start) becomes events `role.output`.
    """
    ours = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8")
    read, write = os.pipe()
    # A library may write while it holds the interpreter's lock: it must never wait for our reader.
    os.set_blocking(write, False)
    os.dup2(write, sys.stderr.fileno())
    os.close(write)
    threading.Thread(target=_tell_output, args=(read, Log(role)), daemon=True).start()
    return ours


def _tell_output(read: int, log: Log) -> None:
    with os.fdopen(read, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if text := line.strip():
                log.event("role.output", text=text[:_LONGEST_OUTPUT])


def _line(logger: object, method: str, entry: MutableMapping[str, Any]) -> str:
    """Return an entry as one line, short enough to be written at once."""
    line = str(_RENDERED(logger, method, dict(entry)))
    while len(line) > _LONGEST:
        longest = max(entry, key=lambda key: len(str(entry[key])))
        text = str(entry[longest])
        entry[longest] = text[: len(text) // 2] + "…"
        line = str(_RENDERED(logger, method, dict(entry)))
    return line


_RENDERED = structlog.processors.JSONRenderer(ensure_ascii=True)


class _Declared:
    """Drop what the event does not declare; control characters are escaped by the renderer."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def __call__(
        self, _logger: object, _method: str, entry: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        kind = CATALOGUE.get(entry["event"])
        allowed = (kind.fields if kind else frozenset()) | {"event", "timestamp", "role"}
        undeclared = set(entry) - allowed
        if self._strict and (undeclared or kind is None):
            raise UndeclaredEvent(f"{entry['event']}: {sorted(undeclared)}")
        return {
            "timestamp": entry.get("timestamp"),
            "level": kind.level if kind else "error",
            **{key: value for key, value in entry.items() if key in allowed},
        }


class Log:
    """What a role says, bound to the role's name."""

    def __init__(self, role: str) -> None:
        self._logger = structlog.get_logger(role=role)
        self.role = role

    def event(self, name: str, **fields: object) -> None:
        """Log the event ``name`` of the catalogue with its declared ``fields``."""
        kind = CATALOGUE.get(name)
        level = kind.level if kind else "error"
        # The disk of the log may be the one that is full: work goes on without its line.
        with suppress(OSError):
            getattr(self._logger, level)(name, **fields)
