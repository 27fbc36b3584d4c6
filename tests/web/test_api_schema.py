"""The API against its own description: whatever is asked, nothing breaks (schemathesis)."""

from __future__ import annotations

import base64

import hypothesis
import schemathesis
from hypothesis import HealthCheck

from dicom_node.web.app import create_app
from tests.web.conftest import PASSWORD, Site

ASKED = 25
"""Requests an operation: a wide net; a narrower mesh is for a fuzzing run of hours."""


def test_no_request_that_the_description_allows_breaks_the_api(site: Site) -> None:
    site.receive(1, report=True)
    app = create_app(site.house)
    token = base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Host": "localhost"}
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(
            max_examples=ASKED, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            answer = case.call(headers=headers, base_url="http://localhost")
            assert answer.status_code < 500, case.as_curl_command()

        ask()
    assert asked > 6 * ASKED / 2
