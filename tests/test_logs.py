"""Nothing is logged that the catalogue does not know."""

from __future__ import annotations

import ast
import io
import json
import logging
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


def test_every_event_has_a_sentence_and_errors_tell_what_to_do() -> None:
    for kind in CATALOGUE.values():
        assert kind.sentence.endswith(".")
        if "reason" in kind.fields and kind.level == "error":
            assert "remedy" in kind.fields, kind.name
