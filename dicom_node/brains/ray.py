"""The brain that is elsewhere: functions deployed on a Ray cluster, asked over HTTP.

Nothing of Ray is loaded here, so that a lost cluster can hang nobody: a question is one request
with one deadline. Whoever answers has to be proved first, see `RayBrain`.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import httpx

from dicom_node.brains import CLUSTER, Answers
from dicom_node.brains.models import answering
from dicom_node.brains.proof import Question, deviations
from dicom_node.brains.wire import (
    ENGINE,
    FAILED,
    FUNCTIONS,
    OTHER_FUNCTIONS,
    PATH,
    REPLICA,
    BodyUnreadable,
    Call,
    pack_calls,
    unpack_answers,
)
from dicom_node.errors import BrainChanged, BrainUnavailable
from dicom_node.imaging.prepare import Float

NAME: Literal["ray"] = "ray"

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=64)

_DEPLOY = "Deploy the networks of this node: `dicom-node brain deploy` (docs/install.md)."
_LOOK = (
    "Look whether the cluster runs and analysis.brain_address reaches it from here; the node goes"
    " on by itself."
)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a brain elsewhere is held to.

    ``functions``: their digest. ``asked``: the questions of the self-test film, and ``expected``:
    what Keras answers to them, by their names.
    """

    functions: str
    asked: Sequence[Question]
    expected: Mapping[str, Answers]


@dataclass(frozen=True, slots=True, eq=False)
class _Reply:
    """Answers to the calls of one request: one replica gave all of them."""

    replica: str
    engine: str
    found: Sequence[Answers]


class RayBrain:
    """Asks the functions behind an address, e.g. ``http://head:8000``; safe for several threads.

    Behind one address are many replicas, which come and go. An answer is trusted when its replica
    is proved: it says that its functions have the digest of ours, and its answers to the self-test
    film are Keras' within the tolerance of the bundles. Who is not known yet is asked again
    together with the self-test, in one request, which one replica answers; after a lost connection
    nobody is known any more.

    A question is tried again until ``timeout_seconds`` have passed since it was first asked: to
    ask twice does no harm. Raises `BrainUnavailable`: nobody there, too slow, other functions, not
    proved. Raises `BrainChanged` once what computes is another engine than at first.
    """

    device: Literal["cluster"] = CLUSTER

    def __init__(self, address: str, timeout_seconds: float, truth: Truth) -> None:
        self._address, self._timeout_seconds, self._truth = address, timeout_seconds, truth
        self._functions = frozenset(one.name for one in truth.asked)
        self._client = httpx.Client(
            limits=_CONNECTIONS,
            headers={FUNCTIONS: truth.functions},
            # Films take no way that somebody's environment names; the system's authorities count.
            trust_env=False,
            verify=ssl.create_default_context(),
        )
        self._lock = threading.Lock()
        self._proved: frozenset[str] = frozenset()
        self._engine = ""
        with ExitStack() as unless_proved:
            unless_proved.callback(self.close)
            self._prove_first()
            unless_proved.pop_all()

    @property
    def name(self) -> str:
        """Who computes, behind Ray: ``ray (openvino 2026.4.1 f32)``."""
        return f"{NAME} ({self._engine})"

    @property
    def proved(self) -> frozenset[str]:
        """Tokens of the replicas whose answers are trusted."""
        return self._proved

    def close(self) -> None:
        """Close the connections; nothing is answered any more."""
        self._client.close()

    def answer(self, model: str, films: Float, *, explain: bool) -> Answers:
        """Return what a model says of films; see `Brain`."""
        function = answering(self._functions, model, explain=explain)
        call, deadline = Call(function, films), self._deadline()
        reply = self._asked([call], deadline)
        if reply.replica not in self._proved:
            reply = self._asked([*self._proof, call], deadline)
            self._prove(reply)
        return reply.found[-1]

    def _prove_first(self) -> None:
        try:
            self._prove(self._asked(self._proof, self._deadline()))
        except RuntimeError as fault:
            raise BrainUnavailable(f"The self-test film has no answer. {fault}") from fault

    @property
    def _proof(self) -> list[Call]:
        return [Call(one.name, one.films) for one in self._truth.asked]

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout_seconds

    def _prove(self, reply: _Reply) -> None:
        """Take a replica for proved, or raise: `BrainUnavailable`, `BrainChanged`."""
        found = {one.name: each for one, each in zip(self._truth.asked, reply.found, strict=False)}
        worst, *_ = deviations(self._truth.asked, self._truth.expected, found)
        if not worst.within:
            raise self._lost(
                f"The brain at {self._address} ({reply.engine}) does not answer the self-test film"
                f" as Keras: {worst}.",
                _DEPLOY,
            )
        with self._lock:
            self._engine = self._engine or reply.engine
            if reply.engine != self._engine:
                raise BrainChanged(
                    f"The brain at {self._address} computes by {reply.engine} now, and not by"
                    f" {self._engine}."
                )
            self._proved |= {reply.replica}

    def _asked(self, calls: Sequence[Call], deadline: float) -> _Reply:
        """Ask until there is an answer or the deadline has passed."""
        body, pause = pack_calls(calls), _FIRST_PAUSE_SECONDS
        while True:
            try:
                reply = self._once(body, len(calls), deadline)
            except httpx.TransportError as fault:
                why = f"{type(fault).__name__}: {fault}"
            else:
                if isinstance(reply, _Reply):
                    return reply
                why = reply
            if time.monotonic() + pause >= deadline:
                raise self._lost(
                    f"The brain at {self._address} gave no answer within"
                    f" {self._timeout_seconds:g} s ({' '.join(why.split())}).",
                    _LOOK,
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _once(self, body: bytes, calls: int, deadline: float) -> _Reply | str:
        """Ask once; return the answers, or why there are none though there may be soon."""
        left = max(deadline - time.monotonic(), 0.001)
        answered = self._client.post(f"{self._address}{PATH}", content=body, timeout=left)
        if answered.status_code == FAILED:
            # Not Ray's fault, nor known to be the film's: whoever asked finds out.
            raise RuntimeError(f"A function failed elsewhere: {answered.text}")
        if answered.status_code == OTHER_FUNCTIONS:
            raise self._lost(
                f"The brain at {self._address} has other functions than this node's networks.",
                _DEPLOY,
            )
        if answered.status_code == httpx.codes.NOT_FOUND:
            return "no networks are deployed there"
        if answered.is_error:
            return f"status {answered.status_code}"
        if answered.headers.get(FUNCTIONS) != self._truth.functions:
            raise self._lost(
                f"The brain at {self._address} answers by other functions than this node's"
                " networks.",
                _DEPLOY,
            )
        try:
            found = unpack_answers(answered.content, calls)
        except BodyUnreadable as fault:
            return f"an answer that cannot be read: {fault}"
        said = answered.headers
        return _Reply(said.get(REPLICA, ""), said.get(ENGINE, ""), found)

    def _lost(self, message: str, remedy: str) -> BrainUnavailable:
        """Return the fault; who was proved before is to be proved again."""
        with self._lock:
            self._proved = frozenset()
        return BrainUnavailable(message, remedy=remedy)
