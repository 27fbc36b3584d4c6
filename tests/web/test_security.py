"""Who may: nobody without signing in, nobody from another site, and nobody too much."""

from __future__ import annotations

import inspect
import io
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from dicom_node.errors import LedgerUnavailable, RoleError, SettingsError, SpoolUnwritable
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.ledger.connection import text_of, utc_now
from dicom_node.ledger.people import ROLES
from dicom_node.records import Worker
from dicom_node.results.preview import preview_film
from dicom_node.roles.web import run
from dicom_node.settings import load_configuration
from dicom_node.web import passwords
from dicom_node.web.app import create_app
from dicom_node.web.passwords import matches, token_hash
from dicom_node.web.security import COOKIE
from dicom_node.web.trail import AGAIN_SECONDS, Trail
from tests.web.conftest import PASSWORD, Site, csrf_of, post

OPEN = {"/sign-in", "/sign-in/oidc", "/sign-in/oidc/back"}


def routes(site: Site) -> list[tuple[str, str]]:
    """Return method and path of every route, with numbers where parameters stand."""
    found = []
    for route in _all_routes(create_app(site.house).routes):
        path = re.sub(r"\{(study|series|instance)\}", "1.2.3", route.path)
        path = path.replace("{frames}", "1").replace("{tag}", "7FE00010")
        path = path.replace("{name}", "films").replace("{bundle_id}", "covidnet-lite")
        path = path.replace("{ae_title}", "PACS")
        path = re.sub(r"\{\w+\}", "1", path)
        found += [(method, path) for method in route.methods - {"HEAD"}]
    return found


def _all_routes(items: object) -> list[APIRoute]:
    found: list[APIRoute] = []
    for item in items:  # type: ignore[attr-defined]
        if isinstance(item, APIRoute):
            found.append(item)
        elif hasattr(item, "original_router"):
            prefix = item.include_context.prefix if hasattr(item, "include_context") else ""
            for inner in _all_routes(item.original_router.routes):
                if prefix and not inner.path.startswith(prefix):
                    inner.path = prefix + inner.path
                found.append(inner)
    return found


def test_every_route_but_signing_in_wants_somebody(site: Site) -> None:
    site.receive(1)
    stranger = site.client(None)
    seen = routes(site)
    assert len(seen) > 40
    for method, path in seen:
        if path in OPEN:
            continue
        answer = stranger.request(method, path, follow_redirects=False)
        to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
        assert answer.status_code in (401, 403) or to_sign_in, (method, path, answer.status_code)
        assert "Preview" not in answer.text


def test_no_page_is_made_on_the_event_loop_on_which_all_are_served(site: Site) -> None:
    found = {
        route.path: route.endpoint
        for route in _all_routes(create_app(site.house).routes)
        if inspect.iscoroutinefunction(route.endpoint)
    }
    # STOW-RS awaits its body; what it does with it, it does beside the loop.
    assert {path.removeprefix("/dicom-web") for path in found} <= {"/studies", "/studies/{study}"}
    for endpoint in found.values():
        source = inspect.getsource(endpoint)
        assert "ledger" not in source
        assert "spool" not in source
        assert "to_thread.run_sync" in source


def test_the_api_asks_programs_for_basic_credentials(site: Site) -> None:
    stranger = site.client(None)
    answer = stranger.get("/dicom-web/studies")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert stranger.get("/api/health", auth=("reader", PASSWORD)).status_code == 200
    assert stranger.get("/api/health", auth=("reader", "wrong")).status_code == 401


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(site: Site) -> None:
    stranger = site.client(None)
    answers = [
        stranger.post("/sign-in", data={"name": name, "password": "wrong wrong"})
        for name in ("reader", "nobody")
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].text == answers[1].text


def test_the_password_of_nobody_takes_as_long_to_check_as_any() -> None:
    assert not passwords._HASHER.check_needs_rehash(passwords._NOBODY)
    assert not matches(None, "")


def test_after_wrong_passwords_even_the_right_one_has_to_wait(site: Site) -> None:
    stranger = site.client(None)
    for _ in range(5):
        stranger.post("/sign-in", data={"name": "reader", "password": "wrong wrong"})
    answer = stranger.post("/sign-in", data={"name": "reader", "password": PASSWORD})
    assert answer.status_code == 403
    assert "wait" in answer.text
    assert stranger.get("/api/health", auth=("reader", PASSWORD)).status_code == 401


