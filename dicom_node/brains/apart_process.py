"""The process that computes one declared bundle's network: films in at stdin, answers at stdout.

Started by `dicom_node.brains.apart` with the bundle's folder, a device, and how many cores it may
use. It ends with its parent.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dicom_node.brains.apart import packed, packed_note
from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.runtimes import Runtime, load
from dicom_node.bundles.declared import open_declared
from dicom_node.imaging.prepare import Float

_FILES = 256


def main() -> int:
    """Load the network, say so, and answer until stdin ends."""
    folder, device, cores = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    # What libraries print must not get between the answers.
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    bundle = open_declared(folder.parent, folder.name)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    _limit_memory(bundle.manifest.memory_mb)
    try:
        runtime = load(bundle, device, cores)
    except MemoryError:
        return _refuse(answers, _too_much(bundle.manifest.memory_mb))
    except NotComputable as why:
        return _refuse(answers, str(why))
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is told, and ends it
        return _refuse(answers, f"the network cannot be loaded: {_said(error)}")
    answers.write(packed_note({"name": runtime.name}))
    _serve(runtime, sys.stdin.buffer, answers, bundle.manifest.memory_mb)
    return 0


def _serve(runtime: Runtime, films: BinaryIO, answers: BinaryIO, memory_mb: int) -> None:
    while (given := _next(films)) is not None:
        try:
            parts = packed(runtime.run(given))
        except MemoryError:
            parts = [packed_note({"error": _too_much(memory_mb)})]
        except NotComputable as why:
            parts = [packed_note({"error": str(why)})]
        except Exception as error:  # noqa: BLE001 - an engine's refusal is an answer too
            parts = [packed_note({"error": f"it does not take such films: {_said(error)}"})]
        for part in parts:
            _write(answers, part)


def _next(stream: BinaryIO) -> Float | None:
    """Return the next films, None where stdin ended."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    shape = tuple(json.loads(stream.read(length))["shape"])
    raw = stream.read(4 * int(np.prod(shape)))
    return np.frombuffer(raw, "<f4").reshape(shape)


def _write(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _limit_memory(megabytes: int) -> None:
    """Let the network take so much beside what is there already (private memory alone counts)."""
    taken = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text("ascii").splitlines()
        if line.startswith("VmData:")
    )
    # Engines reserve room for threads that they hardly touch.
    limit = taken + megabytes * 1_000_000 + _RESERVED
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


_RESERVED = 300_000_000


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _refuse(answers: BinaryIO, why: str) -> int:
    answers.write(packed_note({"error": why}))
    return 1


def _too_much(megabytes: int) -> str:
    return f"it wants more than {megabytes} MB of memory (memory_mb)"


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "bad_alloc" in text or "Failed to allocate memory" in text:
        return f"{text[:200]} (memory_mb)"
    return text[:300] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
