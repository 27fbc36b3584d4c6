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

from dicom_node.brains import apart as apart_module
from dicom_node.brains.apart import Apart
from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.onnx_files import wanted_files
from dicom_node.bundles.declared import Declared, digest_of_weights, faults_of, open_declared
from dicom_node.errors import BrainUnavailable, BundleDamaged, NoAnswer
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
    with pytest.raises(NoAnswer, match="stopped after 60 s"):
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


def with_weights_from(place: str) -> bytes:
    """Return a network whose bias is in another file."""
    outside = TensorProto(name="bias", data_type=TensorProto.FLOAT, dims=[3])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=place)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logits"]),
    ]
    return model_of(nodes, [outside])


@pytest.mark.parametrize("place", ["../secret.bin", "ABSOLUTE", "unnamed.bin", "link.bin"])
@pytest.mark.parametrize("also", ["", "named.bin"])
def test_weights_that_the_manifest_does_not_name_are_not_read(
    tmp_path: Path, closing: list[Apart], place: str, also: str
) -> None:
    one, secret = bundle(tmp_path), tmp_path / "secret.bin"
    for path in (secret, one.folder / "unnamed.bin", one.folder / "named.bin"):
        path.write_bytes(np.arange(3, dtype=np.float32).tobytes())
    (one.folder / "link.bin").symlink_to(secret)
    data = with_weights_from(place.replace("ABSOLUTE", str(secret)))
    apart = Apart(with_file(one, "network.onnx", data, also))
    closing.append(apart)
    with pytest.raises(NoAnswer, match=r"wants weights from '.*secret|unnamed|link\.bin'"):
        apart.answer(FILMS)


def test_weights_that_the_manifest_names_are_read(tmp_path: Path, closing: list[Apart]) -> None:
    one = bundle(tmp_path)
    (one.folder / "named.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    apart = Apart(with_file(one, "network.onnx", with_weights_from("named.bin"), "named.bin"))
    closing.append(apart)
    expected = FILMS.mean(axis=(1, 2)) + np.arange(3, dtype=np.float32)
    assert np.allclose(apart.answer(FILMS)["logits"], expected, atol=1e-5)


def test_weights_are_found_wherever_they_hide_in_a_network() -> None:
    def tensor(place: str) -> TensorProto:
        made = TensorProto(name=place, data_type=TensorProto.FLOAT, dims=[1])
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="offset", value="0")
        made.external_data.add(key="location", value=place)
        return made

    inner = helper.make_graph([], "inner", [], [], [tensor("in a graph of an attribute")])
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, value=tensor("in an attribute"))
    node.attribute.append(helper.make_attribute("many", [tensor("in a list")]))
    model = helper.make_model(helper.make_graph([node], "outer", [], [], [tensor("here")]))
    function = helper.make_function("d", "f", [], [], [node], [])
    function.node[0].attribute[1].t.external_data[1].value = "in a function"
    model.functions.append(function)
    sparse = onnx.SparseTensorProto(values=tensor("sparse"), indices=tensor("indices"))
    model.graph.sparse_initializer.append(sparse)
    model.training_info.add().initialization.initializer.append(tensor("*/_ORT_MEM_ADDR_/*"))
    assert wanted_files(model.SerializeToString()) >= {
        "here", "in an attribute", "in a list", "in a graph of an attribute", "in a function",
        "sparse", "indices", "*/_ORT_MEM_ADDR_/*",
    }  # fmt: skip


def test_a_number_that_engines_cut_off_hides_nothing() -> None:
    entry = b"\x0a\x08location\x12\x01x"
    tensor = bytes([13 << 3 | 2, len(entry)]) + entry
    graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
    key = (7 << 3 | 2) | 0x80
    assert wanted_files(bytes([key, 0x80, 0x80, 0x80, 0x70, len(graph)]) + graph) == {"x"}
    with pytest.raises(NotComputable):
        wanted_files(b"\x3a" + b"\xff" * 12)
    with pytest.raises(NotComputable):
        wanted_files(b"\x3a\x05\x00")


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "a/../../b", ".hidden", ""])
def test_a_manifest_names_files_of_its_own_folder_alone(tmp_path: Path, name: str) -> None:
    one = bundle(tmp_path)
    manifest, digest = one.folder / "model.toml", f"sha256:{64 * '0'}"
    text = manifest.read_text("utf-8").replace(
        "[weights]", f'[weights.also]\n"{name}" = "{digest}"\n[weights]'
    )
    manifest.write_text(text, "utf-8")
    assert faults_of(tmp_path, one.id)