def test_a_program_that_signs_in_forgives_the_wrong_passwords_before(site: Site) -> None:
    stranger = site.client(None)
    wrong = ["wrong wrong"] * 4
    for password in (*wrong, PASSWORD, *wrong):
        answer = stranger.get("/api/health", auth=("reader", password))
        assert answer.status_code == (200 if password == PASSWORD else 401)
    answer = stranger.post("/sign-in", data={"name": "reader", "password": PASSWORD})
    assert answer.status_code == 200


GUESSES = 60


@pytest.mark.parametrize("way", ["form", "basic"])
@pytest.mark.parametrize("name", ["reader", "nobody"])
def test_guesses_at_the_same_time_get_no_more_tries_than_one_after_the_other(
    site: Site, served: Callable[[], str], monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    address, checked = served(), []

    def counted(password_hash: str | None, password: str) -> bool:
        checked.append(password)
        return matches(password_hash, password)

    monkeypatch.setattr("dicom_node.web.security.matches", counted)

    def guess(number: int) -> int:
        return ask(address, name, f"wrong guess {number}", way)

    with ThreadPoolExecutor(20) as pool:
        statuses = set(pool.map(guess, range(GUESSES)))
    assert statuses <= {403, 401, 503}
    assert len(checked) == 5
    # The right one has to wait as well, whichever came first to the queue.
    assert ask(address, "reader", PASSWORD, way) in ((403, 401) if name == "reader" else (303, 200))


def ask(address: str, name: str, password: str, way: str = "form") -> int:
    # No TLS is spoken: reading the certificates of all authorities takes longer than the question.
    with httpx.Client(base_url=address, timeout=60, verify=False) as client:
        if way == "basic":
            return client.get("/api/health", auth=(name, password)).status_code
        return client.post("/sign-in", data={"name": name, "password": password}).status_code


def test_one_address_guesses_names_no_longer_than_passwords(site: Site) -> None:
    ledger = site.house.ledger
    free = [number for number in range(200) if ledger.reserve_sign_in(f"name{number}", "10.0.0.1")]
    assert len(free) == 50
    assert ledger.reserve_sign_in("reader", "10.0.0.2")
    assert not ledger.reserve_sign_in("reader", "10.0.0.1")


def test_strangers_do_not_lock_a_user_out_where_he_signs_in_every_day(site: Site) -> None:
    ledger = site.house.ledger
    assert ledger.reserve_sign_in("admin", "10.0.0.5")
    ledger.forgive("admin", "10.0.0.5")
    while ledger.reserve_sign_in("admin", "10.6.6.6"):
        pass
    assert not ledger.reserve_sign_in("admin", "10.7.7.7")
    assert ledger.reserve_sign_in("admin", "10.0.0.5")
    # There he has his own five tries.
    assert [ledger.reserve_sign_in("admin", "10.0.0.5") for _ in range(6)] == [True] * 4 + [
        False
    ] * 2


def test_no_step_of_the_clock_locks_anybody_out_for_longer(tmp_path: Path) -> None:
    now = utc_now()
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="web", clock=lambda: now)
    while ledger.reserve_sign_in("reader", "10.0.0.1"):
        pass
    now -= timedelta(days=1)
    assert ledger.reserve_sign_in("reader", "10.0.0.1")
    ledger.close()


def test_thirty_requests_of_one_program_at_once_are_one_attempt(
    site: Site, served: Callable[[], str]
) -> None:
    address = served()

    def once(_: int) -> int:
        return ask(address, "reader", PASSWORD, "basic")

    with ThreadPoolExecutor(30) as pool:
        assert set(pool.map(once, range(30))) == {200}


