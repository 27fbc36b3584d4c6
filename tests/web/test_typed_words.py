"""Nothing that a person typed is lost: one form, given back on every fault, never overwritten."""

from __future__ import annotations

import csv
import html
import io
from datetime import timedelta

import pytest

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger.connection import text_of, utc_now
from dicom_node.records import StudyId
from tests.web.conftest import CSRF, PASSWORD, Site, csrf_of
from tests.web.reading_kit import save


def comment(site: Site, case: int) -> str:
    reading = site.house.ledger.reading(StudyId(case))
    return reading.comment if reading else ""


@pytest.mark.parametrize("state", ["draft", "read"])
def test_one_save_keeps_the_lines_and_what_is_said_of_each_answer(site: Site, state: str) -> None:
    case = site.receive(1)
    client = site.client("reader")
    answer = save(client, case, state=state, comment="Effusion.", verdict_of_film="disagrees",
                  finding_of_film="normal", geographic_extent_of_film="1,5",
                  comment_of_film="A line, not an opacity.")  # fmt: skip
    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert 'role="status"' in page
    assert "Effusion." in page
    assert "A line, not an opacity." in page
    (word,) = site.house.ledger.said(StudyId(case))
    assert (word.verdict, word.numbers) == ("disagrees", {"geographic_extent": 1.5})
    assert comment(site, case) == "Effusion."
    assert page.count("<form") == 3  # signing out, the template, and one for all that is typed


def test_saving_again_without_touching_a_verdict_leaves_it_as_it_was(site: Site) -> None:
    case = site.receive(1)
    client = site.client("reader")
    save(client, case, verdict_of_film="agrees", comment_of_film="So it is.\r\nYes.")
    before = site.house.ledger.said(StudyId(case))
    save(client, case, comment="More.", verdict_of_film="agrees",
         comment_of_film="So it is.\r\nYes.")  # fmt: skip
    assert site.house.ledger.said(StudyId(case)) == before


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ({"comment": "x" * 10_001}, "10,000 are kept at most"),
        ({"comment_of_film": "y" * 2_001, "verdict_of_film": "agrees"}, "2,000 are kept at most"),
        ({"geographic_extent_of_film": "9", "verdict_of_film": "agrees"}, "no score"),
        ({"opacity_extent_of_film": "nan", "verdict_of_film": "agrees"}, "no score"),
        ({"airspace_level_of_film": "much", "verdict_of_film": "agrees"}, "no score"),
        ({"comment_of_film": "No verdict beside it."}, "whether you agree"),
    ],
)
def test_what_cannot_be_kept_comes_back_word_for_word_and_nothing_is_kept(
    site: Site, typed: dict[str, str], why: str
) -> None:
    case = site.receive(1)
    client = site.client("reader")
    words = {"comment": "A <b>long</b> thought.\r\nSecond line."} | typed
    answer = save(client, case, **words)
    assert answer.status_code == 422
    page = html.unescape(answer.text)
    assert why in page
    for word in words.values():
        assert word in page
    assert comment(site, case) == ""
    assert site.house.ledger.said(StudyId(case)) == []


def test_two_readers_never_overwrite_each_other_unseen(site: Site) -> None:
    case = site.receive(1)
    ada, bob = site.client("reader"), site.client("operator")
    shown = bob.get(f"/cases/{case}/report").text
    save(ada, case, comment="Ada's lines.", state="read")
    answer = save(bob, case, shown, comment="Bob's lines.")
    assert answer.status_code == 422
    page = html.unescape(answer.text)
    assert "Ada's lines." in page
    assert "Bob's lines." in page
    assert comment(site, case) == "Ada's lines."
    # Now he has seen them: what he saves is meant.
    assert save(bob, case, answer.text, comment="Ada's lines. Bob's lines.").status_code == 303
    assert comment(site, case) == "Ada's lines. Bob's lines."


def test_a_form_that_does_not_say_what_it_showed_overwrites_nobody_else(site: Site) -> None:
    case = site.receive(1)
    save(site.client("reader"), case, comment="Ada's lines.")
    bob = site.client("operator")
    typed = {"csrf": csrf_of(bob), "comment": "Bob's lines.", "revision": "0"}
    assert bob.post(f"/cases/{case}/reading", data=typed).status_code == 422
    assert comment(site, case) == "Ada's lines."


def test_a_stale_window_undoes_neither_a_verdict_nor_that_a_report_was_read(site: Site) -> None:
    case = site.receive(1)
    client = site.client("reader")
    stale = client.get(f"/cases/{case}/report").text
    save(client, case, state="read", verdict_of_film="agrees")
    answer = save(client, case, stale, verdict_of_film="unsure", comment_of_film="Old window.")
    assert answer.status_code == 422
    assert "Old window." in answer.text
    assert [word.verdict for word in site.house.ledger.said(StudyId(case))] == ["agrees"]
    assert save(client, case, stale, state="draft", comment="").status_code == 422
    reading = site.house.ledger.reading(StudyId(case))
    assert reading is not None
    assert reading.state == "read"


