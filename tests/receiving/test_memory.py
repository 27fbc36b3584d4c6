"""One memory for all associations: it is waited for in order, and no crowd of peers exceeds it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_node.dimse.memory import (
    MAX_FRAGMENTS,
    Memory,
    Share,
    command_bytes,
    fragments_of,
    items_of,
)
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import LATEST_SECONDS
from tests.receiving.memory_kit import HOSTILE, Peer, association_of, forget_peak, peak_bytes
from tests.receiving.store_kit import film
from tests.receiving.wire import associate_rq, p_data

MANY = 64


def test_who_finds_no_room_waits_until_another_gives_some_back() -> None:
    memory = Memory(100)
    first, second = Share(memory), Share(memory)
    first.hold(60)
    waits = threading.Thread(target=second.wait, args=(50, lambda: True))
    waits.start()
    wait_for(lambda: memory._waiting, LATEST_SECONDS, "the second waits")
    assert memory.held_bytes == 60
    first.release()
    waits.join(LATEST_SECONDS)
    assert memory.held_bytes == 50


def test_who_came_first_is_served_first_whatever_it_wants() -> None:
    memory, served = Memory(100), []
    memory.hold(60)

    def ask(size: int) -> None:
        memory.wait(size, lambda: True)
        served.append(size)
        memory.give(size)

    threads = []
    for place, size in enumerate((90, 10)):
        threads.append(threading.Thread(target=ask, args=(size,)))
        threads[-1].start()
        wait_for(lambda: len(memory._waiting) > place, LATEST_SECONDS, "it waits")  # noqa: B023
    memory.give(60)
    for thread in threads:
        thread.join(LATEST_SECONDS)
    assert served == [90, 10]


def test_what_is_larger_than_all_room_goes_alone_and_who_gives_up_holds_nothing() -> None:
    memory = Memory(100)
    assert memory.wait(500, lambda: True)
    assert not memory.wait(1, lambda: False)
    memory.give(500)
    assert memory.held_bytes == 0
    assert memory.wait(100, lambda: True)


def test_a_third_of_the_room_is_left_to_what_is_on_its_way() -> None:
    memory = Memory(90)
    assert memory.try_hold(60)
    assert not memory.try_hold(1)
    assert memory.wait(30, lambda: True)


def test_a_share_is_given_back_once() -> None:
    memory = Memory(100)
    share = Share(memory)
    share.hold(40)
    share.release()
    share.release()
    assert memory.held_bytes == 0


def test_fragments_items_and_commands_are_counted_in_the_bytes_as_they_come() -> None:
    assert fragments_of(bytearray(p_data(b"ab", command=True)[6:] * 3)) == 3
    assert fragments_of(bytearray(b"\xff\xff\xff\xff\1\0")) == 1
    # Application context, presentation context with two sub-items, user information with two.
    assert items_of(bytearray(associate_rq()[6:])) == 7
    assert items_of(bytearray(association_of(200_000)[6:])) > 10_000
    assert command_bytes([(1, b"\3abc"), (1, b"\2abcdef"), (1, b"")]) == 3


def _own(own_receiver: Callable[..., Receiver], **keys: object) -> Receiver:
    own = own_receiver(pdu_seconds=LATEST_SECONDS, **keys)
    node = own.folder / "config" / "node.toml"
    text = node.read_text("utf-8")
    for key in ("max_associations", "max_associations_per_address"):
        text = text.replace(f"{key} = 16", f"{key} = {2 * MANY + 16}")
    node.write_text(text.replace("idle_timeout_seconds = 6.0", "idle_timeout_seconds = 60.0"))
    own.start()
    assert own.echo() == 0
    return own


def _crowd(port: int, peers: tuple[Peer, ...]) -> list[socket.socket]:
    def enter(number: int) -> socket.socket | None:
        try:
            return peers[number % len(peers)](port, number)
        except (AssertionError, OSError):
            return None  # it was turned away

    with ThreadPoolExecutor(MANY) as pool:
        return [raw for raw in pool.map(enter, range(MANY)) if raw is not None]


@pytest.mark.slow
@pytest.mark.parametrize("peers", [*((one,) for one in HOSTILE), tuple(HOSTILE)])
def test_no_crowd_of_hostile_peers_exceeds_the_memory_and_a_film_passes(
    own_receiver: Callable[..., Receiver], peers: tuple[Peer, ...]
) -> None:
    own = _own(own_receiver)
    forget_peak(own.pid)
    resting = peak_bytes(own.pid)
    crowd = _crowd(own.port, peers)
    # Whoever is cut off comes again, and holds what it can get.
    again = _crowd(own.port, peers)
    assert own.store(film(1, size=640)) == 0x0000
    assert peak_bytes(own.pid) - resting < 256_000_000
    for raw in crowd + again:
        raw.close()


def test_more_fragments_in_a_pdu_than_any_sender_makes_are_cut_off(
    own_receiver: Callable[..., Receiver],
) -> None:
    own = _own(own_receiver)
    crowd = _crowd(own.port, (HOSTILE[4],))
    wait_for(lambda: f"over {MAX_FRAGMENTS} fragments" in own.log, LATEST_SECONDS, "it is told")
    for raw in crowd:
        raw.close()
    assert own.echo() == 0
