"""What readers and PACS admins find on the pages."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pypdf
import pytest
from PIL import Image

from dicom_node.bundles.declared import Eats
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import casebook
from dicom_node.ledger.cases import CaseQuery
from dicom_node.line.health import ToldAlarm
from dicom_node.records import BY_HAND, ROLES, DeliveryState
from dicom_node.results.preview import preview_film
from dicom_node.results.regions import places_of
from dicom_node.results.report import groups_of_study
from dicom_node.settings import load_configuration
from tests.web.conftest import PASSWORD, Site, csrf_of, post

REVISION = re.compile(r'name="revision" value="(\d+)"')
FIELD = re.compile(r'<input name="(\w+)" value="([^"]*)"')
PRIOR = re.compile(r'class="viewer prior" data-film="(\d+)"')


def film_file(tmp_path: Path, **changes: str) -> Path:
    dataset = phantom_dataset(opacities={"right_lower": 0.8}, rows=256, columns=256)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    path = tmp_path / "film.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


# the case list


def test_a_case_shows_patient_finding_severity_evidence_and_sender(site: Site) -> None:
    site.receive(1, PatientName="DOE^JANE", AccessionNumber="A17")
    page = site.client("reader").get("/cases").text
    for shown in ("DOE, JANE", "A17", "COVID-19 pneumonia", "83 %", "PACS", "analysed"):
        assert shown in page


def test_a_name_with_a_script_in_it_is_shown_as_text(site: Site) -> None:
    case = site.receive(1, PatientName="<script>alert(1)</script>", PatientID='"><img src=x>')
    client = site.client("reader")
    for path in ("/cases", f"/cases/{case}", f"/cases/{case}/report"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x>" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_corrected_name_replaces_the_old_one(site: Site) -> None:
    site.receive(1, PatientName="DOE^JANE")
    site.receive(2, StudyInstanceUID="1.2.4.1", PatientName="ROE^JANE")
    (case,) = site.house.ledger.cases(CaseQuery()).cases
    assert case.patient_name == "ROE^JANE"
    assert site.house.ledger.cases(CaseQuery(words="doe")).cases == ()


@pytest.mark.parametrize(
    ("words", "found"),
    [("doe", 1), ("DOE JA", 1), ("a17", 1), ("4711", 2), ("nobody", 0), ('"', 0), ("1.2.4.2", 1)],
)
def test_cases_are_found_by_beginnings_of_words_and_by_uid(
    site: Site, words: str, found: int
) -> None:
    site.receive(1, PatientName="DOE^JANE", AccessionNumber="A17")
    site.receive(2, PatientName="ROE^RICHARD", AccessionNumber="B18")
    assert len(site.house.ledger.cases(CaseQuery(words=words)).cases) == found


def test_filters_stand_in_the_address(site: Site) -> None:
    site.receive(1, PatientName="DOE^JANE", StudyDate="20200101")
    site.receive(2, "declined", reason="view position LATERAL is not frontal")
    client = site.client("reader")
    declined = client.get("/cases?outcome=declined").text
    assert "LATERAL is not frontal" in declined
    assert "DOE" not in declined
    assert "DOE" in client.get("/cases?finding=covid19&since=2019-12-31&until=2020-01-02").text
    assert "DOE" not in client.get("/cases?since=2020-01-02").text
    assert client.get("/cases?since=yesterday").status_code == 422


def test_pages_of_the_list_hold_every_case_once(site: Site) -> None:
    for number in range(1, 8):
        site.receive(number)
    for order in ("received", "severity", "study_date"):
        query, seen = CaseQuery(limit=3, order=order), []  # type: ignore[arg-type]
        while True:
            page = site.house.ledger.cases(query)
            seen += [case.study_id for case in page.cases]
            if page.after is None:
                break
            query = replace(query, after=page.after)
        assert sorted(seen) == list(range(1, 8)), order


def test_pages_by_study_date_go_on_behind_films_without_a_date(site: Site) -> None:
    for number in range(1, 6):
        site.receive(number, StudyDate="20200101" if number == 5 else "")
    client = site.client("reader")
    address, seen = "/cases?order=study_date&limit=2", []
    while address and len(seen) < 10:
        page = client.get(address).text
        seen += re.findall(r'<td><a [^>]*href="/cases/(\d+)"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = html.unescape(following[1]) + "&limit=2" if following else ""
    assert seen == ["5", "4", "3", "2", "1"]
    answer = client.get("/api/cases?order=study_date&limit=2").json()
    behind = {"after": answer["after"], "after_id": answer["after_id"]}
    rest = client.get("/api/cases?order=study_date", params=behind | {"order": "study_date"}).json()
    assert [case["study_id"] for case in rest["cases"]] == [3, 2, 1]


def test_a_broad_search_finds_the_latest_and_says_that_it_looks_at_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casebook, "MATCHES", 2)
    for number in range(1, 4):
        site.receive(number, PatientName="DOE^JANE")
    found = site.house.ledger.cases(CaseQuery(words="doe"))
    assert [case.study_id for case in found.cases] == [3, 2]
    client = site.client("reader")
    assert "only the latest" in client.get("/cases?words=doe").text
    assert "only the latest" not in client.get("/cases").text


def test_severe_cases_come_first_where_that_is_asked(site: Site) -> None:
    site.receive(1)
    site.receive(2, "declined", reason="a hand")
    first, last = site.house.ledger.cases(CaseQuery(order="severity")).cases
    assert (first.study_id, last.severity) == (1, -1.0)


def test_the_list_asks_for_its_rows_alone(site: Site) -> None:
    site.receive(1)
    rows = site.client("reader").get("/cases", headers={"HX-Request": "true"}).text
    assert "<table" in rows
    assert "<html" not in rows


def test_what_is_focused_in_a_part_that_refreshes_itself_has_an_id_of_its_own(site: Site) -> None:
    client, partly = site.client("operator"), {"HX-Request": "true"}
    parts = [client.get("/cases", headers=partly).text]
    for number in range(1, 4):
        site.receive(number)
    for called in ("DICOMNODE", "OTHER"):
        site.house.ledger.refused("CR 7'\"", called, "10.0.0.9", "calling AE title is not known")
    parts += [client.get(path, headers=partly).text for path in ("/cases?limit=2", "/remotes")]
    for part in parts:
        focusable = re.findall(r"<(?:a|button|input|select|textarea|summary)\b[^>]*>", part)
        ids = [re.search(r' id="([^" ]+)"', tag) for tag in focusable]
        assert focusable
        assert None not in ids
        assert len({found[1] for found in ids if found}) == len(focusable)


# why there is no result


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("declined", "body part HAND is not chest", "declined: body part HAND is not chest"),
        ("failed", "The object ends within Pixel Data.", "failed: The object ends within Pixel"),
    ],
)
def test_a_film_without_findings_tells_why(site: Site, state: str, reason: str, told: str) -> None:
    case = site.receive(1, state, reason=reason)
    assert told in site.client("reader").get(f"/cases/{case}").text


def test_an_undetermined_case_says_why_no_class_is_named(site: Site) -> None:
    case = site.receive(1, report=True)
    site.node.deliver()
    ledger = site.house.ledger
    ledger._connection.run("update cases set abstained = 1")
    page = site.client("reader").get(f"/cases/{case}").text
    assert "no class reaches the threshold" in page
    assert "Undetermined" in page


@pytest.mark.parametrize(
    ("state", "reported", "otherwise", "roles"),
    [
        ("received", False, "The film is being analysed.", ("intake", "analyse", "report")),
        ("analysed", False, "The study is not complete yet", ("intake", "analyse", "report")),
        ("analysed", True, "The result is on its way", ("deliver",)),
    ],
)
def test_a_film_that_waits_for_a_sick_role_says_so(
    site: Site, state: str, *, reported: bool, otherwise: str, roles: tuple[str, ...]
) -> None:
    case = site.receive(1, state, report=reported)
    client = site.client("reader")
    assert otherwise in client.get(f"/cases/{case}").text
    site.doors.well = False
    for site.doors.sick in ROLES:
        assert "The node is not well" in client.get("/cases").text
        told = f"waits for the role {site.doors.sick}, which is not well: no sign of life."
        assert (told in client.get(f"/cases/{case}").text) == (site.doors.sick in roles)


def test_a_result_that_waits_for_approval_is_sent_by_a_person(site: Site) -> None:
    _keep(site, release="approve")
    case = site.receive(1, report=True)
    client = site.client("operator")
    assert "wants approval" in client.get(f"/cases/{case}").text
    assert site.house.ledger.claim_deliveries("deliver", 60, 10) == []
    assert site.house.ledger.unfinished() == 0
    post(client, f"/cases/{case}/release")
    sent = site.house.ledger.claim_deliveries("deliver", 60, 10)
    assert {str(item.kind) for item in sent} == {"sr", "capture"}


def test_what_an_ae_gets_in_shadow_never_leaves_by_itself(site: Site) -> None:
    _keep(site, release="shadow")
    site.receive(1, report=True)
    assert site.house.ledger.claim_deliveries("deliver", 60, 10) == []
    assert site.house.ledger.expire_deliveries() == []
    assert site.house.ledger.counts()["deliveries.held"] == 2
    assert [each.study_instance_uid for each in site.house.ledger.removable(0.0)] == ["1.2.4.1"]


def test_what_is_kept_in_shadow_is_sent_by_no_button_and_no_program(site: Site) -> None:
    _keep(site, release="shadow")
    case = site.receive(1, report=True)
    client, ledger = site.client("operator"), site.house.ledger
    for page in (f"/cases/{case}", "/outbox"):
        assert "held (shadow)" in client.get(page).text
        assert "Approve and send" not in client.get(page).text
    post(client, f"/cases/{case}/release")
    delivery = ledger.deliveries()[0]
    refused = post(client, f"/outbox/{delivery.id}/send")
    assert refused.status_code == 409  # type: ignore[attr-defined]
    assert "Set another `release`" in refused.text  # type: ignore[attr-defined]
    asked = client.post(f"/api/deliveries/{delivery.id}/send", auth=("operator", PASSWORD))
    assert asked.status_code == 409
    assert ledger.claim_deliveries("deliver", 60, 10) == []
    assert {item.held for item in ledger.deliveries()} == {"shadow"}


def test_releasing_a_case_sends_what_was_to_be_approved_and_leaves_what_is_in_shadow(
    site: Site,
) -> None:
    _keep(site, ae_title="ARCHIVE", is_new="yes", port="104", release="shadow")
    _keep(site, release="approve", results_to="PACS, ARCHIVE")
    case = site.receive(1, report=True)
    client = site.client("operator")
    assert "Approve and send" in client.get(f"/cases/{case}").text
    post(client, f"/cases/{case}/release")
    sent = site.house.ledger.claim_deliveries("deliver", 60, 10)
    assert {item.destination for item in sent} == {"PACS"}
    assert site.house.ledger.counts()["deliveries.held"] == 2


def test_retracting_asks_the_doors_with_reason_and_name(site: Site) -> None:
    case = site.receive(1, report=True)
    post(site.client("operator"), f"/cases/{case}/retract", reason="patient-safety")
    assert site.doors.retracted == [(case, "patient-safety", "operator")]


# films


def test_a_film_comes_in_full_depth_with_everything_that_lies_over_it(site: Site) -> None:
    site.receive(1)
    client = site.client("reader")
    about = client.get("/films/1/film.json").json()
    source = preview_film().dataset
    values = np.frombuffer(client.get("/films/1/pixels").content, "<u2")
    shape = (about["rows"], about["columns"])
    assert np.array_equal(values.reshape(shape), source.pixel_array)
    assert {each["network"] for each in about["maps"]} > {"covidnet-lite"}
    assert len(about["parts"]) == 6
    assert set(about["lungs"]) == {"right", "left"}
    for line in about["lungs"].values():
        assert np.asarray(line).min() >= 0
        assert np.asarray(line).max() <= max(shape)


def test_a_small_picture_is_drawn_once_though_no_browser_keeps_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = site.receive(1)
    drawn: list[object] = []

    def draw(*arguments: object) -> Image.Image:
        drawn.append(arguments)
        return Image.new("L", (200, 100), 128)

    monkeypatch.setattr("dicom_node.web.pages.films.grey_picture", draw)
    client = site.client("reader")
    shown = {client.get(f"/cases/{case}/thumbnail.jpg").content for _ in range(3)}
    assert len(shown) == 1
    assert len(drawn) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"RescaleSlope": b"x "}, {"RescaleIntercept": b"nan "}, {"WindowCenter": b"inf "},
        {"WindowWidth": b"a\\b "}, {"InstanceNumber": b"abc "},
    ],
    ids=lambda values: next(iter(values)),
)  # fmt: skip
def test_a_film_with_an_odd_value_is_shown_all_the_same(
    site: Site, values: dict[str, bytes]
) -> None:
    _, film = site.receive_odd(1, **values)
    client = site.client("reader")
    about = client.get(f"/films/{film}/film.json")
    assert about.status_code == 200
    assert about.json()["window"]["width"] > 1
    assert client.get(f"/films/{film}/pixels").status_code == 200


def test_the_list_has_a_small_picture_of_each_film(site: Site) -> None:
    case = site.receive(1)
    answer = site.client("reader").get(f"/cases/{case}/thumbnail.jpg")
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 112


# the report


@pytest.mark.parametrize("template", ["chest-radiograph-measurement-report", ""])
def test_the_report_says_what_the_structured_report_says(site: Site, template: str) -> None:
    case = site.receive(1)
    page = site.client("reader").get(f"/cases/{case}/report?template={template}").text
    ((_, film),) = site.house.films_of(case)  # type: ignore[arg-type]
    context = site.house.context(
        site.house.ledger.study(case),
        [film],
        site.house.template(),  # type: ignore[arg-type]
    )
    (groups,) = groups_of_study([(film, places_of(film))], context)
    for group in groups[:-1]:
        assert group.tracking in page
        for number in group.numbers:
            assert f"{number.shown} {number.unit.shown}".strip() in page
    assert "FOR RESEARCH USE ONLY" in page
    assert groups[-1].tracking not in page, "what the algorithms ran with is for programs"


def test_the_report_is_there_in_the_other_language(site: Site) -> None:
    case = site.receive(1)
    (german,) = [name for name in site.house.template_names if name.endswith("de")]
    page = site.client("reader").get(f"/cases/{case}/report?template={german}").text
    assert 'lang="de' in page
    assert "NUR ZU FORSCHUNGSZWECKEN" in page


def test_the_pdf_is_the_patients_report(site: Site) -> None:
    case = site.receive(1, PatientName="DOE^JANE")
    answer = site.client("reader").get(f"/cases/{case}/report.pdf")
    text = pypdf.PdfReader(io.BytesIO(answer.content)).pages[0].extract_text()
    assert "DOE JANE" in text
    assert "COVID-19 pneumonia" in text


def test_a_reader_keeps_a_draft_and_then_marks_it_read(site: Site) -> None:
    case = site.receive(1)
    client = site.client("reader")
    for state in ("draft", "read"):
        post(
            client, f"/cases/{case}/reading", state=state, comment="Effusion on the left.",
            revision="0",
        )  # fmt: skip
        kept = site.house.ledger.reading(case)  # type: ignore[arg-type]
        assert kept is not None
        assert (kept.state, kept.reader, kept.comment) == (state, "reader", "Effusion on the left.")
    assert site.house.ledger.cases(CaseQuery(reading="read")).cases[0].study_id == case


def test_a_newer_report_is_to_be_read_again_and_tells_who_read_the_earlier(site: Site) -> None:
    case = site.receive(1, report=True)
    client = site.client("reader")
    (shown,) = REVISION.findall(client.get(f"/cases/{case}/report").text)
    post(client, f"/cases/{case}/reading", state="read", revision=shown, comment="Effusion.")
    assert len(site.house.ledger.cases(CaseQuery(reading="read")).cases) == 1
    site.receive(2, report=True, StudyInstanceUID="1.2.4.1")
    assert "earlier report read by reader" in client.get("/cases").text
    assert "an earlier report was read by reader" in client.get(f"/cases/{case}").text
    report = client.get(f"/cases/{case}/report").text
    assert "This one was read by nobody" in report
    assert "Effusion." in report
    assert site.house.ledger.cases(CaseQuery(reading="read")).cases == ()
    # Somebody who still has the earlier report on the screen has not read this one.
    post(client, f"/cases/{case}/reading", state="read", revision=shown)
    assert site.house.ledger.case(case).reading == "draft"  # type: ignore[arg-type]
    post(client, f"/cases/{case}/reading", state="read", revision=REVISION.findall(report)[0])
    assert site.house.ledger.case(case).reading == "read"  # type: ignore[arg-type]
    assert "earlier report" not in client.get("/cases").text


def test_feedback_is_exported_beside_what_the_networks_said(site: Site) -> None:
    case = site.receive(1, PatientName="CANARY^YELLOW")
    client = site.client("reader")
    post(
        client, f"/cases/{case}/feedback", sop_instance_uid="1.2.3.1", verdict="disagrees",
        finding="pneumonia", geographic_extent="3,5", comment="=1+1",
    )  # fmt: skip
    table = client.get("/feedback.csv").text
    (row,) = csv.DictReader(io.StringIO(table))
    assert (row["verdict"], row["finding"], row["geographic_extent"]) == (
        "disagrees", "pneumonia", "3.5",
    )  # fmt: skip
    assert row["network_finding"] == "covid19"
    assert row["comment"] == "'=1+1"
    assert "CANARY" not in table


def test_feedback_outlives_the_study_that_retention_removes(site: Site) -> None:
    case = site.receive(1, report=True)
    client = site.client("reader")
    post(client, f"/cases/{case}/feedback", sop_instance_uid="1.2.3.1", verdict="agrees")
    ledger = site.house.ledger
    site.node.deliver()
    assert ledger.forget(case)  # type: ignore[arg-type]
    assert ledger.cases(CaseQuery()).cases == ()
    (row,) = csv.DictReader(io.StringIO(client.get("/feedback.csv").text))
    assert (row["verdict"], row["network_finding"]) == ("agrees", "covid19")


@pytest.mark.parametrize("score", ["9", "-1", "much", "nan"])
def test_a_score_out_of_range_is_refused(site: Site, score: str) -> None:
    case = site.receive(1)
    answer = post(
        site.client("reader"), f"/cases/{case}/feedback", sop_instance_uid="1.2.3.1",
        verdict="agrees", geographic_extent=score,
    )  # fmt: skip
    assert answer.status_code == 422  # type: ignore[attr-defined]


# by hand


@pytest.mark.parametrize("kind", ["dcm", "png", "jpg"])
def test_a_dropped_film_becomes_a_case_of_its_own(site: Site, tmp_path: Path, kind: str) -> None:
    source = film_file(tmp_path)
    path = source
    if kind != "dcm":
        path = tmp_path / f"film.{kind}"
        pixels = pydicom.dcmread(source).pixel_array
        Image.fromarray((pixels >> 8).astype(np.uint8)).save(path)
    client = site.client("reader")
    answer = client.post(
        "/by-hand", data={"csrf": csrf_of(client)}, files={"file": (path.name, path.read_bytes())},
        follow_redirects=False,
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    (instance,) = site.house.ledger.instances(1)  # type: ignore[arg-type]
    assert instance.study_instance_uid != pydicom.dcmread(source).StudyInstanceUID
    assert site.house.ledger.origins(instance.study_id) == [BY_HAND]
    assert site.house.spool.read(instance.digest)[:132] == bytes(128) + b"DICM"


def test_two_pictures_by_hand_are_never_one_patient(site: Site, tmp_path: Path) -> None:
    client = site.client("reader")
    for grey in (10, 200):
        path = tmp_path / f"{grey}.png"
        Image.fromarray(np.linspace(0, grey, 4096, dtype=np.uint8).reshape(64, 64)).save(path)
        client.post(
            "/by-hand", data={"csrf": csrf_of(client)},
            files={"file": (path.name, path.read_bytes())},
        )  # fmt: skip
    ids = {
        pydicom.dcmread(site.house.spool.path(item.digest)).PatientID
        for study in site.house.ledger.studies()
        for item in site.house.ledger.instances(study.id)
    }
    assert len(ids) == 2


def test_a_file_that_is_no_film_is_refused_with_what_to_do(site: Site) -> None:
    client = site.client("reader")
    answer = client.post(
        "/by-hand", data={"csrf": csrf_of(client)}, files={"file": ("notes.txt", b"no film")}
    )
    assert answer.status_code == 422
    assert "neither DICOM, nor PNG, nor JPEG" in answer.text
    assert site.house.ledger.studies() == []


# AEs


def _keep(site: Site, **values: str) -> object:
    form = {"ae_title": "PACS", "host": "127.0.0.1", "port": "11113", "viewer": "generic",
            "release": "at-once", "may_send": "on"} | values  # fmt: skip
    return post(site.client("operator"), "/remotes/keep", **form)


def test_a_changed_ae_keeps_the_comments_of_its_file(site: Site) -> None:
    _keep(site, port="104")
    text = (site.house.configuration.remotes_path / "pacs.toml").read_text("utf-8")
    assert "# The archive of the house." in text
    assert "# as it calls" in text
    assert site.house.remotes()["PACS"].port == 104
    assert load_configuration(site.house.configuration.folder).remotes["PACS"].port == 104


def test_a_fault_is_named_by_key_and_nothing_is_written(site: Site) -> None:
    path = site.house.configuration.remotes_path / "pacs.toml"
    before = path.read_text("utf-8")
    for wrong, told in (
        ({"port": "70000"}, "port"),
        ({"results_to": "NOWHERE"}, "results_to"),
        ({"addresses": "10.0.0.0/99"}, "addresses"),
        ({"ae_title": "NEW", "is_new": "yes", "host": "", "port": ""}, "results would go nowhere"),
    ):
        answer = _keep(site, **wrong)
        assert answer.status_code == 422  # type: ignore[attr-defined]
        assert told in answer.text  # type: ignore[attr-defined]
    assert path.read_text("utf-8") == before
    assert [*site.house.remotes()] == ["PACS"]


def test_a_refused_ae_is_allowed_in_two_clicks(site: Site) -> None:
    site.house.ledger.refused("CR7", "DICOMNODE", "10.0.0.9", "calling AE title is not known")
    client = site.client("operator")
    assert "/remotes/new?ae_title=CR7&amp;host=10.0.0.9" in client.get("/remotes").text
    form = client.get("/remotes/new?ae_title=CR7&host=10.0.0.9").text
    assert 'value="10.0.0.9/32"' in form
    _keep(site, ae_title="CR7", is_new="yes", host="10.0.0.9", port="104")
    assert "CR7" in site.house.remotes()
    assert "Allow it?" not in client.get("/remotes").text
    assert ("operator", "remote.added") in [
        (line.who, line.what) for line in site.house.ledger.audit()
    ]


def test_ae_titles_with_spaces_and_slashes_are_edited_and_kept(site: Site) -> None:
    for ae_title in ("MY PACS", "CR/1", "..", "A&B?C#%"):
        _keep(site, ae_title=ae_title, is_new="yes", host="10.0.0.9", port="104")
    _keep(site, results_to="MY PACS, CR/1")
    assert site.house.remotes()["PACS"].results_to == ("MY PACS", "CR/1")
    client = site.client("operator")
    links = re.findall(r'href="(/remotes/edit[^"]*)"', client.get("/remotes").text)
    assert len(links) == 5
    forms = [client.get(html.unescape(link)).text for link in links]
    titles = [re.search(r'name="ae_title" value="([^"]*)"', form) for form in forms]
    shown = [html.unescape(found[1]) for found in titles if found]
    assert shown == list(site.house.remotes())
    # What the form shows, sent back unchanged, changes nothing.
    before = dict(site.house.remotes())
    given = FIELD.findall(next(form for form in forms if 'value="PACS"' in form))
    assert ("results_to", "MY PACS, CR/1") in given
    assert _keep(site, **dict(given)).status_code == 200  # type: ignore[attr-defined]
    assert dict(site.house.remotes()) == before


def test_an_echo_tells_the_answer_or_what_to_do(site: Site) -> None:
    client = site.client("operator")
    assert "PACS answers" in post(client, "/remotes/echo", ae_title="PACS").text  # type: ignore[attr-defined]
    site.doors.answers = False
    told = post(client, "/remotes/echo", ae_title="PACS").text  # type: ignore[attr-defined]
    assert "cannot be reached" in told


def test_a_dry_run_tells_what_would_become_of_a_film(site: Site, tmp_path: Path) -> None:
    client = site.client("reader")

    def tried(path: Path, sender: str) -> str:
        return client.post(
            "/remotes/dry-run", data={"csrf": csrf_of(client), "sender": sender},
            files={"file": (path.name, path.read_bytes())},
        ).text  # fmt: skip

    told = tried(film_file(tmp_path), "PACS")
    assert "Admitted" in told
    assert "To PACS" in told
    assert "comprehensive" in told
    assert "not chest" in tried(film_file(tmp_path, BodyPartExamined="HAND"), "PACS")
    assert "sent to nobody" in tried(film_file(tmp_path), "")
    assert site.house.ledger.studies() == []


def test_a_dry_run_tells_who_would_be_asked_about_a_film_and_who_not(
    site: Site, tmp_path: Path
) -> None:
    pixels = {"rows": 32, "columns": 32}
    eats = {
        "nodules": Eats.model_validate({"body_parts": ["CHEST"], "pixels": pixels}),
        "bone-age": Eats.model_validate({"body_parts": ["HAND"], "pixels": pixels}),
    }
    menu = site.house.menu
    site.house = replace(site.house, menu=replace(menu, suite=(*menu.suite, *eats), eats=eats))
    client = site.client("reader")

    def tried(**changes: str) -> str:
        return client.post(
            "/remotes/dry-run", data={"csrf": csrf_of(client), "sender": "PACS"},
            files={"file": ("film.dcm", film_file(tmp_path, **changes).read_bytes())},
        ).text  # fmt: skip

    chest, hand = tried(), tried(BodyPartExamined="HAND")
    assert "(view PA). Also nodules is asked about it. Not asked: bone-age: body part" in chest
    assert "By its header (view PA) bone-age is asked about it. Not asked: chest suite: " in hand
    foot = tried(BodyPartExamined="FOOT")
    assert "chest suite, nodules: body part FOOT is not chest; bone-age: body part FOOT" in foot


def test_a_dry_run_tells_what_the_file_of_the_sender_says(site: Site, tmp_path: Path) -> None:
    _keep(site, ae_title="QUIET", is_new="yes", may_send="")
    _keep(site, ae_title="TALKS", is_new="yes", answer_always="on", results_to="PACS, TALKS")
    _keep(site, ae_title="PLAIN", is_new="yes", answer_always="on", objects="capture")
    client, hand = site.client("reader"), film_file(tmp_path, BodyPartExamined="HAND").read_bytes()

    def tried(data: bytes, sender: str) -> str:
        return client.post(
            "/remotes/dry-run", data={"csrf": csrf_of(client), "sender": sender},
            files={"file": ("film.dcm", data)},
        ).text  # fmt: skip

    told = tried(film_file(tmp_path).read_bytes(), "QUIET")
    assert "Rejected: QUIET may not send" in told
    assert "To QUIET" not in told
    answered = tried(hand, "TALKS")
    assert "Declined: " in answered
    assert "To TALKS" in answered
    assert "a small report with the reason" in answered
    # It does not want that, or no reports at all.
    assert "To PACS" not in answered
    assert "Nothing for PACS: it wants no answer" in answered
    plain = tried(hand, "PLAIN")
    assert "Nobody gets an answer" in plain
    assert "Nothing for PLAIN: it wants no report" in plain


def test_a_parked_delivery_is_sent_again_from_the_outbox(site: Site) -> None:
    site.receive(1, report=True)
    ledger = site.house.ledger
    for item in ledger.claim_deliveries("deliver", 60, 10):
        ledger.delivery_refused(item.id, "deliver", "0xA700: out of resources")
    client = site.client("operator")
    assert "out of resources" in client.get("/outbox?state=refused").text
    first = ledger.deliveries()[0]
    post(client, f"/outbox/{first.id}/send")
    assert ledger.delivery(first.id).state is DeliveryState.WAITING


# networks, dashboard


def test_a_network_shows_its_card_and_proves_itself(site: Site) -> None:
    client = site.client("operator")
    page = client.get("/models/covidnet-lite").text
    assert "<table>" in page
    assert "&lt;!--" not in page
    assert "figures/" in page
    assert client.get("/models/covidnet-lite/figures/..%2Fmodel.toml").status_code == 404
    assert "as they should be" in post(client, "/models/covidnet-lite/verify").text  # type: ignore[attr-defined]


def test_charts_and_their_table_are_drawn(site: Site) -> None:
    site.receive(1)
    client = site.client("reader")
    for name in ("films", "findings", "latency", "deliveries"):
        assert client.get(f"/dashboard/{name}.svg").text.lstrip().startswith("<?xml")
    (row,) = csv.DictReader(io.StringIO(client.get("/dashboard/days.csv").text))
    assert (row["analysed"], row["covid19"]) == ("1", "1")
    assert client.get("/models/drift.svg").status_code == 200


def test_an_alarm_stands_on_the_dashboard_and_in_the_answer_of_health(site: Site) -> None:
    client = site.client("reader")
    assert "takes no results" not in client.get("/dashboard").text
    since = datetime(2026, 3, 1, tzinfo=UTC)
    sentence = "<b>4 results wait</b>"
    site.doors.alarms = (
        ToldAlarm("destination", "PACS", since, "PACS takes no results", sentence),
    )  # fmt: skip
    page = client.get("/dashboard").text
    assert "PACS takes no results" in page
    assert "&lt;b&gt;4 results" in page
    (told,) = client.get("/api/health").json()["alarms"]
    assert (told["kind"], told["since"]) == ("destination", "2026-03-01T00:00:00Z")


def test_the_course_shows_the_patients_earlier_film(site: Site) -> None:
    site.receive(1, StudyDate="20190101", AcquisitionDate="20190101")
    case = site.receive(2)
    client = site.client("reader")
    assert "course.svg" in client.get(f"/cases/{case}").text
    chart = client.get(f"/cases/{case}/course.svg").text
    assert "2019-01-01" in chart


def test_the_earlier_film_is_shown_with_its_own_name_date_and_view(site: Site) -> None:
    jane = {"PatientName": "DOE^JANE", "PatientBirthDate": "19620507"}
    before = site.receive(
        1, AcquisitionDate="20190301", AcquisitionTime="0915", AccessionNumber="A1", **jane
    )
    case = site.receive(2, AcquisitionDate="20190306", **jane | {"PatientName": "Doe-Roe^Jane"})
    text = site.client("reader").get(f"/cases/{case}").text
    now, prior = re.findall(r'<p class="viewer-head">(.*?)</p>', text, re.DOTALL)
    assert "Doe-Roe, Jane" in now
    assert "earlier" not in now
    for said in ("5 days earlier", "DOE, JANE", "4711", "1962-05-07", "2019-03-01 09:15", "PA",
                 "A1"):  # fmt: skip
        assert said in prior
    assert f'href="/cases/{before}"' in text


def test_a_text_in_another_set_than_is_declared_is_legible_in_the_list(site: Site) -> None:
    site.receive_odd(PatientName="Böhm^Jörg".encode("latin-1"), StudyDescription=b"\xdcbersicht")
    text = site.client("reader").get("/cases").text
    assert "Böhm, Jörg" in text
    assert "\N{REPLACEMENT CHARACTER}" not in text


def test_the_pages_tell_that_a_study_is_of_two_patients(site: Site) -> None:
    site.receive(1, StudyInstanceUID="1.2.9", PatientName="GARCIA^JOSE")
    case = site.receive(2, StudyInstanceUID="1.2.9", PatientName="DUPONT^ELISE")
    for path in ("", "/report"):
        text = site.client("reader").get(f"/cases/{case}{path}").text
        assert "The films of this study are not of one patient" in text
        assert "GARCIA, JOSE" in text
        assert "DUPONT, ELISE" in text


def test_an_id_of_two_names_is_told_on_the_page_and_nowhere_else(
    site: Site, log: io.StringIO
) -> None:
    born = {"PatientBirthDate": "19620507"}
    site.receive(1, AcquisitionDate="20190301", PatientName="GARCIA^JOSE", **born)
    case = site.receive(2, AcquisitionDate="20190306", PatientName="DUPONT^ELISE", **born)
    client = site.client("reader")
    text = client.get(f"/cases/{case}").text
    assert "The Patient ID 4711 is used by more than one person" in text
    assert "GARCIA, JOSE" in text
    assert not PRIOR.search(text)
    assert "course.svg" not in text
    for path in ("report", "report.pdf", "course.svg"):
        assert "2019-03-01" not in client.get(f"/cases/{case}/{path}").text
    assert "GARCIA" not in log.getvalue()


def test_a_page_says_why_nobody_s_earlier_film_is_looked_for(site: Site) -> None:
    case = site.receive(1, PatientID="UNKNOWN")
    text = site.client("reader").get(f"/cases/{case}").text
    assert "No complete course: the Patient ID is a placeholder." in text


def test_beside_a_film_stands_the_one_taken_before_it_whatever_came_last(site: Site) -> None:
    for number, date in enumerate(("20190301", "20190401", "20180101", "20200101"), start=1):
        site.receive(number, AcquisitionDate=date, PatientName="DOE^JANE")
    client = site.client("reader")
    shown = [PRIOR.findall(client.get(f"/cases/{case}").text) for case in range(1, 5)]
    assert shown == [["3"], ["1"], [], ["2"]]
