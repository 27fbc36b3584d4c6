"""QIDO-RS: searches for studies, series and instances (PS3.18 section 10.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from dicom_node.ledger.cases import CaseQuery, CaseRow
from dicom_node.records import StudyId
from dicom_node.results.facts import INSTANCE, SERIES, STUDY
from dicom_node.web import archive
from dicom_node.web.accept import Offer, chosen
from dicom_node.web.addresses import base_of
from dicom_node.web.dicomweb import Place, place_of, study_of
from dicom_node.web.house import House
from dicom_node.web.matching import MatchingKey, Search, search_of
from dicom_node.web.security import Person, house_of, reader
from dicom_node.web.trail import seen

router = APIRouter(prefix="/dicom-web")

_JSON = "application/dicom+json"
_PAGE = 200
_READ = 2000
"""So many studies at most are opened for one search: keys that the ledger does not hold need it."""

_OF_CASE = {
    "PatientName": "patient_name", "PatientID": "patient_id", "PatientSex": "patient_sex",
    "PatientBirthDate": "patient_birth_date", "AccessionNumber": "accession_number",
    "StudyDate": "study_date", "StudyDescription": "study_description",
    "StudyInstanceUID": "study_instance_uid",
}  # fmt: skip
"""Keys that the ledger holds, by its column: what they rule out is not opened."""

_BEGINNINGS = re.compile(r"(?:^|(?<=[\s^=,.'-]))[^\W_]+")
"""Of a name with wildcards, what must be the beginning of a word of whoever is meant: all that the
ledger's index can be asked. What follows a wildcard may stand within a word."""

T = TypeVar("T")
QidoQuery = Annotated[Search, Depends(search_of)]


@router.get("/studies")
def search_studies(
    request: Request, search: QidoQuery, person: Annotated[Person, Depends(reader)]
) -> Response:
    """Search for studies."""
    house = house_of(request)
    keys = search.only((*STUDY, "ModalitiesInStudy"))
    found = list(_studies(house, search, keys, base_of(request)))
    if len(found) > search.limit:
        search.more(None)
        found = found[: search.limit]
    seen(request, person.name, "dicomweb.found", *(study_id for study_id, _ in found))
    return _answer(request, search, [document for _, document in found])


@router.get("/studies/{study}/series")
def search_series(
    request: Request,
    search: QidoQuery,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
) -> Response:
    """Search for the series of a study."""
    house, base = house_of(request), base_of(request)
    study_id = study_of(house, place.study)
    keys = search.only((*SERIES, "StudyInstanceUID"))
    every = archive.series_json(
        house, place.study, archive.kept(house, study_id), base, search.fields
    )
    found = _page(search, [each for each in every if _match(keys, each)])
    if found:
        seen(request, person.name, "dicomweb.found", study_id)
    return _answer(request, search, found)


@router.get("/studies/{study}/instances")
@router.get("/studies/{study}/series/{series}/instances")
def search_instances(
    request: Request,
    search: QidoQuery,
    place: Annotated[Place, Depends(place_of)],
    person: Annotated[Person, Depends(reader)],
) -> Response:
    """Search for the instances of a study, or of a series."""
    house, base = house_of(request), base_of(request)
    study_id = study_of(house, place.study)
    keys = search.only((*INSTANCE, "StudyInstanceUID", "SeriesInstanceUID"))
    items = archive.chosen(archive.kept(house, study_id), place.series, None)
    # Without a key to match, only what is shown is looked at.
    looked_at = items if keys else _page(search, items)
    found = list(archive.instances_json(house, place.study, looked_at, base, search.fields))
    if keys:
        found = _page(search, [each for each in found if _match(keys, each)])
    if found:
        seen(request, person.name, "dicomweb.found", study_id)
    return _answer(request, search, found)


def _studies(
    house: House, search: Search, keys: Sequence[MatchingKey], base: str
) -> Iterator[tuple[StudyId, dict[str, Any]]]:
    """Yield the studies that match, from the offset on, one more than the limit."""
    skipped = yielded = opened = 0
    unread = [key for key in keys if key.keyword not in _OF_CASE]
    for case in _cases(house, search, keys):
        if not unread and skipped < search.offset:
            skipped += 1
            continue
        if opened >= _READ + search.limit:
            search.warnings.append(
                f"Only the latest {opened} studies that the other keys leave were looked at"
            )
            return
        opened += 1
        document = archive.study_json(house, case, base, search.fields)
        if document is None or not _match(unread, document):
            continue
        if skipped < search.offset:
            skipped += 1
            continue
        yield case.study_id, document
        yielded += 1
        if yielded > search.limit:
            return


def _cases(house: House, search: Search, keys: Sequence[MatchingKey]) -> Iterator[CaseRow]:
    known = [key for key in keys if key.keyword in _OF_CASE]
    for first in _queries(search):
        query = first
        while True:
            found = house.ledger.cases(query)
            if found.is_partial:
                search.warnings.append(
                    "The name has very many hits: only the latest were looked at"
                )
            yield from (case for case in found.cases if _is_meant(known, case))
            if found.after is None:
                break
            query = replace(query, after=found.after)


def _queries(search: Search) -> Iterator[CaseQuery]:
    """Yield what the ledger is asked: of each UID of a list by itself, as its index has them."""
    name, dates = search.key("PatientName"), search.key("StudyDate")
    first, dash, last = (dates.exact if dates else "").partition("-")
    exact = {keyword: key.exact for keyword in ("PatientID", "AccessionNumber")
             if (key := search.key(keyword))}  # fmt: skip
    query = CaseQuery(
        words=" ".join(_BEGINNINGS.findall(name.values[0])) if name and not name.values[1:] else "",
        patient_id=exact.get("PatientID", ""),
        accession_number=exact.get("AccessionNumber", ""),
        since=first.strip(),
        until=last.strip() if dash else first.strip(),
        limit=_PAGE,
    )
    uids = search.key("StudyInstanceUID")
    for uid in dict.fromkeys(uids.values if uids else ("",)):
        yield replace(query, study_instance_uid=uid)


def _is_meant(keys: Sequence[MatchingKey], case: CaseRow) -> bool:
    return all(key.means([str(getattr(case, _OF_CASE[key.keyword]))]) for key in keys)


def _match(keys: Sequence[MatchingKey], document: dict[str, Any]) -> bool:
    return all(key.matches(document) for key in keys)


def _page(search: Search, found: Sequence[T]) -> list[T]:
    """Return the part that is asked for; tell how many are behind it."""
    end = search.offset + search.limit
    if left := len(found[end:]):
        search.more(left)
    return list(found[search.offset : end])


def _answer(request: Request, search: Search, document: list[dict[str, Any]]) -> Response:
    chosen(request, Offer(_JSON), Offer("application/json"))
    return JSONResponse(document, media_type=_JSON, headers=search.headers(base_of(request)))
