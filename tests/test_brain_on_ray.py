"""A brain on a Ray cluster of two nodes: whichever answers or dies, the answers are ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import pytest

from dicom_node.brains.choice import Elsewhere, Wanted, brain_for, functions_of
from dicom_node.brains.deploying import Cluster, deploy
from dicom_node.brains.openvino import OpenVinoBrain
from dicom_node.brains.proof import questions
from dicom_node.brains.ray import RayBrain, Truth
from dicom_node.errors import BrainUnavailable
from tests import mapping
from tests.engine_kit import models_of, without_weights, write_bundles
from tests.node.peers import free_port, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra ray)"),
    # Ray's own, of descriptors and of what it will change.
    pytest.mark.filterwarnings("ignore"),
]
PATIENCE_SECONDS = 120.0


@dataclass
class Deployed:
    """Functions on a cluster, and the same functions here."""

    process: subprocess.Popen[str]
    cluster: Cluster
    truth: Truth
    local: OpenVinoBrain

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.cluster.port}"

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    @contextmanager
    def brain(self) -> Iterator[RayBrain]:
        with closing(RayBrain(self.address, PATIENCE_SECONDS, self.truth)) as brain:
            yield brain


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    made = tmp_path_factory.mktemp("ray")
    models = models_of(write_bundles(made / "models"))
    environment = {
        **os.environ, "RAY_USAGE_STATS_ENABLED": "0", "CUDA_VISIBLE_DEVICES": "",
        # Serve gives its door five seconds to open, and kills it: a busy machine takes longer.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.ray_cluster"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    with pytest.MonkeyPatch.context() as patch:
        without_weights(patch)
        wanted = Wanted("ray", "cpu", shelf=made / "engines")
        with functions_of(models, wanted) as (folder, contents):
            cluster = Cluster(process.stdout.readline().strip(), replicas=2, port=free_port())
            functions = deploy(folder, contents, cluster)
            local = OpenVinoBrain(folder, contents, "f32")
            truth = Truth(functions, questions(models), contents.expected)
            at = Elsewhere(f"http://127.0.0.1:{cluster.port}", PATIENCE_SECONDS)
            # As a node finds it: by its own functions, kept.
            with closing(cast("RayBrain", brain_for(models, replace(wanted, elsewhere=at)).brain)):
                pass
        yield Deployed(process, cluster, truth, local)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(60)


def films(count: int) -> Sequence[Any]:
    rng = np.random.default_rng(5)
    return [rng.random((1, mapping.SIDE, mapping.SIDE, 3), np.float32) for _ in range(count)]


def assert_as_here(deployed: Deployed, film: Any, found: Any) -> None:
    expected = deployed.local.answer(mapping.TRUNK, film, explain=True)
    assert found.keys() == expected.keys()
    for name in found:
        assert np.array_equal(found[name], expected[name]), name


def test_answers_are_bit_for_bit_those_of_the_same_functions_here_and_say_what_computed(
    deployed: Deployed,
) -> None:
    asked = films(40)
    with deployed.brain() as brain, ThreadPoolExecutor(8) as pool:

        def ask(film: Any) -> Any:
            return brain.answer(mapping.TRUNK, film, explain=True)

        for film, found in zip(asked, pool.map(ask, asked), strict=True):
            assert_as_here(deployed, film, found)
        lungs = brain.answer(mapping.LUNGS, asked[0], explain=True)
        assert (brain.name, brain.device) == (f"ray ({deployed.local.name})", "cluster")
    assert lungs.keys() == deployed.local.answer(mapping.LUNGS, asked[0], explain=False).keys()


def test_functions_of_another_digest_are_refused(deployed: Deployed) -> None:
    others = replace(deployed.truth, functions="0" * 64)
    with pytest.raises(BrainUnavailable, match="other functions") as refused:
        RayBrain(deployed.address, PATIENCE_SECONDS, others)
    assert "dicom-node brain deploy" in refused.value.remedy


def test_a_brain_that_answers_otherwise_than_keras_is_refused(deployed: Deployed) -> None:
    expected = {
        function: {name: values + 0.2 for name, values in answers.items()}
        for function, answers in deployed.truth.expected.items()
    }
    with pytest.raises(BrainUnavailable, match=r"off by 0\.2"):
        RayBrain(deployed.address, PATIENCE_SECONDS, replace(deployed.truth, expected=expected))


def test_a_node_of_the_cluster_is_killed_and_every_film_is_answered(deployed: Deployed) -> None:
    """Last: one of the two nodes is gone then."""
    asked, answered = films(200), list[int]()
    with deployed.brain() as brain, ThreadPoolExecutor(8) as pool:

        def ask(place: int) -> Any:
            found = brain.answer(mapping.TRUNK, asked[place], explain=True)
            answered.append(place)
            if len(answered) == 50:
                deployed.tell("kill")
            return found

        def both_answer() -> bool:
            with ThreadPoolExecutor(8) as several:
                list(several.map(lambda film: brain.answer(mapping.TRUNK, film, explain=True),
                                 asked[:16]))  # fmt: skip
            return len(brain.proved) == 2

        wait_for(both_answer, PATIENCE_SECONDS, "both nodes answer")
        found = list(pool.map(ask, range(len(asked))))
    for film, one in zip(asked, found, strict=True):
        assert_as_here(deployed, film, one)
    assert sorted(answered) == list(range(len(asked)))
