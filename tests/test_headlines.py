"""What the case list is told of observations, and how it is sorted and filtered by them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from dicom_node.bundles.declared import Declaration, open_declared
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.ledger import casebook, open_ledger
from dicom_node.ledger.cases import CaseQuery, ObservationFilter
from dicom_node.ledger.headlines import HeadlineKey, ListLine, ObservationWord, foremost
from dicom_node.ledger.migrations import migrate, migrations
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.headlines import declared_severity, headlines_of
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.records import InstanceState, StudyId, StudyState
from dicom_node.resources import report_templates
from dicom_node.results.headline_words import spoken
from dicom_node.results.templates import load_template
from dicom_node.web.pages.cases import asked_for
from tests import declared_kit as kit
from tests.commands_kit import Run, a_site, runner
from tests.ledger_kit import WORKER, admit, arrival, asked_of, claim, fresh_ledger, report, run

SCORE = HeadlineKey("congestion-score", "congestion")


# what is told of a film


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Declaration]:
    folder = tmp_path_factory.mktemp("models")
    says = {
        "labels": (kit.LABELS, kit.LABELS_OUTPUTS), "boxes": (kit.BOXES, kit.BOXES_OUTPUTS),
        "length": (kit.LENGTH, kit.LENGTH_OUTPUTS), "class": (kit.CLASS, kit.CLASS_OUTPUTS),
        "level": (kit.LEVEL, kit.LEVEL_OUTPUTS), "score": (kit.SCORE, kit.SCORE_OUTPUTS),
    }  # fmt: skip
    for name, (text, outputs) in says.items():
        kit.declared_bundle(folder, name, text, outputs)
    return {name: open_declared(folder, name).manifest for name in says}


def findings(*observed: Observation) -> FilmFindings:
    return FilmFindings("1.2.3", Outcome.ANALYSED, observations=observed)


def labels(*probabilities: float) -> Observation:
    names = ("effusion", "pneumothorax", "cardiomegaly")
    said = tuple(Candidate(name, p, 0.5) for name, p in zip(names, probabilities, strict=True))
    return Observation("findings", ObservationKind.LABELS, "labels", labels=said)


def level(*probabilities: float) -> Observation:
    names = ("none", "vascular", "alveolar")
    said = tuple(Candidate(name, p, 0.0) for name, p in zip(names, probabilities, strict=True))
    return Observation("oedema", ObservationKind.LEVEL, "level", labels=said)


PLACE = FoundPlace(((1.0, 1.0), (2.0, 1.0), (2.0, 2.0)))
KINDS = {
    "labels that are there": (
        labels(0.75, 0.1, 0.5),
        ListLine("labels", "findings", 0.75, "effusion,cardiomegaly", found=True),
    ),
    "labels that are not": (labels(0.1, 0.2, 0.3), ListLine("labels", "findings", 0.3)),
    "places": (
        Observation("nodules", ObservationKind.REGION, "boxes", places=(PLACE, PLACE)),
        ListLine("boxes", "nodules", 2.0, found=True),
    ),
    "no place": (
        Observation("nodules", ObservationKind.REGION, "boxes"), ListLine("boxes", "nodules", 0.0),
    ),
    "a measurement": (
        Observation("heart_width", ObservationKind.MEASUREMENT, "length", 151.0, threshold=150.0),
        ListLine("length", "heart_width", 151.0, found=True),
    ),
    "a score below its threshold": (
        Observation("congestion", ObservationKind.SCORE, "score", 4.9, threshold=5.0),
        ListLine("score", "congestion", 4.9),
    ),
    "a level": (level(0.1, 0.2, 0.7), ListLine("level", "oedema", 2.0, "alveolar", found=True)),
    "the lowest level": (level(0.8, 0.1, 0.1), ListLine("level", "oedema", 0.0, "none")),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_headline_tells_number_words_and_whether_it_is_a_finding(
    manifests: Mapping[str, Declaration], name: str
) -> None:
    observation, told = KINDS[name]
    assert headlines_of(findings(observation), manifests) == (told,)


def test_what_is_no_headline_has_no_value_or_is_not_installed_is_not_told(
    manifests: Mapping[str, Declaration],
) -> None:
    projection = Observation(
        "projection", ObservationKind.CLASS, "class", labels=(Candidate("lying", 0.9, 0.0),)
    )
    absent = Observation("heart_width", ObservationKind.MEASUREMENT, "length", absent="no spacing")
    unknown = Observation("congestion", ObservationKind.SCORE, "gone", 9.0, threshold=5.0)
    assert headlines_of(findings(projection, absent, unknown), manifests) == ()


def test_severity_is_declared_of_what_was_found_alone(
    manifests: Mapping[str, Declaration],
) -> None:
    assert declared_severity(findings(labels(0.1, 0.1, 0.9)), manifests) == 6.0
    assert declared_severity(findings(labels(0.1, 0.1, 0.4)), manifests) == 0.0
    (says,) = manifests["level"].says
    classes = (*says.classes[:2], says.classes[2].model_copy(update={"severity": 9.0}))
    graver = manifests["level"].model_copy(
        update={"says": (says.model_copy(update={"classes": classes, "severity": 2.0}),)}
    )
    assert declared_severity(findings(level(0.1, 0.2, 0.7)), {"level": graver}) == 9.0
    assert declared_severity(findings(level(0.1, 0.7, 0.2)), {"level": graver}) == 2.0
    assert declared_severity(findings(level(0.7, 0.1, 0.2)), {"level": graver}) == 0.0


def test_of_several_films_the_one_that_found_it_speaks_then_the_highest_number() -> None:
    low, high = (
        ListLine("n", "k", 1.0, "a", found=True),
        ListLine("n", "k", 9.0, "b"),
    )
    assert foremost([[high], [low]]) == [low]
    assert foremost([[replace(low, number=2.0)], [low]]) == [replace(low, number=2.0)]
    assert foremost([[low], [ListLine("n", "j", 0.0)]]) == [
        ListLine("n", "j", 0.0),
        low,
    ]


# the list


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = fresh_ledger(tmp_path / "ledger.sqlite", who="test")
    yield opened
    opened.close()


def film(
    ledger: SqliteLedger,
    number: int,
    *headlines: ListLine,
    severity: float = 0.0,
    study: int = 0,
) -> int:
    """Bring a film into the list on which only declared bundles answered."""
    at = replace(arrival(number), study_instance_uid=f"1.2.{study or number}")
    ledger.received(at)
    admit(ledger)
    said = findings(Observation("k", ObservationKind.SCORE, "n", 1.0)).to_json_text()
    claimed = claim(ledger, InstanceState.ADMITTED)
    ledger.analysed(claimed.id, WORKER, said, None, headlines, severity)
    return int(claimed.study_id)


def score(value: float, found: bool | None = None) -> ListLine:
    return ListLine(*SCORE_NAMES, value, found=value >= 5.0 if found is None else found)


SCORE_NAMES = (SCORE.network, SCORE.key)


def paged(ledger: SqliteLedger, query: CaseQuery) -> Sequence[int]:
    """Return the cases of every page, in their order."""
    seen: list[int] = []
    while True:
        page = ledger.cases(query)
        seen += [int(case.study_id) for case in page.cases]
        if page.after is None:
            return seen
        query = replace(query, after=page.after)


def test_a_film_of_declared_bundles_alone_has_its_place_in_the_list(ledger: SqliteLedger) -> None:
    film(ledger, 1, score(2.0))
    film(ledger, 2, score(8.0), severity=7.5)
    assert [case.severity for case in ledger.cases(CaseQuery(order="severity")).cases] == [7.5, 0.0]
    assert ledger.cases(CaseQuery()).cases[0].observations == (score(8.0),)


def test_the_list_tells_the_film_that_found_it_and_forgets_what_is_no_longer_said(
    ledger: SqliteLedger,
) -> None:
    case = film(ledger, 1, score(2.0), study=7)
    film(ledger, 2, score(8.0), ListLine("n", "k", 1.0), study=7)
    assert ledger.case(case).observations == (score(8.0), ListLine("n", "k", 1.0))  # type: ignore[arg-type]
    (instance,) = ledger.find_instances(arrival(2).sop_instance_uid)
    ledger.asked_again(instance.id, "person:admin")
    admit(ledger)
    ledger.analysed(claim(ledger, InstanceState.ADMITTED).id, WORKER, "{}", None)
    assert ledger.case(case).observations == (score(2.0),)  # type: ignore[arg-type]


@pytest.mark.parametrize("few", [casebook.FEW, -1])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_the_list_is_sorted_by_a_headline_with_ties_on_any_page(
    ledger: SqliteLedger, few: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casebook, "FEW", few)
    values = [5.0, 1 / 3, 7.0, 5.0, 7.0, 1 / 3, 5.0]
    cases = {film(ledger, n, score(value)): value for n, value in enumerate(values, 1)}
    film(ledger, 90)
    found = film(ledger, 91, score(0.1, found=True))
    wanted = sorted(cases, key=lambda case: (cases[case] >= 5, cases[case], case), reverse=True)
    wanted.insert(sum(value >= 5 for value in values), found)
    assert paged(ledger, CaseQuery(order=SCORE, limit=limit)) == wanted
    asked = ObservationFilter(SCORE, "answered")
    assert paged(ledger, CaseQuery(order=SCORE, observation=asked, limit=limit)) == wanted


@pytest.mark.parametrize("few", [casebook.FEW, -1])
@pytest.mark.parametrize(
    "order", ["received", "severity", "study_date", SCORE, HeadlineKey("n", "k")]
)
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [(ObservationFilter(SCORE), {3, 4, 5}), (ObservationFilter(SCORE, "not-found"), {1, 2}),
     (ObservationFilter(SCORE, "answered", 2.0), {2, 3, 4, 5}),
     (ObservationFilter(SCORE, "found", 9.0), {5}),
     (ObservationFilter(SCORE, "not-found", 9.0), set()),
     (ObservationFilter(HeadlineKey("gone", "k")), set())],
)  # fmt: skip
def test_the_list_is_filtered_by_a_headline_in_any_order(
    ledger: SqliteLedger, few: int, order: object, asked: ObservationFilter, wanted: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(casebook, "FEW", few)
    for number, value in enumerate((1.0, 2.0, 5.0, 5.0, 9.0), 1):
        film(ledger, number, score(value), ListLine("n", "k", 1.0))
    film(ledger, 6, ListLine("n", "k", 1.0))
    film(ledger, 7)
    query = CaseQuery(observation=asked, order=order, limit=2)  # type: ignore[arg-type]
    seen = paged(ledger, query)
    assert (len(seen), set(seen)) == (len(wanted), wanted)
    assert set(paged(ledger, replace(query, outcome="analysed", words=""))) == wanted


def test_a_search_by_words_and_a_headline_go_together(ledger: SqliteLedger) -> None:
    first, second = film(ledger, 1, score(8.0)), film(ledger, 2, score(9.0))
    ledger.described([(first, {"patient_name": "DOE"}), (second, {"patient_name": "ROE"})])  # type: ignore[list-item]
    asked = CaseQuery(words="doe", observation=ObservationFilter(SCORE), order=SCORE)
    assert paged(ledger, asked) == [first]


def test_ten_headlines_of_a_case_are_each_sorted_by(ledger: SqliteLedger) -> None:
    keys = [HeadlineKey("ten", f"key_{number}") for number in range(10)]
    for n in range(1, 4):
        told = [ListLine(k.network, k.key, float(n * (-1) ** i)) for i, k in enumerate(keys)]
        film(ledger, n, *told)
    for number, key in enumerate(keys):
        wanted = [1, 2, 3] if number % 2 else [3, 2, 1]
        assert paged(ledger, CaseQuery(order=key, limit=2)) == wanted
    assert len(ledger.case(1).observations) == 10  # type: ignore[arg-type]


QUESTIONS = {
    "sorted": CaseQuery(order=SCORE),
    "filtered": CaseQuery(observation=ObservationFilter(SCORE)),
    "filtered by its number": CaseQuery(observation=ObservationFilter(SCORE, "answered", 6.0)),
    "severe first": CaseQuery(observation=ObservationFilter(SCORE), order="severity"),
}


@pytest.mark.parametrize("few", [casebook.FEW, -1])
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_list_by_a_headline_is_found_by_an_index(
    ledger: SqliteLedger, name: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casebook, "FEW", few)
    film(ledger, 1, score(8.0))
    with asked_of(ledger) as asked:
        ledger.cases(QUESTIONS[name])
    plan = [row[3] for each in asked for row in run(ledger, f"explain query plan {each}")]
    assert any("observations" in step or "held" in step for step in plan)
    walked = [step for step in plan if step in ("SCAN cases", "SCAN observations", "SCAN studies")]
    assert walked == []
    if few < 0:
        assert not any("TEMP B-TREE" in step for step in plan), plan


# what ends and what stays


def test_what_the_list_tells_goes_with_its_study_and_what_readers_said_stays(
    ledger: SqliteLedger,
) -> None:
    case = film(ledger, 1, score(8.0))
    word = ObservationWord(arrival(1).sop_instance_uid, "reader", *SCORE_NAMES, "disagrees")
    ledger.say_of_observation(case, word)  # type: ignore[arg-type]
    ledger.quieten(0)
    report(ledger, "sr 1")
    run(ledger, "update deliveries set state = 'sent'")
    (study,) = ledger.studies(state=StudyState.REPORTED)
    run(ledger, "update studies set changed_at = '2000-01-01'")
    assert ledger.forget(study.id)
    assert run(ledger, "select * from observations") == []
    (kept,) = ledger.all_observation_feedback()
    assert (kept["verdict"], kept["answer_number"], kept["answer_found"]) == ("disagrees", 8.0, 1)


def test_a_reader_s_later_word_on_a_headline_replaces_the_earlier(ledger: SqliteLedger) -> None:
    case = film(ledger, 1, score(8.0))
    word = ObservationWord(arrival(1).sop_instance_uid, "reader", *SCORE_NAMES, "agrees")
    for each in (word, replace(word, verdict="unsure"), replace(word, reader="other")):
        ledger.say_of_observation(case, each)  # type: ignore[arg-type]
    said = ledger.said_of_observations(case)  # type: ignore[arg-type]
    assert sorted((each.reader, each.verdict) for each in said) == [
        ("other", "agrees"), ("reader", "unsure"),
    ]  # fmt: skip


def test_a_chart_asks_for_one_headline_since_a_day(ledger: SqliteLedger) -> None:
    film(ledger, 1, score(8.0))
    film(ledger, 2, score(1.0))
    told = ledger.observations_since(SCORE, "2000-01-01")
    assert sorted((row["number"], row["found"]) for row in told) == [(1.0, 0), (8.0, 1)]
    assert ledger.observations_since(SCORE, "2999-01-01") == []


def test_a_ledger_of_the_last_release_gets_the_table_and_keeps_its_cases(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    old = sqlite3.connect(path, isolation_level=None)
    steps = Migrations("dicom_node")
    steps._migrations.extend(each for each in migrations._migrations if each.name < "m019")
    migrate(Database(old), steps)
    old.execute("insert into studies (id, study_instance_uid, state, opened_at, changed_at)"
                " values (1, '1.2', 'reported', '2026-01-01', '2026-01-01')")  # fmt: skip
    old.execute("insert or replace into cases (study_id, received_at, state)"
                " values (1, '2026-01-01', 'reported')")  # fmt: skip
    old.close()
    ledger = open_ledger(path, who="test")
    assert ledger.case(StudyId(1)).observations == ()
    film(ledger, 2, score(8.0))
    assert paged(ledger, CaseQuery(order=SCORE)) == [2]
    ledger.close()


# commands


def test_the_commands_tell_sort_filter_and_save_headlines(site: Path, run: Run) -> None:
    ledger = fresh_ledger(site / "data" / "ledger.sqlite", who="test")
    film(ledger, 1, score(2.0))
    film(ledger, 2, score(8.0), ListLine("n", "k", 0.5, "=a,b"))
    ledger.close()
    assert "Congestion: 8 (found)" in run("cases").stdout
    # What is told in words is not told by its key beside it.
    assert "congestion: 8" not in run("cases").stdout
    (row,) = json.loads(run("cases", "list", "--observation", str(SCORE), "--json").stdout)
    assert row["observations"][0] == {
        "network": SCORE.network, "key": SCORE.key, "number": 8.0, "text": "", "found": True,
        "unit": "",
    }  # fmt: skip
    asked = ("--observation", str(SCORE), "--observed", "answered", "--at-least", "1")
    rows = json.loads(run("cases", "list", *asked, "--order", str(SCORE), "--json").stdout)
    assert [row["id"] for row in rows] == [2, 1]
    table = list(csv.DictReader(io.StringIO(run("cases", "export", *asked).stdout)))
    assert [(row["case"], row["key"], row["found"]) for row in table] == [
        ("2", "congestion", "1"), ("2", "k", "0"), ("1", "congestion", "0"),
    ]  # fmt: skip
    assert table[1]["classes"] == "'=a,b"


@pytest.mark.parametrize(
    "asked", [("--observation", "nothing"), ("--observed", "perhaps"), ("--order", "best")]
)
def test_a_command_says_what_it_does_not_understand(run: Run, asked: tuple[str, str]) -> None:
    assert run("cases", "list", *asked).exit_code == 2


__all__ = ["a_site", "runner"]


def test_what_is_no_longer_installed_keeps_its_unit_and_its_place_in_the_filter(
    tmp_path: Path,
) -> None:
    template = load_template(report_templates() / "chest-radiograph-measurement-report.toml")
    lines = (
        ListLine("heart", "heart_width", 151.25, found=True, unit="mm"),
        ListLine("congestion-score", "congestion", 4.0, unit="{0:10}"),
    )
    told = {each.line.key: each.answer for each in spoken(lines, {}, template)}
    assert told == {"heart_width": "151.25 mm", "congestion": "4 / 10"}
    observation = ObservationFilter(HeadlineKey("heart", "heart_width"))
    gone = asked_for(CaseQuery(observation=observation, order=SCORE), {str(SCORE): "Congestion"})
    assert gone == {"heart:heart_width": "heart:heart_width"}


def test_numbers_in_lists_have_the_digits_that_an_engine_gives(
    manifests: Mapping[str, Declaration],
) -> None:
    found = findings(Observation("congestion", ObservationKind.SCORE, "score", 0.9100000262260437))
    (told,) = headlines_of(found, manifests)
    assert told.number == 0.91
