"""The process that computes one declared bundle's network: films in at stdin, answers at stdout.

Started by `dicom_node.brains.apart` with a device, how many cores it may use, and who started it;
the bundle comes first at stdin. It ends with its parent.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dicom_node.brains.apart import START_SECONDS, framed, packed
from dicom_node.brains.confined import confine, give_up_sockets
from dicom_node.brains.not_computable import NotComputable
from dicom_node.brains.runtimes import Runtime, load, load_engine
from dicom_node.bundles.declared import Declaration, Declared

_FILES = 256
_MOST_WRITTEN = 1 << 20
_GRACE_SECONDS = 10.0
_LONGEST = 300
"""Characters of what an engine says that are told."""


def main() -> int:
    """Load the network, say so, and answer until stdin ends."""
    device, cores, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    # What libraries print must not get between the answers.
    os.dup2(2, 1)
    given = _next(sys.stdin.buffer)
    if given is None:
        return 1
    manifest = Declaration.model_validate_json(given["manifest"], strict=True)
    bundle, number = Declared(Path(given["folder"]), manifest), int(given["number"])
    _end_in(START_SECONDS)
    _limit(bundle, device, cores)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    try:
        runtime = load(bundle, device, cores)
    except MemoryError:
        return _refuse(answers, number, _too_much(manifest.memory_mb))
    except NotComputable as why:
        return _refuse(answers, number, str(why))
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is told, and ends it
        if _is_full(error):
            return _refuse(answers, number, _too_much(manifest.memory_mb))
        return _refuse(answers, number, f"the network cannot be loaded: {_said(error)}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    _write(answers, framed({"number": number, "name": runtime.name}))
    _serve(runtime, sys.stdin.buffer, answers, manifest.memory_mb)
    return 0


def _serve(runtime: Runtime, films: BinaryIO, answers: BinaryIO, memory_mb: int) -> None:
    while (given := _next(films)) is not None:
        number, shape = int(given["number"]), tuple(given["shape"])
        raw = films.read(4 * int(np.prod(shape)))
        _end_in(float(given["seconds"]))
        try:
            parts = packed(number, runtime.run(np.frombuffer(raw, "<f4").reshape(shape)))
        except MemoryError:
            parts = [framed({"number": number, "error": _too_much(memory_mb)})]
        except NotComputable as why:
            parts = [framed({"number": number, "error": str(why)[:1000]})]
        except Exception as error:  # noqa: BLE001 - an engine's refusal is an answer too
            why_not = f"it does not take such films: {_said(error)}"
            if _is_full(error):
                why_not = _too_much(memory_mb)
            parts = [framed({"number": number, "error": why_not})]
        signal.setitimer(signal.ITIMER_REAL, 0)
        for part in parts:
            _write(answers, part)


def _next(stream: BinaryIO) -> Mapping[str, Any] | None:
    """Return the next header, None where stdin ended."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    found: dict[str, Any] = json.loads(stream.read(length))
    return found


def _write(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _limit(bundle: Declared, device: str, cores: int) -> None:
    """Give up what computing a network does not need; the engine itself is loaded on the way."""
    manifest = bundle.manifest
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    with suppress(OSError):
        # Where memory ends in spite of all limits this process goes, and not the node.
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    if device == "cpu":
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_WRITTEN, _MOST_WRITTEN))
        give_up_sockets()
    load_engine(manifest.engine)
    _limit_memory(manifest.memory_mb, cores)
    files = (manifest.weights.file, *manifest.weights.also)
    confine([bundle.folder / name for name in files], device=device)


def _limit_memory(megabytes: int, cores: int) -> None:
    """Let the network take so much beside what is there already (private memory alone counts)."""
    taken = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text("ascii").splitlines()
        if line.startswith("VmData:")
    )
    # Engines reserve room that they hardly touch: some of it for each of their threads.
    limit = taken + megabytes * 1_000_000 + _RESERVED + cores * _RESERVED_A_CORE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


_RESERVED, _RESERVED_A_CORE = 300_000_000, 10_000_000


def _end_in(seconds: float) -> None:
    """End by the kernel's hand if this takes longer: a network that hangs may let no thread run."""
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE_SECONDS)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _refuse(answers: BinaryIO, number: int, why: str) -> int:
    _write(answers, framed({"number": number, "error": why[:1000]}))
    return 1


def _too_much(megabytes: int) -> str:
    return f"it wants more than {megabytes} MB of memory (memory_mb)"


_NO_ROOM = ("bad_alloc", "Failed to allocate memory", "Available memory", "std::length_error")
"""What engines say, in C++, where memory ends."""


def _is_full(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error) for word in _NO_ROOM)


def _said(error: Exception) -> str:
    """Return what an engine said in one line, cut between two words."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} …"


if __name__ == "__main__":
    sys.exit(main())
