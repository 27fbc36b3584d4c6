"""The report in words: the same groups as the Structured Report, from the same template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from dicom_node.chest import FIGURES, FINDING_CLASSES, figures_of
from dicom_node.ledger.cases import Feedback, ReaderReport
from dicom_node.ledger.told import columns_of
from dicom_node.observations import Observation
from dicom_node.records import Instance, StudyId
from dicom_node.results.document import pdf
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import places_of
from dicom_node.results.report import groups_of_study
from dicom_node.results.stored import newest
from dicom_node.results.values import Group
from dicom_node.results.wording import heading_of
from dicom_node.web import charts
from dicom_node.web.addresses import RowId
from dicom_node.web.house import House
from dicom_node.web.pages.cases import classes_of
from dicom_node.web.pages.observed import blocks_of
from dicom_node.web.rendering import csv_file, done, page
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.trail import seen
from dicom_node.web.turns import InTurn
from dicom_node.web.typed import Typed

router = APIRouter()

_COLUMNS = (
    "at", "reader", "study_instance_uid", "sop_instance_uid", "verdict", "finding",
    *(figure.name for figure in FIGURES), "comment", "network_finding", "network_probability",
    *(f"network_{figure.name}" for figure in FIGURES), "network_opacity", "network_appearance",
    "network_observations",
)  # fmt: skip
_VERDICTS = ("agrees", "disagrees", "unsure")
_LONGEST = {"comment": 10_000, "verdict comment": 2_000}
"""Characters that are kept of the lines under the report, and of those on one film."""


@router.get("/cases/{study_id}/report")
def report(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(reader)],
    _: InTurn,
    template: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Show the report in the words of a template; to read, to print, to comment."""
    answer = _shown(request, StudyId(study_id), person, template)
    house_of(request).ledger.note(person.name, "report.viewed", study_id=StudyId(study_id))
    return answer


def _shown(
    request: Request,
    study_id: StudyId,
    person: Person,
    template: str,
    *,
    typed: Mapping[str, str] | None = None,
    faults: Sequence[str] = (),
) -> Response:
    """Return the page; its form holds what was ``typed`` where that could not be kept."""
    house = house_of(request)
    case = house.ledger.case(study_id)
    pairs, context = _written(house, case.study_id, template)
    films = [film for _, film in pairs]
    groups = groups_of_study([(film, places_of(film)) for film in films], context)
    reading = house.ledger.reading(case.study_id)
    kept = _fields([item for item, _ in pairs], _said_by(house, case.study_id, person), reading)
    return page(
        request,
        "report.html",
        heading=heading_of(films, context.template),
        status=422 if faults else 200,
        case=case,
        films=[
            (item, _told(film, said), blocks_of(film.findings, context))
            for (item, film), said in zip(pairs, groups, strict=True)
        ],
        words=context.template,
        patients=house.stored.history(case.study_id, [film.dataset for film in films]).patients,
        names=house.template_names,
        chosen=template or house.settings.results.template,
        cards=context.cards(films),
        reading=reading,
        revision=house.ledger.study(case.study_id).revision,
        typed=kept if typed is None else kept | dict(typed),
        faults=faults,
        longest=_LONGEST,
        # Often enough, whatever the time after which a session ends unused.
        used_seconds=min(60.0, house.settings.web.idle_minutes * 20),
        classes=classes_of(house),
    )


@router.get("/cases/{study_id}/report.pdf")
def report_pdf(
    request: Request,
    study_id: RowId,
    person: Annotated[Person, Depends(reader)],
    _: InTurn,
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
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)], _: InTurn
) -> Response:
    """Return the course of the patient's scores as a chart."""
    house = house_of(request)
    pairs, context = _written(house, StudyId(study_id), "")
    seen(request, person.name, "course.viewed", StudyId(study_id))
    return Response(charts.course([film for _, film in pairs], context), media_type="image/svg+xml")


