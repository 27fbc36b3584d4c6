"""Results on their way: where, since when, and why not yet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from dicom_node.records import DeliveryId, DeliveryState
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.rendering import done, page
from dicom_node.web.security import Person, house_of, operator, reader

router = APIRouter(prefix="/outbox")

_SHOWN = 200


@router.get("")
def outbox(
    request: Request,
    _: Annotated[Person, Depends(reader)],
    state: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """List deliveries, newest first."""
    wanted = DeliveryState(state) if state in list(DeliveryState) else None
    house = house_of(request)
    found = house.ledger.deliveries(state=wanted, limit=_SHOWN)
    return page(
        request,
        "outbox.html",
        deliveries=found,
        states=list(DeliveryState),
        chosen=state,
        left_out=house.ledger.delivery_count(wanted) - len(found),
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
