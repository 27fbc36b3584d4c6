"""A declared network in a process of its own: what it does wrong hurts nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dicom_node.brains.apart import Apart
from dicom_node.bundles.declared import Declared, digest_of_weights, open_declared
from dicom_node.errors import BundleDamaged, NoAnswer
from tests import declared_kit as kit
from tests.node.peers import wait_for

FILMS = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)


def bundle(folder: Path, name: str = "labels", **more: object) -> Declared:
    kit.declared_bundle(folder, name, kit.LABELS, kit.LABELS_OUTPUTS, **more)  # type: ignore[arg-type]
    return open_declared(folder, name)


def with_file(one: Declared, file: str, data: bytes, also: str = "") -> Declared:
    """Return the bundle with another weights file in its place."""
    (one.folder / file).write_bytes(data)
    return sealed(one, file, also)


def sealed(one: Declared, file: str, also: str = "", engine: str = "onnx") -> Declared:
    """Return the bundle with the digests that its files have now."""
    manifest = one.folder / "model.toml"
    head, _, tail = manifest.read_text("utf-8").partition("[weights]")
    rest = tail[tail.index("\n[[says]]") :]
    weights = f'file = "{file}"\ndigest = "{digest_of_weights(one.folder / file)}"\n'
    if also:
        weights += f'also = {{ "{also}" = "{digest_of_weights(one.folder / also)}" }}\n'
    head = head.replace('engine = "onnx"', f'engine = "{engine}"')
    manifest.write_text(f"{head}[weights]\n{weights}{rest}", "utf-8")
    return open_declared(one.folder.parent, one.id)


def model_of(nodes: list[onnx.NodeProto], values: list[onnx.TensorProto]) -> bytes:
    """Return a network from a film of 32 × 32 to three logits."""
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 32, 32])
    told = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "odd", [given], [told], values)
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.fixture
def closing() -> Iterator[list[Apart]]:
    made: list[Apart] = []
    yield made
    for one in made:
        one.close()


def test_the_numbers_are_those_of_the_engine_itself(tmp_path: Path, closing: list[Apart]) -> None:
    one = bundle(tmp_path)
    apart = Apart(one)
    closing.append(apart)
    session = onnxruntime.InferenceSession(str(one.folder / "network.onnx"))
    expected = session.run(["logits"], {"input": np.moveaxis(FILMS, -1, 1)})[0]
    assert np.allclose(apart.answer(FILMS)["logits"], expected, atol=1e-5)
    assert apart.name == f"onnxruntime {onnxruntime.__version__}"


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"no network at all", "cannot be loaded"), (b"", "cannot be loaded")],
)
def test_what_is_no_network_is_said_in_words(
    tmp_path: Path, closing: list[Apart], data: bytes, why: str
) -> None:
    apart = Apart(with_file(bundle(tmp_path), "network.onnx", data))
    closing.append(apart)
    with pytest.raises(NoAnswer, match=why):
        apart.answer(FILMS)


def test_films_of_another_size_are_refused_in_words(tmp_path: Path, closing: list[Apart]) -> None:
    apart = Apart(bundle(tmp_path))
    closing.append(apart)
    with pytest.raises(NoAnswer, match="does not take such films"):
        apart.answer(FILMS[:, :16])
    assert apart.answer(FILMS)["logits"].shape == (2, 3)


def test_weights_that_were_changed_are_not_loaded(tmp_path: Path) -> None:
    one = bundle(tmp_path)
    (one.folder / "network.onnx").write_bytes(b"changed")
    with pytest.raises(BundleDamaged, match="digest"):
        Apart(one).answer(FILMS)


def test_one_that_hangs_is_stopped(tmp_path: Path, closing: list[Apart]) -> None:
    passed = [0.0]
    apart = Apart(bundle(tmp_path), clock=lambda: time.monotonic() + passed[0])
    closing.append(apart)
    apart.answer(FILMS)
    child = apart._child
    assert child is not None
    os.kill(child.process.pid, signal.SIGSTOP)
    threading.Timer(0.2, lambda: passed.__setitem__(0, 100.0)).start()
    with pytest.raises(NoAnswer, match="stopped after 30 s"):
        apart.answer(FILMS)
    assert child.process.poll() is not None
    assert apart.answer(FILMS)


def test_one_that_wants_more_memory_than_it_may_have_is_refused(
    tmp_path: Path, closing: list[Apart]
) -> None:
    shape = numpy_helper.from_array(np.array([40_000, 40_000], np.int64), "shape")
    fill = numpy_helper.from_array(np.array([1.0], np.float32), "fill")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"], value=fill),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Add", ["sum", "mean"], ["logits"]),
    ]
    one = bundle(tmp_path, head="memory_mb = 256")
    apart = Apart(with_file(one, "network.onnx", model_of(nodes, [shape])))
    closing.append(apart)
    with pytest.raises(NoAnswer, match=r"memory|ended"):
        apart.answer(FILMS)


def test_weights_outside_of_the_folder_are_not_read(tmp_path: Path, closing: list[Apart]) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(3, dtype=np.float32).tobytes())
    outside = TensorProto(name="bias", data_type=TensorProto.FLOAT, dims=[3])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../secret.bin")
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logits"]),
    ]
    apart = Apart(with_file(bundle(tmp_path), "network.onnx", model_of(nodes, [outside])))
    closing.append(apart)
    with pytest.raises(NoAnswer, match="cannot be loaded"):
        apart.answer(FILMS)


def test_after_three_failures_it_is_left_alone_for_longer_and_longer(
    tmp_path: Path, closing: list[Apart]
) -> None:
    now = [100.0]
    one = with_file(bundle(tmp_path), "network.onnx", b"no network")
    apart = Apart(one, clock=lambda: now[0])
    closing.append(apart)
    for _ in range(3):
        with pytest.raises(NoAnswer, match="cannot be loaded"):
            apart.answer(FILMS)
    with pytest.raises(NoAnswer, match="tried again in 2 s"):
        apart.answer(FILMS)
    now[0] += 2.5
    with pytest.raises(NoAnswer, match="cannot be loaded"):
        apart.answer(FILMS)
    with pytest.raises(NoAnswer, match="tried again in 4 s"):
        apart.answer(FILMS)


def test_it_ends_with_who_asked_it(tmp_path: Path) -> None:
    one = bundle(tmp_path)
    parent = (
        "import sys, os, numpy as np\nfrom pathlib import Path\n"
        "from dicom_node.brains.apart import Apart\n"
        "from dicom_node.bundles.declared import open_declared\n"
        f"apart = Apart(open_declared(Path({str(tmp_path)!r}), {one.id!r}))\n"
        "apart.answer(np.zeros((1, 32, 32, 1), np.float32))\n"
        "print(apart._child.process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, check=False)
    child = Path("/proc") / done.stdout.decode().strip()
    assert child.name.isdigit()
    wait_for(lambda: not child.exists() or _is_dead(child), 60, "it ends")


def _is_dead(process: Path) -> bool:
    try:
        return "\nState:\tZ" in (process / "status").read_text("ascii")
    except OSError:
        return True


def test_openvino_answers_as_onnx_runtime_does(tmp_path: Path, closing: list[Apart]) -> None:
    openvino = pytest.importorskip("openvino")
    one = bundle(tmp_path)
    model = openvino.Core().read_model(one.folder / "network.onnx")
    openvino.serialize(model, one.folder / "network.xml")
    first = Apart(one)
    other = Apart(sealed(bundle(tmp_path / "vino"), "network.onnx"))
    for file in ("network.xml", "network.bin"):
        (other.bundle.folder / file).write_bytes((one.folder / file).read_bytes())
    other = Apart(sealed(other.bundle, "network.xml", "network.bin", engine="openvino"))
    closing += [first, other]
    told = other.answer(FILMS)
    assert np.allclose(told["logits"], first.answer(FILMS)["logits"], atol=1e-4)
    assert other.name.startswith("openvino ")


SAVED = """
import sys, tensorflow as tf

