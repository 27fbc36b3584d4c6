"""The case list and a case: what was found, why there is no result, and the next step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isfinite
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from dicom_node.chest import APPEARANCES
from dicom_node.errors import ImageError, SpoolError
from dicom_node.findings import Evidence, FilmFindings
from dicom_node.ledger.again import FINISHED, ask_again
from dicom_node.ledger.cases import MATCHES, CaseQuery, CaseRow, ObservationFilter, Order
from dicom_node.ledger.headlines import HeadlineKey, WhetherFound, headlines_from
from dicom_node.moments import shown
from dicom_node.records import BY_HAND, DeliveryState, Instance, InstanceState, RoleHealth, StudyId
from dicom_node.results.case_table import COLUMNS, case_table
from dicom_node.results.headline_words import headline_names, spoken
from dicom_node.results.mapped import mapped_parts
from dicom_node.results.stored import History, newest
from dicom_node.results.template_parts import EvidenceText
from dicom_node.results.templates import Template
from dicom_node.results.wording import (
    appearance_sentence,
    contradiction,
    looked_elsewhere,
    opacity_sentence,
)
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.pages.films import picture_of
from dicom_node.web.pages.labels import FilmLabel, how_long_ago, label_of
from dicom_node.web.pages.observed import ObservedBlock, blocks_of, said_by, words_context
from dicom_node.web.rendering import csv_stream, done, page
from dicom_node.web.security import Person, house_of, operator, reader
from dicom_node.web.trail import listed, seen
from dicom_node.web.turns import InTurn

router = APIRouter()

_THUMBNAIL = 112
_FILTERS = ("words", "finding", "outcome", "delivery", "sender", "reading", "since", "until")
_OUTCOMES = ("analysed", "declined", "failed", "waiting")
_ORDERS = ("received", "severity", "study_date")
_HEADLINE = r"[a-z0-9-]{1,40}:[a-z][a-z0-9_]{0,39}"
"""A headline observation: ``network:key``."""
_DELIVERIES = ("sent", "waiting", "held", "refused", "expired", "none")


def observation_of(
    observation: Annotated[str, Query(pattern=rf"^({_HEADLINE})?$")] = "",
    observed: WhetherFound = "found",
    at_least: Annotated[str, Query(max_length=40)] = "",
) -> ObservationFilter | None:
    """Return which headline the address asks for, ``network:key``.

    ``observed``: found, not-found, or answered either way; ``at_least``: its number.
    """
    if not observation:
        return None
    number = float(at_least) if is_number(at_least) else None
    return ObservationFilter(HeadlineKey.of(observation), observed, number)


@router.get("/")
def home(_: Annotated[Person, Depends(reader)]) -> Response:
    """Show the case list."""
    return RedirectResponse("/cases", status_code=303)


def query_of(
    words: Annotated[str, Query(max_length=200)] = "",
    finding: Annotated[str, Query(max_length=40)] = "",
    outcome: Annotated[str, Query(max_length=40)] = "",
    delivery: Annotated[str, Query(max_length=40)] = "",
    sender: Annotated[str, Query(max_length=40)] = "",
    reading: Annotated[str, Query(max_length=10)] = "",
    since: Annotated[str, Query(pattern=r"^(\d{4}-?\d{2}-?\d{2})?$")] = "",
    until: Annotated[str, Query(pattern=r"^(\d{4}-?\d{2}-?\d{2})?$")] = "",
    observation: Annotated[ObservationFilter | None, Depends(observation_of)] = None,
    order: Annotated[
        str, Query(pattern=rf"^({'|'.join(_ORDERS)}|observation:{_HEADLINE})$")
    ] = "received",
    after: Annotated[str, Query(max_length=40)] = "",
    after_id: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> CaseQuery:
    """Return what the address asks for.

    ``after_id`` tells whether there is a row to begin behind: ``after`` is empty behind a case
    without a study date. ``order``: received, severity, study_date or ``observation:network:key``.
    """
    by = _order_of(order)
    if not _is_of_order(by, after):
        after_id = 0
    return CaseQuery(
        words=words, finding=finding, outcome=outcome, delivery=delivery, sender=sender,
        reading=reading, since=since.replace("-", ""), until=until.replace("-", ""), order=by,
        observation=observation, after=(after, after_id) if after_id else None, limit=limit,
    )  # fmt: skip


@router.get("/cases")
def case_list(
    request: Request,
    person: Annotated[Person, Depends(reader)],
    query: Annotated[CaseQuery, Depends(query_of)],
) -> Response:
    """List cases; only the rows for htmx, which asks every few seconds."""
    house = house_of(request)
    found = house.ledger.cases(query)
    listed(request, person.name)
    following = _address(query) | (
        {"after": found.after[0], "after_id": str(found.after[1])} if found.after else {}
    )
    evidence = house.template().evidence
    values: dict[str, Any] = {
        "cases": found.cases,
        "only_latest": MATCHES if found.is_partial else 0,
        "query": query,
        "classes": classes_of(house),
        **_headlines(house, found.cases, query),
        "elsewhere": {case.study_id for case in found.cases if is_elsewhere(case, evidence)},
        "following": urlencode(following) if found.after else "",
        "here": urlencode(_address(query)),
        "order": order_text(query.order),
    }
    if "hx-request" in request.headers:
        return page(request, "_case_rows.html", **values)
    return page(
        request, "cases.html", senders=house.ledger.senders(), outcomes=_OUTCOMES,
        appearances=APPEARANCES,
        deliveries=_DELIVERIES, state=house.doors.state(), **values,
    )  # fmt: skip


@router.get("/cases.csv")
def table(
    request: Request,
    person: Annotated[Person, Depends(reader)],
    query: Annotated[CaseQuery, Depends(query_of)],
) -> Response:
    """Return the headline observations of every case of the list as CSV, whatever its page."""
    house = house_of(request)
    house.ledger.note(person.name, "cases.exported")
    rows = case_table(house.ledger, query, house.cards, house.template())
    return csv_stream("cases.csv", COLUMNS, rows)


@router.get("/cases/{study_id}")
def show(request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)]) -> Response:
    """Show a case: films, findings, report, deliveries, story."""
    house = house_of(request)
    case = house.ledger.case(StudyId(study_id))
    house.ledger.note(person.name, "case.viewed", study_id=case.study_id)
    instances = newest(house.ledger.instances(case.study_id))
    films = [item for item in instances if item.state is InstanceState.ANALYSED]
    history = house.stored.history_of(case.study_id, films)
    labels = [label_of(house.stored, film) for film in films]
    deliveries = house.ledger.deliveries(study_id=case.study_id)
    found = [each for item in films if (each := _findings(item))]
    template = house.template()
    doubts = [said for each in found if (said := contradiction(each, template))]
    return page(
        request,
        "case.html",
        case=case,
        doubts=doubts,
        beside=[said for each in found for said in _beside(each, template)],
        mapped=[said for each in found if (said := mapped_parts(each.opacity_map, template))],
        is_elsewhere=is_elsewhere(case, house.template().evidence),
        views=house.template().view.names,
        classes=classes_of(house),
        films=labels,
        observed=_observed(house, films),
        said_of=said_by(house, case.study_id, person),
        words_language=template.language.value,
        others=[item for item in instances if item.state is not InstanceState.ANALYSED],
        prior=_prior(house, history, labels),
        history=history,
        why=why_no_result(house, case),
        deliveries=deliveries,
        deliveries_by_id={item.id: item for item in deliveries},
        events=house.ledger.events(study_id=case.study_id),
        reading=house.ledger.reading(case.study_id),
    )


@router.get("/cases/{study_id}/moved")
def moved(
    request: Request,
    study_id: RowId,
    _: Annotated[Person, Depends(reader)],
    was: Annotated[str, Query(alias="from", max_length=80)] = "",
) -> Response:
    """Tell htmx to load the page anew once the case is no longer as it was."""
    case = house_of(request).ledger.case(StudyId(study_id))
    same = was == f"{case.outcome}-{case.state}-{case.delivery}"
    return Response(status_code=204, headers={} if same else {"HX-Refresh": "true"})


@router.get("/cases/{study_id}/thumbnail.jpg")
def thumbnail(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)], _: InTurn
) -> Response:
    """Return a small picture of a case's first legible film."""
    house = house_of(request)
    for item in newest(house.ledger.instances(StudyId(study_id))):
        with suppress(ImageError, SpoolError):
            picture = picture_of(house, item, _THUMBNAIL)
            seen(request, person.name, "thumbnail.viewed", item.study_id)
            return Response(picture, media_type="image/jpeg")
    raise HTTPException(404, "No film of this case can be shown.")


