"""What keeps the node well over months."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_node import logs
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line import upkeep
from dicom_node.line.admit import tell_quarantined
from dicom_node.line.health import health_of
from dicom_node.logs import Log
from dicom_node.records import (
    Arrival,
    Digest,
    InstanceState,
    ObjectKind,
    Origin,
    ResultObject,
    Study,
    Worker,
)
from dicom_node.results.stored import newest
from dicom_node.settings import Configuration, Settings, load_configuration
from dicom_node.spool import Spool, Swept
from tests.ledger_kit import Clock, arrival, fresh_ledger

WORKER = "test"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[SqliteLedger]:
    opened = fresh_ledger(tmp_path / "ledger.sqlite", who="test", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def log() -> Log:
    return Log("housekeep")


def film_bytes(seed: int) -> bytes:
    buffer = io.BytesIO()
    film = phantom_dataset(seed=seed, rows=64, columns=64)
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def reported_study(ledger: SqliteLedger, spool: Spool, number: int) -> tuple[Study, Digest, Digest]:
    film, result = spool.write(b"film %d" % number), spool.write(b"result %d" % number)
    age(spool.path(film.digest))
    age(spool.path(result.digest))
    uid = f"1.2.{number + 1}"
    origin = Origin("PACS", "NODE", "127.0.0.1")
    ledger.received(Arrival(uid, "1.1", "1.2", f"{uid}.1", f"{uid}.2", film.digest, 6, origin))
    (instance,) = ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1)
    ledger.admitted(instance.id, WORKER, "PA")
    (instance,) = ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 1)
    ledger.analysed(instance.id, WORKER, "{}", None)
    ledger.quieten(0)
    study = ledger.claim_quiet_study(WORKER, 60)
    assert study is not None
    item = ResultObject(
        f"sr:{number}", ObjectKind.REPORT, f"2.25.{number}", "1.3", "2.25.9", result.digest, 8
    )
    ledger.reported(study, WORKER, [Outgoing("PACS", (item,))], keep_hours=1, signature="s")
    return ledger.study(study.id), film.digest, result.digest


def deliver_all(ledger: SqliteLedger) -> None:
    while due := ledger.claim_deliveries(WORKER, 60, 10):
        for delivery in due:
            ledger.sent(delivery.id, WORKER, 0)


def settings(**retention: int) -> Settings:
    base = Settings()
    return base.model_copy(update={"retention": base.retention.model_copy(update=retention)})


def test_a_delivered_study_past_its_days_is_forgotten_with_its_files(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log
) -> None:
    _, film, result = reported_study(ledger, spool, 1)
    deliver_all(ledger)
    clock.now += timedelta(days=29)
    upkeep.retain(ledger, spool, settings(), log)
    assert spool.path(film).exists()
    clock.now += timedelta(days=2)
    upkeep.retain(ledger, spool, settings(), log)
    assert not spool.path(film).exists()
    assert not spool.path(result).exists()
    assert ledger.studies() == []


def test_what_is_not_delivered_is_kept_whatever_its_age(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log
) -> None:
    _, film, result = reported_study(ledger, spool, 1)
    clock.now += timedelta(days=400)
    upkeep.retain(ledger, spool, settings(max_bytes=1_000_000), log)
    assert spool.path(film).exists()
    assert spool.path(result).exists()


def test_too_much_stored_removes_the_oldest_delivered_first(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log
) -> None:
    _, old, _ = reported_study(ledger, spool, 1)
    deliver_all(ledger)
    clock.now += timedelta(hours=1)
    _, young, _ = reported_study(ledger, spool, 2)
    deliver_all(ledger)
    limit = ledger.stored_bytes() - 1
    upkeep.retain(ledger, spool, settings(max_bytes=limit), log)
    assert not spool.path(old).exists()
    assert spool.path(young).exists()


def test_how_full_the_spool_is_is_known_without_a_look_at_its_files(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, old, _ = reported_study(ledger, spool, 1)
    deliver_all(ledger)

    def look(*_: object) -> None:
        raise AssertionError("every file was looked at")

    monkeypatch.setattr(Spool, "_files", look)
    fullness = upkeep.Fullness(ledger)
    assert fullness.used_bytes() == len(b"film 1") + len(b"result 1")
    upkeep.retain(ledger, spool, settings(max_bytes=13), log, fullness)
    assert not spool.path(old).exists()
    assert fullness.used_bytes() == 0


def test_what_no_row_names_counts_from_the_sweep_on(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    reported_study(ledger, spool, 1)
    taken_in, removed = film_bytes(seed=5), b"a map of no film"
    left = taken_in[:400]
    for content in (taken_in, removed, left):
        age(spool.path(spool.write(content).digest))
    spool.write(b"a map, just written")
    fullness = upkeep.Fullness(ledger)
    upkeep.sweep(ledger, spool, log, fullness=fullness)
    assert fullness.used_bytes() == sum(status.st_size for _, status in spool._files())
    assert not spool.path(digest_of(removed)).exists()
    assert spool.path(digest_of(left)).exists()


def test_a_film_that_is_result_and_arrival_alike_takes_its_room_once(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    _, _, result = reported_study(ledger, spool, 1)
    origin = Origin("PACS", "NODE", "127.0.0.1")
    ledger.received(Arrival("2.25.1", "1.3", "1.2", "1.2.9", "2.25.9", result, 8, origin))
    fullness = upkeep.Fullness(ledger)
    upkeep.sweep(ledger, spool, log, fullness=fullness)
    assert fullness.used_bytes() == sum(status.st_size for _, status in spool._files())


def test_a_received_file_whose_row_a_crash_prevented_is_taken_in(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    stored = spool.write(film_bytes(seed=5))
    age(spool.path(stored.digest))
    upkeep.sweep(ledger, spool, log)
    (instance,) = ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1)
    assert spool.path(instance.digest).exists()
    age(spool.path(instance.digest))
    upkeep.sweep(ledger, spool, log)
    assert len(list(spool._files())) == 1


def odd_left_overs() -> dict[str, bytes]:
    """Return files of the spool that no row names and that cannot be taken in."""

    def spoilt(**changes: object) -> bytes:
        film = phantom_dataset(seed=6, rows=64, columns=64)
        for keyword, value in changes.items():
            if value is None:
                del film[keyword]
            else:
                setattr(film, keyword, value)
        buffer = io.BytesIO()
        film.save_as(buffer, enforce_file_format=False)
        return buffer.getvalue()

    whole = film_bytes(seed=7)
    return {
        "no study": spoilt(StudyInstanceUID=None),
        "no series": spoilt(SeriesInstanceUID=None),
        "no SOP class": spoilt(SOPClassUID=None),
        "a name for a UID": spoilt(SOPInstanceUID="CANARY^NAME"),
        "a path for a UID": spoilt(StudyInstanceUID="../../etc/passwd"),
        "another class": spoilt(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
        "cut in the meta": whole[:140],
        "cut in the header": whole[:400],
        "meta alone": whole[:132] + b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0",
        "a VR unknown": whole[:132] + b"\x08\0\x16\0??\x02\0xx",
        "a broken sequence": whole[:300] + b"\x08\0\x40\x11SQ\0\0\x06\0\0\0abcdef" + whole[300:],
        "nothing": b"",
        "no DICOM": b"saliency" * 20,
    }


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_one_odd_left_over_never_stops_the_sweep(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    films = [film_bytes(seed=seed) for seed in range(8, 12)]
    for content in (*odd_left_overs().values(), *films):
        age(spool.path(spool.write(content).digest))
    upkeep.sweep(ledger, spool, log)
    healthy = {
        str(phantom_dataset(seed=n, rows=64, columns=64).SOPInstanceUID) for n in range(8, 12)
    }
    taken = ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 99)
    assert healthy <= {instance.sop_instance_uid for instance in taken}
    assert "CANARY" not in said.getvalue()


def test_what_is_no_file_never_stops_the_sweep(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    waiting = spool.path(Digest("0" * 64)).parent.parent / "incoming"
    for number, make in enumerate((Path.mkdir, os.mkfifo, lambda path: path.symlink_to("gone"))):
        for path in (spool.path(Digest(f"{number}" * 64)), waiting / f"odd{number}"):
            make(path)
            os.utime(path, (0, 0), follow_symlinks=False)
    age(spool.path(spool.write(film_bytes(seed=8)).digest))
    upkeep.sweep(ledger, spool, log)
    assert len(ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 99)) == 1


def test_a_left_over_that_cannot_be_read_is_told_and_stays(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    path = spool.path(spool.write(film_bytes(seed=8)).digest)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    age(path)
    age(spool.path(spool.write(film_bytes(seed=9)).digest))
    upkeep.sweep(ledger, spool, log)
    assert path.exists()
    assert "spool.left" in said.getvalue()
    assert len(ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 99)) == 1


def test_bytes_that_came_again_between_the_look_and_the_removal_stay(
    ledger: SqliteLedger, spool: Spool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = spool.write(b"a saliency map")
    age(spool.path(stored.digest))
    look = Spool.sweep

    def meanwhile(each: Spool, known: frozenset[Digest]) -> Swept:
        swept = look(each, known)
        each.write(b"a saliency map")
        return swept

    monkeypatch.setattr(Spool, "sweep", meanwhile)
    upkeep.sweep(ledger, spool, log)
    assert spool.path(stored.digest).exists()


@pytest.mark.parametrize("step", [86_400.0, -86_400.0])
def test_nothing_is_taken_for_a_left_over_because_the_clock_was_set(step: float) -> None:
    wall, steady, swept = [1000.0], [10.0], list[float]()
    sweep = upkeep.SteadySweep(
        lambda: swept.append(steady[0]), clock=lambda: wall[0], steady=lambda: steady[0]
    )
    for hour, set_by in enumerate([0.0, step, 0.0, 0.5], 1):
        wall[0] += 3600 + set_by
        steady[0] += 3600
        sweep()
        assert (steady[0] in swept) == (hour != 2)


@pytest.mark.parametrize("how", ["refused", "expired", "held"])
def test_what_nobody_takes_goes_after_the_days_that_are_said_beforehand(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log, how: str
) -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    _, film, _ = reported_study(ledger, spool, 1)
    (delivery,) = ledger.deliveries()
    if how == "refused":
        (delivery,) = ledger.claim_deliveries(WORKER, 60, 1)
        ledger.delivery_refused(delivery.id, WORKER, "no")
    elif how == "expired":
        ledger.drop(delivery.id, "person:admin")
    else:
        ledger._connection.run("update deliveries set held = 'approve'")
    clock.now += timedelta(days=175)
    upkeep.retain(ledger, spool, settings(max_bytes=1_000_000), log)
    upkeep.announce(ledger, Settings(), log)
    assert spool.path(film).exists()
    assert "retention.announced" in said.getvalue()
    clock.now += timedelta(days=7)
    upkeep.retain(ledger, spool, Settings(), log)
    assert not spool.path(film).exists()
    assert ledger.studies() == []


def test_what_still_waits_to_be_sent_is_never_removed(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log
) -> None:
    _, film, _ = reported_study(ledger, spool, 1)
    clock.now += timedelta(days=400)
    upkeep.retain(ledger, spool, Settings(), log)
    assert spool.path(film).exists()


def test_a_left_over_that_is_no_instance_is_removed(
    ledger: SqliteLedger, spool: Spool, log: Log
) -> None:
    stored = spool.write(b"saliency of a film that was never finished")
    age(spool.path(stored.digest))
    upkeep.sweep(ledger, spool, log)
    assert not spool.path(stored.digest).exists()


def digest_of(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


def age(path: Path) -> None:
    os.utime(path, (0, 0))


def test_what_was_not_delivered_in_time_is_parked_and_said(
    ledger: SqliteLedger, spool: Spool, clock: Clock, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(strict=True)
    reported_study(ledger, spool, 1)
    clock.now += timedelta(hours=2)
    upkeep.expire(ledger, log)
    (delivery,) = ledger.deliveries()
    assert delivery.state == "expired"
    assert json.loads(capsys.readouterr().err)["event"] == "delivery.expired"


def test_a_node_that_never_ran_is_not_well(tmp_path: Path, ledger: SqliteLedger) -> None:
    configuration = load_configuration(data_dir=tmp_path)
    health = health_of(ledger, configuration)
    assert not health.well
    assert {role.sentence for role in health.roles} == {"never started"}


def test_a_role_without_a_sign_of_life_is_not_well(tmp_path: Path) -> None:
    configuration = load_configuration(data_dir=tmp_path)
    past = Clock()
    old = open_ledger(configuration.ledger_path, who="old", clock=past)
    old.beat(Worker("receive", "receive"), "working", "port=1")
    past.now += timedelta(minutes=1)
    health = health_of(old, configuration)
    (receive,) = [role for role in health.roles if role.name == "receive"]
    assert not receive.well
    assert "no sign of life" in receive.sentence
    old.close()


def test_of_two_instances_with_one_uid_the_later_is_reported(
    ledger: SqliteLedger, spool: Spool
) -> None:
    origin = Origin("PACS", "NODE", "127.0.0.1")
    for content in (b"first", b"second"):
        digest = spool.write(content).digest
        ledger.received(Arrival("1.2.3", "1.1", "1.2", "1.5", "1.6", digest, 5, origin))
    (study,) = ledger.studies()
    (later,) = newest(ledger.instances(study.id))
    assert spool.read(later.digest) == b"second"


@pytest.mark.slow
def test_the_self_test_says_of_each_bundle_of_the_suite_whether_it_is_well(
    tmp_path: Path, ledger: SqliteLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "remotes").mkdir()
    (tmp_path / "node.toml").write_text(
        '[analysis]\nsuite = ["covidnet-lite"]\nlungs = ""\ngate = ""\n'
    )
    logs.configure(strict=True)
    upkeep.self_test(load_configuration(tmp_path), Log("housekeep"), ledger)
    (said,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (said["event"], said["network"]) == ("self_test.passed", "covidnet-lite")


def test_a_film_that_is_set_aside_is_told_of_once(ledger: SqliteLedger, log: Log) -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    ledger.received(arrival())
    for worker in ("a", "b"):
        assert ledger.claim_instances(InstanceState.RECEIVED, worker, 60, 1)
        ledger.orphaned(worker)
    for _ in range(2):
        assert ledger.claim_instances(InstanceState.RECEIVED, "c", 60, 1) == []
        tell_quarantined(ledger, log)
    (told,) = map(json.loads, said.getvalue().splitlines())
    assert (told["event"], told["sop_instance_uid"]) == ("instance.quarantined", "1.2.1")
    assert told["remedy"]


def test_what_is_past_its_time_is_forgotten(ledger: SqliteLedger, clock: Clock) -> None:
    ledger.refused("X", "DICOMNODE", "10.0.0.9", "unknown")
    ledger.received(arrival())
    settings = Settings.model_validate({"retention": {"refusals_days": 10}})
    upkeep.forget_the_old(ledger, Configuration(Path(), settings, {}))
    assert len(ledger.refusals()) == len(ledger.peers()) == 1
    clock.tick(days=11)
    upkeep.forget_the_old(ledger, Configuration(Path(), settings, {}))
    assert ledger.refusals() == ledger.peers() == []


def test_lines_of_the_audit_trail_go_after_their_days_and_that_is_said_beforehand(
    ledger: SqliteLedger, clock: Clock, log: Log
) -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    ledger.note("ada", "case.viewed")
    kept = Settings.model_validate({"retention": {"audit_days": 365}})
    clock.tick(days=350)
    upkeep.age_audit(ledger, kept, log)
    assert said.getvalue() == ""
    clock.tick(days=10)
    upkeep.age_audit(ledger, kept, log)
    assert [line.what for line in ledger.audit()] == ["case.viewed"]
    clock.tick(days=7)
    upkeep.age_audit(ledger, kept, log)
    told = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(each["event"], each["lines"]) for each in told] == [
        ("audit.announced", 1), ("audit.removed", 1)
    ]  # fmt: skip
    (line,) = ledger.audit()
    assert (line.what, line.detail) == ("audit.aged", "1 lines older than 365 days")
