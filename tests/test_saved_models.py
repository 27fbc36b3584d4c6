"""A SavedModel is a program: what in it might reach outside is refused before any of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.saved_models import check_operations


def document() -> Any:
    """Return a SavedModel with the functions answer, save and restore; restore is the saver's."""
    from tensorflow.core.protobuf import saved_model_pb2

    made = saved_model_pb2.SavedModel()
    graph = made.meta_graphs.add()
    graph.object_graph_def.concrete_functions["answer"].bound_inputs.append(0)
    for name, operations in {
        "answer": ["Placeholder", "Conv2D", "Einsum", "ReadVariableOp", "inner"],
        "inner": ["Relu", "MatMul", "FusedBatchNormV3", "ResizeBilinear", "NonMaxSuppressionV3"],
        "restore": ["RestoreV2", "AssignVariableOp"],
    }.items():
        function = graph.graph_def.library.function.add()
        function.signature.name = name
        for place, operation in enumerate(operations):
            function.node_def.add(name=f"{place}", op=operation)
    called(graph.graph_def.node.add(name="saver", op="StatefulPartitionedCall"), "restore")
    called(graph.graph_def.node.add(name="asked", op="StatefulPartitionedCall"), "answer")
    graph.saver_def.restore_op_name = "saver"
    return made


def called(node: Any, function: str) -> None:
    node.attr["f"].func.name = function


def written(folder: Path, made: Any) -> Path:
    (folder / "saved_model.pb").write_bytes(made.SerializeToString())
    return folder


def test_one_that_computes_is_taken(tmp_path: Path) -> None:
    check_operations(written(tmp_path, document()))


@pytest.mark.parametrize(
    "operation",
    [
        "ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "Print", "DumpTensor",
        "CalibrationStatisticsSaver", "FixedUnigramCandidateSampler", "Skipgram",
        "LoadAndRemapMatrix", "DebugNumericSummary", "ImmutableConst", "MergeV2Checkpoints",
        "SaveV2", "RestoreV2", "DataServiceDataset", "RpcClient", "Send", "_Recv", "XlaCallModule",
        "MlirPassthroughOp", "RemoteCall", "NobodyKnowsIt", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("function", [0, 1])
def test_what_may_reach_outside_is_refused_by_name(
    tmp_path: Path, operation: str, function: int
) -> None:
    made = document()
    made.meta_graphs[0].graph_def.library.function[function].node_def.add(op=operation)
    with pytest.raises(NotComputable, match=f"the operation {operation}, which is not run"):
        check_operations(written(tmp_path, made))


def outside(made: Any) -> None:
    made.meta_graphs[0].graph_def.node.add(op="WriteFile")


def answer_restores(made: Any) -> None:
    inner = made.meta_graphs[0].graph_def.library.function[1]
    called(inner.node_def.add(op="PartitionedCall"), "restore")


def answer_restores_by_name(made: Any) -> None:
    made.meta_graphs[0].graph_def.library.function[1].node_def.add(op="restore")


def a_resource_restores(made: Any) -> None:
    node = made.meta_graphs[0].object_graph_def.nodes.add()
    node.function.concrete_functions.append("restore")


def a_bare_function_restores(made: Any) -> None:
    node = made.meta_graphs[0].object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = "restore"


def any_branch_restores(made: Any) -> None:
    node = made.meta_graphs[0].graph_def.library.function[1].node_def.add(op="Case")
    node.attr["branches"].list.func.add(name="restore")


def of_tensorflow_1(made: Any) -> None:
    made.meta_graphs[0].ClearField("object_graph_def")


def of_two_graphs(made: Any) -> None:
    made.meta_graphs.add().CopyFrom(made.meta_graphs[0])


def a_saver_of_its_own(made: Any) -> None:
    made.meta_graphs[0].object_graph_def.nodes.add().registered_saver = "saver"


def two_of_a_name(made: Any) -> None:
    library = made.meta_graphs[0].graph_def.library
    library.function.add().signature.name = "answer"


def one_for_another(made: Any) -> None:
    made.meta_graphs[0].graph_def.library.function[2].attr["api_implements"].s = b"answer"


@pytest.mark.parametrize(
    "trick",
    [
        outside, answer_restores, answer_restores_by_name, a_resource_restores,
        a_bare_function_restores, any_branch_restores, of_tensorflow_1, of_two_graphs,
        a_saver_of_its_own, two_of_a_name, one_for_another,
    ],
)  # fmt: skip
def test_how_it_saves_itself_is_no_way_out(tmp_path: Path, trick: Any) -> None:
    made = document()
    trick(made)
    with pytest.raises(NotComputable):
        check_operations(written(tmp_path, made))


@pytest.mark.parametrize("data", [b"", b"no SavedModel", None])
def test_what_is_no_saved_model_is_refused(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(NotComputable):
        check_operations(tmp_path)
