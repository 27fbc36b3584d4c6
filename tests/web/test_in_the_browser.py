"""A newcomer's path through the pages of a running node, in Chromium; screenshots are kept."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.wrap import Identity
from dicom_node.ledger import open_ledger
from dicom_node.line.health import port_of
from dicom_node.results.preview import preview_film_with_map
from tests.conftest import debian
from tests.node.peers import RunningNode, Storescp, free_port, make_node, storescu, wait_for
from tests.web.browser_kit import SCREENSHOTS, SECONDS, accessible, browser, coloured, shot
from tests.web.conftest import PASSWORD as SITE_PASSWORD
from tests.web.conftest import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

__all__ = ["browser"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.pacs("chromium", "storescu", "storescp"),
    pytest.mark.timeout(300),
]

NAME, PASSWORD = "ada", "a long enough one"


@dataclass
class Room:
    """A running node with a PACS, and its pages' address."""

    node: RunningNode
    pacs: Storescp
    address: str


def web_port(node: RunningNode) -> int:
    ledger = open_ledger(node.data_dir / "ledger.sqlite", who="test")
    try:
        return port_of(ledger, "web") or 0
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    pacs = Storescp("PACS", free_port(), folder / "pacs", debian("storescp"))
    pacs.start()
    node = make_node(folder / "node")
    node.add_remote("PACS", pacs.port)
    subprocess.run(
        [sys.executable, "-m", "dicom_node", "user", "add", NAME, "--new", "--role", "admin",
         "--config", str(folder / "node" / "config"), "--data-dir", str(node.data_dir)],
        input=f"{PASSWORD}\n", text=True, check=True, capture_output=True,
    )  # fmt: skip
    try:
        node.start()
        port = wait_for(lambda: web_port(node), SECONDS, "the pages are served")
        yield Room(node, pacs, f"http://127.0.0.1:{port}")
    finally:
        if node.process is not None:
            node.stop()
        pacs.stop()


