"""What stands in the addresses of pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request

RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]
"""The number of a row: what SQLite can hold. A larger one is told as no number, not as a fault."""


def base_of(request: Request) -> str:
    """Return the address of DICOMweb as the client calls it."""
    return str(request.base_url).rstrip("/") + "/dicom-web"
