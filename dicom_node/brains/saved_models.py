"""Whether a SavedModel only computes: nothing in it may read, write or run anything outside.

A SavedModel is a program for TensorFlow. Its operations are looked at before anything of it runs:
loading runs what it brings to initialise itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dicom_node.brains.not_computable import NotComputable

_FILE = "saved_model.pb"
_MOST_BYTES = 512 << 20

REACHES_OUTSIDE = frozenset(
    {
        "CSVDataset",
        "CSVDatasetV2",
        "CacheDataset",
        "CacheDatasetV2",
        "CreateSummaryDbWriter",
        "CreateSummaryFileWriter",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "EagerPyFunc",
        "FileSystemSetConfiguration",
        "FixedLengthRecordDataset",
        "FixedLengthRecordDatasetV2",
        "FixedLengthRecordReader",
        "FixedLengthRecordReaderV2",
        "GeneratorDataset",
        "ImmutableConst",
        "ImportEvent",
        "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2",
        "LMDBDataset",
        "LMDBReader",
        "LoadDataset",
        "MatchingFiles",
        "Print",
        "PrintV2",
        "PyFunc",
        "PyFuncStateless",
        "ReadFile",
        "Recv",
        "RemoteCall",
        "RemoteFusedGraphExecute",
        "RpcCall",
        "RpcClient",
        "RpcServer",
        "SaveDataset",
        "SaveDatasetV2",
        "Send",
        "SnapshotDataset",
        "SnapshotDatasetV2",
        "SqlDataset",
        "SummaryWriter",
        "TFRecordDataset",
        "TFRecordDatasetV2",
        "TFRecordReader",
        "TFRecordReaderV2",
        "TextLineDataset",
        "TextLineReader",
        "TextLineReaderV2",
        "WholeFileReader",
        "WholeFileReaderV2",
        "WriteFile",
        "_HostRecv",
        "_HostSend",
        "_Recv",
        "_Send",
    }
)
"""Operations that reach a file, a socket, Python, or memory that is not the model's."""

OF_WEIGHTS = frozenset(
    {
        "SaveV2", "RestoreV2", "Save", "Restore", "SaveSlices", "RestoreSlice",
        "MergeV2Checkpoints", "ShardedFilename",
    }
)  # fmt: skip
"""Operations by which every SavedModel reads and writes its weights; no answer may use them."""


def check_operations(folder: Path) -> None:
    """Raise `NotComputable` where anything in the SavedModel reaches outside of it."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / _FILE
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise NotComputable(f"a SavedModel is a folder with a file {_FILE}")
    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString(path.read_bytes())
    except Exception:  # noqa: BLE001 - protobuf's error; TensorFlow has no name for it
        raise NotComputable(f"{_FILE} is no SavedModel") from None
    for graph in document.meta_graphs:
        _check(_operations(graph.graph_def), REACHES_OUTSIDE)
        started = _run_at_start(graph)
        _check((node.op for node in graph.graph_def.node if node.name in started), OF_WEIGHTS)


def check_signature(signature: Any) -> None:
    """Raise `NotComputable` where the function that answers reads or writes weights."""
    _check(_operations(signature.graph.as_graph_def()), REACHES_OUTSIDE | OF_WEIGHTS)


def _operations(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield str(node.op)
    for function in graph.library.function:
        for node in function.node_def:
            yield str(node.op)


def _run_at_start(graph: Any) -> frozenset[str]:
    return frozenset(
        str(name).partition(":")[0]
        for key in ("legacy_init_op", "saved_model_main_op")
        if key in graph.collection_def
        for name in graph.collection_def[key].node_list.value
    )


def _check(operations: Iterable[str], forbidden: frozenset[str]) -> None:
    for operation in operations:
        if operation in forbidden:
            raise NotComputable(f"the SavedModel holds the operation {operation}, which is not run")
