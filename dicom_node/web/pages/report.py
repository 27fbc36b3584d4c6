"""The report in words: the same groups as the Structured Report, from the same template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from dicom_node.findings import FINDING_CLASSES
from dicom_node.ledger.case_row import figures_of
from dicom_node.ledger.casebook import Feedback, ReaderReport
from dicom_node.records import Instance, StudyId
from dicom_node.results.document import pdf
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import places_of
from dicom_node.results.report import groups_of_study
from dicom_node.results.values import Group
from dicom_node.web import charts
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.pages.cases import classes_of
from dicom_node.web.rendering import csv_file, page
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.trail import seen

router = APIRouter()

_COLUMNS = (
    "at", "reader", "study_instance_uid", "sop_instance_uid", "verdict", "finding",
    "geographic_extent", "opacity_extent", "airspace_level", "comment", "network_finding",
    "network_probability", "network_geographic_extent", "network_opacity_extent",
    "network_airspace_level",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@router.get("/cases/{study_id}/report")
def report(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(reader)],
    template: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Show the report in the words of a template; to read, to print, to comment."""
    house = house_of(request)
    case = house.ledger.case(StudyId(study_id))
    pairs, context = _written(house, case.study_id, template)
    house.ledger.note(person.name, "report.viewed", study_id=case.study_id)
    films = [film for _, film in pairs]
    groups = groups_of_study([(film, places_of(film)) for film in films], context)
    return page(
        request,
        "report.html",
        case=case,
        films=[(item, _told(said)) for (item, _), said in zip(pairs, groups, strict=True)],
        words=context.template,
        names=house.template_names,
        chosen=template or house.settings.results.template,
        cards=context.cards(films),
        reading=house.ledger.reading(case.study_id),
        revision=house.ledger.study(case.study_id).revision,
        feedback={item.sop_instance_uid: item for item in house.ledger.said(case.study_id)
                  if item.reader == person.name},
        classes=classes_of(house),
    )  # fmt: skip


@router.get("/cases/{study_id}/report.pdf")
def report_pdf(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(reader)],
    template: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Return the report as a PDF."""
    house = house_of(request)
    pairs, context = _written(house, StudyId(study_id), template)
    house.ledger.note(person.name, "report.printed", study_id=StudyId(study_id))
    headers = {"Content-Disposition": f'inline; filename="case-{study_id}.pdf"'}
    return Response(
        pdf([film for _, film in pairs], context), media_type="application/pdf", headers=headers
    )


@router.get("/cases/{study_id}/course.svg")
def course(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)]
) -> Response:
    """Return the course of the patient's scores as a chart."""
    house = house_of(request)
    pairs, context = _written(house, StudyId(study_id), "")
    seen(request, person.name, "course.viewed", StudyId(study_id))
    return Response(charts.course([film for _, film in pairs], context), media_type="image/svg+xml")


@router.post("/cases/{study_id}/reading")
def read(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(reader)],
    revision: Annotated[int, Form(ge=0, le=2**31 - 1)],
    comment: Annotated[str, Form(max_length=10_000)] = "",
    state: Annotated[str, Form(pattern="^(draft|read)$")] = "draft",
) -> Response:
    """Keep the reader's own lines on the report that was shown; draft, or read."""
    house = house_of(request)
    said = ReaderReport(state, comment, person.name, revision)
    house.ledger.read(StudyId(study_id), said)
    house.ledger.note(person.name, f"report.{state}", study_id=StudyId(study_id))
    return RedirectResponse(f"/cases/{study_id}/report", status_code=303)


@router.post("/cases/{study_id}/feedback")
def feedback(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(reader)],
    sop_instance_uid: Annotated[str, Form(pattern=r"^[0-9.]{1,64}$")],
    verdict: Annotated[str, Form(pattern="^(agrees|disagrees|unsure)$")],
    finding: Annotated[str, Form()] = "",
    geographic_extent: Annotated[str, Form()] = "",
    opacity_extent: Annotated[str, Form()] = "",
    airspace_level: Annotated[str, Form()] = "",
    comment: Annotated[str, Form(max_length=2_000)] = "",
) -> Response:
    """Keep what the reader says of the networks' answer on a film."""
    house = house_of(request)
    study = house.ledger.study(StudyId(study_id))
    known = {item.sop_instance_uid for item in house.ledger.instances(study.id)}
    if sop_instance_uid not in known:
        raise HTTPException(404, "The study has no such film.")
    level = _within(airspace_level, 2)
    house.ledger.say(
        study.id,
        Feedback(
            sop_instance_uid=sop_instance_uid,
            reader=person.name,
            verdict=verdict,
            finding=finding if finding in FINDING_CLASSES else None,
            geographic_extent=_within(geographic_extent, 8),
            opacity_extent=_within(opacity_extent, 8),
            airspace_level=None if level is None else int(level),
            comment=comment,
        ),
    )
    house.ledger.note(person.name, "feedback", verdict, study_id=study.id)
    return RedirectResponse(f"/cases/{study_id}/report", status_code=303)


@router.get("/feedback.csv")
def feedback_table(request: Request, person: Annotated[Person, Depends(reader)]) -> Response:
    """Return every reader's word beside the networks' as CSV: how a department audits them."""
    house = house_of(request)
    house.ledger.note(person.name, "feedback.exported")
    return csv_file("feedback.csv", _COLUMNS, map(_row, house.ledger.all_feedback()))


def _row(line: Any) -> dict[str, Any]:
    answer = figures_of(json.loads(line["answer_json"] or "{}"))
    said = {**line, **{f"network_{name}": value for name, value in answer.items()}}
    # What a person typed must not become a formula in a spreadsheet.
    comment = str(said["comment"] or "")
    return said | {"comment": f"'{comment}" if comment.startswith(_FORMULA) else comment}


def _written(
    house: House, study_id: StudyId, template: str
) -> tuple[list[tuple[Instance, AnalysedFilm]], Context]:
    """Return the analysed films of a study and what a report on them says beside them."""
    study = house.ledger.study(study_id)
    pairs = house.films_of(study_id)
    if not pairs:
        raise HTTPException(404, "No film of this case was analysed: there is no report.")
    films = [film for _, film in pairs]
    return pairs, house.context(study, films, house.template(template))


def _told(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {
            "key": group.key,
            "title": group.tracking,
            "numbers": [
                (number.name.meaning, f"{number.shown} {number.unit.value[2]}")
                for number in group.numbers
            ],
            "answers": [(name.meaning, answer.meaning) for name, answer in group.evaluations],
            "texts": [text for _, text in group.texts],
        }
        for group in groups
    ]


def _within(text: str, most: float) -> float | None:
    """Return a typed score from 0 to ``most``; None for an empty field. Raises HTTPException."""
    if not text.strip():
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= most:
        raise HTTPException(422, f"{text!r} is no score from 0 to {most:g}.")
    return value
