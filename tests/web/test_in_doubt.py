"""Cases whose answers contradict each other, in the list, on their page, in the API."""

from __future__ import annotations

import json

import pytest

from dicom_node.findings import FilmFindings
from dicom_node.ledger.cases import CaseQuery
from dicom_node.records import TRIAL_AE
from tests.web.conftest import Site

NORMAL = {"normal": 0.9, "pneumonia": 0.06, "covid19": 0.04}
UNSURE = {"normal": 0.4, "pneumonia": 0.3, "covid19": 0.3}


def receive(site: Site, number: int, probabilities: dict[str, float] | None = None) -> int:
    """Bring a film into the list, with opacities in many zones and these probabilities."""
    case = site.receive(number)
    ledger = site.house.ledger
    (instance,) = ledger.instances(ledger.case(case).study_id)  # type: ignore[arg-type]
    findings = json.loads(str(instance.findings_json))
    findings["sop_instance_uid"] = instance.sop_instance_uid
    # What is in doubt here is the class against the zones alone.
    del findings["opacity"], findings["appearance"]
    if probabilities is not None:
        findings["finding"]["probabilities"] = probabilities
    told = FilmFindings.from_json(findings).to_json_text()
    site.node.reanalyse(site.node.ledger and _film(site, instance.digest), told)
    return case


def _film(site: Site, digest: str):  # type: ignore[no-untyped-def]
    from dicom_node.imaging.header import read_dataset

    return read_dataset(site.house.spool.read(digest))


def test_the_list_marks_a_case_in_doubt_and_finds_it_by_that(site: Site) -> None:
    plain, doubtful = receive(site, 1), receive(site, 2, NORMAL)
    client = site.client()
    rows = client.get("/cases").text
    assert rows.count("In doubt:") == 1
    found = client.get("/cases?finding=in-doubt").text
    assert f'id="case-{doubtful}"' in found
    assert f'id="case-{plain}"' not in found
    assert '<option value="in-doubt" selected>' in found


def test_undetermined_cases_can_be_found(site: Site) -> None:
    plain, unsure = receive(site, 1), receive(site, 2, UNSURE)
    found = site.client().get("/cases?finding=undetermined").text
    assert f'id="case-{unsure}"' in found
    assert f'id="case-{plain}"' not in found


def test_the_case_and_the_report_say_which_answers_contradict(site: Site) -> None:
    case = receive(site, 1, NORMAL)
    client = site.client()
    said = "Answers contradict: Resembles films without a finding (90 %), but Level 2"
    assert said in client.get(f"/cases/{case}").text
    assert said in client.get(f"/cases/{case}/report").text


def test_the_api_says_it_too(site: Site) -> None:
    case = receive(site, 1, NORMAL)
    client = site.client()
    (row,) = client.get("/api/cases?finding=in-doubt").json()["cases"]
    assert row["in_doubt"] is True
    assert row["chance"] == pytest.approx(0.45)
    assert row["peak_in_lungs"] is True
    (film,) = client.get(f"/api/cases/{case}/findings").json()
    assert ["finding", "airspace.level"] in film["contradictions"]


def test_in_the_lungs_stands_beside_what_chance_would_give(site: Site) -> None:
    case = receive(site, 1)
    client = site.client()
    assert "1.9 ×" in client.get("/cases").text
    assert "1.9 times what chance would give (45 %)" in client.get(f"/cases/{case}").text


def test_the_case_page_names_the_view_and_the_accession(site: Site) -> None:
    case = site.receive(1, AccessionNumber="A00017")
    page = site.client().get(f"/cases/{case}").text
    assert "view PA" in page
    assert "A00017" in page


def test_a_film_on_which_nothing_was_found_has_no_contour_in_the_viewer(site: Site) -> None:
    found, nothing = receive(site, 1), receive(site, 2, NORMAL)
    client = site.client()
    for case, drawn in ((found, True), (nothing, False)):
        (film,) = site.house.ledger.instances(site.house.ledger.case(case).study_id)  # type: ignore[arg-type]
        first = client.get(f"/films/{film.id}/film.json").json()["maps"][0]
        assert (bool(first["contours"]), first["drawn"]) == (drawn, drawn)


def test_the_node_s_own_trials_are_in_no_list_and_no_statistics(site: Site) -> None:
    case = site.receive(1)
    ledger = site.house.ledger
    with ledger._connection.transaction() as connection:
        connection.run("update cases set sender = :name", name=TRIAL_AE)
    assert ledger.cases(CaseQuery()).cases == ()
    assert list(ledger.scores_since("2000-01-01")) == []
    (row,) = ledger.cases(CaseQuery(sender=TRIAL_AE)).cases
    assert int(row.study_id) == case