@pytest.fixture(scope="module")
def page(room: Room, browser: Browser) -> Iterator[Page]:
    """A page of somebody who has signed in; what goes wrong in it fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(SECONDS * 1000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda said: faults.append(said.text) if _is_fault(said) else None)
    opened.goto(room.address)
    opened.get_by_label("Name").fill(NAME)
    opened.get_by_label("Password").fill(PASSWORD)
    opened.screenshot(path=SCREENSHOTS / "sign-in.png")
    opened.get_by_role("button", name="Sign in").click()
    opened.wait_for_url("**/cases")
    yield opened
    assert faults == []
    opened.close()


def _is_fault(said: ConsoleMessage) -> bool:
    # A form with a fault in it is answered 422 and shown again: meant so.
    return said.type == "error" and "422" not in said.text


def film(folder: Path, number: int = 1, name: str = "DOE^JANE", date: str = "") -> Path:
    identity = Identity(
        patient_name=name, patient_id="PAT-4711", study_instance_uid=f"2.25.{number}"
    )
    dataset = phantom_dataset(
        number, rows=512, columns=448, opacities={"right_lower": 0.8}, identity=identity
    )
    dataset.AccessionNumber = f"A{number}"
    if date:
        dataset.StudyDate = dataset.AcquisitionDate = dataset.SeriesDate = date
        dataset.ContentDate = date
    path = folder / f"{number}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def send(room: Room, path: Path, sender: str = "PACS") -> int:
    return storescu(debian("storescu"), room.node, sender, path).returncode


def test_a_case_appears_in_the_open_list(room: Room, page: Page, tmp_path: Path) -> None:
    assert "No case." in page.inner_text("main")
    assert send(room, film(tmp_path)) == 0
    # Nobody touches the page meanwhile.
    page.get_by_role("link", name="DOE, JANE").wait_for()
    page.locator(".delivery.sent").wait_for()
    shot(page, "cases")
    accessible(page)


def test_a_film_is_opened_and_its_window_changed_by_mouse(room: Room, page: Page) -> None:
    page.get_by_role("link", name="DOE, JANE").click()
    viewer = page.locator(".viewer[data-ready]")
    viewer.wait_for()
    before, window = shot(page, "case"), viewer.get_attribute("data-window")
    box = viewer.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 40)
    page.mouse.up()
    wait_for(lambda: viewer.get_attribute("data-window") != window, 30, "the window has changed")
    wait_for(
        lambda: np.abs(shot(page, "case-windowed") - before).mean() > 1, 30, "the film is redrawn"
    )
    page.get_by_role("button", name="Reset").click()
    wait_for(lambda: viewer.get_attribute("data-window") == window, 30, "the window is back")
    accessible(page)


def test_the_overlay_follows_its_slider(page: Page) -> None:
    slider = page.locator("#maps input").first
    slider.fill("0")
    wait_for(lambda: coloured(page, "case-without-heat") < 0.005, 30, "the heat is gone")
    bare = coloured(page, "case-without-heat")
    slider.fill("100")
    page.get_by_label("zones").check()
    page.get_by_label("lungs").check()
    wait_for(lambda: coloured(page, "case-heat") > bare + 0.004, 30, "the heat is drawn")


def test_the_opacity_map_lies_over_the_film_at_first_and_what_weighed_when_it_is_asked_for(
    site: Site, served: Callable[[], str], browser: Browser
) -> None:
    site.node.invented = preview_film_with_map
    case = site.receive()
    page = browser.new_page()
    page.goto(served())
    page.get_by_label("Name").fill("reader")
    page.get_by_label("Password").fill(SITE_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{served()}/cases/{case}")
    mapped, weighed = page.get_by_label("opacity map"), page.get_by_label("what weighed")
    wait_for(lambda: mapped.count() == 1, 30, "the maps have sliders")
    assert (mapped.input_value(), weighed.input_value()) == ("45", "0")
    wait_for(lambda: coloured(page, "case-map") > 0.05, 30, "the map is drawn")
    mapped.fill("0")
    wait_for(lambda: coloured(page, "case-no-map") < 0.005, 30, "the map is gone")
    weighed.fill("100")
    wait_for(lambda: coloured(page, "case-weighed") > 0.02, 30, "what weighed is drawn")
    page.close()


def test_the_keys_are_told_on_a_question_mark(page: Page) -> None:
    page.locator(".viewer").first.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    shot(page, "keys")
    page.get_by_role("button", name="Close").click()
    page.locator(".viewer").first.press("i")
    page.locator(".viewer-text", has_text="inverted").first.wait_for()


def test_the_report_is_read_commented_and_printed(page: Page) -> None:
    page.get_by_role("link", name="Report").click()
    page.get_by_text("FOR RESEARCH USE ONLY").first.wait_for()
    shot(page, "report")
    accessible(page)
    page.get_by_label(re.compile("Comment of")).fill("Seen. No change to my own reading.")
    page.get_by_role("button", name="Mark as read").click()
    page.get_by_text("read by").or_(page.locator("strong", has_text="read")).first.wait_for()
    address = page.get_by_role("link", name="PDF").get_attribute("href")
    answer = page.request.get(page.url.rsplit("/cases", 1)[0] + str(address))
    assert answer.body()[:5] == b"%PDF-"


def test_a_film_dropped_on_the_page_is_analysed_and_sent_nowhere(
    room: Room, page: Page, tmp_path: Path
) -> None:
    sent = len(room.pacs.received())
    page.goto(f"{room.address}/by-hand")
    accessible(page)
    page.locator("input[type=file]").set_input_files(film(tmp_path, 5, "ROE^RICHARD"))
    page.get_by_role("button", name="Analyse").click()
    page.get_by_text("Analysed by hand: nothing is sent anywhere.").wait_for()
    wait_for(room.node.finished, SECONDS, "nothing is left to do")
    assert len(room.pacs.received()) == sent


def test_an_earlier_film_stands_beside_with_the_course(
    room: Room, page: Page, tmp_path: Path
) -> None:
    assert send(room, film(tmp_path, 2, date="20190101")) == 0
    wait_for(room.node.finished, SECONDS, "the earlier film is answered")
    page.goto(f"{room.address}/cases?words=A1")
    page.get_by_role("link", name="DOE, JANE").click()
    page.get_by_alt_text(re.compile("Scores of this patient")).wait_for()
    wait_for(lambda: page.locator(".viewer[data-ready]").count() == 2, SECONDS, "two films")
    page.wait_for_timeout(500)
    shot(page, "prior")
    chart = page.request.get(f"{page.url}/course.svg").text()
    assert "2019-01-01" in chart
    assert "2020-01-01" in chart


def test_an_ae_is_added_and_echoed(room: Room, page: Page, tmp_path: Path) -> None:
    other = Storescp("ARCHIVE", free_port(), tmp_path / "archive", debian("storescp"))
    other.start()
    try:
        page.goto(f"{room.address}/remotes")
        accessible(page)
        page.get_by_role("link", name="Add an AE").click()
        page.get_by_role("textbox", name="AE title", exact=True).fill("ARCHIVE")
        page.get_by_role("textbox", name="Host", exact=True).fill("127.0.0.1")
        page.get_by_role("textbox", name="Port", exact=True).fill("not a port")
        page.get_by_role("button", name="Keep").click()
        page.get_by_role("alert").get_by_text("port").wait_for()
        accessible(page)
        page.get_by_role("textbox", name="Port", exact=True).fill(str(other.port))
        page.get_by_role("button", name="Keep").click()
        row = page.get_by_role("row").filter(has_text="ARCHIVE")
        row.get_by_role("button", name="C-ECHO").click()
        row.get_by_text("answers to DICOMNODE").wait_for()
        shot(page, "aes")
    finally:
        other.stop()


def test_an_unknown_ae_is_refused_and_then_allowed(room: Room, page: Page, tmp_path: Path) -> None:
    path = film(tmp_path, 6, "STRANGER^FILM")
    page.goto(f"{room.address}/remotes")
    assert send(room, path, "CR7") != 0
    # Nobody touches the page meanwhile.
    refused = page.get_by_role("listitem").filter(has_text="CR7")
    refused.wait_for()
    shot(page, "refused")
    refused.get_by_role("link", name="Allow").click()
    page.get_by_role("textbox", name="Port", exact=True).fill(str(room.pacs.port))
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("row").filter(has_text="CR7").wait_for()
    wait_for(lambda: send(room, path, "CR7") == 0, SECONDS, "the AE table is read anew")


def test_the_focus_stays_where_it_is_when_a_list_refreshes_itself(
    site: Site, served: Callable[[], str], browser: Browser
) -> None:
    for number in range(1, 52):
        site.receive(number, "declined", PatientName=f"DOE^JANE {number}")
    site.house.ledger.refused("CR 7'", "DICOMNODE", "10.0.0.9", "calling AE title is not known")
    page = browser.new_page()
    page.goto(served())
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(SITE_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/cases")
    refreshed = "!document.activeElement.isOld"
    for path, name in (
        ("cases", "DOE, JANE 50"), ("cases", "Next page"), ("remotes", "Allow it?"),
    ):  # fmt: skip
        page.goto(f"{served()}/{path}")
        page.get_by_role("link", name=name, exact=True).focus()
        page.evaluate("document.activeElement.isOld = true")
        wait_for(lambda: page.evaluate(refreshed), 30, "the list has refreshed itself")
        assert page.evaluate("document.activeElement.textContent") == name
    page.close()


def test_the_self_test_goes_the_whole_way(room: Room, page: Page) -> None:
    page.goto(f"{room.address}/remotes")
    page.get_by_role("button", name="Start the self-test").click()
    page.get_by_text("results back by C-STORE: done").wait_for()
    shot(page, "self-test")


@pytest.mark.parametrize("name", ["models", "models/covidnet-lite", "dashboard", "outbox", "users"])
def test_every_other_page_is_accessible(room: Room, page: Page, name: str) -> None:
    page.goto(f"{room.address}/{name}")
    page.wait_for_load_state("networkidle")
    shot(page, name.replace("/", "-"))
    accessible(page)


@pytest.mark.parametrize("name", ["cases", "remotes", "dashboard"])
def test_a_telephone_needs_no_scrolling_sideways(room: Room, page: Page, name: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{room.address}/{name}")
    shot(page, f"{name}-390")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide <= 390


def test_no_patient_is_in_the_log(room: Room) -> None:
    log = (room.node.folder / "node.log").read_text("utf-8", "replace")
    for name in ("DOE", "ROE", "STRANGER", "PAT-4711"):
        assert name not in log
