"""What a radiologist types survives whatever happens to the page, tried in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from dicom_node.ledger.connection import text_of, utc_now
from dicom_node.records import StudyId
from tests.conftest import debian
from tests.web.conftest import PASSWORD, Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

pytestmark = [pytest.mark.slow, pytest.mark.pacs("chromium"), pytest.mark.timeout(180)]

TYPED = "Effusion on the left;\nseen in two films."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=debian("chromium"), args=["--no-sandbox"], timeout=60_000
        )
        yield opened
        opened.close()


@pytest.fixture
def page(site: Site, served: Callable[[], str], browser: Browser) -> Iterator[Page]:
    """The report of a case, before a reader who has signed in; faults of scripts fail the test."""
    case = site.receive(1)
    opened = browser.new_page()
    opened.set_default_timeout(60_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(served())
    sign_in(opened)
    opened.goto(f"{served()}/cases/{case}/report")
    yield opened
    assert faults == []
    opened.close()


def sign_in(page: Page) -> None:
    page.get_by_label("Name").fill("reader")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def said(site: Site) -> str:
    reading = site.house.ledger.reading(StudyId(1))
    return reading.comment.replace("\r\n", "\n") if reading else ""


def comment(page: Page) -> str:
    return page.get_by_label("Comment of reader").input_value()


def test_one_button_saves_the_lines_and_the_verdict(site: Site, page: Page) -> None:
    page.get_by_label("Comment of reader").fill(TYPED)
    page.get_by_text("What do you say of this answer?").click()
    page.get_by_label("disagree").check()
    page.get_by_label("Comment on this answer").fill("A line.")
    page.get_by_role("button", name="Save as draft").click()
    page.get_by_text("Saved as a draft.").wait_for()
    assert said(site) == TYPED
    (word,) = site.house.ledger.said(StudyId(1))
    assert (word.verdict, word.comment) == ("disagrees", "A line.")
    assert "done=" not in page.url
    page.reload()
    assert page.get_by_text("was not saved").count() == 0
    assert comment(page) == TYPED


def test_after_the_session_has_ended_one_goes_on_where_one_was(site: Site, page: Page) -> None:
    page.get_by_label("Comment of reader").fill(TYPED)
    moment = text_of(utc_now().replace(year=2000))
    site.house.ledger._connection.run("update sessions set seen_at = :at", at=moment)
    page.get_by_role("button", name="mark as read").click()
    page.get_by_text("You are signed out").wait_for()
    sign_in(page)
    page.get_by_text("was not saved: it is put back").wait_for()
    assert comment(page) == TYPED
    page.get_by_role("button", name="mark as read").click()
    page.get_by_text("marked as read").wait_for()
    assert said(site) == TYPED


def test_a_reload_and_another_page_lose_nothing_and_leaving_asks(site: Site, page: Page) -> None:
    address = page.url
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.get_by_label("Comment of reader").click()
    page.keyboard.type("Typed by hand")
    page.get_by_role("link", name="Outbox").click()
    page.get_by_role("heading", name="Outbox").wait_for()
    assert asked == ["beforeunload"]
    page.goto(address)
    page.get_by_text("it is put back").wait_for()
    assert comment(page) == "Typed by hand"
    page.get_by_role("button", name="Discard it").click()
    page.wait_for_load_state()
    assert comment(page) == ""


def test_what_another_reader_wrote_meanwhile_is_shown_and_nothing_is_lost(
    site: Site, served: Callable[[], str], page: Page
) -> None:
    from tests.web.reading_kit import save

    page.get_by_label("Comment of reader").fill(TYPED)
    other = site.client("operator")
    save(other, 1, comment="Written by the other.")
    # Put back over the newer page, it still knows which lines its reader had seen.
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.get_by_text("it is put back").wait_for()
    page.get_by_role("button", name="Save as draft").click()
    page.get_by_role("alert").get_by_text("Somebody has written here since").wait_for()
    assert comment(page) == TYPED
    page.locator("blockquote", has_text="Written by the other.").wait_for()
    assert said(site) == "Written by the other."
    page.get_by_role("button", name="Save as draft").click()
    page.get_by_text("Saved as a draft.").wait_for()
    assert said(site) == TYPED


def test_a_text_that_is_too_long_is_told_before_it_is_sent(site: Site, page: Page) -> None:
    page.get_by_label("Comment of reader").fill("x" * 10_001)
    page.get_by_role("button", name="Save as draft").click()
    valid = "document.querySelector('[name=comment]').checkValidity()"
    assert page.evaluate(valid) is False
    assert comment(page) == "x" * 10_001
    page.get_by_label("Comment of reader").fill("shorter")
    page.get_by_role("button", name="Save as draft").click()
    page.get_by_text("Saved as a draft.").wait_for()
    assert said(site) == "shorter"


def test_whoever_signs_in_next_in_the_same_tab_never_sees_the_words_by_going_back(
    site: Site, page: Page
) -> None:
    report = page.url
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_label("Comment of reader").fill(TYPED)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/cases")
    for _ in range(6):
        page.go_back()
        if page.url == report:
            break
    assert page.url == report
    assert page.get_by_label("Comment of operator").input_value() == ""
