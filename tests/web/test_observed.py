"""What declared bundles say, on the pages: the list, a case, its report, tables and charts."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dicom_node.settings import Settings
from dicom_node.web.wiring import shelf_of
from tests import declared_kit as kit
from tests.web.conftest import Site, post
from tests.web.observed_kit import manifests, observed_film, observing

__all__ = ["manifests", "observing"]


def cases_of(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="case-(\d+)"', page)]


# the list


def test_a_film_of_declared_bundles_alone_shows_what_was_found_first(observing: Site) -> None:
    observing.receive()
    (row,) = re.findall(r"<tr>.*?</tr>", observing.client().get("/cases").text.split("<tbody>")[1],
                        re.DOTALL)  # fmt: skip
    text = html.unescape(re.sub(r"<[^>]+>", "", row))
    assert "no finding" not in text
    assert "Chest findings: Pleural effusion (score 90 %)" in text
    assert "Nodules: 1" in text
    assert "Transverse width of the heart: 151.2 mm" in text
    assert "Congestion: 4.0 / 10" in text
    assert row.count("<strong") == 3
    assert row.index("Transverse width") < row.index("Congestion")


def test_the_list_speaks_the_language_of_the_template(observing: Site) -> None:
    language = "chest-radiograph-measurement-report-de"
    configuration = observing.house.configuration
    results = configuration.settings.results.model_copy(update={"template": language})
    settings = configuration.settings.model_copy(update={"results": results})
    observing.house = replace(
        observing.house, configuration=replace(configuration, settings=settings)
    )
    observing.receive()
    assert "Befunde" in (page := observing.client().get("/cases").text)
    assert "Pleuraerguss (" in page


def test_the_list_is_filtered_and_sorted_by_addresses_that_it_gives_itself(observing: Site) -> None:
    for number, width in enumerate((160.0, 140.0, 155.0, 120.0, None), 1):
        observing.node.invented = lambda width=width: observed_film(width=width)  # type: ignore[misc]
        observing.receive(number)
    client, heart = observing.client(), "heart:heart_width"
    page = client.get(f"/cases?observation={heart}").text
    assert cases_of(page) == [3, 1]
    assert re.search(rf'<option value="{heart}" lang="\S+" selected>', page)
    assert cases_of(client.get(f"/cases?observation={heart}&observed=not-found").text) == [4, 2]
    many = client.get(f"/cases?observation={heart}&observed=answered&at_least=140").text
    assert cases_of(many) == [3, 2, 1]
    assert "at_least=140" in many
    address, seen = f"/cases?order=observation:{heart}&limit=2", list[int]()
    while address:
        page = client.get(address).text
        seen += cases_of(page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = f"{html.unescape(following[1])}&limit=2" if following else ""
    assert seen == [1, 3, 2, 4]


@pytest.mark.parametrize(
    "asked",
    ["order=observation:x", "observation=heart", "observed=never", "order=observation:a:b'--"],
)
def test_an_address_that_asks_for_no_headline_is_refused(observing: Site, asked: str) -> None:
    assert observing.client().get(f"/cases?{asked}").status_code == 422


@pytest.mark.parametrize("after", ["1", "x/1", "1/nan", "2/3", "1/"])
def test_a_place_of_another_list_begins_the_list_anew(observing: Site, after: str) -> None:
    case = observing.receive()
    asked = f"order=observation:heart:heart_width&after={after}&after_id=5"
    assert cases_of(observing.client().get(f"/cases?{asked}").text) == [case]


def test_a_suite_without_headlines_has_the_list_that_it_had(site: Site) -> None:
    site.receive()
    page = site.client().get("/cases").text
    assert "Observation" not in page
    assert ".csv" not in page


# tables


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_cases_are_saved_with_a_row_an_observation_whatever_page_is_shown(observing: Site) -> None:
    for number in range(1, 4):
        observing.receive(number, AccessionNumber=f"=cmd|{number}")
    answer = observing.client("reader").get(
        "/cases.csv?order=observation:heart:heart_width&limit=1"
    )
    rows = table(answer.text)
    assert [(row["case"], row["network"]) for row in rows][:4] == [
        ("3", "chest-labels"), ("3", "nodules"), ("3", "heart"), ("3", "congestion"),
    ]  # fmt: skip
    assert len(rows) == 12
    width = next(row for row in rows if row["key"] == "heart_width")
    assert (width["number"], width["found"], width["answer"]) == ("151.25", "1", "151.2 mm")
    assert rows[0]["classes"] == "effusion"
    # Neither a patient nor a formula is in it.
    assert rows[0]["accession_number"] == "'=cmd|3"
    assert "4711" not in answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="cases.csv"'


def test_the_api_gives_the_headlines_of_a_case_and_is_asked_for_them(observing: Site) -> None:
    case = observing.receive()
    client = observing.client()
    (row,) = client.get("/api/cases?observation=nodules:nodules&at_least=1").json()["cases"]
    assert row["study_id"] == case
    said = {each["key"]: each for each in row["observations"]}
    assert said["congestion"] == {
        "network": "congestion", "key": "congestion", "number": 4.0, "text": "", "found": False,
        "unit": "{0:10}",
    }  # fmt: skip
    assert said["findings"]["text"] == "effusion"
    assert client.get("/api/cases?observation=nodules:nodules&at_least=2").json()["cases"] == []
    assert client.get(f"/api/cases/{case}").json()["observations"] == row["observations"]


# a case and its report


class Tables(HTMLParser):
    """Counts what a table needs for those who cannot see it, and labels of what is typed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "th" and "scope" not in values:
            self.faults.append("a heading of a table without a scope")
        hidden = values.get("type") == "hidden"
        if tag in ("select", "input", "textarea") and not hidden and "label" not in self.open:
            self.faults.append(f"{tag} {values.get('name')} has no label")
        if tag == "img" and "alt" not in values:
            self.faults.append("a picture without words")
        if tag not in ("input", "img", "br", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass


def faults_of(page: str) -> list[str]:
    parser = Tables()
    parser.feed(page)
    return parser.faults


def test_a_case_tells_every_observation_with_interval_threshold_and_what_was_not_answered(
    observing: Site,
) -> None:
    page = observing.client("reader").get(f"/cases/{observing.receive()}").text
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "Pleural effusion score 90 % 50 % yes" in text
    assert "Large heart score 20 % 50 % no" in text
    assert "Transverse width of the heart 151.2 mm 150.0 yes" in text, text
    assert "Congestion 4.0 / 10 (2.5 to 5.5) 5.0 no" in text
    assert "Nodules 1 yes" in text
    assert "Consolidation 25 % of the film 1 % yes" in text
    assert "Said nothing of this film: it took too long" in text
    assert 'data-show="places"' in page
    assert faults_of(page) == []
    assert faults_of(observing.client("reader").get("/cases").text) == []


def test_a_measurement_without_a_value_says_why(observing: Site) -> None:
    observing.node.invented = lambda: observed_film(width=None)
    page = observing.client().get(f"/cases/{observing.receive()}").text
    assert "the film states no spacing" in page


def test_beside_our_own_networks_both_are_told(observing: Site) -> None:
    observing.node.invented = lambda: observed_film(alone=False)
    case = observing.receive()
    for path in (f"/cases/{case}", f"/cases/{case}/report", "/cases"):
        page = observing.client().get(path).text
        assert "COVID-19 pneumonia" in page
        assert "Pleural effusion" in page
        assert faults_of(page) == []


def test_the_viewer_gets_places_with_their_names(observing: Site) -> None:
    case = observing.receive()
    client = observing.client("reader")
    (film,) = re.findall(r'data-film="(\d+)"', client.get(f"/cases/{case}").text)
    box, line, area = client.get(f"/films/{film}/film.json").json()["places"]
    assert (box["label"], box["closed"], len(box["line"])) == ("Nodules 80%", True, 4)
    assert (line["closed"], line["line"]) == (False, [[5.0, 60.0], [55.0, 60.0]])
    assert line["label"] == "Transverse width of the heart"
    assert area["label"] == "Consolidation"
    corners = np.array(area["line"])
    assert corners.min() == pytest.approx(64, abs=8)
    assert corners.max() == pytest.approx(128, abs=8)


# readers' words


def test_a_reader_s_word_on_a_headline_is_kept_shown_and_exported(observing: Site) -> None:
    case = observing.receive()
    client = observing.client("reader")
    words = {
        "nodules:nodules": "disagrees",
        "heart:heart_width": "agrees",
        "congestion:congestion": "",
    }
    answer = post(client, f"/cases/{case}/observations", sop_instance_uid="1.2.3.1", **words)
    assert answer.status_code == 200  # type: ignore[attr-defined]
    page = client.get(f"/cases/{case}").text
    assert '<option value="disagrees" selected>' in page
    rows = table(client.get("/feedback-observations.csv").text)
    assert sorted((row["key"], row["verdict"], row["answer_number"]) for row in rows) == [
        ("heart_width", "agrees", "151.25"), ("nodules", "disagrees", "1.0"),
    ]  # fmt: skip
    post(client, f"/cases/{case}/feedback", sop_instance_uid="1.2.3.1", verdict="agrees")
    (row,) = table(client.get("/feedback.csv").text)
    assert "heart:heart_width=151.25" in row["network_observations"]
    assert "chest-labels:findings=effusion:0.900," in row["network_observations"]


@pytest.mark.parametrize(
    ("typed", "status"),
    [({"sop_instance_uid": "9"}, 404), ({}, 422), ({"nodules:nodules": "maybe"}, 422),
     ({"made:up": "agrees"}, 422)],
)  # fmt: skip
def test_a_word_on_what_nobody_said_is_refused(
    observing: Site, typed: dict[str, str], status: int
) -> None:
    case = observing.receive()
    words = {"sop_instance_uid": "1.2.3.1"} | typed
    answer = post(observing.client("reader"), f"/cases/{case}/observations", **words)
    assert answer.status_code == status  # type: ignore[attr-defined]


def test_other_viewers_find_the_study_as_any_other(observing: Site) -> None:
    case = observing.receive(report=True)
    uid = observing.client().get(f"/api/cases/{case}").json()["study_instance_uid"]
    client = observing.client()
    (study,) = client.get(f"/dicom-web/studies?StudyInstanceUID={uid}").json()
    assert study["0020000D"]["Value"] == [uid]
    series = client.get(f"/dicom-web/studies/{uid}/series").json()
    assert series


def test_the_report_of_declared_bundles_alone_can_be_read(observing: Site) -> None:
    page = observing.client().get(f"/cases/{observing.receive()}/report")
    assert page.status_code == 200
    assert "Pleural effusion" in page.text
    assert faults_of(page.text) == []


# charts


def test_each_headline_has_its_weeks_as_a_chart_and_a_table(observing: Site) -> None:
    observing.receive(1)
    observing.node.invented = lambda: observed_film(width=140.0, effusion=0.1)
    observing.receive(2)
    client = observing.client()
    page = client.get("/dashboard").text
    assert "/dashboard/observations/heart/heart_width.svg?days=30" in page
    rows = {row["key"]: row for row in table(client.get("/dashboard/observations.csv").text)}
    width = rows["heart_width"]
    assert (width["cases"], width["found"], width["share"]) == ("2", "1", "0.5")
    assert float(width["median"]) == pytest.approx((151.25 + 140) / 2)
    assert "<svg" in client.get("/dashboard/observations/heart/heart_width.svg").text
    for empty in ("observations/none/none", "findings"):
        assert "nothing in these days" in client.get(f"/dashboard/{empty}.svg").text


def test_the_networks_page_lists_bundles_of_others_and_says_which_is_left_out(
    site: Site, tmp_path: Path
) -> None:
    models = tmp_path / "node" / "models"
    for name in ("labels", "broken", "idle"):
        kit.declared_bundle(models, name, kit.LABELS, kit.LABELS_OUTPUTS)
    manifest = models / "broken" / "model.toml"
    manifest.write_text(manifest.read_text("utf-8").replace('kind = "labels"', 'kind = "x"'))
    (models / "idle" / "CARD.md").unlink()
    analysis = {"suite": ["covidnet-lite", "labels", "broken"]}
    settings = Settings.model_validate(
        {"analysis": analysis, "node": {"data_dir": tmp_path / "node"}}
    )
    configuration = replace(site.house.configuration, settings=settings)
    site.house = replace(site.house, shelf=shelf_of(configuration))
    page = site.client("reader").get("/models").text
    assert re.search(r'href="/models/labels">Labels</a>.*?>labels<.*?<td>yes</td>', page)
    assert re.search(r">\s*broken<br><span class=\"fault\">left out: .*says\[0\]\.kind", page)
    assert site.client("reader").get("/models/labels").status_code == 200
    assert "has no card" in site.client("reader").get("/models/idle").text
    assert site.client("reader").get("/models/broken").status_code == 404
