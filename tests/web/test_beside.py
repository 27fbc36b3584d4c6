"""Opacity or not and the COVID-19 appearance in the list of cases, on a case, in the API."""

from __future__ import annotations

import json

import pytest

from dicom_node.chest import Appearance, OpacityPresence
from dicom_node.findings import FilmFindings
from tests.chest_kit import answering
from tests.web.conftest import Site


def receive(site: Site, number: int, opacity: float | None, named: str = "typical") -> int:
    """Bring a film into the list; ``opacity`` None: of a network of the first edition."""

    from dicom_node.imaging.header import read_dataset

    case = site.receive(number)
    ledger = site.house.ledger
    (instance,) = ledger.instances(ledger.case(case).study_id)  # type: ignore[arg-type]
    found = FilmFindings.from_json(json.loads(str(instance.findings_json)))
    rest = dict.fromkeys(("typical", "indeterminate", "atypical", "negative"), 0.04)
    found = answering(
        found,
        sop_instance_uid=instance.sop_instance_uid,
        opacity=None if opacity is None else OpacityPresence(opacity, 0.5, calibrated=True),
        appearance=None
        if opacity is None
        else Appearance(rest | {named: 0.88}, 0.45, calibrated=True),
    )
    film = read_dataset(site.house.spool.read(instance.digest))
    site.node.reanalyse(film, found.to_json_text())
    return case


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("opacity", {1, 2}), ("no-opacity", {3}), ("typical", {1}), ("atypical", {2, 3}),
     ("indeterminate", set())],
)  # fmt: skip
def test_cases_are_found_by_opacity_and_by_appearance(
    site: Site, wanted: str, found: set[int]
) -> None:
    cases = {
        1: receive(site, 1, 0.93), 2: receive(site, 2, 0.5, "atypical"),
        3: receive(site, 3, 0.2, "atypical"), 4: receive(site, 4, None),
    }  # fmt: skip
    page = site.client().get(f"/cases?finding={wanted}").text
    assert {number for number, case in cases.items() if f'id="case-{case}"' in page} == found
    assert f'<option value="{wanted}" selected>' in page


def test_the_list_and_the_case_say_both(site: Site) -> None:
    case = receive(site, 1, 0.93)
    client = site.client()
    rows = client.get("/cases").text
    assert "opacity: yes" in rows
    assert "appearance: typical" in rows
    assert "COVID-19 appearance, not a diagnosis" in rows
    page = client.get(f"/cases/{case}").text
    assert "Opacity: yes (93 %; threshold 50 %)" in page
    assert "COVID-19 appearance: typical (88 %), not a diagnosis" in page
    assert "Opacity: yes (93 %; threshold 50 %)" in client.get(f"/cases/{case}/report").text


def test_a_case_of_the_first_edition_says_neither(site: Site) -> None:
    case = receive(site, 1, None)
    client = site.client()
    assert "opacity: " not in client.get("/cases").text.partition("<tbody>")[2]
    assert "COVID-19 appearance" not in client.get(f"/cases/{case}").text
    (row,) = client.get("/api/cases").json()["cases"]
    assert (row["opacity"], row["appearance"]) == (None, None)


def test_the_api_says_both(site: Site) -> None:
    case = receive(site, 1, 0.2, "negative")
    client = site.client()
    (row,) = client.get("/api/cases?finding=no-opacity").json()["cases"]
    assert row["opacity"] is False
    assert row["opacity_probability"] == pytest.approx(0.2)
    assert row["appearance"] == "negative"
    assert row["appearance_probability"] == pytest.approx(0.88)
    (film,) = client.get(f"/api/cases/{case}/findings").json()
    assert film["opacity"]["present"] is False
    assert ["opacity", "finding"] in film["contradictions"]