def test_when_very_many_sign_in_the_next_is_told_to_wait_and_the_pages_go_on(
    site: Site, served: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, done = served(), threading.Event()
    monkeypatch.setattr("dicom_node.web.security.matches", lambda *_: done.wait(60) and False)
    with ThreadPoolExecutor(60) as pool:
        tried = [pool.submit(ask, address, f"name{number}", "wrong") for number in range(60)]
        try:
            told = next(each.result() for each in as_completed(tried))
            assert told == 503
            assert httpx.get(f"{address}/sign-in", timeout=30).status_code == 200
        finally:
            done.set()


def test_signing_in_again_ends_the_session_that_the_browser_had(site: Site) -> None:
    client = site.client("reader")
    before = client.cookies[COOKIE]
    client.post("/sign-in", data={"name": "reader", "password": PASSWORD})
    assert client.get("/cases", follow_redirects=False).status_code == 200
    thief = site.client(None)
    thief.cookies.set(COOKIE, before)
    assert thief.get("/cases", follow_redirects=False).status_code == 303


def test_another_role_at_the_provider_ends_the_sessions_of_the_earlier_one(site: Site) -> None:
    ledger = site.house.ledger
    ledger.keep_person("ada (hospital account)", "admin")
    ledger.open_session("ada (hospital account)", "digest", "csrf")
    ledger.keep_person("ada (hospital account)", "admin")
    assert ledger.session("digest", timedelta(hours=1), timedelta(hours=1)) is not None
    ledger.keep_person("ada (hospital account)", "reader")
    assert ledger.session("digest", timedelta(hours=1), timedelta(hours=1)) is None


def test_a_removed_user_is_signed_out_everywhere_programs_too(site: Site) -> None:
    old, admin = site.client("reader"), site.client("admin")
    assert old.get("/api/health", auth=("operator", PASSWORD)).status_code == 200
    for name in ("reader", "operator"):
        post(admin, "/users/remove", name=name)
    assert old.get("/cases", follow_redirects=False).status_code == 303
    assert old.get("/api/health", auth=("operator", PASSWORD)).status_code == 401


def test_a_session_ends_on_signing_out_and_by_itself(site: Site) -> None:
    client = site.client("reader")
    cookie = client.cookies[COOKIE]
    ledger = site.house.ledger
    assert ledger.session(token_hash(cookie), timedelta(hours=1), timedelta(hours=1)) is not None
    assert ledger.session(token_hash(cookie), timedelta(0), timedelta(hours=1)) is None
    other = site.client("reader")
    kept = other.cookies[COOKIE]
    post(other, "/sign-out")
    thief = site.client(None)
    thief.cookies.set(COOKIE, kept)
    assert thief.get("/cases", follow_redirects=False).status_code == 303


def test_a_list_that_refreshes_itself_keeps_nobody_signed_in(site: Site) -> None:
    client = site.client("reader")
    ledger, moment = site.house.ledger, text_of(utc_now() - timedelta(minutes=29))
    ledger._connection.run("update sessions set seen_at = :at", at=moment)
    case = site.receive(1)
    client.get("/cases", headers={"HX-Request": "true"})
    client.get(f"/cases/{case}/thumbnail.jpg", headers={"Sec-Fetch-Dest": "image"})
    row = ledger._connection.one("select seen_at from sessions")
    assert row is not None
    assert row["seen_at"] == moment
    client.get("/cases")
    row = ledger._connection.one("select seen_at from sessions")
    assert row is not None
    assert row["seen_at"] > moment


def test_each_sign_in_is_a_new_session_that_scripts_cannot_read(site: Site) -> None:
    stranger = site.client(None)
    cookies = set()
    for _ in range(2):
        answer = stranger.post(
            "/sign-in", data={"name": "reader", "password": PASSWORD}, follow_redirects=False
        )
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        cookies.add(cookie.partition(";")[0])
    assert len(cookies) == 2


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
def test_a_form_from_another_site_is_refused(site: Site, headers: dict[str, str]) -> None:
    case = site.receive(1)
    client = site.client("operator")
    answer = client.post(f"/cases/{case}/again", data={"csrf": csrf_of(client)}, headers=headers)
    assert answer.status_code == 403


def test_a_form_without_its_token_is_refused(site: Site) -> None:
    case = site.receive(1)
    client = site.client("operator")
    csrf_of(client)
    for data in ({}, {"csrf": "guessed"}):
        assert client.post(f"/cases/{case}/again", data=data).status_code == 403


def test_no_get_changes_anything(site: Site) -> None:
    site.receive(1)
    client = site.client("admin")
    before = site.house.ledger.counts(), [user.name for user in site.house.ledger.users()]
    for method, path in routes(site):
        if method == "GET":
            client.get(path, follow_redirects=False)
    assert (site.house.ledger.counts(), [u.name for u in site.house.ledger.users()]) == before


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("reader", "/users", 403), ("operator", "/users", 403), ("admin", "/users", 200),
        ("reader", "/remotes/new", 403), ("operator", "/remotes/new", 200),
        ("reader", "/cases", 200), ("operator", "/audit", 403), ("admin", "/audit", 200),
        ("operator", "/audit.csv", 403), ("admin", "/audit.csv", 200),
    ],
)  # fmt: skip
def test_a_role_opens_its_own_doors_alone(site: Site, role: str, path: str, status: int) -> None:
    assert site.client(role).get(path).status_code == status