@router.post("/cases/{study_id}/again")
def again(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(operator)]
) -> Response:
    """Analyse every finished film of the case once more."""
    ledger = house_of(request).ledger
    study = ledger.study(StudyId(study_id))
    ask_again(ledger, study.id, FINISHED, person.name)
    ledger.note(person.name, "case.again", study_id=study.id)
    return done(f"/cases/{study.id}", "again")


@router.post("/cases/{study_id}/release")
def release(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(operator)]
) -> Response:
    """Send what was held for a person's approval; never what is kept in shadow."""
    house = house_of(request)
    study = house.ledger.study(StudyId(study_id))
    released = house.ledger.approve(study.id, person.name, house.settings.delivery.keep_hours)
    house.ledger.note(person.name, "case.released", f"{released} results", study_id=study.id)
    return done(f"/cases/{study.id}", "released" if released else "nothing-held")


@router.post("/cases/{study_id}/retract")
def retract(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(operator)],
    reason: Annotated[str, Form(pattern="^(quality|patient-safety)$")],
) -> Response:
    """Take the results back: a rejection note goes to everyone who has them."""
    house = house_of(request)
    study = house.ledger.study(StudyId(study_id))
    house.doors.retract(study, reason, person.name)
    house.ledger.note(person.name, "case.retracted", reason, study_id=study.id)
    return done(f"/cases/{study.id}", "retracted")


