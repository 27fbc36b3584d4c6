"""Observations in Chromium: places over the film, and pages that everybody can use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from dicom_node.bundles.declared import Declaration
from tests.node.peers import wait_for
from tests.web.browser_kit import accessible, browser, coloured, shot
from tests.web.conftest import PASSWORD, Site
from tests.web.observed_kit import manifests, observing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser", "manifests", "observing"]

pytestmark = [pytest.mark.slow, pytest.mark.pacs("chromium"), pytest.mark.timeout(300)]


def test_places_lie_over_the_film_until_they_are_hidden(
    observing: Site, served: Callable[[], str], browser: Browser,
    manifests: Mapping[str, Declaration],
) -> None:  # fmt: skip
    case = observing.receive()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(served())
    page.get_by_label("Name").fill("reader")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/cases")
    shot(page, "observed-list")
    accessible(page)
    page.goto(f"{served()}/cases/{case}")
    wait_for(lambda: page.locator("[data-ready=yes]").count() == 1, 30, "the film is there")
    wait_for(lambda: coloured(page, "observed-case") > 0.004, 30, "places are drawn")
    accessible(page)
    page.locator(".viewer").first.press("p")
    wait_for(lambda: coloured(page, "observed-hidden") < 0.002, 30, "places are hidden")
    page.get_by_text("What do you say of these observations?").click()
    page.get_by_label("Nodules").select_option("disagrees")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    page.goto(f"{served()}/cases/{case}/report")
    shot(page, "observed-report")
    accessible(page)
    page.goto(f"{served()}/dashboard")
    page.wait_for_load_state("networkidle")
    shot(page, "observed-dashboard")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{served()}/cases/{case}")
    shot(page, "observed-390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert faults == []
    page.close()
