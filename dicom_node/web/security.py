"""Who may: sessions, HTTP Basic for DICOMweb clients, CSRF, roles.

A page that needs somebody names a `Depends(reader)`, `operator` or `admin`; a test walks all routes
and finds one without.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.routing import APIRoute

from dicom_node.ledger import Accounts
from dicom_node.ledger.people import ROLES, User
from dicom_node.web.house import House
from dicom_node.web.passwords import matches, token_hash
from dicom_node.web.trail import refused
from dicom_node.web.typed import remember

COOKIE = "dicom_node_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_REMEMBER_SECONDS = 300.0
_MOST_WAITING = 40
"""Sign-ins that wait to be checked; a tenth of a second each."""
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class NotSignedIn(Exception):
    """Nobody is signed in."""


class NotAllowed(Exception):
    """Somebody is, and may not. ``why`` is shown."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks; ``csrf`` goes into every form."""

    name: str
    role: str
    csrf: str

    def may(self, role: str) -> bool:
        """Whether this person's role includes ``role``."""
        return ROLES.index(self.role) >= ROLES.index(role)


class BasicMemory:
    """Remembers for a while which credentials were right: argon2 is slow by design."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._right: dict[str, float] = {}
        self._asked: dict[tuple[int, str], asyncio.Task[User | None]] = {}

    async def once(self, key: str, asked: Coroutine[Any, Any, User | None]) -> User | None:
        """Return what ``asked`` returns; of several at the same time with one key ask the first."""
        mine = id(asyncio.get_running_loop()), key
        task = self._asked.get(mine)
        if task is None:
            task = self._asked[mine] = asyncio.create_task(asked)
            task.add_done_callback(lambda _: self._asked.pop(mine, None))
        else:
            asked.close()
        # Whoever asked first may go away; the others still wait for the answer.
        return await asyncio.shield(task)

    def knows(self, key: str) -> bool:
        """Whether these credentials were right a moment ago."""
        now = self._clock()
        self._right = {each: until for each, until in self._right.items() if until > now}
        return key in self._right

    def remember(self, key: str) -> None:
        """Take these credentials for right for some minutes."""
        self._right[key] = self._clock() + _REMEMBER_SECONDS


def may(role: str) -> Callable[[Request], Awaitable[Person]]:
    """Return the dependency that lets pass whoever has ``role`` or more."""

    async def check(request: Request) -> Person:
        person = await signed_in(request)
        if request.method not in SAFE and person.csrf:
            await _check_csrf(request, person)
        if not person.may(role):
            raise NotAllowed(f"This needs the role {role}; {person.name} is {person.role}.")
        request.state.person = person
        return person

    return check


reader, operator, admin = (may(role) for role in ROLES)


async def signed_in(request: Request) -> Person:
    """Return who asks. Raises `NotSignedIn`."""
    known: Person | None = getattr(request.state, "signed_in", None)
    found = known or await _by_basic(request) or await run_in_threadpool(_by_session, request)
    if found is None:
        raise NotSignedIn
    request.state.signed_in = found
    return found


class SignedInFirst(APIRoute):
    """A route of which nothing is read before somebody is signed in.

    FastAPI parses a form before it asks its dependencies: an upload would be on the disk by then.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind the question who asks."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await signed_in(request)
            return await handler(request)

        return guarded


async def proven(request: Request, name: str, password: str) -> User | None:
    """Return the user whose password this is; a wrong one is counted, before it is looked at.

    As slow for a user that there is not. A few passwords are hashed at a time, beside the event
    loop, and few wait for that: strangers who guess keep nobody else waiting.
    """
    hashing: CapacityLimiter = request.app.state.hashing
    if hashing.statistics().tasks_waiting >= _MOST_WAITING:
        again = {"Retry-After": "5"}
        raise HTTPException(503, "Very many sign in at once. Try again in some seconds.", again)
    ledger = house_of(request).ledger
    return await to_thread.run_sync(
        _proven, ledger, name, password, address_of(request), limiter=hashing
    )


def _proven(ledger: Accounts, name: str, password: str, address: str) -> User | None:
    if not ledger.reserve_sign_in(name, address):
        return None
    # Read now, not before the attempt was reserved: others may have tried, or changed it.
    user = ledger.user(name)
    if not matches(user.password_hash if user else None, password):
        return None
    ledger.forgive(name, address)
    return user


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def house_of(request: Request) -> House:
    """Return what the pages stand on."""
    house: House = request.app.state.house
    return house


def _by_session(request: Request) -> Person | None:
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    house = house_of(request)
    web = house.settings.web
    found = house.ledger.session(
        token_hash(cookie),
        timedelta(minutes=web.idle_minutes),
        timedelta(hours=web.longest_hours),
        used=not _by_itself(request),
    )
    return None if found is None else Person(found.user, found.role, found.csrf)


def _by_itself(request: Request) -> bool:
    """Whether no hand is behind a request: a list asks for its rows, and they for pictures."""
    picture = request.headers.get("sec-fetch-dest") == "image"
    return request.method == "GET" and ("hx-request" in request.headers or picture)


async def _by_basic(request: Request) -> Person | None:
    """Return who names himself by HTTP Basic: programs, which have no forms to forge."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user = await run_in_threadpool(house_of(request).ledger.user, name)
    memory: BasicMemory = request.app.state.basic
    key = token_hash(f"{given}:{user.password_hash if user else ''}")
    if user is not None and memory.knows(key):
        return Person(user.name, user.role, "")
    # A viewer asks for thirty pictures at once: that is one attempt, not thirty.
    found = await memory.once(f"{address_of(request)}:{key}", proven(request, name, password))
    if found is None:
        await run_in_threadpool(refused, request)
        return None
    memory.remember(key)
    return Person(found.name, found.role, "")


async def _check_csrf(request: Request, person: Person) -> None:
    given = request.headers.get("x-csrf-token", "")
    if not given and request.headers.get("content-type", "").startswith(_FORMS):
        form = await request.form()
        remember(request, form)
        given = str(form.get("csrf", ""))
    if not hmac.compare_digest(given.encode(), person.csrf.encode()):
        raise NotAllowed(
            "The form is from another session. Go back, load the page anew, try again."
        )
