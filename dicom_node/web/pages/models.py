"""The networks: what is in use, cards and figures, self-test, drift."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from markdown_it import MarkdownIt

from dicom_node.bundles import CARD
from dicom_node.web import charts
from dicom_node.web.house import ModelOnShelf
from dicom_node.web.rendering import page
from dicom_node.web.security import Person, house_of, operator, reader

router = APIRouter(prefix="/models")

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NO_CARD = "This bundle has no card: `CARD.md` says what a network is for and how well it does."
_WEEK, _REFERENCE = timedelta(days=7), timedelta(days=90)


@router.get("")
def shelf(request: Request, _: Annotated[Person, Depends(reader)]) -> Response:
    """List the bundles, those in use first."""
    house = house_of(request)
    shown = sorted(house.shelf, key=lambda item: (not item.in_use, item.id))
    return page(request, "models.html", models=shown)


@router.get("/drift.svg")
def drift(request: Request, _: Annotated[Person, Depends(reader)]) -> Response:
    """Return the distribution of this week's answers beside that of the weeks before."""
    now = datetime.now(UTC)
    scores = house_of(request).ledger.scores_since((now - _REFERENCE).isoformat())
    return Response(charts.drift(scores, (now - _WEEK).isoformat()), media_type="image/svg+xml")


@router.get("/{bundle_id}")
def card(request: Request, bundle_id: str, _: Annotated[Person, Depends(reader)]) -> Response:
    """Show a bundle's card and figures."""
    model = _model(request, bundle_id)
    path = model.folder / CARD
    written = _COMMENT.sub("", path.read_text("utf-8", "replace")) if path.is_file() else _NO_CARD
    # Raw HTML in a card is shown as text, whoever wrote it.
    text = MarkdownIt("commonmark", {"html": False}).enable("table").render(written)
    figures = sorted(path.name for path in (model.folder / "figures").glob("*.png"))
    return page(request, "model.html", model=model, card=text, figures=figures)


@router.get("/{bundle_id}/figures/{name}")
def figure(
    request: Request, bundle_id: str, name: str, _: Annotated[Person, Depends(reader)]
) -> Response:
    """Return one figure of a bundle."""
    folder = _model(request, bundle_id).folder / "figures"
    known = {path.name: path for path in folder.glob("*.png")}
    if name not in known:
        raise HTTPException(404, "The bundle has no such figure.")
    return FileResponse(known[name])


@router.post("/{bundle_id}/verify")
def verify(
    request: Request, bundle_id: str, person: Annotated[Person, Depends(operator)]
) -> HTMLResponse:
    """Let a bundle prove itself now."""
    house, model = house_of(request), _model(request, bundle_id)
    fault = house.doors.verify(model.id)
    house.ledger.note(person.name, "model.verified", f"{model.id}: {'fails' if fault else 'well'}")
    told = fault or "Files, digest and the answer to the self-test are as they should be."
    return page(request, "_told.html", told=told, well=fault is None)


def _model(request: Request, bundle_id: str) -> ModelOnShelf:
    for model in house_of(request).shelf:
        if model.id == bundle_id and not model.is_broken:
            return model
    raise HTTPException(404, "There is no such bundle.")