def test_a_reader_may_not_steer(site: Site) -> None:
    case = site.receive(1)
    reader = site.client("reader")
    for path in (f"/cases/{case}/again", f"/cases/{case}/retract", "/remotes/keep", "/users"):
        assert post(reader, path, reason="quality").status_code == 403  # type: ignore[attr-defined]


def test_every_answer_carries_its_guards(site: Site) -> None:
    site.receive(1)
    client = site.client("reader")
    for path in (
        "/cases", "/cases/1", "/api/health", "/dicom-web/studies", "/nowhere", "/sign-in",
        "/cases/1/thumbnail.jpg", "/films/1/thumbnail.jpg", "/films/1/pixels",
    ):  # fmt: skip
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in policy
    secure = site.client("reader", base="https://localhost").get("/cases")
    assert "max-age" in secure.headers["strict-transport-security"]


def test_an_error_that_nobody_foresaw_is_logged_without_its_words_and_keeps_the_guards(
    site: Site, log: io.StringIO
) -> None:
    case = site.receive(1)

    def breaks(*_: object) -> None:
        raise ZeroDivisionError("CANARY^YELLOW")

    site.house.ledger.case = breaks  # type: ignore[assignment, method-assign]
    client = site.client("reader", raises=False)
    for path in (f"/cases/{case}", f"/api/cases/{case}"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "CANARY" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    written = log.getvalue()
    lines = [json.loads(line) for line in written.splitlines() if "page.failed" in line]
    assert [line["route"] for line in lines] == ["/cases/{study_id}", "/api/cases/{study_id}"]
    assert {line["error"] for line in lines} == {"ZeroDivisionError"}
    assert lines[0]["where"].startswith("web/pages/cases.py:")
    assert "CANARY" not in written


def test_a_number_that_no_row_can_have_is_no_fault_of_the_node(site: Site) -> None:
    site.receive(1)
    client = site.client("admin")
    for method, path in routes(site):
        far = re.sub(r"/1(?=/|$)", f"/{10**30}", path)
        answer = client.request(method, far, follow_redirects=False)
        assert answer.status_code < 500, (method, far)


def test_no_page_holds_a_script_or_a_style_of_its_own(site: Site) -> None:
    case = site.receive(1)
    client = site.client("admin")
    for path in ("/cases", f"/cases/{case}", f"/cases/{case}/report", "/remotes", "/dashboard"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"\sstyle=|\son\w+=", page)


def test_another_name_for_this_machine_is_refused(site: Site) -> None:
    client = TestClient(create_app(site.house), base_url="http://rebound.example")
    assert client.get("/sign-in").status_code == 400


def test_a_body_that_is_too_large_is_refused_before_it_is_read(site: Site) -> None:
    client = site.client("reader")
    headers = {"Content-Length": str(4 * 2**30)}
    assert client.post("/sign-in", headers=headers, content=b"").status_code == 413

    def chunks() -> object:
        for _ in range(40):
            yield b"x" * 65_536

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/sign-in", content=chunks(), headers=form)  # type: ignore[arg-type]
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize("path", ["/by-hand", "/remotes/dry-run", "/dicom-web/studies"])
def test_nothing_of_a_strangers_upload_is_read(site: Site, path: str) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        raise AssertionError("The body was read.")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"host": "localhost", "content-type": "multipart/form-data; boundary=X"}
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "scheme": "http", "server": ("localhost", 80), "http_version": "1.1",
        "root_path": "", "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    anyio.run(create_app(site.house), scope, receive, send)
    assert sent[0]["status"] in (303, 401)


STRANGERS = 50
"""More than the threads in which pages are made."""


