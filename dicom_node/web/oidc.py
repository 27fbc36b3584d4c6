"""Signing in with the hospital's accounts: OpenID Connect, authorization code flow with PKCE.

Authlib speaks OAuth 2.0, joserfc checks the ID token; who may do what follows from a person's
groups, each time anew.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dicom_node.errors import ProviderUnreachable, SignInRefused
from dicom_node.settings.model import OidcSection

_SECONDS = 10.0
_LEEWAY_SECONDS = 60
_WAITS_SECONDS = 600.0
_MOST_WAITING = 1000
_ALGORITHMS = ["RS256", "PS256", "ES256"]
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class AuthenticationRequest:
    """A sign-in on its way. ``state`` comes back in the address, ``cookie`` by the browser."""

    state: str
    cookie: str
    nonce: str
    verifier: str
    target: str
    until: float


@dataclass(frozen=True, slots=True)
class Known:
    """Who the provider says it is, and the role of the groups."""

    name: str
    role: str
    target: str


class Provider:
    """The hospital's identity provider; what is on its way is remembered here."""

    def __init__(self, oidc: OidcSection) -> None:
        self._oidc = oidc
        self._waiting: dict[str, AuthenticationRequest] = {}
        self._lock = threading.Lock()

    def ask(self, back: str, target: str) -> tuple[str, AuthenticationRequest]:
        """Return the provider's address to go to, and what to remember. Raises `SignInError`.

        ``back``: this node's address to which the provider sends the browser.
        """
        state, cookie, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
        asked = AuthenticationRequest(
            state, cookie, nonce, verifier, target, time.monotonic() + _WAITS_SECONDS
        )
        with self._client(back) as client:
            address, _ = client.create_authorization_url(
                self._described()["authorization_endpoint"],
                state=asked.state, code_verifier=asked.verifier, nonce=asked.nonce,
            )  # fmt: skip
        self._remember(asked)
        return str(address), asked

    def _remember(self, asked: AuthenticationRequest) -> None:
        with self._lock:
            # The oldest goes, not the newest: anybody may begin sign-ins that nobody ends.
            while len(self._waiting) >= _MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[asked.state] = asked

    def answer(self, back: str, state: str, code: str, cookie: str) -> Known:
        """Return who has signed in. Raises `SignInError`."""
        with self._lock:
            asked = self._waiting.pop(state, None)
        same = asked is not None and secrets.compare_digest(asked.cookie, cookie)
        if asked is None or not same or asked.until < time.monotonic():
            raise SignInRefused("This sign-in was not begun in this browser, or too long ago.")
        described = self._described()
        try:
            with self._client(back) as client:
                tokens = client.fetch_token(
                    described["token_endpoint"], code=code, code_verifier=asked.verifier,
                    grant_type="authorization_code",
                )  # fmt: skip
            keys = KeySet.import_key_set(_fetched(described["jwks_uri"]))
            token = jwt.decode(str(tokens.get("id_token", "")), keys, algorithms=_ALGORITHMS)
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_SECONDS,
                iss={"essential": True, "value": described["issuer"]},
                aud={"essential": True, "value": self._oidc.client_id},
                exp={"essential": True},
                nonce={"essential": True, "value": asked.nonce},
            ).validate(token.claims)
        except (httpx.HTTPError, AuthlibBaseError, JoseError, ValueError, KeyError) as error:
            raise SignInRefused("The identity provider's answer cannot be trusted.") from error
        return self._known(token.claims, asked.target)

    def _known(self, claims: Mapping[str, Any], target: str) -> Known:
        name = claims.get(self._oidc.name_claim) or claims.get("sub")
        groups = claims.get(self._oidc.groups_claim) or []
        held = {groups} if isinstance(groups, str) else {str(each) for each in groups}
        ranks = (
            ("admin", self._oidc.admins),
            ("operator", self._oidc.operators),
            ("reader", self._oidc.readers),
        )
        for role, named in ranks:
            if held & set(named):
                return Known(f"{name}", role, target)
        raise SignInRefused(
            "None of your groups may use this node.",
            remedy="Ask an administrator to put you into one of the groups in node.toml.",
        )

    def _client(self, back: str) -> OAuth2Client:
        secret = self._oidc.client_secret.read_text("utf-8").strip()
        return OAuth2Client(
            self._oidc.client_id, secret, scope="openid profile", redirect_uri=back,
            code_challenge_method="S256", timeout=_SECONDS,
        )  # fmt: skip

    def _described(self) -> Mapping[str, Any]:
        issuer = self._oidc.issuer.rstrip("/")
        described: Mapping[str, Any] = _fetched(f"{issuer}/.well-known/openid-configuration")
        if any(name not in described for name in _NEEDED) or described["issuer"] not in (
            self._oidc.issuer, issuer,
        ):  # fmt: skip
            raise ProviderUnreachable("The identity provider does not call itself as in node.toml.")
        return described


def _fetched(address: str) -> Any:
    try:
        answer = httpx.get(address, timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ProviderUnreachable("The identity provider cannot be reached.") from error
