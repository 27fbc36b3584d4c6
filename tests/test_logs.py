"""Nothing is logged that the catalogue does not know."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from dicom_node import logs
from dicom_node.events import CATALOGUE

PACKAGE = Path(logs.__file__).parent
CANARY = "CANARY^UNMISTAKABLE"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_its_fields(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logs.Log("receive").event("instance.admitted", sop_instance_uid="1.2.3")
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "level": "info",
        "event": "instance.admitted",
        "role": "receive",
        "sop_instance_uid": "1.2.3",
    }


def test_an_undeclared_field_is_dropped(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logs.Log("receive").event("instance.admitted", sop_instance_uid="1.2.3", patient_name=CANARY)
    assert CANARY not in stream.getvalue()
    assert lines(stream)[0]["sop_instance_uid"] == "1.2.3"


def test_an_undeclared_event_keeps_none_of_its_fields(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logs.Log("receive").event("no.such.event", anything=CANARY)
    assert CANARY not in stream.getvalue()
    assert lines(stream)[0]["level"] == "error"


@pytest.mark.parametrize(
    ("event", "fields"),
    [("no.such.event", {}), ("instance.admitted", {"patient_name": CANARY})],
)
def test_tests_fail_on_what_is_not_declared(
    stream: io.StringIO, event: str, fields: dict[str, str]
) -> None:
    logs.configure(stream=stream, strict=True)
    with pytest.raises(logs.UndeclaredEvent):
        logs.Log("receive").event(event, **fields)


def test_a_forged_line_stays_on_one_line(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    forged = 'X"}\n{"event": "instance.stored'
    logs.Log("receive").event("instance.declined", sop_instance_uid="1", reason=forged)
    (line,) = lines(stream)
    assert line["reason"] == forged


def test_events_below_the_level_are_silent(stream: io.StringIO) -> None:
    logs.configure("warning", stream=stream)
    logs.Log("receive").event("instance.admitted", sop_instance_uid="1.2.3")
    assert stream.getvalue() == ""


def test_the_libraries_identifiers_go_nowhere(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("debug", stream=stream)
    for name in ("pynetdicom.acse", "pynetdicom.assoc", "pydicom", "highdicom.sr"):
        logging.getLogger(name).error(CANARY)
    assert CANARY not in stream.getvalue() + "".join(capsys.readouterr())


def logged_events() -> set[str]:
    """Return the first argument of every ``….event("…", …)`` in the code."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "event"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def test_every_event_that_the_code_logs_is_in_the_catalogue() -> None:
    assert logged_events() - set(CATALOGUE) == set()


def test_every_event_of_the_catalogue_is_logged_by_some_code_and_documented() -> None:
    """An event that nobody logs would be waited for in vain."""
    page = (PACKAGE.parent / "docs" / "events.md").read_text("utf-8")
    told = {
        node.value
        for path in PACKAGE.rglob("*.py")
        if path.name != "events.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        # A name may be chosen before it is logged.
        if isinstance(node, ast.Constant) and node.value in CATALOGUE
    }
    assert set(CATALOGUE) - told == set()
    assert [name for name in CATALOGUE if f"| `{name}` |" not in page] == []


def test_every_event_has_a_sentence_and_errors_tell_what_to_do() -> None:
    for kind in CATALOGUE.values():
        assert kind.sentence.endswith(".")
        if "reason" in kind.fields and kind.level == "error":
            assert "remedy" in kind.fields, kind.name


MANY = """
import os, sys, threading
from dicom_node import logs
stream = logs.captured("analyse")
logs.configure("debug", stream=stream)
log = logs.Log("analyse")

def say(number):
    for length in range(0, 6000, 150):
        log.event("role.error", reason="x" * length, remedy=str(number))
        os.write(2, b"2026-11-26 E0000 computation_placer.cc: a plain line \\xff\\n")

threads = [threading.Thread(target=say, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_each_line_of_many_processes_is_one_json_object_whatever_libraries_write() -> None:
    """All write to one pipe, as the roles do under a supervisor whose output is collected."""
    read, write = os.pipe()
    command = [sys.executable, "-c", MANY]
    said: list[bytes] = []
    with os.fdopen(read, "rb") as pipe:
        reader = threading.Thread(target=lambda: said.extend(pipe))
        reader.start()
        processes = [subprocess.Popen(command, stderr=write, cwd=PACKAGE.parent) for _ in range(3)]
        os.close(write)
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        reader.join(30)
    entries = [json.loads(line) for line in said]
    errors = [entry for entry in entries if entry["event"] == "role.error"]
    assert len(errors) == 3 * 3 * 40
    assert all(len(line) <= select.PIPE_BUF for line in said)
    output = [entry for entry in entries if entry["event"] == "role.output"]
    assert output
    assert all("a plain line" in entry["text"] for entry in output)


def test_an_event_is_written_in_one_piece(stream: io.StringIO) -> None:
    pieces: list[str] = []

    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    logs.configure(stream=Pieces())
    logs.Log("receive").event("instance.admitted", sop_instance_uid="1.2.3")
    assert len(pieces) == 1
    assert pieces[0].endswith("}\n")
