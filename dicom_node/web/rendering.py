"""Pages from templates. Everything is escaped: a patient's name is text, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context as RenderContext
from markupsafe import Markup

from dicom_node import __version__
from dicom_node.chest import FIGURES, FINDING_CLASSES, PARTS
from dicom_node.moments import machine_readable, shown
from dicom_node.results.spreadsheet import csv_parts
from dicom_node.settings import host_and_port

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


def _person_name(text: str) -> str:
    """Return a Person Name (PS3.5 6.2.1) as it is read: first group, spaces for carets."""
    group = next((part for part in text.split("=") if part.strip("^ ")), "")
    family, *others = (part.strip() for part in group.split("^"))
    rest = " ".join(part for part in others if part)
    return ", ".join(part for part in (family, rest) if part) or "(no name)"


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


@pass_context
def _moment(context: RenderContext, value: str | datetime | None, *, seconds: bool = False) -> str:
    """Return a moment in the site's zone, with UTC for programs and on a pointer's stay."""
    if not value:
        return "never"
    said = shown(value, context["zone"], seconds=seconds)
    utc = machine_readable(value)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc, utc, said)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.0f} %"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


_DONE: Mapping[str, str] = {
    "report-draft": "Saved as a draft.",
    "report-read": "Saved, and marked as read.",
    "feedback": "Saved.",
    "again": "The films of this case are analysed once more.",
    "released": "Approved: the results are on their way.",
    "nothing-held": "Nothing here waits for approval.",
    "retracted": "A rejection note goes to everyone who has the results.",
    "send-again": "Sent again as soon as the receiver answers.",
    "given-up": "Given up: it is not sent any more.",
    "remote-kept": "Saved: the AE table holds from now on.",
    "remote-removed": "Removed from the AE table.",
    "refusal-dismissed": "Off the list until it is refused again.",
    "user-kept": "Saved. Sessions of this user have ended.",
    "user-removed": "Removed, and signed out everywhere.",
}
"""What a page says once something was done, by the word in its address."""


def done(path: str, what: str) -> Response:
    """Return to a page, which says what was done: a key of `_DONE`."""
    assert what in _DONE
    return RedirectResponse(f"{path}?done={what}", status_code=303)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "person_name": _person_name,
        "date": _date,
        "moment": _moment,
        "percent": _percent,
        "score": _score,
    }
    environment.globals |= {"version": __version__, "host_and_port": host_and_port}
    # What our own networks say: their numbers, the parts of a lung, the class of nothing found.
    environment.globals |= {"figures": FIGURES, "parts": PARTS, "none_found": FINDING_CLASSES[0]}
    return environment


_ENVIRONMENT = _environment()


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return the page of template ``name``; ``person`` is whoever is signed in, or None."""
    person = getattr(request.state, "person", None)
    house = request.app.state.house
    text = _ENVIRONMENT.get_template(name).render(
        request=request,
        person=person,
        node=house.settings.node.ae_title,
        zone=house.settings.node.zone,
        path=request.url.path,
        done=_DONE.get(request.query_params.get("done", ""), ""),
        **values,
    )
    return HTMLResponse(text, status_code=status)


def csv_file(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """Return a table as a CSV file to keep; what a row has no column for is left out.

    What a person typed never becomes a formula, whatever the list separator of the spreadsheet.
    """
    text = "".join(csv_parts(columns, rows))
    return Response(text, media_type=_CSV, headers=_to_keep(name))


def csv_stream(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """Return a long table as `csv_file` does, in pieces: it is never in memory as a whole."""
    return StreamingResponse(csv_parts(columns, rows), media_type=_CSV, headers=_to_keep(name))


_CSV = "text/csv; charset=utf-8"


def _to_keep(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