def test_a_form_of_an_earlier_session_gives_back_what_was_typed(site: Site) -> None:
    case = site.receive(1)
    client = site.client("reader")
    stale = client.get(f"/cases/{case}/report").text
    client.post("/sign-in", data={"name": "reader", "password": PASSWORD})
    answer = save(client, case, stale, comment="Typed before, <sent> after.")
    assert answer.status_code == 403
    assert "Typed before, <sent> after." in html.unescape(answer.text)
    found = CSRF.search(stale)
    assert found is not None
    assert found[1] not in answer.text


def test_whoever_was_signed_out_meanwhile_comes_back_to_the_page(site: Site) -> None:
    case = site.receive(1)
    client = site.client("reader")
    shown = client.get(f"/cases/{case}/report").text
    moment = text_of(utc_now().replace(year=2000))
    site.house.ledger._connection.run("update sessions set seen_at = :at", at=moment)
    for referer in ({}, {"Referer": f"http://localhost/cases/{case}/report"}):
        client.headers.update(referer)
        answer = save(client, case, shown, comment="Typed.")
        assert answer.status_code == 303
        page = client.get(answer.headers["location"]).text
        assert "signed out" in page
        assert f'name="next" value="/cases/{case}/report"' in page
    client.headers["Referer"] = "http://evil.example/x"
    assert "evil" not in save(client, case, shown, comment="Typed.").headers["location"]
    listed = client.get("/cases?outcome=analysed", follow_redirects=False)
    assert listed.headers["location"].startswith("/sign-in?next=/cases%3Foutcome%3Danalysed")


def test_typing_is_a_use_of_the_session(site: Site) -> None:
    client, ledger = site.client("reader"), site.house.ledger
    moment = text_of(utc_now() - timedelta(minutes=29))
    ledger._connection.run("update sessions set seen_at = :at", at=moment)
    assert client.get("/sign-in/used").status_code == 204
    row = ledger._connection.one("select seen_at from sessions")
    assert row is not None
    assert row["seen_at"] > moment


@pytest.mark.parametrize(
    "typed",
    ["=1+1", "+1", "-1", "@x", "x;=1+1", ";=1", "x\t=1", "a\r\n=1", 'x;"=1"', " =1", "x; +1",
     "\uff1d1", "x,=1", "x|=1", "'=1;=2"],
)  # fmt: skip
def test_no_cell_of_the_export_begins_a_formula_whatever_separates_the_list(
    site: Site, typed: str
) -> None:
    case = site.receive(1)
    client = site.client("reader")
    save(client, case, verdict_of_film="unsure", comment_of_film=typed)
    table = client.get("/feedback.csv").text
    assert all(line.startswith('"') for line in table.split("\r\n") if line and "=" not in line)
    for separator in ",;\t|":
        for row in csv.reader(io.StringIO(table), delimiter=separator):
            for cell in row:
                assert cell.strip(' "')[:1] not in tuple("=+-@\uff1d"), (separator, cell)


def test_the_form_of_a_user_comes_back_with_what_to_correct(site: Site) -> None:
    client = site.client("admin")
    form = {"csrf": csrf_of(client), "name": "eve.new", "role": "operator", "password": "short"}
    answer = client.post("/users", data=form)
    assert answer.status_code == 422
    assert "at least 10 characters" in answer.text
    assert 'value="eve.new"' in answer.text
    assert "<option selected>operator</option>" in answer.text
    assert "short" not in answer.text.replace("too short", "")


def test_a_dry_run_still_knows_the_sender_and_the_file(site: Site) -> None:
    client = site.client("reader")
    answer = client.post(
        "/remotes/dry-run", data={"csrf": csrf_of(client), "sender": "PACS"},
        files={"file": ("knee <1>.dcm", b"no film")},
    )  # fmt: skip
    assert "<option selected>PACS</option>" in answer.text
    assert "knee <1>.dcm" in html.unescape(answer.text)


def test_a_file_that_is_no_film_leads_back_to_the_form_by_its_name(site: Site) -> None:
    client = site.client("reader")
    answer = client.post(
        "/by-hand", data={"csrf": csrf_of(client)}, files={"file": ("notes.txt", b"no film")}
    )
    assert answer.status_code == 422
    assert "notes.txt: This file is neither DICOM" in answer.text
    assert 'type="file"' in answer.text


def test_what_was_typed_is_given_back_where_the_node_itself_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = site.receive(1)
    client = site.client("reader")
    shown = client.get(f"/cases/{case}/report").text

    def full(*_: object, **__: object) -> bool:
        raise LedgerUnavailable("The ledger is busy.")

    monkeypatch.setattr(site.house.ledger, "read", full)
    answer = save(client, case, shown, comment="A thought that took ten minutes.")
    assert answer.status_code == 503
    assert "A thought that took ten minutes." in answer.text


def test_words_on_an_answer_are_kept_where_the_film_comes_again_meanwhile(site: Site) -> None:
    case = site.receive(1, PatientName="DOE^JANE")
    client = site.client("reader")
    page = client.get(f"/cases/{case}/report").text
    assert site.receive(1, PatientName="DOE^JANE^MARY") == case
    answer = save(client, case, page, comment="Lines.", verdict_of_film="disagrees",
                  comment_of_film="A line, not an opacity.")  # fmt: skip
    assert answer.status_code == 303
    assert "A line, not an opacity." in client.get(answer.headers["location"]).text
    (word,) = site.house.ledger.said(StudyId(case))
    assert (word.verdict, word.comment) == ("disagrees", "A line, not an opacity.")
