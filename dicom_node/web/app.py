"""The application: routes, guards, and what is said when something goes wrong."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb
from urllib.parse import quote, urlsplit

from anyio import CapacityLimiter, Semaphore
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from dicom_node import __version__
from dicom_node.errors import (
    DiskFull,
    ImageError,
    NodeError,
    RowMissing,
    SettingsError,
    SignInRefused,
    SpoolError,
    SpoolUnwritable,
    StoreError,
    TransitionRefused,
    Unavailable,
)
from dicom_node.web import api, dicomweb, qido, stow
from dicom_node.web.armour import Armour, guards
from dicom_node.web.house import House
from dicom_node.web.oidc import Provider
from dicom_node.web.pages import (
    by_hand,
    cases,
    dashboard,
    films,
    models,
    observed,
    outbox,
    people,
    remotes,
    report,
)
from dicom_node.web.rendering import STATIC, page
from dicom_node.web.security import COOKIE, BasicMemory, NotAllowed, NotSignedIn, house_of, reader
from dicom_node.web.trail import Trail
from dicom_node.web.turns import AT_A_TIME
from dicom_node.web.typed import typed_in

_AT_A_TIME = 2
"""Passwords that are hashed, and uploads that are stored, at one time: both take a core."""

_PROGRAMS = ("/api/", "/dicom-web/")
_SEE_LOG = "The log of the role web has the place (page.failed): report it with the version."
_DESCRIPTION = (
    "Cases, findings and deliveries of the node, for programs. Sign in by HTTP Basic as a user of"
    " the node. DICOMweb (PS3.18) is under /dicom-web and not described here."
)

_PACKAGE = Path(__file__).parents[1]

_STATUS: tuple[tuple[type[NodeError], int], ...] = (
    (RowMissing, 404),
    (TransitionRefused, 409),
    (SignInRefused, 403),
    (SettingsError, 422),
    (ImageError, 422),
    (SpoolError, 503),
    (DiskFull, 507),
    (SpoolUnwritable, 507),
    (Unavailable, 503),
    (StoreError, 422),
)


def create_app(house: House) -> FastAPI:
    """Return the application over ``house``; routes that are not guarded by a role are few."""
    app = FastAPI(
        title="dicom-node",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.house = house
    app.state.basic = BasicMemory()
    app.state.trail = Trail()
    app.state.hashing = CapacityLimiter(_AT_A_TIME)
    app.state.storing = CapacityLimiter(_AT_A_TIME)
    app.state.drawing = Semaphore(AT_A_TIME)
    app.state.provider = Provider(house.settings.oidc) if house.settings.oidc else None
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for module in (people, cases, films, observed, report, by_hand, outbox, remotes, models,
                   dashboard):  # fmt: skip
        app.include_router(module.router, include_in_schema=False)
    app.include_router(api.router)
    app.include_router(dicomweb.router, include_in_schema=False)
    app.include_router(qido.router, include_in_schema=False)
    app.include_router(stow.router, include_in_schema=False)
    app.include_router(_description(app), include_in_schema=False)
    _errors(app)
    app.add_middleware(Armour, web=house.settings.web)
    return app


def _description(app: FastAPI) -> APIRouter:
    router = APIRouter(dependencies=[Depends(reader)])

    @router.get("/api/openapi.json")
    def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    @router.get("/api")
    def described(request: Request) -> HTMLResponse:
        return page(request, "api.html", described=app.openapi())

    return router


def _errors(app: FastAPI) -> None:
    app.add_exception_handler(NotSignedIn, _not_signed_in)
    app.add_exception_handler(NotAllowed, _not_allowed)
    app.add_exception_handler(NodeError, _node_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unforeseen)


def _not_signed_in(request: Request, _error: Exception) -> Response:
    if request.url.path.startswith(_PROGRAMS):
        told = {"error": "Sign in by HTTP Basic."}
        challenge = {"WWW-Authenticate": 'Basic realm="dicom-node", charset="UTF-8"'}
        return JSONResponse(told, status_code=401, headers=challenge)
    target = f"/sign-in?next={quote(_page_before(request))}"
    if COOKIE in request.cookies:
        target += "&ended=yes"
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)


def _not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    return _told(request, 403, error.why, "Ask an administrator of this node.")


def _node_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, NodeError)
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 502)
    return _told(request, status, error.message, error.remedy)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _told(request, error.status_code, str(error.detail), "", error.headers)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _told(request, 422, f"{where}: {first['msg']}", "Correct it and try again.")


def _unforeseen(request: Request, error: Exception) -> Response:
    # The kind and the place alone: the error's own words may quote a patient.
    house_of(request).log.event(
        "page.failed",
        route=getattr(request.scope.get("route"), "path", "none"),
        error=type(error).__name__,
        where=_place_of(error),
    )
    answer = _told(request, 500, "The node met an error that nobody foresaw.", _SEE_LOG)
    # Starlette answers such an error outside every middleware, outside `Armour` too.
    for name, value in guards(request.scope).items():
        answer.headers.setdefault(name.decode(), value.decode())
    return answer


def _page_before(request: Request) -> str:
    """Return the page that a browser was on, to go back to it: of this site alone."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method == "GET":
        return asked
    page_before = urlsplit(request.headers.get("referer", ""))
    own = page_before.path.startswith("/") and not page_before.path.startswith(("//", "/\\"))
    if own and page_before.netloc == request.headers.get("host"):
        return page_before.path
    # Without it, as programs come: what is typed under a report stands on the report.
    case, _, last = request.url.path.rpartition("/")
    return f"{case}/report" if last in ("reading", "feedback") else "/"


def _place_of(error: Exception) -> str:
    """Return file and line of ours where an error came up."""
    ours = [each for each in extract_tb(error.__traceback__)
            if Path(each.filename).is_relative_to(_PACKAGE)]  # fmt: skip
    return f"{Path(ours[-1].filename).relative_to(_PACKAGE)}:{ours[-1].lineno}" if ours else ""


def _told(
    request: Request,
    status: int,
    what: str,
    remedy: str,
    headers: object = None,
) -> Response:
    kept = dict(headers) if isinstance(headers, dict) else {}
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse({"error": what, "remedy": remedy}, status_code=status, headers=kept)
    back = _page_before(request) if request.method != "GET" else ""
    answer = page(
        request, "error.html", status=status, code=status, what=what, remedy=remedy,
        typed=typed_in(request), back=back,
    )  # fmt: skip
    answer.headers.update(kept)
    return answer
