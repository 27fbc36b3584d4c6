"""Several workers of one role: each is looked after by its own token, clock and pauses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.health import health_of
from dicom_node.records import InstanceState
from dicom_node.settings import load_configuration
from tests.ledger_kit import arrival
from tests.node.peers import wait_for
from tests.supervisor_kit import LEASE_SECONDS, STRICT, Watch, supervising

TWO = "[report]\nworkers = 2\n"
ONE = "[report]\nworkers = 1\n"


@contextmanager
def ledger_of(folder: Path) -> Iterator[SqliteLedger]:
    (folder / "data").mkdir(exist_ok=True)
    ledger = open_ledger(folder / "data" / "ledger.sqlite", who="test")
    yield ledger
    ledger.close()


def each_holds_a_film(watch: Watch, ledger: SqliteLedger) -> dict[str, str]:
    """Let both workers claim a film; return whose is which, by the film's UID."""
    holders = {}
    for number, who in enumerate(("report1", "report2")):
        ledger.received(arrival(number))
        token = watch.chief.tokens()[who]
        (film,) = ledger.claim_instances(InstanceState.RECEIVED, token, LEASE_SECONDS, 1)
        holders[film.sop_instance_uid] = who
    return holders


def free_films(ledger: SqliteLedger) -> list[str]:
    """Return the films that nobody holds any more, by taking and giving back."""
    found = []
    while free := ledger.claim_instances(InstanceState.RECEIVED, "test", LEASE_SECONDS, 9):
        found += [film.sop_instance_uid for film in free]
    ledger.release("test")
    return found


def test_a_worker_that_hangs_alone_is_killed_and_replaced_and_the_others_keep_their_films(
    tmp_path: Path,
) -> None:
    hangs = {"report2": ["hang"]}
    with (
        ledger_of(tmp_path) as ledger,
        supervising(tmp_path, "receive", "report", rhythm=STRICT, site=TWO, **hangs) as watch,
    ):
        watch.runs(3)
        before, token = watch.chief.pids(), watch.chief.tokens()["report2"]
        films = each_holds_a_film(watch, ledger)
        wait_for(lambda: watch.chief.state("report2") == "working", 30, "it was at work")
        watch.chief.how = {}
        watch.chief.age("report2", LEASE_SECONDS + STRICT.kill_margin)
        wait_for(lambda: watch.events("role.died"), 30, "the one that hangs is killed")
        watch.runs(3)
        watch.goes_on()
        (died,) = watch.events("role.died")
        assert (died["role"], died["number"], died["exit_status"]) == ("report", 2, -9)
        after = watch.chief.pids()
        assert after == {**before, "report2": after["report2"]}
        assert after["report2"] != before["report2"]
        assert watch.chief.tokens()["report2"] != token
        assert [films[uid] for uid in free_films(ledger)] == ["report2"]


def test_a_worker_that_dies_at_each_start_waits_longer_each_time_and_the_other_works(
    tmp_path: Path,
) -> None:
    dies = {"report2": ["exit", "1"]}
    with supervising(tmp_path, "report", site=TWO, **dies) as watch:
        wait_for(lambda: len(watch.events("role.died", number=2)) >= 3, 30, "it died three times")
        pauses = [event["restart_seconds"] for event in watch.events("role.died")]
        assert pauses[:3] == [0.05, 0.1, 0.2]
        assert not watch.events("role.died", number=1)
        watch.goes_on("report1")
        # The pauses of one are not those of the other.
        watch.chief.how = {"report1": ["exit", "1"]}
        watch.chief._children[0].process.kill()  # type: ignore[union-attr]
        wait_for(lambda: watch.events("role.died", number=1), 30, "the other died once")
        assert watch.events("role.died", number=1)[0]["restart_seconds"] == 0.05


def test_a_worker_that_never_shows_a_sign_of_life_is_killed_once_its_time_to_load_is_over(
    tmp_path: Path,
) -> None:
    silent = {"report2": ["silent"]}
    with supervising(tmp_path, "report", rhythm=STRICT, site=TWO, **silent) as watch:
        watch.runs(2)
        watch.goes_on("report1")
        before = watch.chief.pids()
        watch.chief.age("report2", 2 * LEASE_SECONDS)
        watch.looks_again()
        assert watch.chief.pids() == before
        watch.chief.how = {}
        watch.chief.age("report2", STRICT.loading)
        wait_for(lambda: watch.events("role.died"), 30, "it is killed")
        watch.goes_on("report1", "report2")
        (died,) = watch.events("role.died")
        assert (died["number"], died["exit_status"]) == (2, -9)
        assert watch.chief.pids()["report1"] == before["report1"]


def test_a_second_worker_that_cannot_start_is_no_veto_either(tmp_path: Path) -> None:
    unusable = {"report2": ["exit", "78"]}
    with supervising(tmp_path, "receive", "report", site=TWO, **unusable) as watch:
        wait_for(lambda: len(watch.events("role.died", number=2)) >= 2, 30, "it is tried again")
        watch.goes_on("receive1", "report1")
        assert not watch.errors


def test_a_node_with_fewer_workers_than_before_knows_nobody_who_is_gone(tmp_path: Path) -> None:
    with ledger_of(tmp_path) as ledger:
        with supervising(tmp_path, "report", site=TWO) as watch:
            watch.runs(2)
            watch.goes_on()
            films = each_holds_a_film(watch, ledger)
        assert free_films(ledger) == []
        assert [beat.state for beat in ledger.beats() if beat.role == "report"] == ["stopped"] * 2
        with supervising(tmp_path, "report", site=ONE) as watch:
            watch.runs(1)
            watch.goes_on()
            numbers = [b.worker.number for b in ledger.beats() if b.role == "report"]
            assert numbers == [1]
            assert sorted(films) == sorted(free_films(ledger))
            site = load_configuration(tmp_path / "site", data_dir=tmp_path / "data", thorough=False)
            (report,) = [role for role in health_of(ledger, site).roles if role.name == "report"]
            assert (report.well, report.workers) == (True, 1)
