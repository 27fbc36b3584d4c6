"""Make the pictures of the pages in docs/images: ``python docs/screenshots.py``.

Starts a node and a small PACS, sends phantoms (synthetic films: no patients) by C-STORE, and looks
at the pages in Chromium (Debian package). Needs the development dependencies.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.wrap import Identity
from tests.node.peers import Storescp, free_port, make_node, storescu, wait_for
from tests.web.test_in_the_browser import web_port

IMAGES = Path(__file__).parent / "images"
FILMS = (
    ("PHANTOM^ALPHA", {}, "20190312"),
    ("PHANTOM^BETA", {"right_lower": 0.9, "left_lower": 0.8, "right_middle": 0.6}, "20200402"),
    ("PHANTOM^GAMMA", {"left_middle": 0.5}, "20200403"),
)
_SECONDS = 120.0
_COLOURS, _WIDTH = 256, 1000


def film(folder: Path, number: int) -> Path:
    """Write one phantom."""
    name, opacities, date = FILMS[number]
    identity = Identity(patient_name=name, patient_id=f"P{number + 1}")
    dataset = phantom_dataset(
        number, rows=1024, columns=900, opacities=opacities, identity=identity
    )
    dataset.StudyDate = dataset.AcquisitionDate = date
    dataset.AccessionNumber = f"A10{number}"
    path = folder / f"{number}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def keep(png: Path) -> None:
    """Make a screenshot small enough for a repository."""
    picture = Image.open(png).convert("RGB")
    height = round(picture.height * _WIDTH / picture.width)
    picture = picture.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(png, optimize=True)


def main() -> None:
    """Start everything, look, stop everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pacs = Storescp("MAINPACS", free_port(), folder / "pacs", Path("/usr/bin/storescp"))
        pacs.start()
        node = make_node(folder / "node")
        node.add_remote("MAINPACS", pacs.port)
        command = [sys.executable, "-m", "dicom_node", "user", "add", "reader", "--config"]
        command += [str(folder / "node" / "config"), "--data-dir", str(node.data_dir)]
        subprocess.run(command, input="a long enough one\n", text=True, check=True)
        node.start()
        try:
            for number in range(len(FILMS)):
                storescu(Path("/usr/bin/storescu"), node, "MAINPACS", film(folder, number))
            wait_for(node.finished, _SECONDS, "every film is answered")
            look(f"http://127.0.0.1:{wait_for(lambda: web_port(node), 30, 'pages')}")
        finally:
            node.stop()
            pacs.stop()


def look(address: str) -> None:
    """Take the pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.get_by_label("Name").fill("reader")
        page.get_by_label("Password").fill("a long enough one")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/cases")
        page.goto(f"{address}/cases?order=severity")
        page.wait_for_load_state("networkidle")
        top = {"x": 0, "y": 0, "width": 1280, "height": 440}
        page.screenshot(path=IMAGES / "cases.png", clip=top)
        page.get_by_role("link", name="PHANTOM, BETA").click()
        page.locator(".viewer[data-ready]").wait_for()
        page.get_by_label("zones").check()
        time.sleep(1)
        page.screenshot(path=IMAGES / "case.png")
        browser.close()
    for name in ("cases", "case"):
        keep(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
