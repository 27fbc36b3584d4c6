"""Declared networks in the engine: beside ours or alone, and none hurts another."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dicom_node.analysis.asked import Asked
from dicom_node.analysis.declared import EXPLAINING_SECONDS, DeclaredNetworks
from dicom_node.analysis.engine import Engine
from dicom_node.analysis.occlusion import Spoken, explained
from dicom_node.analysis.sight import Sight
from dicom_node.brains.apart import Apart
from dicom_node.bundles.declared import Declared, open_declared
from dicom_node.bundles.network import self_test_film
from dicom_node.errors import NoAnswer
from dicom_node.findings import Outcome, pack_explanation, unpack_explanation
from dicom_node.imaging.header import IMPORTED
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.prepare import Float
from dicom_node.line.analyse import film_to_analyse
from dicom_node.observations import ObservationKind
from tests import declared_kit as kit

ANY = 'unspecific = "accept"'


def made(folder: Path, name: str, says: str, outputs: kit.Outputs, **more: object) -> Declared:
    kit.declared_bundle(folder, name, says, outputs, eats=ANY, **more)  # type: ignore[arg-type]
    return open_declared(folder, name)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    bundles = [
        made(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS, seed=1),
        made(tmp_path, "boxes", kit.BOXES, kit.BOXES_OUTPUTS, constant={
            "scores": [0.9, 0.1, 0.1, 0.1, 0.1], "boxes": [4, 4, 12, 12] + [0] * 16}),
        made(tmp_path, "length", kit.LENGTH, kit.LENGTH_OUTPUTS, constant={
            "points": [8, 16, 24, 16]}),
        made(tmp_path, "mask", kit.MASK, kit.MASK_OUTPUTS),
    ]  # fmt: skip
    loaded = Engine(tmp_path, (), declared=bundles)
    yield loaded
    loaded.declared.close()


def test_a_suite_of_declared_networks_alone_answers_without_keras(engine: Engine) -> None:
    findings, explanation = engine.analyse(self_test_film(), "1.2.3", Asked(spacing=(0.5, 0.5)))
    assert findings.outcome is Outcome.ANALYSED
    assert findings.finding is None
    assert [one.kind for one in findings.observed] == [
        ObservationKind.LABELS, ObservationKind.REGION,
        ObservationKind.MEASUREMENT, ObservationKind.MASK,
    ]  # fmt: skip
    labels, boxes, length, _ = findings.observed
    assert len(labels.labels) == 3
    assert boxes.places[0].points == ((56, 64), (168, 64), (168, 192), (56, 192))
    assert length.value == pytest.approx(16 * 14 * 0.5)
    assert [area.key for area in explanation.areas] == ["consolidation"]
    assert findings.suite["labels"].engine.startswith("onnxruntime")
    assert engine.models == ()


def test_a_film_is_looked_at_by_those_that_are_asked(engine: Engine) -> None:
    findings, _ = engine.analyse(self_test_film(), "1", Asked(frozenset({"labels"})))
    assert {one.network for one in findings.observed} == {"labels"} == set(findings.suite)


def test_what_one_cannot_answer_is_said_of_it_alone(tmp_path: Path) -> None:
    good = made(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS)
    bad = made(tmp_path, "bad", kit.SCORE, {"other": (2,)})
    nan = made(tmp_path, "nan", kit.SCORE, {"score": (1,)}, constant={"score": [np.nan]})
    engine = Engine(tmp_path, (), declared=[good, bad, nan])
    engine.warm()
    assert set(engine.declared.silent) == {"bad", "nan"}
    findings, _ = engine.analyse(self_test_film(), "1")
    assert {one.network for one in findings.observed} == {"labels"}
    assert "1 values are needed; it gave 2" in findings.unanswered["bad"]
    assert "no numbers" in findings.unanswered["nan"]
    assert set(findings.suite) == {"labels"}
    engine.declared.close()


def test_a_film_that_nobody_answers_fails_with_the_reasons(tmp_path: Path) -> None:
    bad = made(tmp_path, "bad", kit.SCORE, {"score": (2,)})
    engine = Engine(tmp_path, (), declared=[bad])
    with pytest.raises(NoAnswer, match=r"bad: .*1 values are needed"):
        engine.analyse(self_test_film(), "1")
    engine.declared.close()


def test_a_process_that_was_killed_is_started_again_for_the_next_film(tmp_path: Path) -> None:
    bundle = made(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS)
    apart = Apart(bundle)
    grid = np.zeros((1, 32, 32, 1), np.float32)
    first = apart.answer(grid)
    assert apart._child is not None
    os.kill(apart._child.process.pid, signal.SIGKILL)
    apart._child.process.wait()
    assert np.array_equal(apart.answer(grid)["logits"], first["logits"])
    apart.close()


class Gated:
    """Answers as declared, and counts what it is asked."""

    name = "stub"

    def __init__(self, bundle: Declared) -> None:
        self.asked = 0

    def answer(self, films: Float) -> Mapping[str, Float]:
        self.asked += 1
        return {"logits": np.ones((len(films), 3), np.float32)}

    def close(self) -> None:
        pass


def test_what_the_gate_declines_is_still_looked_at_by_those_that_do_not_ask_it(
    tmp_path: Path,
) -> None:
    kit.declared_bundle(tmp_path, "gated", kit.LABELS, kit.LABELS_OUTPUTS)
    kit.declared_bundle(tmp_path, "free", kit.LABELS, kit.LABELS_OUTPUTS, eats=ANY)
    bundles = [open_declared(tmp_path, name) for name in ("gated", "free")]
    engine = Engine(tmp_path, (), declared=bundles, apart=Gated)
    flat = np.full((64, 64), 0.5, np.float32)

    class Declines:
        def look(self, film: Float) -> object:
            from dicom_node.analysis.gate import Lie
            from dicom_node.analysis.sight import SetRight

            return SetRight(film, None, "It shows a hand.", Lie(reason="It shows a hand."))

        lungs = None

    object.__setattr__(engine._load(), "sight", Declines())
    findings, _ = engine.analyse(flat, "1")
    assert findings.outcome is Outcome.ANALYSED
    assert {one.network for one in findings.observed} == {"free"}
    assert findings.unanswered == {"gated": "It shows a hand."}
    declined, _ = engine.analyse(flat, "1", Asked(frozenset({"gated"})))
    assert (declined.outcome, declined.reason) == (Outcome.DECLINED, "It shows a hand.")


@pytest.mark.parametrize(
    ("stated", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": "2.0"},
         (0.1, 0.05)),
        ({"PixelSpacing": [0.2, 0.1], "EstimatedRadiographicMagnificationFactor": "2.0"},
         (0.2, 0.1)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.1],
          "EstimatedRadiographicMagnificationFactor": "2.0"}, (0.1, 0.05)),
        ({}, None),
        ({"ImagerPixelSpacing": [0.2, 0.1], "Manufacturer": IMPORTED}, None),
    ],
)  # fmt: skip
def test_lengths_are_in_the_patient_and_of_the_film_as_it_is_hung(
    stated: dict[str, object], spacing: tuple[float, float] | None
) -> None:
    dataset = phantom_dataset(seed=3, rows=96, columns=64)
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        dataset.pop(keyword, None)
    for keyword, value in stated.items():
        setattr(dataset, keyword, value)
    asked = film_to_analyse(dataset, 200).asked(None)
    assert asked.spacing == pytest.approx(spacing) if spacing else asked.spacing is None
    dataset.PatientOrientation = ["F", "L"]
    turned = film_to_analyse(dataset, 200).asked(frozenset({"a"}))
    assert turned == Asked(frozenset({"a"}), asked.spacing[::-1] if asked.spacing else None)


class Spot:
    """Believes in an effusion as far as the part of the film is bright where it looks."""

    name = "spot"

    def __init__(self, bundle: Declared) -> None:
        self.calls: list[int] = []

    def answer(self, films: Float) -> Mapping[str, Float]:
        self.calls.append(len(films))
        seen = films[:, 4:8, 20:24, 0].mean(axis=(1, 2)) * 8 - 4
        return {"logits": np.stack([seen, seen * 0 - 9, seen * 0 - 9], axis=1).astype(np.float32)}

    def close(self) -> None:
        pass


def test_a_network_without_a_gradient_shows_where_it_looked_by_hiding_parts(
    tmp_path: Path,
) -> None:
    kit.declared_bundle(
        tmp_path, "spot", kit.LABELS, kit.LABELS_OUTPUTS, eats=ANY, head='explain = "occlusion"'
    )
    film = np.full((320, 320), 0.1, np.float32)
    film[40:80, 200:240] = 1.0
    engine = Engine(tmp_path, (), declared=[open_declared(tmp_path, "spot")], apart=Spot)
    findings, explanation = engine.analyse(film, "1")
    (heat,) = explanation.maps
    assert heat.target == "findings:effusion"
    assert np.unravel_index(int(heat.heat.argmax()), heat.heat.shape) == (1, 5)
    assert heat.heat[4:].max() == 0
    assert (findings.checks["spot"].change_when_hidden or 0) > 0.3
    dark, shown = engine.analyse(np.where(film == 1, 0.0, film).astype(np.float32), "1")
    assert dark.observed[0].believed == ()
    assert shown.maps[0].heat.max() <= 1


class Stub:
    """Answers as it is told, one film like the other, and remembers how many it is asked at once.

    ``outputs``: of one film. From the call ``fails_at`` on it gives no answer.
    """

    name = "stub"

    def __init__(self, outputs: Mapping[str, object], fails_at: int = 10**9) -> None:
        self.outputs = {key: np.asarray(value, np.float32) for key, value in outputs.items()}
        self.fails_at, self.calls = fails_at, list[tuple[int, ...]]()

    def answer(self, films: Float) -> Mapping[str, Float]:
        self.calls.append(films.shape)
        if len(self.calls) > self.fails_at:
            raise NoAnswer("It stopped.")
        return {key: np.stack([value] * len(films)) for key, value in self.outputs.items()}

    def close(self) -> None:
        pass


def stubbed(
    folder: Path, networks: Mapping[str, tuple[str, Stub]], *, more: Mapping[str, str] | None = None
) -> Engine:
    """Return an engine of stubs: bundle → what it says, and who answers."""
    for name, (says, _) in networks.items():
        kit.declared_bundle(folder, name, says, {"x": (1,)}, **{"eats": ANY, **(more or {})})  # type: ignore[arg-type]
    declared = [open_declared(folder, name) for name in networks]
    return Engine(folder, (), declared=declared, apart=lambda bundle: networks[bundle.id][1])


LOGITS = Stub({"logits": [9, -9, -9]})


def test_observations_stand_in_the_order_of_the_suite_whoever_asks_the_gate(
    tmp_path: Path,
) -> None:
    kit.declared_bundle(tmp_path, "first", kit.LABELS, kit.LABELS_OUTPUTS, eats=ANY)
    kit.declared_bundle(tmp_path, "gated", kit.LABELS, kit.LABELS_OUTPUTS)
    kit.declared_bundle(tmp_path, "last", kit.LABELS, kit.LABELS_OUTPUTS, eats=ANY)
    bundles = [open_declared(tmp_path, name) for name in ("first", "gated", "last")]
    assert [one.manifest.eats.asks_gate for one in bundles] == [False, True, False]
    engine = Engine(tmp_path, (), declared=bundles, apart=lambda bundle: LOGITS)
    findings, _ = engine.analyse(self_test_film(), "1")
    assert [one.network for one in findings.observed] == ["first", "gated", "last"]


def test_a_film_that_no_network_is_asked_about_is_declined(tmp_path: Path) -> None:
    engine = stubbed(tmp_path, {"net": (kit.LABELS, LOGITS)})
    findings, _ = engine.analyse(self_test_film(), "1", Asked(frozenset({"other"})))
    assert findings.outcome is Outcome.DECLINED
    assert "No network" in (findings.reason or "")


def test_two_networks_may_use_the_same_key(tmp_path: Path) -> None:
    masks = {
        name: (kit.MASK, Stub({"mask": np.full((16, 16), logit)}))
        for name, logit in (("a", 9), ("b", -9))
    }
    findings, shown = stubbed(tmp_path, masks).analyse(self_test_film(), "1")
    assert [(one.network, one.value) for one in findings.observed] == [("a", 1.0), ("b", 0.0)]
    assert [(area.network, area.key) for area in shown.areas] == [
        ("a", "consolidation"), ("b", "consolidation"),
    ]  # fmt: skip
    assert unpack_explanation(pack_explanation(shown)).areas[1].probability.max() < 0.5


def test_an_output_without_a_place_for_each_film_is_of_one_network_alone(tmp_path: Path) -> None:
    class Flat(Stub):
        def answer(self, films: Float) -> Mapping[str, Float]:
            return {"logits": np.float32(1)}  # type: ignore[dict-item]

    networks = {"flat": (kit.LABELS, Flat({})), "good": (kit.LABELS, LOGITS)}
    engine = stubbed(tmp_path, networks)
    engine.warm()
    assert set(engine.declared.silent) == {"flat"}
    findings, _ = engine.analyse(self_test_film(), "1")
    assert "its shape is ()" in findings.unanswered["flat"]
    assert {one.network for one in findings.observed} == {"good"}


def test_what_was_said_holds_where_it_cannot_be_explained(tmp_path: Path) -> None:
    stops = Stub({"logits": [9, -9, -9]}, fails_at=2)
    more = {"head": 'explain = "occlusion"'}
    engine = stubbed(tmp_path, {"stops": (kit.LABELS, stops)}, more=more)
    findings, shown = engine.analyse(self_test_film(), "1")
    assert findings.observed[0].believed
    assert (shown.maps, findings.checks, findings.unanswered) == ((), {}, {})


def test_who_is_too_slow_to_be_explained_has_its_answer_without(tmp_path: Path) -> None:
    kit.declared_bundle(
        tmp_path, "slow", kit.LABELS, kit.LABELS_OUTPUTS, eats=ANY, head='explain = "occlusion"'
    )
    slow, now = Stub({"logits": [9, -9, -9]}), itertools.count(0.0, EXPLAINING_SECONDS / 3)
    bundle = open_declared(tmp_path, "slow")
    networks = DeclaredNetworks([bundle], lambda _: slow, clock=lambda: next(now))
    said = networks.look([bundle], self_test_film(), None, None)
    assert said.observed[0].believed
    assert (said.maps, said.unanswered) == ((), {})
    assert len(slow.calls) == 3


@pytest.mark.parametrize(("side", "calls"), [(64, [16] * 4), (512, [4] * 16)])
def test_hiding_parts_takes_no_more_memory_than_a_few_films_of_the_input(
    side: int, calls: list[int]
) -> None:
    asked: list[int] = []

    def strengths(greys: Float) -> list[float]:
        asked.append(len(greys))
        return [1.0] * len(greys)

    film = np.zeros((side, side), np.float32)
    assert explained(film, Spoken("a", "", 1.0), strengths).heat.max() == 0
    assert asked == calls


def test_the_lungs_are_found_for_a_mask_that_counts_in_them_alone(tmp_path: Path) -> None:
    says = kit.MASK.replace('kind = "mask"', 'kind = "mask"\ninside = "lungs"')
    engine = stubbed(tmp_path, {"net": (says, Stub({"mask": np.full((16, 16), 9)}))})
    assert engine.declared.look_for_lungs
    assert engine.declared.need_lungs == ()

    class Upper:
        def find(self, film: Float) -> Lungs:
            probability = np.zeros((64, 64), np.float32)
            probability[:32] = 1
            return lungs_from(probability, *film.shape)

    object.__setattr__(engine._load(), "sight", Sight(None, Upper()))  # type: ignore[arg-type]
    findings, shown = engine.analyse(self_test_film(), "1")
    assert findings.observed[0].value == pytest.approx(1.0)
    assert shown.areas[0].probability[9:].max() == 0


def test_films_are_answered_alike_whoever_asks_at_the_same_time(tmp_path: Path) -> None:
    engine = Engine(
        tmp_path, (), declared=[made(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS)]
    )
    films = [np.full((64, 48), level, np.float32) for level in (0.1, 0.5, 0.9)] * 4
    alone = [engine.analyse(film, str(place))[0] for place, film in enumerate(films)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: engine.analyse(each[1], str(each[0]))[0],
                                 enumerate(films)))  # fmt: skip
    engine.declared.close()
    assert together == alone