def _prior(house: House, history: History, labels: Sequence[FilmLabel]) -> FilmLabel | None:
    """Return the film of the same person that was taken last before this study's."""
    if not history.films:
        return None
    last = history.films[-1]
    first = min((label.taken for label in labels if label.taken), default="")
    return replace(label_of(house.stored, last.instance), ago=how_long_ago(last.when, first))


def classes_of(house: House) -> dict[str, str]:
    """Return the finding classes in the words of the configured template."""
    return {name: each.wording for name, each in house.template().classes.items()}


def _observed(
    house: House, films: Sequence[Instance]
) -> list[tuple[Instance, list[ObservedBlock], dict[str, str]]]:
    """Return the films of which declared networks were asked: what they say, and the headlines."""
    context, told = words_context(house), []
    for item in films:
        found = _findings(item)
        if found is not None and (blocks := blocks_of(found, context)):
            said = spoken(headlines_from(item.headlines), house.cards, context.template)
            told.append((item, blocks, {each.place: each.name for each in said}))
    return told


def _beside(found: FilmFindings, template: Template) -> list[dict[str, str]]:
    """Return what a film's network says beside its class: opacity or not, appearance."""
    said = []
    if found.opacity is not None:
        sentence = opacity_sentence(found.opacity, template)
        said.append({"name": template.panel.opacity, "sentence": sentence})
    if found.appearance is not None:
        sentence = appearance_sentence(found.appearance, template)
        said.append({"name": template.panel.appearance, "sentence": sentence})
    return said


def _findings(film: Instance) -> FilmFindings | None:
    told = film.findings_json
    return None if told is None else FilmFindings.from_json(json.loads(told))


def is_elsewhere(case: CaseRow, words: EvidenceText) -> bool:
    """Whether the network of a case's finding looked elsewhere than at the lungs."""
    evidence = Evidence(case.in_lungs, case.change_when_hidden, case.chance, case.peak_in_lungs)
    return looked_elsewhere(evidence, words)


def why_no_result(house: House, case: CaseRow) -> str:
    """Return in plain words why nothing, or nothing yet, has left for a case; "" if it has."""
    reason = case.reason.rstrip(".") if case.reason else ""
    if case.outcome in ("declined", "failed"):
        return f"The film was {case.outcome}: {reason or 'no reason was noted'}."
    if sick := _sick_role(house, case):
        how = "starting" if sick.starting else f"not well: {sick.sentence}"
        return f"The case waits for the role {sick.name}, which is {how}."
    if case.outcome == "waiting":
        return "The film is being analysed."
    if case.abstained and case.delivery in ("sent", "committed"):
        return "Undetermined: no class reaches the threshold for being named. The report says so."
    if case.state != "reported":
        return "The study is not complete yet: it is answered once no more films arrive."
    return _why_not_sent(house, case, reason)


