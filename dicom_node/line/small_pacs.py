"""A small PACS of this machine, as a process of its own: for the demo and for trials."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.errors import RoleError


@contextmanager
def small_pacs(ae_title: str, folder: Path) -> Iterator[int]:
    """Run `dicom_node.line.demo_pacs` into ``folder``; yield its port on the loopback address."""
    command = [sys.executable, "-m", "dicom_node.line.demo_pacs", "--ae-title", ae_title]
    command += ["--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("port "):
            raise RoleError(f"The small PACS {ae_title} did not start.")
        yield int(line.removeprefix("port "))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