@router.post("/cases/{study_id}/reading")
def read(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)], typed: Typed
) -> Response:
    """Keep all that a reader typed under the report that was shown: lines and verdicts together.

    On any fault nothing is kept, and the page comes back with every word.
    """
    house, study = house_of(request), StudyId(study_id)
    template = typed.get("template", "")[:100]
    faults: list[str] = []
    report = _lines_of(typed, person, faults)
    before = _said_by(house, study, person)
    words = [_verdict_of(typed, f"-{item.sop_instance_uid}", item.sop_instance_uid, person, faults)
             for item in newest(house.ledger.instances(study))]  # fmt: skip
    changed = [word for word in words if word and not _is_known(word, before)]
    if changed and typed.get("said", _latest(before)) != _latest(before):
        faults.append("You have said something else of this answer since, in another window.")
    if not faults and not house.ledger.read(study, report, seen=typed.get("seen")):
        faults.append(
            "Somebody has written here since: see below. Nothing is kept yet; save again to replace"
            " those lines by yours."
        )
    if faults:
        typed = dict(typed) | _stamps(before, house.ledger.reading(study))
        return _shown(request, study, person, template, typed=typed, faults=faults)
    for word in changed:
        house.ledger.say(study, word)
        house.ledger.note(person.name, "feedback", word.verdict, study_id=study)
    house.ledger.note(person.name, f"report.{report.state}", study_id=study)
    return done(f"/cases/{study_id}/report", f"report-{report.state}")


@router.post("/cases/{study_id}/feedback")
def feedback(
    request: Request, study_id: RowId, person: Annotated[Person, Depends(reader)], typed: Typed
) -> Response:
    """Keep what a program sends as a reader's word on the answer on one film."""
    house = house_of(request)
    study = house.ledger.study(StudyId(study_id))
    uid = typed.get("sop_instance_uid", "")
    if uid not in {item.sop_instance_uid for item in house.ledger.instances(study.id)}:
        raise HTTPException(404, "The study has no such film.")
    faults: list[str] = []
    word = _verdict_of(typed, "", uid, person, faults)
    if word is None or faults:
        raise HTTPException(422, " ".join(faults) or "A verdict is missing.")
    house.ledger.say(study.id, word)
    house.ledger.note(person.name, "feedback", word.verdict, study_id=study.id)
    return done(f"/cases/{study_id}/report", "feedback")


@router.get("/feedback.csv")
def feedback_table(request: Request, person: Annotated[Person, Depends(reader)]) -> Response:
    """Return every reader's word beside the networks' as CSV: how a department audits them."""
    house = house_of(request)
    house.ledger.note(person.name, "feedback.exported")
    return csv_file("feedback.csv", _COLUMNS, map(_row, house.ledger.all_feedback()))


def _row(line: Any) -> dict[str, Any]:
    found = json.loads(line["answer_json"] or "{}")
    said = columns_of(found) | figures_of(found)
    told = {f"network_{name}": value for name, value in said.items()}
    return {**line, **told, "network_observations": " ".join(map(_in_short, _observed(found)))}


def _observed(found: Mapping[str, Any]) -> list[Observation]:
    return [Observation.from_json(each) for each in found.get("observations", ())]


def _in_short(said: Observation) -> str:
    """Return an observation for a table: ``network:key=`` the value, number of places or labels."""
    if said.labels:
        told = ",".join(f"{each.key}:{each.probability:.3f}" for each in said.labels)
    elif said.value is None:
        told = f"{len(said.places)}"
    else:
        told = f"{said.value:g}"
    return f"{said.network}:{said.key}={told}"


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


def _told(film: AnalysedFilm, groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {
            "key": group.key,
            "title": group.tracking,
            "in_doubt": group.key == "impression" and bool(film.findings.contradictions),
            "numbers": [
                (number.name.meaning, f"{number.shown} {number.unit.shown}".strip())
                for number in group.numbers
            ],
            "answers": [(name.meaning, answer.meaning) for name, answer in group.evaluations],
            "texts": [text for _, text in group.texts],
        }
        for group in groups
        if not group.parameters
    ]


