"""Our own REST API, in the shapes of the command line's ``--json``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.requests import Request
from pydantic import AwareDatetime, BaseModel, Field

from dicom_node.chest import FIGURES
from dicom_node.ledger.cases import CaseQuery, CaseRow
from dicom_node.ledger.outbox import OutboxQuery
from dicom_node.records import Delivery, DeliveryId, DeliveryState, StudyId
from dicom_node.results.stored import findings_document
from dicom_node.web.addresses import RowId
from dicom_node.web.pages.cases import query_of
from dicom_node.web.pages.outbox import send_again
from dicom_node.web.security import Person, house_of, operator, reader
from dicom_node.web.trail import listed, seen

_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "Not signed in"},
    403: {"description": "Not allowed"},
    404: {"description": "There is no such case or delivery"},
}

router = APIRouter(prefix="/api", tags=["node"], responses=_ERRORS)


class RoleAnswer(BaseModel):
    """One role of the node."""

    name: str
    well: bool
    sentence: str
    starting: bool


class AlarmAnswer(BaseModel):
    """Something that is wrong, and that people were told of; ``since`` when."""

    kind: str
    subject: str
    since: AwareDatetime
    title: str
    sentence: str


class Health(BaseModel):
    """How the node is."""

    well: bool
    starting: bool
    roles: list[RoleAnswer]
    disk: str
    work: str
    certificates: dict[str, str]
    alarms: list[AlarmAnswer]


class ObservationAnswer(BaseModel):
    """A headline observation of a bundle that declares what it says.

    ``number``: the probability of the most probable class or label, the index of a level, a value
    in its unit, the count of places, or a part in [0, 1]. ``text``: the keys of what is named or
    believed, joined by commas. ``found``: whether that is a finding. ``unit``: of a value (UCUM),
    else "".
    """

    network: str
    key: str
    number: float
    text: str
    found: bool
    unit: str


class CaseAnswer(BaseModel):
    """A case of the list. Extents 0-8; probability, in_lungs and chance 0-1.

    ``chance``: what in_lungs would be by chance. ``in_doubt``: answers contradict each other.
    ``opacity``: whether there is any, by its threshold; ``appearance``: typical, indeterminate,
    atypical, negative or undetermined, no diagnosis; each None where the network does not tell it.
    """

    study_id: int
    study_instance_uid: str
    patient_name: str
    patient_id: str
    accession_number: str
    study_date: str
    received_at: str
    state: str
    films: int
    outcome: str
    reason: str | None
    sender: str
    finding: str | None
    probability: float | None
    abstained: bool
    opacity: bool | None
    opacity_probability: float | None
    appearance: str | None
    appearance_probability: float | None
    geographic_extent: float | None
    opacity_extent: float | None
    airspace_level: int | None
    in_lungs: float | None
    chance: float | None
    peak_in_lungs: bool | None
    in_doubt: bool
    delivery: str
    observations: list[ObservationAnswer]


class CasesAnswer(BaseModel):
    """A page of cases; ``after`` and ``after_id`` ask for the next one."""

    cases: list[CaseAnswer]
    after: str | None
    after_id: int | None


class DeliveriesWanted(BaseModel):
    """Which deliveries."""

    state: DeliveryState | None = None
    destination: Annotated[str, Field(max_length=64)] = ""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: Annotated[int | None, Field(ge=1, le=2**63 - 1)] = None


class DeliveryAnswer(BaseModel):
    """One result for one destination; times are UTC. ``words``: the object for a person.

    ``sent_at``: when the destination last took it; ``next_attempt_at``: where it waits for one.
    """

    id: int
    study_id: int
    object: str
    destination: str
    state: str
    held: str | None
    attempts: int
    reason: str | None
    words: str
    status: str | None
    created_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None


@router.get("/health", responses={503: {"model": Health}})
def health(request: Request, response: Response, _: Annotated[Person, Depends(reader)]) -> Health:
    """Return how every role is; with status 503 where the node is not well."""
    state = house_of(request).doors.state(counted=True)
    response.status_code = 200 if state.well else 503
    return Health(
        well=state.well,
        starting=state.starting,
        roles=[RoleAnswer(**asdict(each)) for each in state.roles],
        disk=state.disk,
        work=state.work,
        certificates=dict(state.certificates),
        alarms=[AlarmAnswer(**asdict(each)) for each in state.alarms],
    )


@router.get("/cases")
def cases(
    request: Request,
    person: Annotated[Person, Depends(reader)],
    query: Annotated[CaseQuery, Depends(query_of)],
) -> CasesAnswer:
    """Return cases, latest first."""
    found = house_of(request).ledger.cases(query)
    listed(request, person.name)
    return CasesAnswer(
        cases=[_case_answer(case) for case in found.cases],
        after=found.after[0] if found.after else None,
        after_id=found.after[1] if found.after else None,
    )


@router.get("/cases/{study_id}")
def case(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)]
) -> CaseAnswer:
    """Return one case."""
    ledger = house_of(request).ledger
    found = ledger.case(StudyId(study_id))
    ledger.note(person.name, "case.viewed", study_id=found.study_id)
    return _case_answer(found)


@router.get("/cases/{study_id}/findings")
def findings(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)]
) -> list[dict[str, Any]]:
    """Return what was found on each film: the contract's JSON of `cases show --json`."""
    ledger = house_of(request).ledger
    study = ledger.study(StudyId(study_id))
    seen(request, person.name, "findings.viewed", study.id)
    return [findings_document(item) for item in ledger.instances(study.id)]


@router.get("/deliveries")
def deliveries(
    request: Request,
    response: Response,
    _: Annotated[Person, Depends(reader)],
    wanted: Annotated[DeliveriesWanted, Query()],
) -> list[DeliveryAnswer]:
    """Return deliveries, newest first.

    X-Total-Count says how many there are; ``before``, the last id seen, asks for the next ones.
    ``since`` and ``until``: when it was sent, or else written, the latter left out.
    """
    query = OutboxQuery(
        state=wanted.state, destination=wanted.destination, since=wanted.since,
        until=wanted.until, before=wanted.before, limit=wanted.limit,
    )  # fmt: skip
    found, count = house_of(request).ledger.outbox(query)
    response.headers["X-Total-Count"] = str(count)
    return [_delivery(row.delivery) for row in found]


@router.post("/deliveries/{delivery_id}/send", responses={409: {"description": "Cannot be sent"}})
def send(
    request: Request, delivery_id: RowId, person: Annotated[Person, Depends(operator)]
) -> DeliveryAnswer:
    """Send a delivery again, now."""
    house = house_of(request)
    send_again(house, DeliveryId(delivery_id), person)
    return _delivery(house.ledger.delivery(DeliveryId(delivery_id)))


def _case_answer(case: CaseRow) -> CaseAnswer:
    figures = {figure.name: case.figures.get(figure.name) for figure in FIGURES}
    values = asdict(case) | figures
    return CaseAnswer(
        **{name: value for name, value in values.items() if name in CaseAnswer.model_fields}
    )


def _delivery(item: Delivery) -> DeliveryAnswer:
    waits = item.state is DeliveryState.WAITING and item.held is None
    return DeliveryAnswer(
        id=item.id, study_id=item.study_id, object=str(item.kind), destination=item.destination,
        state=str(item.state), held=item.held, attempts=item.attempts, reason=item.reason,
        words=item.words, status=None if item.status is None else f"0x{item.status:04X}",
        created_at=item.created_at, sent_at=item.sent_at,
        next_attempt_at=item.next_attempt_at if waits else None,
    )  # fmt: skip
