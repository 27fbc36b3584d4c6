"""The commands of docs/bring-your-network.md run as they are written."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli.main import app
from examples import random_networks

PAGE = Path(__file__).parents[1] / "docs" / "bring-your-network.md"


def steps() -> list[str]:
    """Return the commands of the page's blocks, in their order."""
    text = PAGE.read_text("utf-8").partition("## The manifest")[0]
    # Every second part lies between fences; those of commands name no language.
    blocks = re.split(r"^```", text, flags=re.MULTILINE)[1::2]
    lines = [line for block in blocks if block.startswith("\n") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.slow
def test_the_steps_from_a_file_to_a_suite_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Without the gate no Keras is loaded: what is tried here are the commands.
    for key in ("GATE", "LUNGS"):
        monkeypatch.setenv(f"DICOM_NODE__ANALYSIS__{key}", "")
    told = {}
    for step in steps():
        program, *words = step.split()
        if program == "export":
            name, _, value = words[0].partition("=")
            monkeypatch.setenv(name, value.replace("$PWD", str(tmp_path)))
        elif program == "python":
            assert words[0] == "examples/random_networks.py"
            monkeypatch.setattr(sys, "argv", words)
            random_networks.main()
        else:
            assert program == "dicom-node"
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, (step, done.output, done.exception)
            told[" ".join(words[:2])] = done.output
    assert "atelectasis" in told["models try"]
    listed = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).output)
    assert "active" in [row["state"] for row in listed if row["id"] == "chest-densenet"]
    drafts = sorted(path.parent.name for path in (tmp_path / "drafts").glob("*/model.toml"))
    assert drafts == ["breast-density", "densenet"]
    assert 'kind = "level"' in (tmp_path / "drafts" / "breast-density" / "model.toml").read_text()
