"""Results on their way: where, since when, and why not yet."""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from dicom_node.ledger import ANNOUNCED_DAYS, COUNTED
from dicom_node.ledger.outbox import OutboxQuery
from dicom_node.moments import day_span
from dicom_node.records import DeliveryId, DeliveryState
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.rendering import done, page
from dicom_node.web.security import Person, house_of, operator, reader
from dicom_node.web.trail import listed

router = APIRouter(prefix="/outbox")

_SHOWN = 200
_Day = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


class OutboxFilter(BaseModel):
    """What an address asks of the outbox. Days are the site's."""

    state: Annotated[str, Field(max_length=20)] = ""
    to: Annotated[str, Field(max_length=64)] = ""
    words: Annotated[str, Field(max_length=200)] = ""
    since: _Day = ""
    until: _Day = ""

    def query(self, zone: tzinfo | None) -> OutboxQuery:
        """Return the question to the ledger."""
        try:
            since, until = day_span(self.since, self.until, zone)
        except ValueError as error:
            raise HTTPException(422, f"No such day: {error}.") from error
        return OutboxQuery(
            state=DeliveryState(self.state) if self.state in list(DeliveryState) else None,
            destination=self.to, since=since, until=until, words=self.words, limit=_SHOWN,
        )  # fmt: skip


@router.get("")
def outbox(
    request: Request,
    person: Annotated[Person, Depends(reader)],
    wanted: Annotated[OutboxFilter, Query()],
) -> Response:
    """List what was and is to be sent, newest first: of whom, where, when, and why not."""
    house = house_of(request)
    found, count = house.ledger.outbox(wanted.query(house.settings.node.zone))
    listed(request, person.name)
    days = house.settings.retention.parked_days
    return page(
        request,
        "outbox.html",
        rows=found,
        states=list(DeliveryState),
        destinations=sorted(house.remotes()),
        wanted=wanted,
        left_out=count - len(found),
        parked=len(house.ledger.parked(days - ANNOUNCED_DAYS, COUNTED)),
        parked_days=days,
    )


@router.post("/{delivery_id}/send")
def send(
    request: Request, delivery_id: RowId, person: Annotated[Person, Depends(operator)]
) -> Response:
    """Send a delivery now: the same bytes with the same UIDs."""
    send_again(house_of(request), DeliveryId(delivery_id), person)
    return done("/outbox", "send-again")


@router.post("/{delivery_id}/drop")
def drop(
    request: Request, delivery_id: RowId, person: Annotated[Person, Depends(operator)]
) -> Response:
    """Give a waiting delivery up."""
    house = house_of(request)
    item = house.ledger.delivery(DeliveryId(delivery_id))
    house.ledger.drop(item.id, person.name)
    house.ledger.note(person.name, "delivery.dropped", item.destination, item.study_id)
    return done("/outbox", "given-up")


def send_again(house: House, delivery_id: DeliveryId, person: Person) -> None:
    """Make a delivery due now, and note who did. Raises `RowMissing` and `TransitionRefused`."""
    item = house.ledger.delivery(delivery_id)
    house.ledger.resend(item.id, person.name, house.settings.delivery.keep_hours)
    house.ledger.note(person.name, "delivery.sent-again", item.destination, item.study_id)
