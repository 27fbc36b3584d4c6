"""Who computes the networks: whoever it is, findings are Keras', or it does not answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from dicom_node.analysis.engine import Engine
from dicom_node.brains import KERAS, choice
from dicom_node.brains.choice import Wanted, brain_for
from dicom_node.brains.exported import Contents, read_contents, write_contents
from dicom_node.brains.keras import KerasBrain
from dicom_node.brains.models import Model, single
from dicom_node.brains.proof import Deviation, answers, deviations, questions
from dicom_node.brains.shelf import Shelf, identity
from dicom_node.bundles import check_weights, open_bundle
from dicom_node.errors import BundleDamaged, EngineMissing, EngineUnproved
from dicom_node.findings import FilmFindings
from tests import mapping
from tests.engine_kit import models_of, without_weights, write_bundles

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed (extra cpu)"
)


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """The suite of `tests.mapping` has networks of a few lines and no weights file."""
    with pytest.MonkeyPatch.context() as patch:
        without_weights(patch)
        for rule in ("without_picture", "without_outlines"):
            patch.setattr(f"dicom_node.analysis.sight.{rule}", lambda *_: None)
        yield patch


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundles(tmp_path_factory.mktemp("engines") / "models")


@pytest.fixture(scope="module")
def models(bundles: Path) -> Sequence[Model]:
    return models_of(bundles)


@pytest.fixture(scope="module")
def data_dir(models: Sequence[Model], patched: object, tmp_path_factory: Any) -> Path:
    """The data folder of a node that has started once."""
    made: Path = tmp_path_factory.mktemp("node")
    assert brain_for(models, wanted(made)).brain.name.startswith("openvino")
    return made


@pytest.fixture
def kept(data_dir: Path, tmp_path: Path) -> Path:
    """A data folder like it, that a test may spoil."""
    return shutil.copytree(data_dir, tmp_path / "data")


@pytest.fixture
def without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.brains.keras.KerasBrain", _not_again)


def _not_again(*_: object, **__: object) -> NoReturn:
    raise AssertionError("Keras was loaded")


def wanted(data_dir: Path | None, engine: choice.EngineName = "auto") -> Wanted:
    return Wanted(engine, "cpu", shelf=data_dir and data_dir / "engines")


def functions(data_dir: Path) -> Path:
    (folder,) = (data_dir / "engines").iterdir()
    return folder


def test_openvino_answers_every_question_as_keras_does_and_says_who_it_is(
    models: Sequence[Model], data_dir: Path
) -> None:
    brain = brain_for(models, wanted(data_dir)).brain
    asked = questions(models)
    assert {one.name for one in asked} == {"lungs.plain", "trunk.explained", "trunk.plain"}
    for one in deviations(asked, answers(KerasBrain(models, "cpu"), asked), answers(brain, asked)):
        assert one.off_by < 1e-3, one
    assert brain.name.split()[0] == "openvino"
    assert brain.name.split()[2] == "f32"
    assert brain.device == "cpu"


@pytest.mark.usefixtures("without_keras")
def test_the_next_start_needs_no_keras(models: Sequence[Model], kept: Path) -> None:
    assert brain_for(models, wanted(kept)).brain.name.startswith("openvino")


def test_a_kept_function_that_was_changed_is_made_again(
    models: Sequence[Model], kept: Path
) -> None:
    weights = functions(kept) / "trunk.plain.bin"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert brain_for(models, wanted(kept)).brain.name.startswith("openvino")
    assert weights.read_bytes() == good


def test_other_weights_or_other_settings_of_a_network_are_other_functions(
    models: Sequence[Model], bundles: Path, tmp_path: Path
) -> None:
    before = identity(questions(models))
    changed = shutil.copytree(bundles, tmp_path / "models")
    manifest = changed / mapping.LUNGS / "model.toml"
    text = manifest.read_text("utf-8")
    for old, new in (("sha256:0", "sha256:1"), ("temperature", "#"), ("epochs = 1", "epochs = 2")):
        manifest.write_text(text.replace(old, new), "utf-8")
        other = (single(open_bundle(changed, mapping.LUNGS)), models[1])
        assert (identity(questions(other)) != before) == (old in text)
    assert identity(questions(models)) == before


@pytest.mark.usefixtures("without_keras")
def test_weights_that_are_not_the_manifests_are_found_though_functions_are_kept(
    models: Sequence[Model], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.brains.choice.check_weights", check_weights)
    with pytest.raises(BundleDamaged):
        brain_for(models, wanted(kept))


def otherwise(data_dir: Path) -> None:
    """Let the kept functions answer otherwise than Keras did when they were made."""
    folder = functions(data_dir)
    contents = read_contents(folder)
    assert contents is not None
    expected = {
        function: {name: values + 0.2 for name, values in found.items()}
        for function, found in contents.expected.items()
    }
    write_contents(folder, replace(contents, expected=expected))


def test_with_auto_keras_answers_where_openvino_answers_otherwise_and_it_is_said_why(
    models: Sequence[Model], kept: Path
) -> None:
    otherwise(kept)
    chosen = brain_for(models, wanted(kept))
    assert chosen.brain.name == KERAS
    assert isinstance(chosen.passed_over, EngineUnproved)
    assert "is off by 0.2 (tolerance 0.05)" in chosen.passed_over.message


def test_openvino_by_name_refuses_to_answer_otherwise_than_keras(
    models: Sequence[Model], kept: Path
) -> None:
    otherwise(kept)
    with pytest.raises(EngineUnproved, match="in f32") as refused:
        brain_for(models, wanted(kept, "openvino"))
    assert "analysis.engine" in refused.value.remedy


def test_bfloat16_that_is_too_coarse_for_the_networks_falls_back_to_float32(
    models: Sequence[Model], kept: Path
) -> None:
    """The networks of this suite multiply by hundreds."""
    assert brain_for(models, wanted(kept, "openvino")).brain.name.endswith(" f32")


def test_without_openvino_auto_is_keras_and_its_name_an_error_that_tells_how_to_install(
    models: Sequence[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.brains.openvino.is_installed", lambda: False)
    chosen = brain_for(models, wanted(None))
    assert (chosen.brain.name, chosen.passed_over) == (KERAS, None)
    with pytest.raises(EngineMissing) as refused:
        brain_for(models, wanted(None, "openvino"))
    assert "dicom-node[cpu]" in refused.value.remedy


def test_a_network_that_openvino_cannot_compute_is_left_to_keras(
    models: Sequence[Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> NoReturn:
        raise RuntimeError("No conversion rule found\n for operations: Novel")

    monkeypatch.setattr("dicom_node.brains.exporting._write", unknown)
    chosen = brain_for(models, wanted(tmp_path))
    assert chosen.brain.name == KERAS
    assert chosen.passed_over is not None
    assert "No conversion rule found for operations: Novel" in chosen.passed_over.message


def test_a_machine_that_has_a_gpus_device_file_and_no_gpu_computes_on_openvino(
    models: Sequence[Model], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.brains.choice.may_have_gpu", lambda: True)
    chosen = brain_for(models, replace(wanted(kept), device="auto"))
    assert chosen.brain.name.startswith("openvino")


def test_several_threads_get_the_answers_that_one_gets(
    models: Sequence[Model], data_dir: Path
) -> None:
    brain = brain_for(models, wanted(data_dir)).brain
    rng = np.random.default_rng(5)
    films = [rng.random((1, mapping.SIDE, mapping.SIDE, 3), np.float32) for _ in range(12)]

    def ask(film: Any) -> Any:
        return brain.answer(mapping.TRUNK, film, explain=True)

    alone = [ask(film) for film in films]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(ask, films), alone, strict=True):
            assert found.keys() == expected.keys()
            for name in found:
                assert np.array_equal(found[name], expected[name]), name


def test_findings_name_the_engine_and_are_keras_findings(
    bundles: Path, data_dir: Path, patched: object
) -> None:
    film = np.full((640, 640), 0.3, np.float32)
    film[360:480, 120:280] = 0.9
    told = {}
    for engine in ("auto", KERAS):
        suite = Engine(bundles, mapping.SUITE, "cpu", engine=engine, shelf=data_dir / "engines")  # type: ignore[arg-type]
        told[engine] = suite.analyse(film, "2.25.1")[0]
        assert told[engine].suite == suite.suite_version
    assert {ran.engine for ran in told[KERAS].suite.values()} == {""}
    (engine_name,) = {ran.engine for ran in told["auto"].suite.values()}
    assert engine_name.startswith("openvino ")
    again = FilmFindings.from_json(told["auto"].to_json())
    assert again == told["auto"]
    assert {ran["engine"] for ran in told["auto"].to_json()["suite"].values()} == {engine_name}
    assert told["auto"].opacity_map == told[KERAS].opacity_map
    for name, score in told[KERAS].scores.items():
        assert told["auto"].scores[name].value == pytest.approx(score.value, abs=1e-4)


# What is kept


def make(folder: Path) -> None:
    (folder / "f.xml").write_text("a function", "utf-8")
    write_contents(folder, Contents({"f": ("m/x",)}, {"f": {"m/x": np.ones(3, np.float32)}}))


def test_a_shelf_keeps_the_last_few_and_what_was_begun_and_left_goes(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "engines")
    left = tmp_path / "engines" / ".new-left"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    for name in "abcde":
        with shelf.functions(name, make) as (folder, contents):
            assert contents.outputs == {"f": ("m/x",)}
            assert folder.is_dir()
    assert {path.name for path in (tmp_path / "engines").iterdir()} == {"c", "d", "e"}
    with shelf.functions("e", _not_again) as (folder, _):
        assert folder == tmp_path / "engines" / "e"


def test_what_another_worker_kept_meanwhile_stays_for_who_reads_it(tmp_path: Path) -> None:
    other, kept = Shelf(tmp_path / "engines"), tmp_path / "engines" / "a"
    faster = list[int]()

    def overtaken(folder: Path) -> None:
        with other.functions("a", make):
            faster.append(kept.stat().st_ino)
        make(folder)

    with Shelf(tmp_path / "engines").functions("a", overtaken):
        assert faster == [kept.stat().st_ino]


def test_what_a_start_that_was_killed_had_begun_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    begun = list[Path]()

    def killed(folder: Path) -> None:
        begun.append(shutil.copytree(folder, folder.with_name(f"{folder.name}x")))
        make(folder)

    with Shelf(None).functions("a", killed):
        pass
    with Shelf(None).functions("a", make):
        assert begun[0].is_dir()  # it may be under way
    os.utime(begun[0], (0, 0))
    with Shelf(None).functions("a", make):
        assert not begun[0].exists()
    assert not list(tmp_path.iterdir())


def test_a_shelf_that_cannot_keep_gives_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file in its place", "utf-8")
    for folder in (None, tmp_path / "no" / "data", tmp_path / "engines"):
        with Shelf(folder).functions("a", make) as (made, _):
            assert (made / "f.xml").is_file()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("spoil", ["contents.json", "answers.npz", "f.xml"])
def test_a_folder_that_lacks_anything_holds_nothing(tmp_path: Path, spoil: str) -> None:
    make(tmp_path)
    assert read_contents(tmp_path) is not None
    (tmp_path / spoil).write_bytes(b"[]")
    assert read_contents(tmp_path) is None
    (tmp_path / spoil).unlink()
    assert read_contents(tmp_path) is None


def test_an_answer_that_is_no_number_is_never_within() -> None:
    assert not Deviation("n", "o", float("nan"), 0.05).within
