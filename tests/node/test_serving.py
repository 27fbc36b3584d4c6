"""What a person at the terminal is told by ``serve``, and what is left once it has stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_node.ledger import open_ledger
from dicom_node.line.health import port_of
from tests.node.peers import make_node, wait_for


def test_serve_tells_a_terminal_where_it_listens_and_no_role_is_left_working(
    tmp_path: Path,
) -> None:
    node = make_node(tmp_path / "node")
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(node.config)]
    command += ["--data-dir", str(node.data_dir), "--role", "receive,intake"]
    ours, theirs = os.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=theirs, stderr=log)
    os.close(theirs)
    try:
        line = b""
        deadline = time.monotonic() + 60
        while not line.endswith(b"\n") and time.monotonic() < deadline:
            line += os.read(ours, 1000)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        os.close(ours)
    said = line.decode().strip()
    found = re.fullmatch(
        r"DICOMNODE listens for DICOM on 127\.0\.0\.1:(\d+); .*Ctrl-C stops\.", said
    )
    assert found, said
    for each in (tmp_path / "log").read_text("utf-8").splitlines():
        json.loads(each)
    ledger = open_ledger(node.data_dir / "ledger.sqlite", who="test")
    states = {beat.role: beat.state for beat in ledger.beats()}
    assert {"receive", "intake"} <= states.keys()
    assert set(states.values()) == {"stopped"}
    assert {path.stat().st_mode & 0o777 for path in node.data_dir.glob("*.lock")} == {0o600}
    assert port_of(ledger, "receive") is None
    ledger.close()


def test_a_certificate_of_the_pages_that_is_none_keeps_nobody_from_sending(tmp_path: Path) -> None:
    node = make_node(tmp_path / "node")
    text = (node.config / "node.toml").read_text("utf-8")
    wrong = text + 'certificate = "junk.pem"\nkey = "junk.pem"\n'
    (node.config / "node.toml").write_text(wrong, "utf-8")
    (node.config / "junk.pem").write_text("no certificate", "utf-8")
    (node.config / "junk.pem").chmod(0o600)

    def told_of_web() -> str:
        with node.ledger() as ledger:
            return next((str(beat.detail) for beat in ledger.beats() if beat.role == "web"), "")

    node.start("receive,web")
    try:
        peer = AE("ANYONE")
        peer.add_requested_context(Verification)
        association = peer.associate("127.0.0.1", node.port, ae_title="DICOMNODE")
        # Nobody is in its table; who is refused by name has been listened to.
        assert association.is_rejected
        wait_for(lambda: "web.certificate" in node.log, 60, "it is told what is wrong")
        wait_for(lambda: "web.certificate" in told_of_web(), 60, "health tells it too")
        (node.config / "node.toml").write_text(text, "utf-8")
        wait_for(lambda: node.pid_of("web"), 60, "the pages come once it is mended")
    finally:
        assert node.stop() == 0