def test_strangers_who_guess_passwords_keep_nobody_waiting(
    site: Site, served: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, done = served(), threading.Event()
    reader = httpx.Client(base_url=address, timeout=30)
    reader.post("/sign-in", data={"name": "reader", "password": PASSWORD})

    def slowly(*_: object) -> bool:
        done.wait(60)
        return False

    monkeypatch.setattr("dicom_node.web.security.matches", slowly)

    def guess(number: int) -> int:
        with httpx.Client(base_url=address, timeout=60, verify=False) as stranger:
            if number % 2:
                return stranger.get("/api/health", auth=("nobody", "guessed")).status_code
            form = {"name": "nobody", "password": "guessed"}
            return stranger.post("/sign-in", data=form).status_code

    with ThreadPoolExecutor(STRANGERS) as pool:
        guesses = [pool.submit(guess, number) for number in range(STRANGERS)]
        try:
            assert reader.get("/cases").status_code == 200
            assert not all(each.done() for each in guesses)
        finally:
            done.set()
        assert {each.result() for each in guesses} <= {401, 403, 503}


def test_an_upload_keeps_nobody_waiting(
    site: Site, served: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, begun, done = served(), threading.Event(), threading.Event()

    def slowly(*_: object) -> None:
        begun.set()
        done.wait(60)
        raise SpoolUnwritable("The disk is slow.")

    monkeypatch.setattr("dicom_node.intake.take.FrontDoor.take_file", slowly)
    film = io.BytesIO()
    phantom_dataset(6, rows=64, columns=64).save_as(film, enforce_file_format=True)
    body = b"--X\r\nContent-Type: application/dicom\r\n\r\n" + film.getvalue() + b"\r\n--X--\r\n"

    def upload() -> int:
        with httpx.Client(base_url=address, timeout=60, auth=("operator", PASSWORD)) as client:
            headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=X'}
            answer = client.post("/dicom-web/studies", content=body, headers=headers)
            return answer.status_code

    with ThreadPoolExecutor(1) as pool:
        uploaded = pool.submit(upload)
        try:
            assert begun.wait(30)
            assert httpx.get(f"{address}/sign-in", timeout=30).status_code == 200
        finally:
            done.set()
        assert uploaded.result() == 409


def test_signing_in_leads_to_this_site_alone(site: Site) -> None:
    client = site.client(None)
    for target in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = client.post(
            "/sign-in", data={"name": "reader", "password": PASSWORD, "next": target},
            follow_redirects=False,
        )  # fmt: skip
        assert answer.headers["location"] == "/"


def test_the_last_admin_stays(site: Site) -> None:
    admin = site.client("admin")
    answer = post(admin, "/users/remove", name="admin")
    assert answer.status_code == 409  # type: ignore[attr-defined]
    post(admin, "/users/remove", name="reader")
    assert [user.name for user in site.house.ledger.users()] == ["admin", "operator"]


@pytest.mark.parametrize("role", ["reader", "operator"])
def test_the_last_admin_stays_one(site: Site, role: str) -> None:
    admin = site.client("admin")
    change = {"name": "admin", "role": role, "password": "a long enough other"}
    assert post(admin, "/users", **change).status_code == 409  # type: ignore[attr-defined]
    assert admin.get("/users").status_code == 200
    post(admin, "/users", name="other", role="admin", password="a long enough other")
    post(admin, "/users", **change)
    roles = {user.name: user.role for user in site.house.ledger.users()}
    assert (roles["admin"], roles["other"]) == (role, "admin")


def test_a_user_with_a_new_password_is_signed_out_everywhere(site: Site) -> None:
    old = site.client("reader")
    admin = site.client("admin")
    post(admin, "/users", name="reader", role="reader", password="another long one")
    assert old.get("/cases", follow_redirects=False).status_code == 303


def test_short_passwords_and_odd_names_are_refused_with_what_to_do(site: Site) -> None:
    admin = site.client("admin")
    for name, password in (("new", "short"), ("<script>", "long enough, this")):
        answer = post(admin, "/users", name=name, role="reader", password=password)
        assert answer.status_code == 422  # type: ignore[attr-defined]
    assert len(site.house.ledger.users()) == len(ROLES)


def test_who_looked_at_a_patient_is_on_record_without_the_name(site: Site) -> None:
    case = site.receive(1, PatientName="CANARY^YELLOW")
    site.client("reader").get(f"/cases/{case}")
    lines = site.house.ledger.audit(study_id=case)  # type: ignore[arg-type]
    assert [(line.who, line.what) for line in lines] == [("reader", "case.viewed")]
    assert "CANARY" not in str(site.house.ledger.audit())


INSTANCE = "studies/1.2.4.1/series/{series}/instances/1.2.3.1"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/films/1/film.json", "film.viewed"), ("/films/1/pixels", "film.viewed"),
        ("/films/1/thumbnail.jpg", "thumbnail.viewed"),
        ("/cases/{case}/thumbnail.jpg", "thumbnail.viewed"),
        ("/cases/{case}/course.svg", "course.viewed"),
        ("/api/cases/{case}/findings", "findings.viewed"),
        ("/dicom-web/studies", "dicomweb.found"),
        ("/dicom-web/studies/1.2.4.1/series", "dicomweb.found"),
        ("/dicom-web/studies/1.2.4.1/instances", "dicomweb.found"),
        (f"/dicom-web/{INSTANCE}/rendered", "dicomweb.viewed"),
        (f"/dicom-web/{INSTANCE}/frames/1", "dicomweb.viewed"),
        (f"/dicom-web/{INSTANCE}/bulk/7FE00010", "dicomweb.viewed"),
    ],
)  # fmt: skip
def test_whatever_shows_a_patient_is_on_record_once_in_some_minutes(
    site: Site, path: str, what: str
) -> None:
    case = site.receive(1)
    site.receive(2)
    client, now = site.client("reader"), 0.0
    client.app.state.trail = Trail(lambda: now)  # type: ignore[attr-defined]
    series = preview_film().dataset.SeriesInstanceUID
    address = path.format(case=case, series=series)

    def lines() -> list[tuple[str, str]]:
        found = site.house.ledger.audit(study_id=case)  # type: ignore[arg-type]
        return [(line.who, line.what) for line in found]

    for _ in range(3):
        assert client.get(address).status_code == 200
    assert lines() == [("reader", what)]
    now = AGAIN_SECONDS + 1
    assert client.get(address).status_code == 200
    assert lines() == [("reader", what)] * 2


