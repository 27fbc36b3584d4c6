"""The network of a declared bundle, computed in a process of its own.

Nobody vouches for it: it may crash, hang, or want more memory than there is. Then it gives no
answer to this film, is started again for the next one, and nothing else notices. What comes from
the process is believed no more than a file that somebody sent: see `_Reply`.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dicom_node.brains.confined import bare_environment
from dicom_node.brains.devices import Device
from dicom_node.bundles.declared import Declared, check_declared_weights
from dicom_node.errors import BrainUnavailable, BundleDamaged, NoAnswer
from dicom_node.imaging.prepare import Float

START_SECONDS = 90.0
"""How long loading a network may take, beside the time of an answer: TensorFlow needs many."""

_FAILURES, _FIRST_PAUSE, _LONGEST_PAUSE = 3, 2.0, 120.0
_LONGEST_SECONDS = 90.0
"""Several films at once take no longer, unless one may: who analyses must not seem lost."""
_LENGTH = struct.Struct(">I")
_MOST_HEADER, _MOST_BYTES = 1 << 20, 1 << 30
_SAID, _NAMED = 400, 64
"""Characters of what a process said of a failure, or before its end; and of its engine's name."""
_MOST_ERRORS = 1 << 16
_GARBLED = "what it answers cannot be understood"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Array(_Table):
    name: str = Field(max_length=256)
    shape: tuple[Annotated[int, Field(ge=0, lt=1 << 31)], ...] = Field(max_length=8)


class _Reply(_Table):
    """What is before the values of an answer: to which question it is, or why there is none."""

    number: int
    name: str = ""
    error: str = ""
    arrays: tuple[_Array, ...] = Field(default=(), max_length=256)