def _said_by(house: House, study_id: StudyId, person: Person) -> dict[str, Feedback]:
    """Return what a reader said of each film, by SOP Instance UID."""
    return {word.sop_instance_uid: word for word in house.ledger.said(study_id)
            if word.reader == person.name}  # fmt: skip


def _is_known(word: Feedback, before: Mapping[str, Feedback]) -> bool:
    known = before.get(word.sop_instance_uid)
    return known is not None and replace(known, at="") == word


def _fields(
    films: Sequence[Instance], said: Mapping[str, Feedback], reading: ReaderReport | None
) -> dict[str, str]:
    """Return what the fields of the form hold when nobody has typed anything."""
    fields = {"comment": reading.comment if reading else "", **_stamps(said, reading)}
    for item in films:
        word = said.get(item.sop_instance_uid)
        told = asdict(word) | dict(word.numbers) if word else {}
        for name in ("verdict", "finding", *(each.name for each in FIGURES), "comment"):
            value = told.get(name)
            fields[f"{name}-{item.sop_instance_uid}"] = "" if value is None else f"{value}"
    return fields


def _stamps(said: Mapping[str, Feedback], reading: ReaderReport | None) -> dict[str, str]:
    return {"seen": reading.at if reading else "", "said": _latest(said)}


def _latest(said: Mapping[str, Feedback]) -> str:
    return max((word.at for word in said.values()), default="")


def _lines_of(typed: Mapping[str, str], person: Person, faults: list[str]) -> ReaderReport:
    comment, revision = typed.get("comment", ""), typed.get("revision", "")
    if len(comment) > _LONGEST["comment"]:
        faults.append(_too_long("Your comment", comment, _LONGEST["comment"]))
    known = revision.isdecimal() and int(revision) < 2**31
    state = "read" if typed.get("state") == "read" else "draft"
    return ReaderReport(state, comment, person.name, int(revision) if known else 0)


def _verdict_of(
    typed: Mapping[str, str], suffix: str, uid: str, person: Person, faults: list[str]
) -> Feedback | None:
    """Return what was typed of one film, in the fields that end in ``suffix``; None if nothing."""
    names = ("finding", *(each.name for each in FIGURES), "comment")
    words = {name: typed.get(f"{name}{suffix}", "").strip() for name in names}
    verdict = typed.get(f"verdict{suffix}", "")
    if not verdict and not any(words.values()):
        return None
    if verdict not in _VERDICTS:
        faults.append("Say also whether you agree with the answer, disagree, or are unsure.")
    if len(words["comment"]) > _LONGEST["verdict comment"]:
        faults.append(_too_long("What you say of a film", words["comment"],
                                _LONGEST["verdict comment"]))  # fmt: skip
    return Feedback(
        sop_instance_uid=uid,
        reader=person.name,
        verdict=verdict,
        finding=words["finding"] if words["finding"] in FINDING_CLASSES else None,
        numbers=dict(_numbers(words, faults)),
        comment=typed.get(f"comment{suffix}", ""),
    )


def _numbers(words: Mapping[str, str], faults: list[str]) -> Iterator[tuple[str, float]]:
    """Yield the numbers that were typed, by name."""
    for figure in FIGURES:
        value = _within(words[figure.name], figure.most, faults)
        if value is not None:
            yield figure.name, int(value) if figure.is_whole else value


def _too_long(what: str, text: str, most: int) -> str:
    return f"{what} has {len(text):,} characters; {most:,} are kept at most. Shorten it."


def _within(text: str, most: float, faults: list[str]) -> float | None:
    """Return a typed score from 0 to ``most``; None for an empty field, or with a fault."""
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = -1.0
    if 0.0 <= value <= most:
        return value
    faults.append(f"{text!r} is no score from 0 to {most:g}.")
    return None
