"""Signing in with the hospital's accounts, against a provider that speaks OpenID Connect."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI, Form
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import RSAKey

from dicom_node.settings.model import OidcSection
from dicom_node.web.app import create_app
from dicom_node.web.security import COOKIE
from tests.web.conftest import Site, running

KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})
CLIENT, SECRET = "dicom-node", "a secret of the provider"


@dataclass
class FakeProvider:
    """An identity provider whose people all sign in at once; ``claims`` overrides what it says."""

    address: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: KEY)
    challenges: dict[str, tuple[str, str]] = field(default_factory=dict)

    def authorize(self, address: str) -> tuple[str, str]:
        """Do what the browser does at the provider; return state and code."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"]
        self.challenges["code"] = (asked["code_challenge"], asked["nonce"])
        return asked["state"], "code"

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def described() -> dict[str, str]:
            return {
                "issuer": self.address,
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
                "jwks_uri": f"{self.address}/keys",
            }

        @app.get("/keys")
        def keys() -> dict[str, Any]:
            return {"keys": [KEY.as_dict(private=False)]}

        @app.post("/token")
        def token(
            code: Annotated[str, Form()], code_verifier: Annotated[str, Form()]
        ) -> dict[str, Any]:
            challenge, nonce = self.challenges.pop(code)
            digest = hashlib.sha256(code_verifier.encode()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
            claims = {
                "iss": self.address, "aud": CLIENT, "sub": "17", "exp": int(time.time()) + 60,
                "nonce": nonce, "preferred_username": "jane", "groups": ["radiology"],
            } | self.claims  # fmt: skip
            signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
            return {"access_token": "x", "token_type": "Bearer", "id_token": signed}

        return app


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider()
    with running(fake.app()) as address:
        fake.address = address
        yield fake


@pytest.fixture
def browser(site: Site, provider: FakeProvider, tmp_path: Path) -> TestClient:
    secret = tmp_path / "secret"
    secret.write_text(SECRET, "utf-8")
    oidc = OidcSection(
        issuer=provider.address, client_id=CLIENT, client_secret=secret,
        readers=("radiology",), admins=("it",),
    )  # fmt: skip
    configuration = site.house.configuration
    settings = configuration.settings.model_copy(update={"oidc": oidc})
    house = replace(site.house, configuration=replace(configuration, settings=settings))
    return TestClient(create_app(house), base_url="http://localhost")


def begin(browser: TestClient) -> str:
    answer = browser.get("/sign-in/oidc?next=/outbox", follow_redirects=False)
    assert answer.status_code == 303
    return answer.headers["location"]


def come_back(browser: TestClient, state: str, code: str) -> Any:
    return browser.get(f"/sign-in/oidc/back?state={state}&code={code}", follow_redirects=False)


def signed_in(browser: TestClient, provider: FakeProvider) -> Any:
    return come_back(browser, *provider.authorize(begin(browser)))


def test_a_person_of_the_hospital_signs_in_and_goes_where_they_wanted(
    browser: TestClient, provider: FakeProvider
) -> None:
    assert "hospital account" in browser.get("/sign-in").text
    answer = signed_in(browser, provider)
    assert answer.status_code == 200
    assert "url=/outbox" in answer.text
    assert browser.get("/outbox").status_code == 200
    assert browser.get("/users").status_code == 403


def test_the_role_follows_the_groups_each_time_anew(
    site: Site, browser: TestClient, provider: FakeProvider
) -> None:
    for groups, role in ((["it"], "admin"), (["radiology", "other"], "reader")):
        provider.claims = {"groups": groups}
        signed_in(browser, provider)
        (jane,) = [user for user in site.house.ledger.users() if user.name.startswith("jane")]
        assert jane.role == role


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"}, {"aud": "someone else"}, {"iss": "https://evil.example"},
        {"exp": 1}, {"groups": ["kitchen"]}, {"groups": None},
    ],
)  # fmt: skip
def test_an_answer_that_is_not_for_this_sign_in_opens_nothing(
    site: Site, browser: TestClient, provider: FakeProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert signed_in(browser, provider).status_code == 403
    assert COOKIE not in browser.cookies
    assert [line.what for line in site.house.ledger.audit()] == ["sign-in.refused"]


def test_a_token_of_another_key_opens_nothing(browser: TestClient, provider: FakeProvider) -> None:
    provider.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
    assert signed_in(browser, provider).status_code == 403


def test_a_sign_in_begun_elsewhere_or_used_twice_opens_nothing(
    site: Site, browser: TestClient, provider: FakeProvider
) -> None:
    state, code = provider.authorize(begin(browser))
    victim = TestClient(browser.app, base_url="http://localhost")
    assert come_back(victim, state, code).status_code == 403
    assert signed_in(browser, provider).status_code == 200
    assert come_back(browser, state, code).status_code == 403


def test_sign_ins_that_nobody_ends_lock_nobody_out(
    browser: TestClient, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.web.oidc._MOST_WAITING", 3)
    stranger = TestClient(browser.app, base_url="http://localhost")
    for _ in range(5):
        begin(stranger)
    assert signed_in(browser, provider).status_code == 200


def test_nobody_signs_in_with_a_password_as_a_hospital_account(
    site: Site, browser: TestClient, provider: FakeProvider
) -> None:
    signed_in(browser, provider)
    (name,) = [user.name for user in site.house.ledger.users() if user.name.startswith("jane")]
    other = site.client(None)
    for password in ("", "anything at all"):
        form = {"name": name, "password": password}
        assert other.post("/sign-in", data=form).status_code in (403, 422)


def test_without_a_provider_the_way_is_closed(site: Site) -> None:
    assert site.client(None).get("/sign-in/oidc").status_code == 404
