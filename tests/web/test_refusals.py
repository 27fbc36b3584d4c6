"""Refused calls on the page of AEs."""

from __future__ import annotations

import html
import re
from dataclasses import replace

from dicom_node.resources import default_configuration
from tests.web.conftest import Site, post

CALLED = "called AE title not recognised: called <i>X; this node is DICOMNODE"
BUTTON = re.compile(r"name=\"refusal\" value='([^']*)'")


def test_a_refused_call_says_what_it_called_and_is_allowed_only_where_that_would_help(
    site: Site,
) -> None:
    ledger = site.house.ledger
    ledger.refused("CT1", "<i>X", "10.0.0.9", CALLED, "Correct the called AE title at CT1.")
    ledger.refused("CR7", "DICOMNODE", "10.0.0.9", "calling AE title not recognised", "Add it.")
    page = site.client("operator").get("/remotes").text
    assert page.count("Allow it?") == 1
    assert "ae_title=CR7" in page
    assert "calling &lt;i&gt;X" in page
    assert "<i>X" not in page
    assert "Correct the called AE title at CT1." in page


def test_a_refusal_is_dismissed_by_an_operator_and_noted(site: Site) -> None:
    ledger = site.house.ledger
    ledger.refused("C'T", 'A"B', "10.0.0.9", CALLED)
    ledger.refused("C'T", 'A"B', "10.0.0.9", "C'T may not send")
    client = site.client("operator")
    assert BUTTON.findall(site.client("reader").get("/remotes").text) == []
    values = [html.unescape(each) for each in BUTTON.findall(client.get("/remotes").text)]
    chosen = next(value for value in values if "may not send" in value)
    post(client, "/remotes/dismiss", refusal=chosen)
    assert [item.reason for item in ledger.refusals()] == [CALLED]
    assert ("operator", "refusal.dismissed") in [(line.who, line.what) for line in ledger.audit()]
    assert post(client, "/remotes/dismiss", refusal="{}").status_code == 422


def test_the_page_writes_nothing_into_the_shipped_defaults_and_says_what_to_make(
    site: Site,
) -> None:
    shipped = default_configuration()
    before = sorted(shipped.rglob("*"))
    site.house = replace(
        site.house, configuration=replace(site.house.configuration, folder=shipped)
    )
    values = {"ae_title": "CR7", "is_new": "yes", "host": "10.0.0.9", "port": "104"}
    said = post(site.client("operator"), "/remotes/keep", **values).text  # type: ignore[attr-defined]
    assert "dicom-node config init DIR" in said
    assert sorted(shipped.rglob("*")) == before
