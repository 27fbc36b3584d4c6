"""A brain that is elsewhere: who is not proved is not believed, and who is gone hangs nobody."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dicom_node import logs
from dicom_node.analysis.declared import DeclaredNetworks
from dicom_node.brains import Answers
from dicom_node.brains.apart import Apart
from dicom_node.brains.deploying import Cluster, deploy
from dicom_node.brains.exported import Contents
from dicom_node.brains.models import Model
from dicom_node.brains.proof import Question
from dicom_node.brains.ray import RayBrain, Truth
from dicom_node.brains.wire import (
    ENGINE,
    FAILED,
    FUNCTIONS,
    OTHER_FUNCTIONS,
    PATH,
    REPLICA,
    BodyUnreadable,
    Call,
    pack_answers,
    pack_calls,
    unpack_answers,
    unpack_calls,
)
from dicom_node.cli.main import app
from dicom_node.errors import BrainChanged, BrainUnavailable, EngineMissing
from dicom_node.roles import analyse
from dicom_node.roles.process import new_worker
from dicom_node.settings import load_configuration
from tests import mapping
from tests.engine_kit import models_of, write_bundles
from tests.node.peers import free_port

FILM = np.full((1, mapping.SIDE, mapping.SIDE, 3), 0.5, np.float32)
NAME = f"{mapping.LUNGS}/lungs"
SHORT_SECONDS = 0.3
"""How long a brain may be silent where it stays silent; else more than any machine needs."""


def brightness(call: Call) -> Answers:
    return {NAME: call.films.mean(axis=-1)}


@dataclass
class Standing:
    """What stands behind the address: answers each film by its brightness.

    ``replica`` names who answers next, and ``lies`` whose answers are off. ``statuses``: what it
    says before it answers. ``held``: it does not answer while that is set.
    """

    functions: str = "f" * 64
    engine: str = "openvino 1 f32"
    replica: Callable[[], str] = lambda: "a"
    lies: frozenset[str] = frozenset()
    statuses: list[int] = field(default_factory=list)
    garbage: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def respond(self, wanted: str, body: bytes) -> tuple[int, bytes, str]:
        self.go.wait()
        replica = self.replica()
        if self.statuses:
            return self.statuses.pop(0), b"in a place", replica
        if wanted != self.functions:
            return OTHER_FUNCTIONS, b"", replica
        calls = unpack_calls(body)
        self.asked.append(tuple(call.function for call in calls))
        found = [brightness(call) for call in calls]
        if replica in self.lies:
            found = [{NAME: one[NAME] + 0.2} for one in found]
        return 200, b"no arrays" if self.garbage else pack_answers(found), replica


@contextmanager
def standing(**given: Any) -> Iterator[Standing]:
    behind = Standing(**given)
    behind.go.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == PATH
            status, answer, replica = behind.respond(self.headers[FUNCTIONS], body)
            self.send_response(status)
            said = {FUNCTIONS: behind.functions, REPLICA: replica, ENGINE: behind.engine}
            for name, value in {**said, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        behind.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield behind
        finally:
            behind.go.set()
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Model]:
    return models_of(write_bundles(tmp_path_factory.mktemp("elsewhere") / "models"))


@pytest.fixture(scope="module")
def truth(models: Sequence[Model]) -> Truth:
    """Of what finds the lungs alone; it is said to be as bright as the film."""
    question = Question(models[0], explain=False, films=FILM)
    expected = {question.name: brightness(Call(question.name, FILM))}
    return Truth("f" * 64, (question,), expected)


@contextmanager
def asking(address: str, truth: Truth) -> Iterator[RayBrain]:
    with closing(RayBrain(address, 60.0, truth)) as brain:
        yield brain


def ask(brain: RayBrain, grey: float = 0.5) -> float:
    found = brain.answer(mapping.LUNGS, FILM * np.float32(grey / 0.5), explain=True)
    return float(found[NAME].mean())


def test_a_replica_is_proved_once_and_believed_then(truth: Truth) -> None:
    proof = truth.asked[0].name
    with standing() as behind, asking(behind.address, truth) as brain:
        assert [ask(brain, 0.25), ask(brain, 0.75)] == pytest.approx([0.25, 0.75])
        assert (brain.name, brain.device) == ("ray (openvino 1 f32)", "cluster")
        assert behind.asked == [(proof,), (proof,), (proof,)]


def test_who_is_not_known_answers_again_with_the_self_test_in_the_same_request(
    truth: Truth,
) -> None:
    proof = truth.asked[0].name
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.asked.clear()
        behind.replica = lambda: "b"
        assert ask(brain, 0.25) == pytest.approx(0.25)
        assert behind.asked == [(proof,), (proof, proof)]
        assert brain.proved == {"a", "b"}


def test_a_replica_that_answers_otherwise_is_never_believed(truth: Truth) -> None:
    with standing(lies=frozenset("b")) as behind, asking(behind.address, truth) as brain:
        behind.replica = lambda: "b"
        for _ in range(2):
            with pytest.raises(BrainUnavailable, match=r"off by 0\.2") as refused:
                ask(brain)
        assert "dicom-node brain deploy" in refused.value.remedy
        behind.replica = lambda: "a"
        assert ask(brain, 0.25) == pytest.approx(0.25)


def test_a_brain_whose_every_replica_answers_otherwise_is_not_taken(truth: Truth) -> None:
    with (
        standing(lies=frozenset("a")) as behind,
        pytest.raises(BrainUnavailable, match="as Keras"),
    ):
        RayBrain(behind.address, 60, truth)


@pytest.mark.parametrize("says_so", [True, False])
def test_answers_by_other_functions_are_refused(truth: Truth, says_so: bool) -> None:
    """Also by one that answers all the same."""
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.functions = "0" * 64
        if not says_so:
            behind.respond = lambda *_: (200, pack_answers([brightness(Call("", FILM))]), "a")  # type: ignore[method-assign]
        with pytest.raises(BrainUnavailable, match="other functions") as refused:
            ask(brain)
        assert "dicom-node brain deploy" in refused.value.remedy
        assert brain.proved == frozenset()


def test_another_engine_than_at_first_needs_a_new_process(truth: Truth) -> None:
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.engine, behind.replica = "openvino 2 f32", lambda: "b"
        with pytest.raises(BrainChanged, match="openvino 2 f32"):
            ask(brain)
        assert brain.name == "ray (openvino 1 f32)"


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_may_pass_is_asked_again_until_it_has_passed(truth: Truth, status: int) -> None:
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.statuses += [status] * 3
        assert ask(brain, 0.25) == pytest.approx(0.25)


def test_a_function_that_fails_on_a_film_is_no_fault_of_the_house(truth: Truth) -> None:
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.statuses += [FAILED]
        with pytest.raises(RuntimeError, match="in a place"):
            ask(brain)
    with standing(statuses=[FAILED]) as behind, pytest.raises(BrainUnavailable, match="self-test"):
        RayBrain(behind.address, 60, truth)


def test_where_nobody_is_that_is_said_in_time(truth: Truth) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(BrainUnavailable, match=r"no answer within 0\.3 s \(ConnectError") as gone:
        RayBrain(address, SHORT_SECONDS, truth)
    assert "analysis.brain_address" in gone.value.remedy


def test_a_brain_that_falls_silent_hangs_nobody_and_is_proved_anew_when_it_is_back(
    truth: Truth,
) -> None:
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.go.clear()
        brain._timeout_seconds = SHORT_SECONDS
        with ThreadPoolExecutor(4) as pool:
            for asked in [pool.submit(ask, brain) for _ in range(4)]:
                with pytest.raises(BrainUnavailable, match=r"no answer within 0\.3 s"):
                    asked.result()
        assert brain.proved == frozenset()
    with standing() as behind, asking(behind.address, truth) as brain:
        behind.garbage = True
        brain._timeout_seconds = SHORT_SECONDS
        with pytest.raises(BrainUnavailable, match="cannot be read"):
            ask(brain)


def test_nothing_that_crosses_is_code_and_what_is_no_body_is_refused() -> None:
    calls = (Call("m.plain", FILM), Call("m.plain", FILM * 2))
    again = unpack_calls(pack_calls(calls))
    assert [one.function for one in again] == ["m.plain", "m.plain"]
    assert all(np.array_equal(one.films, two.films) for one, two in zip(calls, again, strict=True))
    hostile = Call("m.plain", np.array([Path()], object))  # type: ignore[arg-type]
    for body in (b"", b"PK\x03\x04", pack_calls([hostile]), pack_calls(calls)[:-40]):
        with pytest.raises(BodyUnreadable):
            unpack_calls(body)
    whole = Call("m.plain", FILM.astype(np.float64))  # type: ignore[arg-type]
    with pytest.raises(BodyUnreadable):
        unpack_calls(pack_calls([whole]))
    with pytest.raises(BodyUnreadable):
        unpack_answers(pack_answers([{"a": FILM}, {"a": FILM}]), 1)


def test_deploying_without_ray_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dicom_node.brains.deploying.find_spec", lambda name: None)
    with pytest.raises(EngineMissing) as refused:
        deploy(tmp_path, Contents({}, {}), Cluster("127.0.0.1:6379"))
    assert "dicom-node[ray]" in refused.value.remedy


def test_the_command_brings_the_configured_networks_to_the_cluster_and_proves_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, truth: Truth, models: Sequence[Model]
) -> None:
    brought: list[Cluster] = []

    @contextmanager
    def functions_of(*_: object) -> Iterator[tuple[Path, Contents]]:
        yield tmp_path, Contents({}, {})

    def deployed(folder: Path, _: Contents, cluster: Cluster) -> str:
        assert folder == tmp_path
        brought.append(cluster)
        return truth.functions

    monkeypatch.setattr("dicom_node.brains.choice.functions_of", functions_of)
    monkeypatch.setattr("dicom_node.brains.deploying.deploy", deployed)
    told = CliRunner().invoke(
        app, ["brain", "deploy", "--address", "head:6379", "--replicas", "3", "--cores", "2"],
        catch_exceptions=False,
    )  # fmt: skip
    assert brought == [replace(Cluster("head:6379"), replicas=3, cores=2)]
    assert "ffffffffffff" in told.stdout
    assert "analysis.brain_address" in told.stdout


class Waited:
    """Networks that are elsewhere: nobody is there twice, and then somebody. A stop follows."""

    device, at_once, computed_by, passed_over = "cluster", 1, "ray (openvino 1 f32)", None

    def __init__(self, stop: threading.Event) -> None:
        self.stop, self.asked = stop, 0
        self.declared = DeclaredNetworks((), Apart)

    def warm(self) -> None:
        self.asked += 1
        if self.asked <= 2:
            raise BrainUnavailable("Nobody is there.")
        self.stop.set()


def test_the_role_waits_for_a_brain_that_is_not_there_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said, stop = io.StringIO(), threading.Event()
    networks = Waited(stop)
    monkeypatch.setattr(analyse, "engine_of", lambda settings, shadow: networks)
    logs.configure(stream=said, strict=True)
    configuration = load_configuration(data_dir=tmp_path, thorough=False)
    analyse.run(configuration, stop, new_worker("analyse"))
    assert networks.asked == 3
    events = [json.loads(line)["event"] for line in said.getvalue().splitlines()]
    assert events[:3] == ["house.unavailable", "house.available", "role.started"]


def test_a_cluster_that_is_not_there_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.brains.deploying.is_installed", lambda: True)
    address = f"127.0.0.1:{free_port()}"
    for told in (address, f"ray://{address}"):
        with pytest.raises(BrainUnavailable, match="Nobody listens at") as refused:
            deploy(tmp_path, Contents({}, {}), Cluster(told))
        assert told in refused.value.message
        assert "ray status" in (refused.value.remedy or "")
