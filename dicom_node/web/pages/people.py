"""Signing in and out, users, and the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from dicom_node.errors import NodeError, SettingsError, SignInRefused, TransitionRefused
from dicom_node.ledger import ANNOUNCED_DAYS, COUNTED, AuditTrail
from dicom_node.ledger.people import ROLES, AuditLine, User
from dicom_node.web.oidc import Provider
from dicom_node.web.passwords import check_user, hashed, token, token_hash
from dicom_node.web.rendering import csv_stream, done, page
from dicom_node.web.security import COOKIE, Person, admin, house_of, proven, reader
from dicom_node.web.trail import refused

router = APIRouter()

_LINES, _EXPORTED_AT_ONCE = 200, 2000
_COLUMNS = ("id", "at", "who", "what", "study_id", "detail")
_ASKED = "dicom_node_asked"
_OF_PROVIDER = " (hospital account)"
"""Behind the name of whom the provider knows: no user of this node can be called so."""

_WRONG = "Name or password is wrong, or the user has to wait after too many wrong passwords."


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/", ended: str = "") -> Response:
    """Show the form, or how the first user is made; ``ended``: a session is over."""
    web = house_of(request).settings.web
    why = (
        f"You are signed out: sessions end after {web.idle_minutes:g} minutes without use, after"
        f" {web.longest_hours:g} hours, and when the same browser signs in again. What you typed"
        " is put back when you sign in."
    )
    return _sign_in(request, next, why if ended else "")


async def _proven(
    request: Request,
    name: Annotated[str, Form(max_length=200)],
    password: Annotated[str, Form(max_length=1000)],
) -> User | None:
    return await proven(request, name, password)


@router.post("/sign-in")
def sign_in(
    request: Request,
    user: Annotated[User | None, Depends(_proven)],
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Open a session where the password is right."""
    if user is None:
        ledger = house_of(request).ledger
        ledger.note("web", "sign-in.refused", request.client.host if request.client else None)
        return _sign_in(request, next, _WRONG, status=403)
    answer = RedirectResponse(_own_path(next), status_code=303)
    _open_session(request, answer, user.name)
    return answer


@router.get("/sign-in/oidc")
def to_provider(request: Request, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:
    """Send the browser to the hospital's identity provider."""
    address, asked = _provider(request).ask(_back(request), _own_path(next))
    answer = RedirectResponse(address, status_code=303)
    answer.set_cookie(
        _ASKED, asked.cookie, httponly=True, samesite="lax", max_age=600, path="/sign-in",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


@router.get("/sign-in/oidc/back")
def from_provider(request: Request, state: str = "", code: str = "") -> Response:
    """Open a session for whoever the provider names."""
    ledger = house_of(request).ledger
    cookie = request.cookies.get(_ASKED, "")
    try:
        known = _provider(request).answer(_back(request), state, code, cookie)
    except SignInRefused:
        refused(request)
        raise
    name = f"{known.name}{_OF_PROVIDER}"
    ledger.keep_person(name, known.role)
    answer = page(request, "signed_in.html", next=known.target)
    _open_session(request, answer, name)
    answer.delete_cookie(_ASKED, path="/sign-in")
    return answer


@router.get("/sign-in/used")
def used(_: Annotated[Person, Depends(reader)]) -> Response:
    """Answer whoever types on a page: that is a use of the session, too."""
    return Response(status_code=204)


@router.post("/sign-out")
def sign_out(request: Request, person: Annotated[Person, Depends(reader)]) -> Response:
    """End the session."""
    ledger = house_of(request).ledger
    ledger.end_session(token_hash(request.cookies.get(COOKIE, "")))
    ledger.note(person.name, "signed-out")
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/users")
def users(request: Request, _: Annotated[Person, Depends(admin)]) -> Response:
    """List users, with a form for another one."""
    return _users(request, 200, name="", role="reader", fault=None)


def _users(
    request: Request, status: int, *, name: str, role: str, fault: NodeError | None
) -> Response:
    return page(
        request, "users.html", status=status, users=house_of(request).ledger.users(), roles=ROLES,
        asked=name, role=role, fault=fault,
    )  # fmt: skip


@router.post("/users")
def keep_user(
    request: Request,
    person: Annotated[Person, Depends(admin)],
    name: Annotated[str, Form()],
    role: Annotated[str, Form()],
    password: Annotated[str, Form(max_length=1000)],
) -> Response:
    """Add a user, or give one another role and password; on a fault the form comes back."""
    ledger = house_of(request).ledger
    try:
        check_user(name, role, password)
        ledger.keep_user(name, role, hashed(password))
    except (SettingsError, TransitionRefused) as error:
        status = 422 if isinstance(error, SettingsError) else 409
        return _users(request, status, name=name, role=role, fault=error)
    ledger.note(person.name, "user.kept", f"{name}: {role}")
    return done("/users", "user-kept")


@router.post("/users/remove")
def remove_user(
    request: Request, person: Annotated[Person, Depends(admin)], name: Annotated[str, Form()]
) -> Response:
    """Remove a user."""
    ledger = house_of(request).ledger
    ledger.remove_user(name)
    ledger.note(person.name, "user.removed", name)
    return done("/users", "user-removed")


@router.get("/audit")
def audit(
    request: Request,
    _: Annotated[Person, Depends(admin)],
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Response:
    """Show the latest lines of the audit trail, or those ``before`` one."""
    house = house_of(request)
    lines = house.ledger.audit(_LINES + 1, before=before)
    older = lines[_LINES - 1].id if len(lines) > _LINES else None
    days = house.settings.retention.audit_days
    soon = house.ledger.audit_lines_older(days - ANNOUNCED_DAYS, COUNTED)
    return page(request, "audit.html", lines=lines[:_LINES], older=older, days=days, soon=soon)


@router.get("/audit.csv")
def audit_table(request: Request, person: Annotated[Person, Depends(admin)]) -> Response:
    """Return the whole audit trail as CSV, latest line first: to keep what will be aged."""
    ledger = house_of(request).ledger
    ledger.note(person.name, "audit.exported")
    return csv_stream("audit.csv", _COLUMNS, map(asdict, _every_line(ledger)))


def _every_line(ledger: AuditTrail) -> Iterator[AuditLine]:
    before: int | None = None
    while lines := ledger.audit(_EXPORTED_AT_ONCE, before=before):
        yield from lines
        before = lines[-1].id


def _open_session(request: Request, answer: Response, name: str) -> None:
    ledger, fresh = house_of(request).ledger, token()
    before = request.cookies.get(COOKIE)
    ledger.open_session(name, token_hash(fresh), token(), token_hash(before) if before else None)
    ledger.note(name, "signed-in", request.client.host if request.client else None)
    answer.set_cookie(
        COOKIE, fresh, httponly=True, samesite="strict", secure=request.url.scheme == "https",
        max_age=int(house_of(request).settings.web.longest_hours * 3600),
    )  # fmt: skip


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise HTTPException(404, "This node has no identity provider: [oidc] in node.toml.")
    return provider


def _back(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/sign-in/oidc/back"


def _sign_in(request: Request, wanted: str, why: str, status: int = 200) -> Response:
    provider = request.app.state.provider is not None
    nobody = not provider and not house_of(request).ledger.users()
    return page(
        request,
        "sign_in.html",
        status=status,
        next=_own_path(wanted),
        why=why,
        nobody=nobody,
        provider=provider,
    )


def _own_path(text: str) -> str:
    """Return a path on this site: never another site's address."""
    own = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if own else "/"
