"""The functions of models as OpenVINO's files: what Keras computes, with its gradient, frozen.

A folder holds one function a question (`dicom_node.brains.proof`), and what Keras answers to it.
Nothing in it is code: ``NAME.xml`` lists operations, ``NAME.bin`` holds weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.brains import Answers
from dicom_node.brains.exported import Contents, write_contents
from dicom_node.brains.keras import KerasBrain
from dicom_node.brains.models import function_of
from dicom_node.brains.openvino import OpenVinoBrain
from dicom_node.brains.proof import Question, answers
from dicom_node.bundles import Bundle
from dicom_node.bundles.network import self_test
from dicom_node.imaging.prepare import Float


def export(brain: KerasBrain, asked: Sequence[Question], folder: Path) -> None:
    """Write the functions that answer the questions, and Keras' answers, into a folder.

    Raises `RuntimeError` for a network with an operation that OpenVINO does not know, `OSError`.
    """
    outputs = {
        one.name: _write(
            brain.traced(one.model.id, explain=one.explain), one.films.shape, folder, one.name
        )
        for one in asked
    }
    write_contents(folder, Contents(outputs, answers(brain, asked)))


def self_tested(bundle: Bundle, network: Any) -> str:
    """Let OpenVINO give the stored answer to a bundle's self-test; return how it is called.

    ``network``: the bundle's, as `load_network` returns it. Raises `BundleContractBroken`,
    `RuntimeError` and OSError.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def run(given: Any) -> Any:
        found = network(given, training=False)
        return found if isinstance(found, dict) else {bundle.manifest.outputs[0].name: found}

    with tempfile.TemporaryDirectory() as beside:
        folder, plain = Path(beside), function_of(bundle.id, explain=False)
        contents = Contents({plain: _write(run, (1, *network.input.shape[1:]), folder, plain)}, {})
        exported = OpenVinoBrain(folder, contents, "f32")
        self_test(bundle, _Exported(network.input, bundle.id, exported))
    return exported.name


@dataclass(frozen=True, slots=True, eq=False)
class _Exported:
    """An exported network that is called as Keras calls its own."""

    input: Any
    name: str
    brain: OpenVinoBrain

    def __call__(self, given: Float, *, training: bool) -> Answers:
        assert not training
        return self.brain.answer(self.name, given, explain=False)


def _write(run: Any, shape: Sequence[int], folder: Path, name: str) -> tuple[str, ...]:
    """Write a traced function of one input; return its outputs' names, in their order there."""
    import openvino

    frozen, names = _frozen(run, shape)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        graph = Path(beside) / "graph.pb"
        graph.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        model = _core_that_knows_gradients().read_model(graph)
    by_tensor = {output.name: name for output, name in zip(frozen.outputs, names, strict=True)}
    ordered = tuple(
        next(by_tensor[tensor] for tensor in sorted(output.names) if tensor in by_tensor)
        for output in model.outputs
    )
    openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    return ordered


def _frozen(run: Any, shape: Sequence[int]) -> tuple[Any, list[str]]:
    """Return a function with its weights as constants, of one shape; and its outputs' names."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete = run.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    names = {name: name for name in concrete.structured_outputs}
    return convert_variables_to_constants_v2(concrete), tf.nest.flatten(names)


def _core_that_knows_gradients() -> Any:
    """Return OpenVINO with the operations of a gradient that its own conversion leaves out."""
    import openvino
    from openvino.frontend.tensorflow import ConversionExtension

    core = openvino.Core()
    core.add_extension(ConversionExtension("SigmoidGrad", _sigmoid_grad))
    core.add_extension(ConversionExtension("ConcatOffset", _concat_offset))
    return core


def _sigmoid_grad(node: Any) -> list[Any]:
    """TensorFlow's SigmoidGrad(y, dy) = dy · y · (1 - y)."""
    from openvino import opset13 as ops

    value, above = node.get_input(0), node.get_input(1)
    slope = ops.multiply(value, ops.subtract(ops.constant(np.float32(1.0)), value))
    return [ops.multiply(above, slope).output(0)]


def _concat_offset(node: Any) -> list[Any]:
    """TensorFlow's ConcatOffset: where each of what is joined along an axis begins, per axis."""
    from openvino import opset13 as ops

    zero, one = ops.constant(np.int32(0)), ops.constant(np.int32(1))
    shapes = [node.get_input(place) for place in range(1, node.get_input_size())]
    rank = ops.squeeze(ops.shape_of(shapes[0], "i32"), zero)
    along = ops.one_hot(node.get_input(0), rank, one, zero, 0)
    begins, found = ops.multiply(shapes[0], zero), []
    for shape in shapes:
        found.append(begins.output(0))
        begins = ops.add(begins, ops.multiply(shape, along))
    return found
