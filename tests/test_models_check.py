"""``models check``: whatever lies in a bundle's folder, the answer is in words."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node.bundles import CARD, MANIFEST, SELF_TEST
from dicom_node.bundles.declared import digest_of_weights
from dicom_node.line.check_bundle import check_bundle
from tests import bringing_kit as bringing
from tests import declared_kit as kit


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bringing.whole_bundle(
        tmp_path_factory.mktemp("bundles"), "chest", kit.LABELS, kit.LABELS_OUTPUTS
    )


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def edit(bundle: Path, old: str, new: str) -> None:
    path = bundle / MANIFEST
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    ("says", "outputs"),
    [(kit.LABELS, kit.LABELS_OUTPUTS), (kit.BOXES, kit.BOXES_OUTPUTS),
     (kit.LENGTH, kit.LENGTH_OUTPUTS), (kit.CLASS, kit.CLASS_OUTPUTS),
     (kit.LEVEL, kit.LEVEL_OUTPUTS), (kit.SCORE, kit.SCORE_OUTPUTS),
     (kit.MASK, kit.MASK_OUTPUTS)],
)  # fmt: skip
def test_a_whole_bundle_of_every_kind_has_no_fault(
    tmp_path: Path, says: str, outputs: kit.Outputs
) -> None:
    more = (
        {"constant": {"scores": [0.5] * 5, "boxes": [4, 4, 9, 9] * 5}} if "boxes" in outputs else {}
    )
    place = bringing.whole_bundle(tmp_path, "any", says, outputs, **more)
    assert bringing.checked_here(place).faults == ()


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a manifest's fault": (lambda b: edit(b, 'kind = "labels"', 'kind = "lables"'),
                           "model.toml:23: says[0].kind"),
    "weights that are gone": (lambda b: (b / "network.onnx").unlink(),
                              "there is no 'network.onnx'"),
    "weights that are a link": (lambda b: _link(b / "network.onnx"), "is a link"),
    "another network": (lambda b: _append(b / "network.onnx"), 'write digest = "sha256:'),
    "a truncated network": (lambda b: _cut(b), "cannot be read"),
    "another input's name": (lambda b: edit(b, "rows = 32", 'input = "film"\nrows = 32'),
                             "the network's inputs are: input"),
    "another size": (lambda b: edit(b, "rows = 32", "rows = 64"), "write rows = 32"),
    "other channels": (lambda b: edit(b, "columns = 32", "columns = 32\nchannels = 3"),
                       "write channels = 1"),
    "the other layout": (lambda b: edit(b, "rows = 32", 'layout = "channels-last"\nrows = 32'),
                         'write layout = "channels-first"'),
    "an output that is not there": (lambda b: edit(b, 'kind = "labels"',
                                                   'kind = "labels"\noutput = "x"'),
                                    "there is no output 'x'"),
    "an index beyond": (lambda b: edit(b, 'kind = "labels"',
                                       'kind = "labels"\nindex = [0, 1, 7]'),
                        "there is no value 7"),
    "no probabilities": (lambda b: edit(b, 'kind = "labels"',
                                        'kind = "labels"\nactivation = "none"'),
                         "probabilities are from 0 to 1"),
    "no card": (lambda b: (b / CARD).unlink(), "chest/CARD.md: is missing"),
    "a card to fill in": (lambda b: _write(b / CARD, "# A\n\nTODO: data.\n"),
                          "chest/CARD.md:3: is to be written: data"),
    "a card that is a folder": (lambda b: _folder(b / CARD), "is no file"),
    "a card that is no text": (lambda b: _bytes(b / CARD, b"\xff\xfe\x00"), "is not UTF-8 text"),
    "no self-test": (lambda b: (b / SELF_TEST).unlink(), "self_test.json: is missing"),
    "another self-test": (lambda b: _answers(b, [9.0, 9.0, 9.0]), "is off by"),
    "a self-test of others": (lambda b: _answers(b, [9.0]), "values, other than"),
    "a self-test that is none": (lambda b: _write(b / SELF_TEST, "[" * 9999), "cannot be read"),
    "a manifest that is a link": (lambda b: _link(b / MANIFEST), "model.toml: is a link"),
    "a manifest that is a folder": (lambda b: _folder(b / MANIFEST), "model.toml: is no file"),
    "a manifest that is gone": (lambda b: (b / MANIFEST).unlink(), "model.toml: is missing"),
    "a manifest that is no text": (lambda b: _bytes(b / MANIFEST, b"id = \xff"), "not UTF-8"),
    "a huge manifest": (lambda b: _write(b / MANIFEST, "#" * 2_000_000), "is larger than"),
    "a bomb of brackets": (lambda b: _write(b / MANIFEST, "a = " + "[" * 50_000), "too deeply"),
    "a bomb of tables": (lambda b: _write(b / MANIFEST, "a" + ".a" * 20_000 + " = 1"),
                         "model.toml"),
    "a bomb of digits": (lambda b: _write(b / MANIFEST, "a = " + "9" * 9_000), "too long a number"),
    "an empty manifest": (lambda b: _write(b / MANIFEST, ""), "id: missing"),
    "another folder's name": (lambda b: edit(b, 'id = "chest"', 'id = "other"'), "id is 'other'"),
}  # fmt: skip


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _cut(bundle: Path) -> None:
    path = bundle / "network.onnx"
    old = digest_of_weights(path)
    os.truncate(path, 200)
    edit(bundle, old, digest_of_weights(path))


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _answers(bundle: Path, values: list[float]) -> None:
    told = json.loads((bundle / SELF_TEST).read_text("utf-8"))
    _write(bundle / SELF_TEST, json.dumps(told | {"answers": {"logits": values}}))


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_named_with_its_place_and_remedy(bundle: Path, what: str) -> None:
    damage, words = FAULTS[what]
    damage(bundle)
    found = bringing.checked_here(bundle)
    assert any(words in fault for fault in found.faults), found.faults
    assert all(" — " in fault for fault in found.faults)


def test_what_is_only_a_pity_is_a_warning(bundle: Path) -> None:
    edit(bundle, "columns = 32", "columns = 32  # CHECK: of the input")
    edit(
        bundle, 'finding = { value = "60046008", scheme = "SCT", meaning = "Pleural effusion" }', ""
    )
    edit(bundle, 'pneumothorax = "Pneumothorax"\ncardiomegaly = "Herz', 'cardiomegaly = "Herz')
    found = bringing.checked_here(bundle)
    assert found.faults == ()
    told = "\n".join(found.warnings)
    for words in (
        "columns: nobody has looked",
        "no code for effusion",
        "pneumothorax of 'findings'",
    ):
        assert words in told


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert "there is no such folder" in check_bundle(tmp_path / "nowhere").faults[0]


@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_no_damage_makes_it_raise(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    bundle = tmp_path / "chest"
    shutil.rmtree(bundle, ignore_errors=True)
    shutil.copytree(whole, bundle)
    name = data.draw(st.sampled_from([MANIFEST, MANIFEST, CARD, SELF_TEST, "network.onnx"]))
    raw = bytearray((bundle / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        gone = data.draw(st.integers(0, 40))
        raw[at : at + gone] = data.draw(
            st.one_of(
                st.binary(max_size=12),
                st.sampled_from([b"[[says]]\n", b"= {", b'"""', b"nan", b"-inf", b"1e400", b"\x00",
                                 b"\n[eats]\n", b"true", b"../../etc/passwd", b"{0:8}", b"9" * 50]),
            )
        )  # fmt: skip
    (bundle / name).write_bytes(bytes(raw))
    found = bringing.checked_here(bundle)
    assert "error that nobody" not in str(found.faults)
    assert not any("cannot be checked" in fault for fault in found.faults), found.faults
