"""A network's numbers become findings by the names of its outputs, calibrated output by output."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest

from dicom_node import resources
from dicom_node.analysis.answers import told
from dicom_node.bundles import Bundle, Output, open_bundle
from dicom_node.chest import ChestAnswers

APPEARANCES = ("negative", "typical", "indeterminate", "atypical")
BESIDE = (
    Output(name="appearance", kind="class-logits", range=(0, 1), classes=APPEARANCES),
    Output(name="opacity", kind="flag-logits", range=(0, 1), classes=("opacity",)),
)
VALUES = {
    "finding": np.log([0.2, 0.2, 0.6], dtype=np.float32),
    "appearance": np.log([0.1, 0.6, 0.2, 0.1], dtype=np.float32),
    "opacity": np.array([log(0.9 / 0.1)], dtype=np.float32),
}


def bundle(
    outputs: tuple[Output, ...] | None = None,
    *,
    calibration: dict[str, Any] | None = None,
    thresholds: dict[str, Any] | None = None,
) -> Bundle:
    """A detection network with both outputs beside its finding, or with ``outputs``."""
    shipped = open_bundle(resources.model_bundles(), "covidnet")
    manifest = shipped.manifest
    bare = {"temperature": 1.0, "temperatures": {}, "offsets": {}}
    found = manifest.model_copy(
        update={
            "outputs": outputs or (manifest.outputs[0], *BESIDE),
            "calibration": manifest.calibration.model_copy(update=bare | (calibration or {})),
            "thresholds": manifest.thresholds.model_copy(
                update={"abstain": 0.45, "least": {}} | (thresholds or {})
            ),
        }
    )
    return replace(shipped, manifest=found)


def answers(bundle: Bundle, values: dict[str, Any]) -> ChestAnswers:
    return ChestAnswers.of(told(bundle, values).observations)


def test_each_output_becomes_the_answer_of_its_name() -> None:
    found = answers(bundle(), VALUES)
    assert found.finding is not None
    assert found.finding.probabilities["covid19"] == pytest.approx(0.6)
    assert found.appearance is not None
    assert found.appearance.named == "typical"
    assert found.appearance.probabilities["indeterminate"] == pytest.approx(0.2)
    assert found.opacity is not None
    assert found.opacity.probability == pytest.approx(0.9)
    assert found.opacity.present
    assert told(bundle(), VALUES).target == "covid19"


def test_the_order_of_the_outputs_does_not_matter() -> None:
    forth = bundle()
    back = bundle(tuple(reversed(forth.manifest.outputs)))
    assert answers(back, VALUES) == answers(forth, VALUES)
    assert told(back, VALUES).target == told(forth, VALUES).target


def test_a_network_of_the_first_edition_tells_its_finding_alone() -> None:
    first = open_bundle(resources.model_bundles(), "covidnet").manifest.outputs
    found = answers(bundle(first), {"finding": VALUES["finding"]})
    assert found.finding is not None
    assert found.appearance is None
    assert found.opacity is None


def test_temperature_and_offsets_are_those_of_the_output() -> None:
    calibration = {
        "temperature": 3.0,
        "temperatures": {"appearance": 2.0, "opacity": 0.5},
        "offsets": {"opacity": (-1.0,), "appearance": (log(4.0), 0.0, 0.0, 0.0)},
    }
    found = answers(bundle(calibration=calibration), VALUES)
    assert found.opacity is not None
    assert found.opacity.probability == pytest.approx(1 / (1 + exp(-(log(9.0) / 0.5 - 1.0))))
    roots = np.sqrt([0.1, 0.6, 0.2, 0.1]) * [4.0, 1.0, 1.0, 1.0]
    assert found.appearance is not None
    assert list(found.appearance.probabilities.values()) == pytest.approx(roots / roots.sum())
    cubes = np.cbrt([0.2, 0.2, 0.6])
    assert found.finding is not None
    assert list(found.finding.probabilities.values()) == pytest.approx(cubes / cubes.sum())


@pytest.mark.parametrize(("least", "present"), [(0.5, True), (0.9, True), (0.91, False)])
def test_opacity_is_present_from_its_own_threshold_on(least: float, present: bool) -> None:
    values = VALUES | {"opacity": np.array([log(9.0) + 1e-6], dtype=np.float32)}
    found = answers(bundle(thresholds={"least": {"opacity": least}}), values)
    assert found.opacity is not None
    assert found.opacity.threshold == least
    assert found.opacity.present is present


def test_a_class_with_a_threshold_of_its_own_is_named_from_there_on() -> None:
    found = answers(bundle(thresholds={"least": {"covid19": 0.7, "typical": 0.5}}), VALUES)
    assert found.finding is not None
    assert found.finding.threshold == 0.7
    assert found.finding.abstained
    assert found.appearance is not None
    assert not found.appearance.abstained


def test_a_class_without_one_is_named_from_the_threshold_of_all_on() -> None:
    found = answers(bundle(thresholds={"abstain": 0.61}), VALUES)
    assert found.finding is not None
    assert found.finding.abstained
    assert found.appearance is not None
    assert found.appearance.abstained


def test_flags_of_huge_logits_are_finite() -> None:
    for logit, expected in ((1e4, 1.0), (-1e4, 0.0)):
        found = answers(bundle(), VALUES | {"opacity": np.array([logit], dtype=np.float32)})
        assert found.opacity is not None
        assert found.opacity.probability == expected
