"""How the node and the department's films are, in charts; and the same as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from dicom_node.ledger.headlines import HeadlineKey
from dicom_node.moments import day
from dicom_node.results.headline_words import headline_names
from dicom_node.web import charts
from dicom_node.web.house import House
from dicom_node.web.rendering import csv_file, page
from dicom_node.web.security import Person, house_of, reader

router = APIRouter(prefix="/dashboard")

_OBSERVED = ("week", "network", "key", "cases", "found", "share", "median")

Days = Annotated[int, Query(ge=1, le=366)]


@router.get("")
def dashboard(request: Request, _: Annotated[Person, Depends(reader)], days: Days = 30) -> Response:
    """Show roles, disk, work, and charts of the last days."""
    house = house_of(request)
    template = house.template()
    return page(
        request,
        "dashboard.html",
        state=house.doors.state(counted=True),
        counts=house.ledger.counts(),
        days=days,
        charts=charts.NAMES,
        headline_names=headline_names(house.cards, template),
        words_language=template.language.value,
    )


@router.get("/{name}.svg")
def chart(
    request: Request, name: str, _: Annotated[Person, Depends(reader)], days: Days = 30
) -> Response:
    """Return one chart of the last days."""
    if name not in charts.NAMES:
        raise HTTPException(404, "There is no such chart.")
    house, since = house_of(request), _since(days)
    latency = name == "latency"
    rows = house.ledger.stages_since(since) if latency else _by_site_day(house, since)
    return Response(charts.draw(name, rows), media_type="image/svg+xml")


@router.get("/days.csv")
def table(request: Request, _: Annotated[Person, Depends(reader)], days: Days = 30) -> Response:
    """Return the counts of each day as CSV."""
    names = (*charts.OUTCOMES, *charts.FINDINGS, "abstained")
    counted = charts.by_day(_by_site_day(house_of(request), _since(days)))
    rows = ({"day": day} | {name: counts[name] for name in names} for day, counts in counted)
    return csv_file("days.csv", ("day", *names), rows)


@router.get("/observations.csv")
def observed_table(
    request: Request, _: Annotated[Person, Depends(reader)], days: Days = 30
) -> Response:
    """Return what each headline said in each week as CSV; weeks begin on Mondays."""
    house = house_of(request)
    names = headline_names(house.cards, house.template())
    rows = (
        {"week": week, "network": key.network, "key": key.key, "cases": cases, "found": found,
         "share": found / cases, "median": middle}
        for key in map(HeadlineKey.of, names)
        for week, cases, found, middle in charts.by_week(_observed(house, key, days))
    )  # fmt: skip
    return csv_file("observations.csv", _OBSERVED, rows)


@router.get("/observations/{network}/{key}.svg")
def observed_chart(
    request: Request, network: str, key: str, _: Annotated[Person, Depends(reader)],
    days: Days = 30,
) -> Response:  # fmt: skip
    """Return what one headline said, week by week."""
    rows = _observed(house_of(request), HeadlineKey(network, key), days)
    return Response(charts.observation(rows), media_type="image/svg+xml")


def _observed(house: House, key: HeadlineKey, days: int) -> list[dict[str, Any]]:
    zone = house.settings.node.zone
    return [
        {**row, "received_at": day(row["received_at"], zone)}
        for row in house.ledger.observations_since(key, _since(days))
    ]


def _by_site_day(house: House, since: str) -> list[dict[str, Any]]:
    """Return the ledger's scores, each received on the day that the site's calendar showed."""
    zone = house.settings.node.zone
    return [
        {**row, "received_at": day(row["received_at"], zone)}
        for row in house.ledger.scores_since(since)
    ]


def _since(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()
