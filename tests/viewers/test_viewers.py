"""What a radiologist sees of our results in OHIF and in Orthanc's own web viewer."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_node.results.reading import read_films
from tests.node.peers import Orthanc, wait_for
from tests.viewers.conftest import SCREENSHOTS, SECONDS, Study

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.pacs("Orthanc", "storescu", "chromium"),
    pytest.mark.timeout(420),
]
FILM = "Synthetic phantom, no patient"
"""Series Description of the film."""

BANNER = (112, 20, 24)
"""Colour of the research sentence's ground."""


def picture(page: Page, name: str) -> np.ndarray:
    """Keep a screenshot and return it, RGB, (height, width, 3)."""
    data = page.screenshot(path=SCREENSHOTS / f"{name}.png")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def show(page: Page, series: str) -> None:
    """Open a series by its description, as a reader does."""
    page.get_by_text(series).first.dblclick()


def test_orthanc_files_every_result_under_the_study_of_the_film(
    pacs: Orthanc, study: Study
) -> None:
    every = {one["MainDicomTags"]["StudyInstanceUID"]: one for one in pacs.call("/studies?expand")}
    found = every[study.uid]
    instances = pacs.call(f"/studies/{found['ID']}/instances")
    assert len(instances) == 1 + len(study.results)
    modalities = [
        pacs.call(f"/series/{series}")["MainDicomTags"]["Modality"] for series in found["Series"]
    ]
    assert sorted(modalities) == ["DOC", "DX", "KO", "OT", "PR", "SEG", "SEG", "SR"]


def test_the_viewer_draws_the_report_on_the_film_with_its_numbers(page: Page, study: Study) -> None:
    is_drawn_with_its_numbers(page, study, "report")


def test_the_viewer_draws_what_networks_of_others_observed(
    observed_page: Page, observed_study: Study
) -> None:
    is_drawn_with_its_numbers(observed_page, observed_study, "sr", "observed")


def is_drawn_with_its_numbers(
    page: Page, study: Study, result: str, screenshot: str = "report"
) -> None:
    document = pydicom.dcmread(study.result(result))
    (groups,) = read_films(document).values()

    def drawn() -> str:
        text = "\n".join(page.locator("svg.svg-layer text").all_text_contents())
        return text if all(group.numbers[0].name in text for group in groups) else ""

    def opened() -> str:
        # Opened while the viewer still reads something, it is empty: a reader opens it again.
        show(page, "AI CXR report")
        with suppress(AssertionError):
            return wait_for(drawn, 30, "the report is drawn")
        show(page, FILM)
        return ""

    text = wait_for(opened, 2 * SECONDS, "the report is drawn")
    seen = picture(page, screenshot)
    # Contours are drawn in yellow and green: nothing else on the page is.
    assert ((seen[..., 1] > 200) & (seen[..., 2] < 60)).sum() > 1000
    for group in groups:
        number = group.numbers[0]
        assert number.name in text
        # OHIF shows no number that is zero.
        if number.exact >= 0.005:
            assert f"{number.name}: {float(number.shown):.2f}" in text


def test_the_viewer_shows_the_summary_with_its_research_sentence(page: Page) -> None:
    show(page, "AI CXR overlay")
    wait_for(lambda: has_banner(page, "summary"), SECONDS, "the capture is on the screen")


def has_banner(page: Page, name: str) -> bool:
    """Whether the ground of the research sentence is seen."""
    away = np.abs(picture(page, name) - BANNER).sum(axis=2)
    return bool((away < 12).mean() > 0.01)


def test_orthanc_s_web_viewer_shows_the_summary(web_viewer: Callable[[str], Page]) -> None:
    page = web_viewer("AI CXR overlay")
    wait_for(lambda: has_banner(page, "orthanc-summary"), SECONDS, "the capture is on the screen")


def test_orthanc_s_web_viewer_shows_the_lungs_as_a_mask(web_viewer: Callable[[str], Page]) -> None:
    page = web_viewer("AI CXR lungs")

    def mask() -> bool:
        inside = picture(page, "orthanc-lungs")[150:-100, 150:-150]
        return bool(0.02 < (inside.min(axis=2) > 250).mean() < 0.3)

    wait_for(mask, SECONDS, "the right lung is on the screen, white on black")


def test_the_viewer_opens_the_pdf(page: Page) -> None:
    show(page, "AI CXR PDF")
    document = page.locator('object[type="application/pdf"], embed[type="application/pdf"], iframe')
    wait_for(lambda: document.count() > 0, SECONDS, "the PDF is opened")
    picture(page, "pdf")


def test_the_screenshots_are_kept() -> None:
    names = {"report", "observed", "summary", "pdf", "orthanc-summary", "orthanc-lungs"}
    assert names <= {path.stem for path in SCREENSHOTS.iterdir()}
