"""Networks in shadow: asked beside the suites, never reported, and compared with those that are."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dicom_node import logs, resources
from dicom_node.analysis.agreement import agreements
from dicom_node.analysis.engine import Engine
from dicom_node.bundles.declared import Declared, open_declared
from dicom_node.errors import DeviceUnavailable
from dicom_node.imaging.header import header_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.intake.menu import Menu
from dicom_node.intake.rules import load_rules
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.analyse import Analyst
from dicom_node.line.compare import compared
from dicom_node.line.shadow import ShadowCast
from dicom_node.logs import Log
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.records import Arrival, InstanceState, Origin
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.training.evaluation.agreement import draw_agreement
from tests import bringing_kit as bringing
from tests import declared_kit as kit
from tests.ledger_kit import fresh_ledger, run

WORKER = "worker:1"
SINCE = datetime(1970, 1, 1, tzinfo=UTC)
EATS = 'unspecific = "accept"'
RULES = load_rules(resources.default_configuration() / "admission.toml", Settings().admission)


def bundle(folder: Path, name: str, says: str, outputs: kit.Outputs, **more: Any) -> Declared:
    """Return a bundle in a folder that may be called id@version."""
    bundle_id, _, version = name.partition("@")
    place = kit.declared_bundle(folder / "as", bundle_id, says, outputs, eats=EATS, **more)
    manifest = place / "model.toml"
    told = manifest.read_text("utf-8").replace('"1.0.0"', f'"{version or "1.0.0"}"')
    manifest.write_text(told, "utf-8")
    place.rename(folder / name)
    return open_declared(folder, name)


@dataclass
class Room:
    """An analysing role with one network in its suite, and its ledger with one film."""

    folder: Path
    ledger: SqliteLedger
    spool: Spool
    said: io.StringIO

    def receive(self, seed: int) -> str:
        dataset = phantom_dataset(seed=seed)
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        stored, header = self.spool.write(file.getvalue()), header_of(dataset)
        self.ledger.received(
            Arrival(header.sop_instance_uid, header.sop_class_uid, "1.2.840.10008.1.2.1",
                    header.study_instance_uid, header.series_instance_uid, stored.digest,
                    stored.size_bytes, Origin("PACS", "NODE", "127.0.0.1"))
        )  # fmt: skip
        self.admit()
        return header.sop_instance_uid

    def admit(self) -> None:
        for film in self.ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 99):
            self.ledger.admitted(film.id, WORKER, "PA")

    def work(self, used: Declared, *shadow: Declared) -> None:
        engine = Engine(self.folder, (), declared=[used, *shadow], apart=bringing.InProcess)
        menu = Menu(RULES, (used.id,), eats={used.id: used.manifest.eats})
        analyst = Analyst(
            engine, self.ledger, self.spool, Settings(), WORKER, Log("analyse"), menu=menu,
            shadow=ShadowCast(shadow, RULES) if shadow else None,
        )  # fmt: skip
        assert analyst.work() == 1

    def film(self) -> tuple[Any, ...]:
        """Return what is kept of the film's findings, and of their pictures."""
        columns = "state, reason, findings_json, saliency_digest, severity, in_doubt"
        (row,) = run(self.ledger, f"select {columns} from instances")
        return tuple(row)

    def beside(self) -> dict[str, list[Observation]]:
        rows = run(self.ledger, "select network, observations_json from shadow_observations")
        return {
            row["network"]: [Observation.from_json(one) for one in json.loads(row[1])]
            for row in rows
        }


@pytest.fixture(name="open_room")
def _open_room(tmp_path: Path) -> Iterator[Callable[[str], Room]]:
    rooms: list[Room] = []

    def opened(name: str) -> Room:
        said = io.StringIO()
        logs.configure(stream=said, strict=True)
        ledger = fresh_ledger(tmp_path / name / "ledger.sqlite", who="test")
        rooms.append(Room(tmp_path, ledger, Spool(tmp_path / name / "spool"), said))
        return rooms[-1]

    yield opened
    for room in rooms:
        room.ledger.close()


OpenRoom = Callable[[str], Room]


def test_what_runs_in_shadow_changes_no_byte_of_the_findings(
    tmp_path: Path, open_room: OpenRoom
) -> None:
    used = bundle(tmp_path, "three", kit.LABELS, kit.LABELS_OUTPUTS)
    new = bundle(tmp_path, "three@1.1.0", kit.LABELS, kit.LABELS_OUTPUTS, seed=7)
    mask = bundle(tmp_path, "mask", kit.MASK, kit.MASK_OUTPUTS)
    alone, both = open_room("alone"), open_room("both")
    for room in (alone, both):
        room.receive(1)
    alone.work(used)
    both.work(used, new, mask)
    assert alone.film() == both.film()
    assert both.film()[0] == "analysed"
    assert alone.beside() == {}
    beside = both.beside()
    assert set(beside) == {"three@1.1.0", "mask@1.0.0"}
    assert beside["three@1.1.0"][0].network == "three@1.1.0"
    reported = json.loads(both.film()[2])
    assert "three@1.1.0" not in json.dumps(reported)


def test_what_fails_in_shadow_hurts_no_film(tmp_path: Path, open_room: OpenRoom) -> None:
    used = bundle(tmp_path, "three", kit.LABELS, kit.LABELS_OUTPUTS)
    bad = bundle(tmp_path, "bad", kit.SCORE, {"other": (2,)})
    room = open_room("room")
    room.receive(1)
    room.work(used, bad)
    assert room.film()[0] == "analysed"
    assert room.beside() == {}
    events = [json.loads(line) for line in room.said.getvalue().splitlines()]
    (told,) = [event for event in events if event["event"] == "shadow.unanswered"]
    assert "1 values are needed" in told["reason"]