@dataclass(slots=True)
class _Child:
    """A running process, and where what it says beside its answers is kept."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def forget(self) -> None:
        """Keep the file of what it says small."""
        handle = self.errors.fileno()
        if os.fstat(handle).st_size > _MOST_ERRORS:
            os.ftruncate(handle, 0)

    def last_words(self) -> str:
        """Return the last line it wrote to stderr; "" if none."""
        with suppress(OSError, ValueError):
            handle = self.errors.fileno()
            begin = max(0, os.fstat(handle).st_size - 4000)
            lines = os.pread(handle, 4000, begin).decode("utf-8", "replace").split("\n")
            return next((line for line in reversed(lines) if line.strip()), "")
        return ""


@dataclass(frozen=True, slots=True)
class _Deadline:
    """Until when something is waited for, and how long that is."""

    at: float
    seconds: float


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
    _number: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """Which engine computes, with its version; "" before the first answer."""
        return self._name

    def answer(self, films: Float) -> Mapping[str, Float]:
        """Return every output of the network by its name, float32 with the films first.

        ``films``: float32, (films, rows, columns, channels), with the values that the manifest
        wants; the layout is changed here. Raises `NoAnswer` where it crashed, was too slow or
        wanted too much memory, or does not take such films; `BundleDamaged` for weights that are
        not those of the manifest; `BrainUnavailable` where no process can be started here.
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
            except BaseException:
                # What it still says would be taken for an answer to the next film.
                self._end()
                raise
            self._failures = 0
            return answers

    def close(self) -> None:
        """End its process."""
        with self._lock:
            self._end()

    def _asked(self, films: Float) -> Mapping[str, Float]:
        if self._child is not None and self._child.process.poll() is not None:
            self._end()  # between two films: not this film's fault
        child = self._child or self._started()
        child.forget()
        if self.bundle.manifest.eats.pixels.layout == "channels-first":
            films = np.moveaxis(films, -1, 1)
        data = np.ascontiguousarray(films, np.float32)
        self._number += 1
        deadline = self._in(self._allowed(len(data)))
        asked = {"number": self._number, "shape": data.shape, "seconds": deadline.seconds}
        self._send(child, framed(asked), deadline)
        self._send(child, data.tobytes(), deadline)
        reply = self._reply(child, deadline)
        sizes = [4 * math.prod(each.shape) for each in reply.arrays]
        if sum(sizes) > min(_MOST_BYTES, self.bundle.manifest.memory_mb * 1_000_000):
            raise _Failed(f"its answer has {sum(sizes)} bytes")
        found: dict[str, Float] = {}
        for each, size in zip(reply.arrays, sizes, strict=True):
            if each.shape[:1] != data.shape[:1]:
                raise _Failed(_GARBLED)
            raw = self._read(child, size, deadline)
            found[each.name] = np.frombuffer(raw, "<f4").reshape(each.shape)
        return found

    def _allowed(self, films: int) -> float:
        """Return how many seconds so many films may take: each its time, within bounds."""
        seconds = self.bundle.manifest.seconds
        return max(seconds, min(seconds * films, _LONGEST_SECONDS))

    def _started(self) -> _Child:
        try:
            check_declared_weights(self.bundle)
        except OSError as error:
            raise BundleDamaged(
                f"Bundle {self.bundle.id}: its weights cannot be read ({error.strerror})."
            ) from None
        try:
            child = self._child = _begun(self.device, self.cores)
        except OSError as error:
            raise BrainUnavailable(
                f"No process can be started for bundle {self.bundle.id} ({error.strerror})."
            ) from None
        deadline = self._in(START_SECONDS)
        # The manifest that was checked, whatever is in the folder by now.
        manifest = self.bundle.manifest.model_dump_json()
        given = {"folder": str(self.bundle.folder.absolute()), "manifest": manifest}
        self._number += 1
        self._send(child, framed({"number": self._number, **given}), deadline)
        self._name = self._legible(self._reply(child, deadline).name)[:_NAMED]
        return child

    def _reply(self, child: _Child, deadline: _Deadline) -> _Reply:
        (length,) = _LENGTH.unpack(self._read(child, _LENGTH.size, deadline))
        if length > _MOST_HEADER:
            raise _Failed(_GARBLED)
        try:
            reply = _Reply.model_validate_json(self._read(child, length, deadline))
        except ValidationError:
            raise _Failed(_GARBLED) from None
        if reply.number != self._number:
            raise _Failed(_GARBLED)
        if reply.error:
            raise _Failed(self._legible(reply.error))
        return reply

    def _legible(self, said: str) -> str:
        """Return words of the process as they may stand in a log or a report."""
        text = said.replace(str(self.bundle.folder.absolute()), self.bundle.id)
        return "".join(each if each.isprintable() else " " for each in text)[:_SAID]

    def _in(self, seconds: float) -> _Deadline:
        return _Deadline(self.clock() + seconds, seconds)

    def _send(self, child: _Child, data: bytes, deadline: _Deadline) -> None:
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

    def _read(self, child: _Child, size: int, deadline: _Deadline) -> bytes:
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

    def _wait(self, child: _Child, deadline: _Deadline, *, reading: bool) -> None:
        stream = child.process.stdout if reading else child.process.stdin
        assert stream is not None
        left = deadline.at - self.clock()
        if left <= 0:
            raise _Failed(f"it was stopped after {deadline.seconds:g} s")
        watched = select.poll()
        watched.register(stream, select.POLLIN if reading else select.POLLOUT)
        watched.poll(min(left, 1.0) * 1000)

    def _ended(self, child: _Child) -> _Failed:
        """Return how a process ended that ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(5)
        code = child.process.returncode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        said = self._legible(child.last_words())
        return _Failed(f"its process ended {how}" + (f" ({said})" if said else ""))

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.process.poll() is None:
            with suppress(OSError):
                os.killpg(child.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(5)
        for stream in (child.process.stdin, child.process.stdout, child.errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _suffer(self, why: str) -> None:
        self._failures += 1
        self._why = why
        steps = min(max(0, self._failures - _FAILURES), 10)
        self._again_at = self.clock() + min(_FIRST_PAUSE * 2**steps, _LONGEST_PAUSE)

    def _no_answer(self, why: str) -> NoAnswer:
        return NoAnswer(f"Bundle {self.bundle.id} gave no answer: {why}.", why=f"{why}.")


def _begun(device: Device, cores: int) -> _Child:
    """Start a process. Raises `OSError`.

    It is in a session of its own, and SIGTERM and SIGINT are blocked there: whoever ends the node
    by them, a terminal or systemd, tells all of its processes, and films are still answered then.
    """
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
    # Else what was cut off would be there again as a hole.
    fcntl.fcntl(errors, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
    cores = cores or max(1, len(os.sched_getaffinity(0)) // 2)
    command = [sys.executable, "-P", "-m", "dicom_node.brains.apart_process"]
    command += [device, str(cores), str(os.getpid())]
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=bare_environment(),
            cwd="/",
            start_new_session=True,
        )
    except BaseException:
        errors.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
    return _Child(process, errors)


def framed(note: Mapping[str, object]) -> bytes:
    """Return a header as the two processes send it: its length, then JSON."""
    head = json.dumps(note).encode()
    return _LENGTH.pack(len(head)) + head


def packed(number: int, arrays: Mapping[str, Float]) -> Sequence[bytes]:
    """Return outputs as a process sends them: a header, then the values of each."""
    told = [{"name": name, "shape": value.shape} for name, value in arrays.items()]
    return [
        framed({"number": number, "arrays": told}),
        *(value.tobytes() for value in arrays.values()),
    ]