def test_a_search_that_finds_nobody_names_nobody_on_record(site: Site) -> None:
    site.receive(1)
    client = site.client("reader")
    before = site.house.ledger.audit()
    client.get("/dicom-web/studies?PatientID=other")
    client.get("/dicom-web/studies/1.2.4.1/series?Modality=CT")
    assert client.get("/films/1000/pixels").status_code == 404
    assert site.house.ledger.audit() == before


def test_the_list_of_cases_is_on_record_once_however_often_it_asks_for_its_rows(
    site: Site,
) -> None:
    client = site.client("reader")
    for _ in range(3):
        client.get("/cases", headers={"HX-Request": "true"})
        client.get("/api/cases")
    assert [line.what for line in site.house.ledger.audit()] == ["cases.listed", "signed-in"]


def test_a_look_that_cannot_be_noted_is_noted_when_it_is_repeated(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = site.receive(1)
    client = site.client("reader")

    def full(*_: object) -> None:
        raise LedgerUnavailable("The ledger is busy.")

    with monkeypatch.context() as patched:
        patched.setattr(site.house.ledger, "note_each", full)
        assert client.get("/films/1/pixels").status_code == 503
    assert client.get("/films/1/pixels").status_code == 200
    assert [line.what for line in site.house.ledger.audit(study_id=case)] == ["film.viewed"]  # type: ignore[arg-type]


def test_a_program_that_cannot_sign_in_is_on_record_with_its_address(site: Site) -> None:
    stranger = site.client(None)
    for name in ("reader", "nobody", "reader"):
        assert stranger.get("/api/health", auth=(name, "wrong")).status_code == 401
    (line,) = site.house.ledger.audit()
    assert (line.who, line.what, line.detail) == ("web", "sign-in.refused", "testclient")


def test_pages_that_others_could_reach_need_a_certificate_and_a_user(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('[web]\nhost = "0.0.0.0"\n', "utf-8")
    with pytest.raises(SettingsError, match="no certificate"):
        load_configuration(tmp_path)
    (tmp_path / "node.toml").write_text("", "utf-8")
    configuration = load_configuration(tmp_path, data_dir=tmp_path / "var")
    settings = configuration.settings
    web = settings.web.model_copy(update={"host": "0.0.0.0"})
    open_wide = replace(configuration, settings=settings.model_copy(update={"web": web}))
    with pytest.raises(RoleError, match="no user can sign in"):
        run(open_wide, threading.Event(), Worker("web", "web"))
