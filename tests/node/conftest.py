"""A node and its PACS, started once for the tests that only send and look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_node.imaging.phantom import phantom_dataset
from tests.conftest import debian
from tests.node.peers import RunningNode, Storescp, free_port, make_node


@dataclass
class Hospital:
    """A running node with one PACS that may send and gets the results."""

    node: RunningNode
    pacs: Storescp


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    pacs = Storescp("PACS", free_port(), folder / "pacs", debian("storescp"))
    pacs.start()
    node = make_node(folder / "node")
    node.add_remote("PACS", pacs.port)
    node.start()
    yield Hospital(node, pacs)
    node.stop()
    pacs.stop()


@pytest.fixture(scope="session")
def phantom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "phantom.dcm"
    phantom_dataset(opacities={"right_lower": 0.8}).save_as(path, enforce_file_format=True)
    return path
