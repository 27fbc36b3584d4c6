"""The form of a report as a browser sends it."""

from __future__ import annotations

import html
import re

from fastapi.testclient import TestClient
from httpx import Response

HIDDEN = re.compile(r'<input type="hidden" name="([\w-]+)" value="([^"]*)">')


def form_of(page: str) -> dict[str, str]:
    """Return the hidden fields of the report's one form."""
    form = page[page.index('<form id="saying"') :]
    return {name: html.unescape(value) for name, value in HIDDEN.findall(form)}


def save(client: TestClient, case: int, page: str = "", **typed: str) -> Response:
    """Send the form of a report as it was shown, with what is typed."""
    page = page or client.get(f"/cases/{case}/report").text
    (film,) = set(re.findall(r'name="verdict-([^"]+)"', page))
    fields = form_of(page) | {name.replace("_of_film", f"-{film}"): value
                              for name, value in typed.items()}  # fmt: skip
    return client.post(f"/cases/{case}/reading", data=fields, follow_redirects=False)
