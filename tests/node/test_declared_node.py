"""A node whose networks are folders: what they say of a film arrives wherever people look."""

from __future__ import annotations

import csv
import html
import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_node.imaging.phantom import Encoding, phantom_dataset
from examples import random_networks
from tests.broken_networks import BROKEN, REASONS
from tests.conftest import debian
from tests.node.peers import RunningNode, Storescp, free_port, make_node, storescu, wait_for

pytestmark = [
    pytest.mark.pacs("storescu", "storescp", "dciodvfy"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.slow,
]

PASSWORD = "a long enough one"
CHEST = ("chest-densenet", "cardiothoracic", "nodule-boxes", "consolidation-mask")
SUITE = (*CHEST, "lateral-effusion", "bone-age")
LATEST_SECONDS = 120
BY_AGE = {"observation": "bone-age:bone_age", "observed": "answered"}


def write_film(
    path: Path, seed: int, body_part: str = "CHEST", view: str = "PA", size: int = 512
) -> Dataset:
    """Write a film of the phantom that says it is another; return its header."""
    film = phantom_dataset(seed, rows=size, columns=size, encoding=Encoding(view_position=view))
    if body_part != "CHEST":
        film.BodyPartExamined = body_part
        film.AnatomicRegionSequence = Sequence()
        film.StudyDescription = film.SeriesDescription = body_part.capitalize()
    film.StudyInstanceUID = f"2.25.{4_000 + seed}"
    film.AccessionNumber = f"ACC{seed}"
    film.save_as(path, enforce_file_format=True)
    return film


@dataclass
class Site:
    """A running node with declared bundles alone, its PACS and its folder of films."""

    node: RunningNode
    pacs: Storescp
    folder: Path
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    films: dict[str, Dataset] = field(default_factory=dict)

    def take(self, name: str, seed: int, body_part: str, view: str) -> None:
        """Send a film and wait for what becomes of it."""
        path = self.folder / f"{name}.dcm"
        self.films[name] = write_film(path, seed, body_part, view)
        done = storescu(debian("storescu"), self.node, "PACS", path)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_for(self.node.finished, LATEST_SECONDS, f"{name} is answered")
        shown = self.node.command("cases", "show", self.films[name].StudyInstanceUID, "--json")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        (self.answers[name],) = json.loads(shown.stdout)

    def observed(self, name: str) -> dict[str, dict[str, Any]]:
        """Return what was observed on a film, by key."""
        return {each["key"]: each for each in self.answers[name]["observations"]}

    def results(self, name: str) -> dict[str, Path]:
        """Return the objects that came back of a film, by modality."""
        uid = self.films[name].StudyInstanceUID
        found = {}
        for path in self.pacs.folder.iterdir():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if header.StudyInstanceUID == uid:
                found[str(header.Modality)] = path
        return found

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """Give a browser that is signed in."""
        with self.node.ledger() as ledger:
            details = {beat.role: str(beat.detail) for beat in ledger.beats()}
        port = details["web"].partition("port=")[2].split()[0]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as client:
            answer = client.post("/sign-in", data={"name": "reader", "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            yield client


def declared_node(folder: Path, suite: tuple[str, ...], bundles: Path) -> RunningNode:
    """Return a node that is not started, with bundles alone that declare what they say.

    Nobody asks the gate; lungs are looked for where a mask of the lungs is among them.
    """
    lungs = "lung-unet" if "consolidation-mask" in suite else ""
    node = make_node(folder)
    (node.data_dir / "models").symlink_to(bundles)
    with (node.config / "node.toml").open("a", encoding="utf-8") as settings:
        settings.write(f'\n[analysis]\nsuite = {json.dumps(suite)}\ngate = ""\nlungs = "{lungs}"\n')
    return node


def signed_up(node: RunningNode) -> None:
    done = node.command("user", "add", "reader", "--role", "operator", given=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def opened(folder: Path, suite: tuple[str, ...]) -> Iterator[Site]:
    """Run a node of these bundles, which lie in ``folder/models``, with a PACS and a reader."""
    pacs = Storescp("PACS", free_port(), folder / "pacs", debian("storescp"))
    pacs.start()
    node = declared_node(folder / "node", suite, folder / "models")
    node.add_remote("PACS", pacs.port)
    node.start()
    try:
        signed_up(node)
        yield Site(node, pacs, folder)
    finally:
        assert node.stop() == 0
        pacs.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("declared")
    for name in SUITE:
        random_networks.write_bundle(folder / "models", name)
    with opened(folder, SUITE) as found:
        found.take("chest", 11, "CHEST", "PA")
        found.take("lateral", 12, "CHEST", "LL")
        found.take("hand", 13, "HAND", "PA")
        found.take("foot", 14, "FOOT", "AP")
        yield found


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node on which all networks but one are broken, each in its own way."""
    folder = tmp_path_factory.mktemp("broken")
    random_networks.write_bundle(folder / "models", "chest-densenet")
    for write in BROKEN.values():
        write(folder / "models")
    with opened(folder, (*BROKEN, "chest-densenet")) as found:
        found.take("first", 21, "CHEST", "PA")
        found.take("second", 22, "CHEST", "PA")
        yield found


def test_each_film_is_answered_by_the_networks_that_are_for_it(site: Site) -> None:
    said = {
        name: {each["network"] for each in answer.get("observations", ())}
        for name, answer in site.answers.items()
    }
    assert said == {
        "chest": set(CHEST), "lateral": {"lateral-effusion"}, "hand": {"bone-age"}, "foot": set(),
    }  # fmt: skip
    assert site.answers["foot"]["outcome"] == "declined"
    assert site.answers["foot"]["reason"]
    assert all("unanswered" not in answer for answer in site.answers.values())
    assert 0 < site.observed("hand")["bone_age"]["value"] < 19
    assert 0 < site.observed("chest")["heart_width"]["value"] < 400
    assert len(site.observed("chest")["findings"]["labels"]) == 18


@pytest.mark.parametrize("name", ["chest", "lateral", "hand"])
def test_what_comes_back_is_whole(site: Site, name: str) -> None:
    results = site.results(name)
    assert sorted(results) == ["OT", "SR"]
    for path in results.values():
        checked = subprocess.run([debian("dciodvfy"), str(path)], capture_output=True, check=False)
        told = (checked.stdout + checked.stderr).decode("latin-1")
        assert [line for line in told.splitlines() if line.startswith("Error")] == []
    capture = pydicom.dcmread(results["OT"])
    assert capture.pixel_array.std() > 0


def findings_of(report: Dataset) -> set[str]:
    """Return the code values that stand as Finding (121071, DCM) anywhere in a report."""
    found = set()
    stack = [report]
    while stack:
        node = stack.pop()
        name = node.get("ConceptNameCodeSequence") or [Dataset()]
        if name[0].get("CodeValue") == "121071" and "ConceptCodeSequence" in node:
            found.add(str(node.ConceptCodeSequence[0].CodeValue))
        stack += list(node.get("ContentSequence", ()))
    return found


def test_the_report_codes_what_is_believed_and_nothing_else(site: Site) -> None:
    report = pydicom.dcmread(site.results("chest")["SR"])
    labels = site.observed("chest")["findings"]["labels"]
    believed = {each["key"] for each in labels if each["reached"]}
    assert 0 < len(believed) < 18
    codes = {"effusion": "60046008", "pneumothorax": "36118008", "atelectasis": "46621007"}
    found = findings_of(report)
    for key, code in codes.items():
        assert (code in found) == (key in believed), key
    assert "27925004" in found or not site.observed("chest")["nodules"]["places"]


def test_the_report_reads_as_the_node_found_it(site: Site) -> None:
    done = site.node.command("report", str(site.results("chest")["SR"]), "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["observations"] == site.answers["chest"]["observations"]


def test_pages_and_table_name_what_was_found(site: Site) -> None:
    with site.browser() as browser:
        assert "Bone age" in browser.get("/").text
        found = browser.get("/cases", params=BY_AGE).text
        assert site.films["hand"].AccessionNumber in found
        assert site.films["lateral"].AccessionNumber not in found
        table = browser.get("/cases.csv")
        assert table.status_code == 200
        rows = list(csv.DictReader(io.StringIO(table.text)))
    told = {(row["network"], row["key"]) for row in rows}
    assert told >= {("bone-age", "bone_age"), ("chest-densenet", "findings")}


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_broken_network_says_why_it_said_nothing_and_disturbs_no_other(
    ward: Site, name: str
) -> None:
    answer = ward.answers[name]
    assert answer["outcome"] == "analysed"
    assert {each["network"] for each in answer["observations"]} == {"chest-densenet"}
    assert set(answer["unanswered"]) == set(BROKEN)
    for network, reason in REASONS.items():
        assert reason in answer["unanswered"][network], network
    assert sorted(ward.results(name)) == ["OT", "SR"]


def test_people_are_told_of_broken_networks_where_they_look(ward: Site) -> None:
    uid = str(ward.films["first"].StudyInstanceUID)
    with ward.browser() as browser:
        cases = browser.get("/api/cases").json()["cases"]
        number = next(row["study_id"] for row in cases if row["study_instance_uid"] == uid)
        page = html.unescape(browser.get(f"/cases/{number}").text)
    for reason in REASONS.values():
        assert reason in page
    events = [json.loads(line) for line in ward.node.log.splitlines() if line.startswith("{")]
    silent = {each["network"] for each in events if each["event"] == "network.silent"}
    assert silent == set(BROKEN)


def test_a_bundle_with_another_file_is_named_before_it_is_used(ward: Site) -> None:
    place = ward.folder / "models" / "other-weights"
    checked = ward.node.command("models", "check", str(place))
    assert checked.returncode == 1
    assert "'network.onnx' is another file" in checked.stdout
