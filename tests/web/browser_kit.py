"""Chromium, what it shows as a picture, and whether everybody can use it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from tests.conftest import debian

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = Path(__file__).parents[2] / "build" / "reading-room"
SERIOUS = ("serious", "critical")
SECONDS = 60.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=debian("chromium"), args=["--no-sandbox"], timeout=SECONDS * 1000
        )
        yield opened
        opened.close()


def shot(page: Page, name: str) -> np.ndarray:
    data = page.screenshot(path=SCREENSHOTS / f"{name}.png")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def accessible(page: Page) -> None:
    found = Axe().run(page)
    wrong = [each for each in found.response["violations"] if each["impact"] in SERIOUS]
    assert wrong == [], [(each["id"], [n["html"] for n in each["nodes"]][:3]) for each in wrong]


def coloured(page: Page, name: str) -> float:
    """Return how much of the film is not grey, 0 to 1."""
    box = page.locator(".viewer").first.bounding_box()
    assert box is not None
    rows = slice(int(box["y"]), int(box["y"] + box["height"]))
    columns = slice(int(box["x"]), int(box["x"] + box["width"]))
    part = shot(page, name)[rows, columns]
    return float((part.max(axis=2) - part.min(axis=2) > 40).mean())
