"""A PACS with the film and every result of it, and a viewer in a browser in front of it."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.records import ObjectKind
from dicom_node.results.write import write_results
from tests.conftest import debian, missing, orthanc_plugin
from tests.node.peers import Orthanc, free_port, wait_for
from tests.results.observed_kit import context_in, every_kind, observed_film
from tests.results.told_kit import ENGLISH
from tests.viewers import ohif
from tests.viewers.film_kit import phantom_film

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BUILD = Path(__file__).parents[2] / "build" / "viewers"
SCREENSHOTS = BUILD / "screenshots"
PLUGINS = ("orthanc-dicomweb", "orthanc-webviewer")
SECONDS = 60.0
"""How long the browser may take for anything, on a small machine without a graphics card."""


@dataclass(frozen=True)
class Study:
    """A film and its results, as files."""

    film: Path
    results: tuple[Path, ...]

    @property
    def uid(self) -> str:
        return str(pydicom.dcmread(self.film).StudyInstanceUID)

    def result(self, name: str) -> Path:
        """Return the result whose file is called so."""
        return next(path for path in self.results if path.stem.endswith(f"-{name}"))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Analyse a phantom with the shipped suite and write every kind of object."""
    folder = tmp_path_factory.mktemp("study")
    film = folder / "film.dcm"
    opacities = {"right_lower": 0.8, "left_lower": 0.6}
    dataset = phantom_dataset(opacities=opacities, rows=1200, columns=1000)
    dataset.save_as(film, enforce_file_format=True)
    command = [sys.executable, "-m", "dicom_node", "analyse", str(film), "--objects", "all"]
    subprocess.run([*command, "--out", str(folder / "out")], check=True, capture_output=True)
    return Study(film, tuple(sorted((folder / "out").glob("*.dcm"))))


@pytest.fixture(scope="session")
def observed_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Write what networks of others said of a phantom: labels, boxes, a length, and the rest."""
    folder = tmp_path_factory.mktemp("observed")
    film = observed_film(phantom_film, *every_kind())
    film.dataset.save_as(folder / "film.dcm", enforce_file_format=True)
    kinds = {ObjectKind.REPORT, ObjectKind.CAPTURE}
    results = []
    for item in write_results([film], context_in(ENGLISH), kinds):
        # Of a report in several classes the first is sent.
        if item.kind not in {kind for kind, _ in results}:
            path = folder / f"film-{item.kind.value}.dcm"
            path.write_bytes(item.data)
            results.append((item.kind, path))
    return Study(folder / "film.dcm", tuple(path for _, path in results))


@pytest.fixture(scope="session")
def pacs(
    tmp_path_factory: pytest.TempPathFactory, study: Study, observed_study: Study
) -> Iterator[Orthanc]:
    """Orthanc with its plugins, to which films and their results were sent by C-STORE."""
    folder = tmp_path_factory.mktemp("pacs")
    orthanc = Orthanc("PACS", free_port(), free_port(), folder, debian("Orthanc"))
    orthanc.start(
        1, None, Plugins=[orthanc_plugin(package) for package in PLUGINS],
        DicomWeb={"Enable": True, "Root": "/dicom-web/"},
        WebViewer={"CachePath": str(folder / "cache")}, DicomAlwaysAllowStore=True,
    )  # fmt: skip
    for file in (study.film, *study.results, observed_study.film, *observed_study.results):
        subprocess.run(
            [str(debian("storescu")), "-R", "-aec", "PACS", "127.0.0.1", str(orthanc.dicom_port),
             str(file)], check=True, capture_output=True,
        )  # fmt: skip
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="session")
def viewer() -> Path:
    """OHIF, fetched once."""
    if shutil.which("npm") is None:
        missing("npm is not installed: it fetches the viewer")
    return ohif.fetch(BUILD)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium with a graphics card in software."""
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
                 "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]  # fmt: skip
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=debian("chromium"), args=arguments, timeout=SECONDS * 1000
        )
        yield opened
        opened.close()


def _tab(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1500, "height": 950})
    page.set_default_timeout(SECONDS * 1000)
    return page


def _shows_film(page: Page) -> bool:
    """Whether the middle of the page is a picture: greys of every kind."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("L")
    middle = np.asarray(shot)[250:-250, 500:-500]
    return bool(middle.std() > 25)


@pytest.fixture
def page(browser: Browser, pacs: Orthanc, viewer: Path, study: Study) -> Iterator[Page]:
    """The study opened in OHIF, its welcome dismissed."""
    yield from _opened(browser, pacs, viewer, study)


@pytest.fixture
def observed_page(
    browser: Browser, pacs: Orthanc, viewer: Path, observed_study: Study
) -> Iterator[Page]:
    """The study of which networks of others spoke, opened in OHIF."""
    yield from _opened(browser, pacs, viewer, observed_study)


def _opened(browser: Browser, pacs: Orthanc, viewer: Path, study: Study) -> Iterator[Page]:
    site = ohif.Site(viewer, pacs.http_port)
    opened = _tab(browser)
    opened.goto(f"{site.url}/viewer?StudyInstanceUIDs={study.uid}")
    opened.get_by_text("Skip all").click()
    opened.get_by_text("Confirm and hide").click()
    # A report opened before the viewer has read the film is shown without its contours.
    wait_for(lambda: _shows_film(opened), 2 * SECONDS, "the film is on the screen")
    yield opened
    site.close()


@pytest.fixture
def web_viewer(browser: Browser, pacs: Orthanc, study: Study) -> Callable[[str], Page]:
    """Return a function: a series by its description, opened in Orthanc's own web viewer."""

    (held,) = (
        each["ID"]
        for each in pacs.call("/studies?expand")
        if each["MainDicomTags"]["StudyInstanceUID"] == study.uid
    )

    def show(description: str) -> Page:
        (series,) = (
            each["ID"]
            for each in pacs.call("/series?expand")
            if each["ParentStudy"] == held
            and each["MainDicomTags"].get("SeriesDescription", "").startswith(description)
        )
        opened = _tab(browser)
        address = f"http://127.0.0.1:{pacs.http_port}/web-viewer/app/viewer.html?series={series}"
        opened.goto(address)
        return opened

    return show
