"""Declared networks in the engine: beside ours or alone, and none hurts another."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from dicom_node.analysis.asked import Asked
from dicom_node.analysis.engine import Engine
from dicom_node.brains.apart import Apart
from dicom_node.bundles.declared import Declared, open_declared
from dicom_node.bundles.network import self_test_film
from dicom_node.errors import NoAnswer
from dicom_node.findings import Outcome
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
        ({}, None),
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
