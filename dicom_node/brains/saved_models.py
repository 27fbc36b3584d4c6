"""Whether a SavedModel only computes: nothing in it may read, write or run anything outside.

A SavedModel is a program for TensorFlow. Its operations are looked at before anything of it runs:
loading runs what it brings to initialise itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dicom_node.brains.not_computable import NotComputable

_FILE = "saved_model.pb"
_MOST_BYTES = 512 << 20

HARMLESS = frozenset(
    {
        "Assert", "AssignVariableOp", "Case", "CheckNumerics", "CheckNumericsV2",
        "DataFormatDimMap", "DataFormatVecPermute", "DisableCopyOnRead", "Einsum", "Empty",
        "EmptyTensorList", "Enter", "If", "ImageProjectiveTransformV2",
        "ImageProjectiveTransformV3", "PartitionedCall", "PreventGradient", "RandomStandardNormal",
        "RandomUniform", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "ScatterNd",
        "StatefulPartitionedCall", "StatelessCase", "StatelessIf", "StatelessWhile",
        "TensorArrayCloseV3", "TensorArrayConcatV3", "TensorArrayGatherV3", "TensorArrayReadV3",
        "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArraySplitV3", "TensorArrayV3",
        "TensorArrayWriteV3", "TensorListConcatV2", "TensorListElementShape",
        "TensorListFromTensor", "TensorListGather", "TensorListGetItem", "TensorListLength",
        "TensorListPopBack", "TensorListPushBack", "TensorListReserve", "TensorListScatterV2",
        "TensorListSetItem", "TensorListSplit", "TensorListStack", "TensorScatterAdd",
        "TensorScatterMax", "TensorScatterMin", "TensorScatterSub", "TensorScatterUpdate",
        "VarHandleOp", "VarIsInitializedOp", "While",
    }
)  # fmt: skip
"""Operations that reach nothing outside, although they hold state, words or functions."""


def check_operations(folder: Path) -> None:
    """Raise `NotComputable` where anything in the SavedModel might reach outside of it.

    How it saves and restores itself is in it too, and not looked at: nobody runs that, if no other
    function calls it (weights are restored by TensorFlow's own code).
    """
    (graph,) = _document(folder).meta_graphs
    functions = list(graph.graph_def.library.function)
    names = Counter(str(function.signature.name) for function in functions)
    if any(number > 1 for number in names.values()):
        raise NotComputable("two functions of the SavedModel have the same name")
    calls = {
        str(function.signature.name): _called(function.node_def, names) for function in functions
    }
    told = graph.saver_def
    saver = {_node(told.save_tensor_name), _node(told.restore_op_name)} - {""}
    nodes = list(graph.graph_def.node)
    saving = _reached(_called((each for each in nodes if each.name in saver), names), calls)
    others = [each for each in nodes if each.name not in saver]
    begins = (set(names) - saving) | _called(others, names) | _of_objects(graph, names)
    checked = _reached(begins, calls)
    for function in functions:
        if function.signature.name in checked:
            _check(function.node_def, names)
        elif "api_implements" in function.attr:
            raise NotComputable("the SavedModel has another function for how it is saved")
    _check(others, names)


def _document(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / _FILE
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise NotComputable(f"a SavedModel is a folder with a file {_FILE}")
    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString(path.read_bytes())
    except Exception:  # noqa: BLE001 - protobuf's error; TensorFlow has no name for it
        raise NotComputable(f"{_FILE} is no SavedModel") from None
    graphs = document.meta_graphs
    # The older form is restored and begun by operations that it names itself.
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise NotComputable("the SavedModel is of TensorFlow 1: save it anew by TensorFlow 2")
    if any(each.registered_saver for each in graphs[0].object_graph_def.nodes):
        raise NotComputable("the SavedModel restores itself by code of its own")
    return document


def _node(name: str) -> str:
    return name.lstrip("^").partition(":")[0]


def _of_objects(graph: Any, names: Iterable[str]) -> set[str]:
    """Return the functions that objects of the model have; some of them run when it is loaded."""
    objects = graph.object_graph_def
    found = set(map(str, objects.concrete_functions))
    for each in objects.nodes:
        found |= set(map(str, each.function.concrete_functions))
        found.add(str(each.bare_concrete_function.concrete_function_name))
    return found & set(names)


def _called(nodes: Iterable[Any], names: Iterable[str]) -> set[str]:
    """Return the functions that nodes call: by their attributes, or as if they were operations."""
    found = set[str]()
    for node in nodes:
        found.add(str(node.op))
        for value in node.attr.values():
            found.add(str(value.func.name))
            found |= {str(each.name) for each in value.list.func}
    return found & set(names)


def _reached(begins: Iterable[str], calls: dict[str, set[str]]) -> set[str]:
    found, waiting = set[str](), list(begins)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += calls[name]
    return found


def _check(nodes: Iterable[Any], names: Iterable[str]) -> None:
    for node in nodes:
        if node.op not in HARMLESS and node.op not in names and not _computes(str(node.op)):
            raise NotComputable(
                f"the SavedModel holds the operation {node.op}, which is not run here"
            )


def _computes(operation: str) -> bool:
    """Whether an operation makes numbers of numbers: without state, handles, words, functions.

    What reaches a file, a socket or Python is told so by one of them, in TensorFlow's own
    description: no list of such operations would ever be whole.
    """
    from tensorflow.core.framework import types_pb2
    from tensorflow.python.framework import op_def_registry

    told = op_def_registry.get(operation)
    if told is None or told.is_stateful or operation.startswith("_"):
        return False
    closed = {types_pb2.DT_STRING, types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}
    if any(each.type in closed for each in (*told.input_arg, *told.output_arg)):
        return False
    return not any(_open(each) for each in told.attr)


def _open(attribute: Any) -> bool:
    words = attribute.type in ("string", "list(string)")
    return (words and not attribute.allowed_values.list.s) or "func" in attribute.type