def _sick_role(house: House, case: CaseRow) -> RoleHealth | None:
    """Return the role that is not well, if the case waits for it."""
    names: tuple[str, ...] = ()
    if case.outcome == "waiting" or case.state != "reported":
        # One admits films and finds studies complete, the other analyses and writes the report.
        names = ("intake", "analyse", "report")
    elif case.delivery == "waiting":
        names = ("deliver",)
    roles = house.doors.state().roles if names else ()
    return next((each for each in roles if each.name in names and not each.well), None)


def _why_not_sent(house: House, case: CaseRow, reason: str) -> str:
    if case.sender == BY_HAND:
        return "Analysed by hand: nothing is sent anywhere."
    if case.delivery in ("held", "waiting"):
        return _why_it_waits(house, case)
    told = {
        "none": f"Nothing was sent: {reason or 'no AE is to get results of it'}.",
        "refused": "The receiver did not take the result; see the deliveries below.",
        "expired": "The receiver could not be reached in time; see the deliveries below.",
    }
    return told.get(case.delivery, "")


def _why_it_waits(house: House, case: CaseRow) -> str:
    waiting = [
        item
        for item in house.ledger.deliveries(study_id=case.study_id)
        if item.state is DeliveryState.WAITING
    ]
    if case.delivery == "held":
        told = sorted({f"{item.destination}: {item.told}" for item in waiting if item.held})
        return f"The result stays here. {'; '.join(told)}."
    tried = [item for item in waiting if item.attempts and item.reason]
    if not tried:
        return "The result is on its way; see the deliveries below."
    last = max(tried, key=lambda item: item.attempts)
    again = shown(last.next_attempt_at, house.settings.node.zone)
    tries = "1 try" if last.attempts == 1 else f"{last.attempts} tries"
    return f"Not sent after {tries}, the next at {again}: {(last.reason or '').rstrip('.')}."


def _address(query: CaseQuery) -> dict[str, str]:
    parts = {name: getattr(query, name) for name in _FILTERS}
    shown = {name: value for name, value in parts.items() if value}
    if (asked := query.observation) is not None:
        shown |= {"observation": str(asked.headline), "observed": asked.observed}
        shown |= {} if asked.at_least is None else {"at_least": f"{asked.at_least:g}"}
    return shown | ({"order": order_text(query.order)} if query.order != "received" else {})


def order_text(order: Order) -> str:
    """Return an order as an address has it."""
    return f"observation:{order}" if isinstance(order, HeadlineKey) else order


def _order_of(text: str) -> Order:
    known: dict[str, Order] = {"severity": "severity", "study_date": "study_date"}
    kind, _, headline = text.partition(":")
    return HeadlineKey.of(headline) if kind == "observation" else known.get(text, "received")


def _is_of_order(order: Order, after: str) -> bool:
    """Whether a page of an order may begin behind ``after``."""
    if isinstance(order, HeadlineKey):
        found, _, number = after.partition("/")
        return found in ("0", "1") and is_number(number)
    return order != "severity" or is_number(after)


def asked_for(query: CaseQuery, names: Mapping[str, str]) -> dict[str, str]:
    """Return what a list is filtered or sorted by that no installed bundle says any more."""
    asked = [query.observation.headline] if query.observation else []
    asked += [query.order] if isinstance(query.order, HeadlineKey) else []
    return {str(each): str(each) for each in asked if str(each) not in names}


def _headlines(house: House, cases: Sequence[CaseRow], query: CaseQuery) -> dict[str, Any]:
    """Return the headlines of a list in words, and by which it may be sorted and filtered."""
    template = house.template()
    names = headline_names(house.cards, template)
    told = {case.study_id: spoken(case.observations, house.cards, template) for case in cases}
    return {
        "headline_names": names | asked_for(query, names),
        "headlines": told,
        "has_headlines": names or any(told.values()),
        "words_language": template.language.value,
    }


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return isfinite(float(text))
    except ValueError:
        return False
