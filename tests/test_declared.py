"""A bundle that says in its manifest what it eats and says: read, checked, refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.bundles.declared import (
    check_declared_weights,
    faults_of,
    is_declared,
    open_declared,
    words_of,
)
from dicom_node.errors import BundleContractBroken, BundleDamaged, BundleMissing
from dicom_node.findings import FilmFindings, Outcome
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from tests import declared_kit as kit

ALL = {
    "labels": (kit.LABELS, kit.LABELS_OUTPUTS),
    "boxes": (kit.BOXES, kit.BOXES_OUTPUTS),
    "length": (kit.LENGTH, kit.LENGTH_OUTPUTS),
    "class": (kit.CLASS, kit.CLASS_OUTPUTS),
    "level": (kit.LEVEL, kit.LEVEL_OUTPUTS),
    "score": (kit.SCORE, kit.SCORE_OUTPUTS),
    "mask": (kit.MASK, kit.MASK_OUTPUTS),
}


@pytest.mark.parametrize("name", ALL)
def test_a_folder_with_a_manifest_is_a_bundle(tmp_path: Path, name: str) -> None:
    says, outputs = ALL[name]
    kit.declared_bundle(tmp_path, f"of-{name}", says, outputs)
    assert is_declared(tmp_path, f"of-{name}")
    bundle = open_declared(tmp_path, f"of-{name}")
    assert bundle.manifest.says[0].kind in set(ObservationKind)
    assert check_declared_weights(bundle).is_file()
    assert bundle.manifest.eats.asks_gate


def test_words_come_in_the_language_of_the_report_else_in_english_else_by_the_key(
    tmp_path: Path,
) -> None:
    kit.declared_bundle(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS)
    kit.declared_bundle(tmp_path, "score", kit.SCORE, kit.SCORE_OUTPUTS)
    labels, score = (open_declared(tmp_path, name).manifest for name in ("labels", "score"))
    assert words_of(labels, "findings", "de-DE").classes["effusion"] == "Pleuraerguss"
    assert words_of(labels, "findings", "fr").name == "Chest findings"
    assert words_of(score, "congestion", "en-US").name == "Congestion"


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ('kind = "labels"', 'kind = "label"', "says[0].kind"),
        ("headline = true", "headlines = true", "did you mean 'headline'?"),
        ('key = "effusion"', 'key = "pneumothorax"', "the same key"),
        ('engine = "onnx"', 'engine = "pickle"', "engine"),
        ("rows = 32", "rows = 2", "eats.pixels.rows"),
        ('title = "', 'titel = "', "unknown key"),
        ("threshold = 0.5", "threshold = 5", "says[0].classes[0].threshold"),
    ],
)
def test_a_fault_names_file_line_and_key(
    tmp_path: Path, line: str, instead: str, said: str
) -> None:
    place = kit.declared_bundle(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS)
    manifest = place / "model.toml"
    text = manifest.read_text("utf-8")
    number = text[: text.index(line)].count("\n") + 1
    manifest.write_text(text.replace(line, instead, 1), "utf-8")
    faults = " ".join(faults_of(tmp_path, "labels"))
    assert said in faults
    assert "labels/model.toml" in faults
    if "the same key" not in said:
        assert f"labels/model.toml:{number}: " in faults


def test_weights_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    place = kit.declared_bundle(tmp_path, "labels", kit.LABELS, kit.LABELS_OUTPUTS)
    bundle = open_declared(tmp_path, "labels")
    (place / "network.onnx").write_bytes(b"other")
    with pytest.raises(BundleDamaged, match="digest"):
        check_declared_weights(bundle)
    (place / "network.onnx").unlink()
    with pytest.raises(BundleDamaged, match="missing"):
        check_declared_weights(bundle)
    with pytest.raises(BundleMissing):
        open_declared(tmp_path, "none")
    (place / "model.toml").write_text("id = ", "utf-8")
    with pytest.raises(BundleContractBroken, match="not valid TOML"):
        open_declared(tmp_path, "labels")


def test_observations_survive_the_ledger_and_stand_among_all_in_the_json_form() -> None:
    observed = (
        Observation(
            "findings", ObservationKind.LABELS, "net",
            labels=(Candidate("effusion", 0.8, 0.5), Candidate("nodule", 0.1, 0.5)),
        ),
        Observation(
            "nodules", ObservationKind.REGION, "net",
            places=(FoundPlace(((0.0, 1.0), (2.0, 1.0), (2.0, 3.0), (0.0, 3.0)), "", 0.9),),
        ),
        Observation("width", ObservationKind.MEASUREMENT, "net", unit="mm", absent="no spacing"),
    )  # fmt: skip
    findings = FilmFindings(
        "1.2.3", Outcome.ANALYSED, observations=observed, unanswered={"other": "It stopped."}
    )
    for document in (findings.to_json(), findings.to_stored_json()):
        assert FilmFindings.from_json(document) == findings
    assert [one["reached"] for one in findings.to_json()["observations"][0]["labels"]] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("says", "line", "instead", "said"),
    [
        (kit.SCORE, "threshold = 5.0", "threshold = nan", "threshold"),
        (kit.SCORE, "range = [0.0, 10.0]", "range = [0.0, inf]", "range"),
        (kit.SCORE, "threshold = 5.0", "threshold = 20.0", "threshold lies outside range"),
        (kit.SCORE, "half_width = 1.5", 'activation = "softmax"', "softmax is of several classes"),
        (kit.LENGTH, "threshold = 150.0", 'activation = "sigmoid"', "have no activation"),
        (kit.MASK, "threshold = 0.5", "index = [0, 1]", "the one plane of a mask"),
    ],
)
def test_what_would_be_ignored_or_is_no_number_is_a_fault(
    tmp_path: Path, says: str, line: str, instead: str, said: str
) -> None:
    assert line in says
    kit.declared_bundle(tmp_path, "net", says.replace(line, instead), {"x": (1,)})
    assert said in " ".join(faults_of(tmp_path, "net"))