def test_no_part_of_a_saved_model_is_a_link(tmp_path: Path) -> None:
    one = bundle(tmp_path)
    (one.folder / "net").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (one.folder / "net" / "variables").symlink_to(tmp_path / "elsewhere")
    (one.folder / "net" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(BundleDamaged, match="holds a link"):
        Apart(sealed(one, "net", engine="saved-model")).answer(FILMS)


FALSE = """
import json, os, struct, sys
def said(note, more=b""):
    head = note if isinstance(note, bytes) else json.dumps(note).encode()
    os.write(1, struct.pack(">I", len(head)) + head + more)
def heard():
    (size,) = struct.unpack(">I", sys.stdin.buffer.read(4))
    told = json.loads(sys.stdin.buffer.read(size))
    if "shape" in told:
        sys.stdin.buffer.read(4 * 2 * 32 * 32)
    return told["number"]
"""


def false_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let something else answer: it has ``said(header, values)``, and hears its number."""

    def command(args: list[str], **how: object) -> subprocess.Popen[bytes]:
        return popen([sys.executable, "-I", "-S", "-c", FALSE + code], **how)  # type: ignore[call-overload,no-any-return]

    popen = subprocess.Popen
    monkeypatch.setattr(apart_module.subprocess, "Popen", command)


HELLO = "said({'number': heard(), 'name': 'x' * 1000 + chr(10)})\nnumber = heard()\n"
ARRAY = "said({{'number': number, 'arrays': [{}]}}, b'0' * 1000)\n"


@pytest.mark.parametrize(
    "code",
    [
        "os.write(1, b'\\xff' * 100)",
        "os.write(1, b'\\0\\0')",
        "said(b'no JSON')",
        "said(b'[' * 100_000)",
        "said(b'\\xff\\xfe')",
        "said([1])",
        "said({})",
        "said({'number': 7})",
        "said({'number': 'many', 'name': 'x'})",
        "said({'number': heard(), 'error': {'deep': 1}})",
        HELLO + "said({'number': number - 1, 'arrays': []})",
        HELLO + "said({'number': number, 'arrays': 5})",
        HELLO + ARRAY.format("{'name': 'a', 'shape': [2, -5]}"),
        HELLO + ARRAY.format("{'name': 'a', 'shape': [2, 2**62]}"),
        HELLO + ARRAY.format("{'name': 'a', 'shape': [2, 1e3]}"),
        HELLO + ARRAY.format("{'name': 'a', 'shape': [2] + [2**30] * 7}"),
        HELLO + ARRAY.format("*[{'name': 'a', 'shape': [2, 50_000_000]}] * 200"),
        HELLO + ARRAY.format("{'name': 'a', 'shape': [3, 1]}"),
        HELLO + ARRAY.format("{'name': 'a', 'shape': []}"),
        HELLO + ARRAY.format("{'name': 5, 'shape': [2]}"),
        HELLO + ARRAY.format("{'shape': [2]}"),
        HELLO + "said({'number': number, 'error': chr(27) + 'x' * 10_000})",
        "os.close(1)",
        "os.close(0); os.close(1)",
        "os.kill(os.getpid(), 11)",
    ],
)
def test_rubbish_from_the_process_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: list[Apart], code: str
) -> None:
    false_child(monkeypatch, code)
    apart = Apart(bundle(tmp_path, head="seconds = 3.0"))
    closing.append(apart)
    with pytest.raises(NoAnswer) as error:
        apart.answer(FILMS)
    assert len(error.value.message) < 600
    assert error.value.message.isprintable()
    assert len(apart.name) <= 64
    assert apart._child is None


def test_nothing_is_left_behind_by_hundreds_of_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    false_child(monkeypatch, "sys.exit(3)")
    now = [0.0]
    apart = Apart(bundle(tmp_path), clock=lambda: now[0])
    opened = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(30):
        now[0] += 1000.0
        with pytest.raises(NoAnswer, match=r"exit code 3|by signal"):
            apart.answer(FILMS)
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_it_is_left_alone_for_two_minutes_at_most_however_often_it_failed(tmp_path: Path) -> None:
    apart = Apart(with_file(bundle(tmp_path), "network.onnx", b"x"), clock=lambda: 0.0)
    apart._failures = 5000
    apart._suffer("why")
    assert apart._again_at == 120.0


def test_an_answer_that_nobody_waited_for_is_never_another_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: list[Apart]
) -> None:
    apart = Apart(bundle(tmp_path))
    closing.append(apart)
    expected = apart.answer(1 - FILMS)["logits"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Apart, "_reply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            apart.answer(FILMS)
    assert np.array_equal(apart.answer(1 - FILMS)["logits"], expected)


def test_many_who_ask_at_once_get_each_their_own_answer(
    tmp_path: Path, closing: list[Apart]
) -> None:
    apart = Apart(bundle(tmp_path))
    closing.append(apart)
    films = [np.full((1, 32, 32, 1), place / 16, np.float32) for place in range(16)]
    expected = [apart.answer(film)["logits"] for film in films]
    found: dict[int, bool] = {}

    def ask(place: int) -> None:
        found[place] = all(
            np.array_equal(apart.answer(films[place])["logits"], expected[place]) for _ in range(5)
        )

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(16), True)


def test_the_nodes_own_end_is_not_its_end_and_its_own_is_no_films_fault(
    tmp_path: Path, closing: list[Apart]
) -> None:
    apart = Apart(bundle(tmp_path))
    closing.append(apart)
    apart.answer(FILMS)
    child = apart._child
    assert child is not None
    assert os.getsid(child.process.pid) == child.process.pid
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(child.process.pid, number)
    assert apart.answer(FILMS)
    assert apart._child is child
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    assert apart.answer(FILMS)
    assert apart._child is not child


def test_it_knows_nothing_of_the_nodes_secrets_and_reaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: list[Apart]
) -> None:
    monkeypatch.setenv("DICOM_NODE__WEB__SECRET", "canary")
    apart = Apart(bundle(tmp_path))
    closing.append(apart)
    apart.answer(FILMS)
    assert apart._child is not None
    process = Path("/proc") / str(apart._child.process.pid)
    told = (process / "environ").read_text("utf-8")
    assert "canary" not in told
    assert "HOME=/nonexistent" in told.split("\0")
    assert str((process / "cwd").readlink()) == "/"
    status = (process / "status").read_text("ascii")
    assert "\nSeccomp:\t2\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    assert (process / "oom_score_adj").read_text("ascii").strip() == "1000"
    assert not [link for link in (process / "fd").iterdir() if "socket" in str(link.readlink())]


CONFINED = """
import os, socket, sys
from pathlib import Path
from dicom_node.brains.confined import confine, give_up_sockets
given, secret = Path(sys.argv[1]), Path(sys.argv[2])
give_up_sockets()
if not confine([given]):
    sys.exit(77)
def refused(what):
    try:
        what()
    except PermissionError:
        return True
    return False
assert given.read_text() == "given"
for what in (
    secret.read_text, lambda: given.write_text("x"), lambda: given.with_name("new").touch(),
    given.unlink, secret.unlink, lambda: os.listdir(secret.parent), lambda: socket.socket(),
    lambda: socket.socket(socket.AF_UNIX), lambda: Path("/etc/passwd").read_text(),
    lambda: Path(f"/proc/{os.getppid()}/environ").read_text(),
    lambda: os.posix_spawn("/usr/bin/true", ["true"], {}), lambda: Path("/dev/shm/new").touch(),
):
    assert refused(what), what
Path("/dev/null").write_text("x")
"""


def test_what_is_given_up_is_gone(tmp_path: Path) -> None:
    for name in ("given", "secret"):
        (tmp_path / name).write_text(name, "utf-8")
    command = [sys.executable, "-c", CONFINED, str(tmp_path / "given"), str(tmp_path / "secret")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert done.returncode == 0, done.stderr


def test_many_cores_do_not_eat_what_the_network_may_have(
    tmp_path: Path, closing: list[Apart]
) -> None:
    apart = Apart(bundle(tmp_path, head="memory_mb = 64"), cores=64)
    closing.append(apart)
    assert apart.answer(FILMS)


def test_what_it_says_beside_its_answers_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: list[Apart]
) -> None:
    talks = "said({'number': heard(), 'name': ''})\nwhile True:\n    number = heard()\n"
    false_child(
        monkeypatch, talks + "    os.write(2, b'x' * 50_000)\n    said({'number': number})\n"
    )
    apart = Apart(bundle(tmp_path))
    closing.append(apart)
    for _ in range(20):
        apart.answer(FILMS)
    assert apart._child is not None
    assert os.fstat(apart._child.errors.fileno()).st_size <= 150_000


def test_a_house_without_processes_is_no_fault_of_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(apart_module.subprocess, "Popen", none)
    apart = Apart(bundle(tmp_path))
    with pytest.raises(BrainUnavailable, match="temporarily"):
        apart.answer(FILMS)
    assert apart._failures == 0


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
    apart = Apart(saved_model(bundle(tmp_path, head="memory_mb = 256"), "pass"))
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
    apart = Apart(saved_model(bundle(tmp_path, head="memory_mb = 256"), reads))
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
    one = bundle(tmp_path, head='network = "covidnet-lite"\nmemory_mb = 256')
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
