"""The network of a declared bundle, computed in a process of its own.

Nobody vouches for it: it may crash, hang, or want more memory than there is. Then it gives no
answer to this film, is started again for the next one, and nothing else notices.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from dicom_node.brains.devices import Device
from dicom_node.bundles.declared import Declared, check_declared_weights
from dicom_node.errors import NoAnswer
from dicom_node.imaging.prepare import Float

START_SECONDS = 90.0
"""How long loading a network may take, beside the time of an answer: TensorFlow needs many."""

_FAILURES, _FIRST_PAUSE, _LONGEST_PAUSE = 3, 2.0, 120.0
_LONGEST_SECONDS = 90.0
"""Several films at once take no longer, unless one may: who analyses must not seem lost."""
_LENGTH = struct.Struct(">I")
_MOST_HEADER, _MOST_BYTES = 1 << 20, 1 << 30
_SAID = 400
"""Characters of what a process said before its end."""


@dataclass(slots=True)
class _Child:
    """A running process, and where what it says beside its answers is kept."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    name: str = ""

    def last_words(self) -> str:
        """Return the last line it wrote to stderr, cut; "" if none."""
        with suppress(OSError, ValueError):
            self.errors.seek(0)
            lines = self.errors.read()[-4000:].decode("utf-8", "replace").split("\n")
            said = next((line for line in reversed(lines) if line.strip()), "")
            return "".join(each if each.isprintable() else " " for each in said)[:_SAID]
        return ""


class _Failed(Exception):
    """The process gave no answer, and why."""


@dataclass(slots=True)
class Apart:
    """The network of one declared bundle, in a process that is started when it is first asked.

    One film or more a call, one call at a time; safe for several threads. ``cores``: how many it
    uses; 0: half of those that this process may use. ``clock``: seconds that only grow.
    """

    bundle: Declared
    device: Device = "cpu"
    cores: int = 0
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _child: _Child | None = field(default=None, init=False, repr=False)
    _name: str = field(default="", init=False)
    _failures: int = field(default=0, init=False)
    _again_at: float = field(default=0.0, init=False)
    _why: str = field(default="", init=False)

    @property
    def name(self) -> str:
        """Which engine computes, with its version; "" before the first answer."""
        return self._name

    def answer(self, films: Float) -> Mapping[str, Float]:
        """Return every output of the network by its name, float32 with the films first.

        ``films``: float32, (films, rows, columns, channels), with the values that the manifest
        wants; the layout is changed here. Raises `NoAnswer` where it crashed, was too slow or
        wanted too much memory, or does not take such films; `BundleDamaged` for weights that are
        not those of the manifest.
        """
        with self._lock:
            if self._failures >= _FAILURES and self.clock() < self._again_at:
                seconds = round(self._again_at - self.clock())
                raise self._no_answer(
                    f"{self._why}; after {self._failures} such failures it is tried again in "
                    f"{seconds} s"
                )
            try:
                answers = self._asked(films)
            except _Failed as failure:
                self._end()
                self._suffer(str(failure))
                raise self._no_answer(str(failure)) from None
            self._failures = 0
            return answers

    def close(self) -> None:
        """End its process."""
        with self._lock:
            self._end()

    def _asked(self, films: Float) -> Mapping[str, Float]:
        child = self._child or self._started()
        if self.bundle.manifest.eats.pixels.layout == "channels-first":
            films = np.moveaxis(films, -1, 1)
        data = np.ascontiguousarray(films, np.float32)
        head = json.dumps({"shape": data.shape}).encode()
        deadline = self.clock() + self._allowed(len(films))
        self._send(child, _LENGTH.pack(len(head)) + head + data.tobytes(), deadline)
        header = self._header(child, deadline)
        if "error" in header:
            raise _Failed(str(header["error"]))
        found: dict[str, Float] = {}
        for one in header["arrays"]:
            shape = tuple(map(int, one["shape"]))
            size = 4 * int(np.prod(shape, dtype=np.int64))
            if size > _MOST_BYTES:
                raise _Failed(f"output {one['name']!r} has {size} bytes")
            raw = self._read(child, size, deadline)
            found[str(one["name"])] = np.frombuffer(raw, "<f4").reshape(shape)
        return found

    def _allowed(self, films: int) -> float:
        """Return how many seconds so many films may take: each its time, within bounds."""
        seconds = self.bundle.manifest.seconds
        return max(seconds, min(seconds * films, _LONGEST_SECONDS))

    def _started(self) -> _Child:
        check_declared_weights(self.bundle)
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        cores = self.cores or max(1, len(os.sched_getaffinity(0)) // 2)
        command = [sys.executable, "-m", "dicom_node.brains.apart_process"]
        command += [str(self.bundle.folder), self.device, str(cores)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        child = self._child = _Child(process, errors)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        header = self._header(child, self.clock() + START_SECONDS)
        if "error" in header:
            raise _Failed(str(header["error"]))
        self._name = str(header["name"])
        return child

    def _header(self, child: _Child, deadline: float) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(self._read(child, _LENGTH.size, deadline))
        if length > _MOST_HEADER:
            raise _Failed("what it answers cannot be understood")
        found: dict[str, Any] = json.loads(self._read(child, length, deadline))
        return found

    def _send(self, child: _Child, data: bytes, deadline: float) -> None:
        assert child.process.stdin is not None
        handle, rest = child.process.stdin.fileno(), memoryview(data)
        while rest:
            self._wait(child, deadline, reading=False)
            try:
                rest = rest[os.write(handle, rest) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._ended(child) from None

    def _read(self, child: _Child, size: int, deadline: float) -> bytes:
        assert child.process.stdout is not None
        handle, parts, missing = child.process.stdout.fileno(), list[bytes](), size
        while missing:
            self._wait(child, deadline, reading=True)
            try:
                part = os.read(handle, min(missing, 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise self._ended(child)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _wait(self, child: _Child, deadline: float, *, reading: bool) -> None:
        stream = child.process.stdout if reading else child.process.stdin
        assert stream is not None
        left = deadline - self.clock()
        if left <= 0:
            raise _Failed(f"it was stopped after {self.bundle.manifest.seconds:g} s")
        watched = select.poll()
        watched.register(stream, select.POLLIN if reading else select.POLLOUT)
        watched.poll(min(left, 1.0) * 1000)

    def _ended(self, child: _Child) -> _Failed:
        """Return how a process ended that ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(5)
        code = child.process.returncode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        said = child.last_words()
        return _Failed(f"its process ended {how}" + (f" ({said})" if said else ""))

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.process.kill()
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(5)
        for stream in (child.process.stdin, child.process.stdout, child.errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _suffer(self, why: str) -> None:
        self._failures += 1
        self._why = why
        steps = max(0, self._failures - _FAILURES)
        self._again_at = self.clock() + min(_FIRST_PAUSE * 2**steps, _LONGEST_PAUSE)

    def _no_answer(self, why: str) -> NoAnswer:
        return NoAnswer(f"Bundle {self.bundle.id} gave no answer: {why}.")


def packed(arrays: Mapping[str, Float]) -> Sequence[bytes]:
    """Return outputs as a process sends them: a header, then the values of each."""
    head = json.dumps(
        {"arrays": [{"name": name, "shape": value.shape} for name, value in arrays.items()]}
    ).encode()
    return [_LENGTH.pack(len(head)), head, *(value.tobytes() for value in arrays.values())]


def packed_note(note: Mapping[str, str]) -> bytes:
    """Return a header without values: the engine's name, or an error."""
    head = json.dumps(note).encode()
    return _LENGTH.pack(len(head)) + head