class Net(tf.Module):
    def __init__(self):
        self.w = tf.Variable(tf.ones([3]))

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 1], tf.float32, "films")])
    def call(self, films):
        {reads}
        return {{"logits": tf.reduce_mean(films, [1, 2]) * self.w}}

net = Net()
tf.saved_model.save(net, sys.argv[1], signatures={{"serving_default": net.call}})
"""


def saved_model(one: Declared, reads: str) -> Declared:
    code, target = SAVED.format(reads=reads), one.folder / "net"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True, capture_output=True)
    text = (one.folder / "model.toml").read_text("utf-8")
    layout = 'columns = 32\nlayout = "channels-last"'
    (one.folder / "model.toml").write_text(text.replace("columns = 32", layout, 1), "utf-8")
    return sealed(one, "net", engine="saved-model")


@pytest.mark.slow
def test_a_saved_model_answers(tmp_path: Path, closing: list[Apart]) -> None:
    apart = Apart(saved_model(bundle(tmp_path, head="memory_mb = 4096"), "pass"))
    closing.append(apart)
    told = apart.answer(FILMS)["logits"]
    assert np.allclose(told, np.repeat(FILMS.mean(axis=(1, 2)), 3, axis=1), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "reads",
    [
        'tf.print(tf.io.read_file("/etc/hostname"))',
        'tf.io.write_file("/tmp/dicom-node-must-not-be", "x")',
        "tf.py_function(lambda: 1.0, [], tf.float32)",
    ],
)
def test_a_saved_model_that_reaches_outside_is_not_run(
    tmp_path: Path, closing: list[Apart], reads: str
) -> None:
    apart = Apart(saved_model(bundle(tmp_path, head="memory_mb = 4096"), reads))
    closing.append(apart)
    with pytest.raises(NoAnswer, match="which is not run"):
        apart.answer(FILMS)


@pytest.mark.slow
def test_a_network_of_ours_answers_by_what_its_manifest_says(
    tmp_path: Path, closing: list[Apart]
) -> None:
    code = (
        "import sys\nfrom dicom_node.networks import registry\n"
        "net = registry.build('covidnet-lite', rows=64, columns=64, channels=1, classes=3)\n"
        "net.save_weights(sys.argv[1])\n"
    )
    one = bundle(tmp_path, head='network = "covidnet-lite"\nmemory_mb = 4096')
    target = one.folder / "net.weights.h5"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True, capture_output=True)
    manifest = one.folder / "model.toml"
    text = manifest.read_text("utf-8").replace("rows = 32", "rows = 64")
    text = text.replace("columns = 32", 'columns = 64\nlayout = "channels-last"')
    manifest.write_text(text, "utf-8")
    apart = Apart(sealed(one, "net.weights.h5", engine="keras"))
    closing.append(apart)
    (told,) = apart.answer(np.zeros((1, 64, 64, 1), np.float32)).values()
    assert told.shape == (1, 3)
