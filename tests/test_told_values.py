"""Values that strangers sent, or people mistyped, are shown as they are or told to be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import NodeError
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.records import Arrival, Digest, InstanceState, Origin
from tests.delivery.conftest import Outbox, outbox
from tests.delivery.pacs import ScriptedPacs, listening
from tests.ledger_kit import fresh_ledger

__all__ = ["outbox"]

UNFRIENDLY = ["view [/red] is not frontal", "[bold]x[1]", "\x1b[31mred\x07", "first\nsecond"]


def shown(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


@pytest.mark.parametrize("reason", UNFRIENDLY)
def test_a_reason_that_quotes_a_film_is_shown_literally(tmp_path: Path, reason: str) -> None:
    ledger = fresh_ledger(tmp_path / "ledger.sqlite", who="test")
    origin = Origin("PACS", "DICOMNODE", "10.0.0.5")
    ledger.received(Arrival("1.2.1", "1.1", "1.2", "1.2.5", "1.2.6", Digest("1" * 64), 9, origin))
    (film,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
    ledger.declined(film.id, "w", reason)
    ledger.close()
    for command in (["cases"], ["cases", "show", "1"]):
        done = CliRunner().invoke(app, [*command, "--data-dir", str(tmp_path)])
        assert done.exit_code == 0, done.exception
        assert shown(reason) in done.output
    done = CliRunner().invoke(app, ["cases", "show", "1", "--json", "--data-dir", str(tmp_path)])
    assert json.loads(done.output)[0]["reason"] == reason


@pytest.mark.parametrize("reason", UNFRIENDLY)
def test_a_reason_that_quotes_a_pacs_is_shown_literally(
    outbox: Outbox, tmp_path: Path, reason: str
) -> None:
    outbox.post("PACS")
    for item in outbox.ledger.claim_deliveries("w", 60, 5):
        outbox.ledger.postponed(item.id, "w", datetime.now(UTC), reason)
    for command in (["outbox"], ["cases", "show", "1"]):
        done = CliRunner().invoke(app, [*command, "--data-dir", str(tmp_path)])
        assert done.exit_code == 0, done.exception
        assert shown(reason) in done.output


@pytest.mark.parametrize(
    "command",
    [
        ["cases", "show", "999"],
        ["cases", "show", "99999999999999999999999"],
        ["cases", "show", "²"],
        ["cases", "show", ""],
        ["cases", "retry", "1.2.3"],
        ["outbox", "retry", "999"],
        ["outbox", "retry", "99999999999999999999999"],
        ["outbox", "drop", "0"],
    ],
)
def test_a_number_that_is_not_there_is_told_without_a_traceback(
    tmp_path: Path, command: list[str]
) -> None:
    open_ledger(tmp_path / "ledger.sqlite", who="test").close()
    done = CliRunner().invoke(app, [*command, "--data-dir", str(tmp_path)])
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, NodeError | SystemExit)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.dcm"
    phantom_dataset(rows=64, columns=64).save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("to", "aec"),
    [("127.0.0.1:104", "LONGERTHANSIXTEEN"), ("127.0.0.1:104", " "), ("127.0.0.1:99999", "X"),
     ("127.0.0.1:0", "X"), ("127.0.0.1:²", "X"), (":104", "X")],
)  # fmt: skip
def test_send_takes_no_impossible_address_or_title(film: Path, to: str, aec: str) -> None:
    assert CliRunner().invoke(app, ["send", str(film), "--to", to, "--aec", aec]).exit_code == 2


def test_send_to_a_name_that_is_not_known_says_so(film: Path) -> None:
    done = CliRunner().invoke(app, ["send", str(film), "--to", "no-such.invalid:104", "--aec", "X"])
    assert isinstance(done.exception, NodeError)
    assert "is not known" in done.exception.message


def test_send_of_an_empty_folder_is_no_success(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["send", str(tmp_path), "--to", "127.0.0.1:104", "--aec", "X"])
    assert done.exit_code == 2


def test_send_tells_of_each_file_what_became_of_it(film: Path) -> None:
    whole = film.read_bytes()
    start = whole.index(b"UI", 132)
    (film.parent / "damaged.dcm").write_bytes(whole[:start] + b"QQ" + whole[start + 2 :])
    (film.parent / "notes.txt").write_text("no film")
    sop_class = str(pydicom.dcmread(film).SOPClassUID)
    with listening(ScriptedPacs(), accepts=(sop_class,)) as pacs:
        to = f"127.0.0.1:{pacs.port}"
        done = CliRunner().invoke(app, ["send", str(film.parent), "--to", to, "--aec", "PACS"])
    assert done.exit_code == 1
    assert f"{film}: stored (0x0000)" in done.output
    assert "notes.txt: not a DICOM file" in done.output
    assert "damaged.dcm: not " in done.output
    assert "1 of 3 stored by PACS." in done.output
