"""Pages show the site's time, with UTC for programs beside it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.web.conftest import Site

ELEMENT = re.compile(r'<time datetime="([^"]+Z)" title="\1">([^<]+)</time>')


@pytest.mark.parametrize(
    ("path", "zone"),
    [("/cases", "Asia/Tokyo"), ("/cases/1", "Asia/Tokyo"), ("/users", "America/Sao_Paulo")],
)
def test_a_page_shows_moments_in_the_site_s_zone_and_utc_to_programs(
    site: Site, path: str, zone: str
) -> None:
    from dicom_node.moments import shown, zone_of

    site.receive(1)
    settings = site.house.settings
    node = settings.node.model_copy(update={"timezone": zone})
    told = replace(site.house.configuration, settings=settings.model_copy(update={"node": node}))
    site.house = replace(site.house, configuration=told)
    page = site.client("admin").get(path).text
    found = ELEMENT.findall(page)
    assert found
    for utc, said in found:
        assert said in (shown(utc, zone_of(zone)), shown(utc, zone_of(zone), seconds=True))
    assert "UTC)" not in page