def test_only_what_ails_the_house_is_raised_in_shadow(tmp_path: Path) -> None:
    cast = ShadowCast((bundle(tmp_path, "three", kit.LABELS, kit.LABELS_OUTPUTS),), RULES)
    header = header_of(phantom_dataset(seed=1))

    def lost(_: object) -> Any:
        raise DeviceUnavailable("gone")

    def broken(_: object) -> Any:
        raise ZeroDivisionError

    with pytest.raises(DeviceUnavailable):
        cast.told(header, lost)
    assert "nobody foresaw" in cast.told(header, broken).reasons[0]


def test_a_film_that_it_does_not_eat_is_not_shown_to_what_runs_in_shadow(tmp_path: Path) -> None:
    kit.declared_bundle(tmp_path, "hands", kit.LABELS, kit.LABELS_OUTPUTS,
                        eats='body_parts = ["HAND"]')  # fmt: skip
    cast = ShadowCast((open_declared(tmp_path, "hands"),), RULES)
    assert cast.eaters(header_of(phantom_dataset(seed=1))) == frozenset()


def test_a_film_analysed_again_has_what_is_said_now_and_takes_it_along_when_it_goes(
    tmp_path: Path, open_room: OpenRoom
) -> None:
    used = bundle(tmp_path, "three", kit.LABELS, kit.LABELS_OUTPUTS)
    first = bundle(tmp_path, "three@1.1.0", kit.LABELS, kit.LABELS_OUTPUTS)
    other = bundle(tmp_path, "three@1.2.0", kit.LABELS, kit.LABELS_OUTPUTS)
    room = open_room("room")
    uid = room.receive(1)
    room.work(used, first)
    (film,) = room.ledger.find_instances(uid)
    room.ledger.asked_again(film.id, "test")
    room.admit()
    room.work(used, other)
    assert set(room.beside()) == {"three@1.2.0"}
    run(room.ledger, "delete from instances")
    assert room.beside() == {}


def test_versions_are_compared_on_the_films_that_both_answered(
    tmp_path: Path, open_room: OpenRoom
) -> None:
    used = bundle(
        tmp_path, "three", kit.LABELS, kit.LABELS_OUTPUTS, constant={"logits": [3, -3, 0]}
    )
    new = bundle(
        tmp_path, "three@1.1.0", kit.LABELS, kit.LABELS_OUTPUTS, constant={"logits": [-3, -3, 0.1]}
    )
    room = open_room("room")
    uid = room.receive(1)
    room.work(used, new)
    for names in (("three", "three@1.1.0"), ("three@1.0.0", "three@1.1.0")):
        films, found = compared(room.ledger, *names, SINCE)
        assert films == 1
        by_name = {one.name: one for one in found}
        assert by_name["findings.effusion"].counts == (0, 1, 0, 0)
        assert by_name["findings.effusion"].most[0][0] == uid
        assert by_name["findings.pneumothorax"].counts == (0, 0, 0, 1)
        assert by_name["findings.cardiomegaly"].agreement == 1
    assert compared(room.ledger, "three@9.9.9", "three@1.1.0", SINCE)[0] == 0
    assert compared(room.ledger, "three", "three@1.1.0", datetime(2999, 1, 1, tzinfo=UTC))[0] == 0


def score(value: float | None, threshold: float | None = 5.0) -> Observation:
    return Observation("score", ObservationKind.SCORE, "a", value, threshold=threshold)


def named(*probabilities: float) -> Observation:
    labels = tuple(Candidate(f"c{n}", p, 0.0) for n, p in enumerate(probabilities))
    return Observation("class", ObservationKind.CLASS, "a", labels=labels)


def places(count: int) -> Observation:
    found = tuple(FoundPlace(((0, 0), (1, 0), (1, 1))) for _ in range(count))
    return Observation("places", ObservationKind.REGION, "a", places=found)


def test_numbers_and_findings_are_told_by_observation() -> None:
    films = [(str(n), [score(6.0)], [score(6.0 + n)]) for n in range(9)]
    films += [("low", [score(1.0)], [score(9.0)]), ("none", [score(None)], [score(2.0)])]
    (found,) = agreements(films)
    assert found.films == 11
    assert found.counts == (9, 0, 1, 0)
    assert found.agreement == pytest.approx(0.9)
    assert found.differences is not None
    assert found.differences[0] == pytest.approx(4.5)
    assert found.most[0][1] == 8
    (never,) = agreements([("1", [score(1, None)], [score(2, None)])])
    assert (never.counts, never.agreement) == (None, None)


def test_classes_and_places_are_compared_too() -> None:
    films = [("1", [named(0.9, 0.1)], [named(0.2, 0.8)]), ("2", [named(1, 0)], [named(1, 0)])]
    whole, first, _ = agreements(films)
    assert (whole.name, whole.agreement, whole.most) == ("class", 0.5, (("1", 1.0),))
    assert first.counts == (1, 1, 0, 0)
    (found,) = agreements([("1", [places(2)], [places(0)])])
    assert (found.counts, found.numbers) == ((0, 1, 0, 0), ((2.0, 0.0),))


def test_the_figure_holds_numbers_and_no_uid(tmp_path: Path) -> None:
    found = agreements([("1.2.826", [score(1.0)], [score(2.0)])])
    path = draw_agreement(found, ("a", "b"), tmp_path / "compare.png")
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    assert draw_agreement((), ("a", "b"), tmp_path / "none.png") is None
