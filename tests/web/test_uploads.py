"""Uploads take a bounded part of memory, disk and day, and never what the senders need."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image

from dicom_node.web.app import create_app
from tests.web.conftest import PASSWORD, Site, csrf_of, running


def png(rows: int, columns: int) -> bytes:
    buffer = io.BytesIO()
    flat = np.zeros((rows, columns), np.uint8)
    flat[: rows // 2] = 255
    Image.fromarray(flat).save(buffer, "PNG")
    return buffer.getvalue()


def drop(site: Site, data: bytes, name: str = "film.png") -> httpx.Response:
    client = site.client("reader")
    return client.post(
        "/by-hand", data={"csrf": csrf_of(client)}, files={"file": (name, data)},
        follow_redirects=False,
    )  # fmt: skip


def limited(site: Site, **web: int) -> None:
    """Give the pages other limits."""
    house = site.house
    section = house.settings.web.model_copy(update=web)
    settings = house.settings.model_copy(update={"web": section})
    site.house = replace(house, configuration=replace(house.configuration, settings=settings))


def test_a_small_file_that_claims_a_vast_picture_is_refused_with_what_to_do(site: Site) -> None:
    answer = drop(site, png(8000, 8000))
    assert answer.status_code == 422
    assert "exceed the limit" in answer.text
    assert site.house.spool.sweep(lambda _: frozenset()).named_bytes == 0
    assert drop(site, png(400, 300)).status_code == 303


def test_a_users_day_is_full_some_time_and_the_next_user_goes_on(site: Site) -> None:
    limited(site, by_hand_bytes_a_day=100_000)
    assert drop(site, png(250, 250)).status_code == 303
    answer = drop(site, png(240, 240))
    assert answer.status_code == 422
    assert "as much today as one user may" in answer.text
    assert "film.png" in answer.text
    assert site.house.ledger.reserve_upload("operator", 90_000, 100_000)


def test_what_is_left_of_the_disk_is_the_senders(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = site.house.settings.node.min_free_bytes
    monkeypatch.setattr(type(site.house.spool), "free_bytes", lambda _: reserve + reserve // 2)
    answer = drop(site, png(250, 250))
    assert answer.status_code == 422
    assert "kept for the senders" in answer.text


def test_uploads_on_their_way_hold_no_more_memory_than_two_of_the_largest(site: Site) -> None:
    limited(site, max_upload_bytes=1_048_576)
    begun, done = threading.Event(), threading.Event()

    def slowly() -> object:
        yield b"x"
        begun.set()
        done.wait(60)

    def upload(address: str, content: object) -> int:
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=X'}
        with httpx.Client(base_url=address, auth=("operator", PASSWORD), timeout=60) as client:
            answer = client.post("/dicom-web/studies", content=content, headers=headers)  # type: ignore[arg-type]
            return answer.status_code

    with running(create_app(site.house)) as address, ThreadPoolExecutor(2) as pool:
        slow = []
        for _ in range(2):
            begun.clear()
            slow.append(pool.submit(upload, address, slowly()))
            assert begun.wait(30)
        assert wait_for_503(lambda: upload(address, b"x" * 1000))
        assert httpx.get(f"{address}/sign-in", timeout=30).status_code == 200
        done.set()
        assert {each.result() for each in slow} == {400}
        assert upload(address, b"x" * 1000) == 400


def wait_for_503(asked: Callable[[], int]) -> bool:
    """Ask until the two slow ones have arrived."""
    return any(asked() == 503 for _ in range(200))
